package cluster

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// RestartAPIServer stops the API server, as an upgrade does, and returns when
// the next one is ready at the same address.
func (c *Cluster) RestartAPIServer(ctx context.Context) error {
	c.changing.Lock()
	defer c.changing.Unlock()
	client, err := kubernetes.NewForConfig(c.config)
	if err != nil {
		return fmt.Errorf("make a client: %w", err)
	}
	if _, err := restart(c.components, kubeAPIServer); err != nil {
		return err
	}
	return c.await(ctx, "the restarted API server is ready", apiServerReady(client))
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
