package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// StopAPIServer ends the API server alone, as an update of the control plane
// does: etcd keeps what it held. Clients find nobody listening.
func (c *Cluster) StopAPIServer() error {
	c.changing.Lock()
	defer c.changing.Unlock()
	i := slices.IndexFunc(c.components, func(running *component) bool { return running.name == kubeAPIServer })
	if i < 0 {
		return errors.New("the API server does not run")
	}
	c.apiServer = c.components[i]
	c.components = slices.Delete(c.components, i, i+1)
	return c.apiServer.stop()
}

// StartAPIServer starts the API server again after StopAPIServer, at the same
// address, and returns once it is ready.
func (c *Cluster) StartAPIServer(ctx context.Context) error {
	c.changing.Lock()
	defer c.changing.Unlock()
	if c.apiServer == nil {
		return errors.New("the API server was not stopped")
	}
	client, err := kubernetes.NewForConfig(c.config)
	if err != nil {
		return fmt.Errorf("make a client: %w", err)
	}
	started, err := c.apiServer.startAgain()
	if err != nil {
		return err
	}
	c.apiServer = nil
	c.components = append(c.components, started)
	return c.await(ctx, "the API server is ready again", apiServerReady(client))
}

// RestartNode stops the kubelet and containerd and returns when both are back
// and the kubelet has said so. Containers go on meanwhile.
func (c *Cluster) RestartNode(ctx context.Context) error {
	c.changing.Lock()
	defer c.changing.Unlock()
	client, err := kubernetes.NewForConfig(c.config)
	if err != nil {
		return fmt.Errorf("make a client: %w", err)
	}
	if _, err := restart(c.node.components, containerd); err != nil {
		return err
	}
	if err := c.await(ctx, "the restarted containerd listens", c.node.containerdListens); err != nil {
		return err
	}
	began, err := restart(c.node.components, kubelet)
	if err != nil {
		return err
	}
	return c.await(ctx, "the restarted kubelet is ready", func(ctx context.Context) error {
		lease, err := client.CoordinationV1().Leases(corev1.NamespaceNodeLease).Get(ctx, nodeName, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if lease.Spec.RenewTime == nil || lease.Spec.RenewTime.Time.Before(began) {
			return errors.New("the Lease is still the one of the kubelet before")
		}
		return nodeReady(client)(ctx)
	})
}

// restart stops the component of a name and starts it anew in its place. began
// is a time between the two.
func restart(components []*component, name string) (began time.Time, err error) {
	i := slices.IndexFunc(components, func(c *component) bool { return c.name == name })
	if err := components[i].stop(); err != nil {
		return began, err
	}
	began = time.Now()
	restarted, err := components[i].startAgain()
	if err != nil {
		return began, err
	}
	components[i] = restarted
	return began, nil
}
