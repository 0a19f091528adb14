package cluster

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

const (
	// readyTimeout is generous because a loaded build machine is slow; a
	// component that fails ends at once and is noticed before.
	readyTimeout = 2 * time.Minute

	readyInterval = 20 * time.Millisecond
	probeTimeout  = 5 * time.Second
)

// bringUp fills c step by step. After an error c holds what tearDown has to
// stop and remove.
func (c *Cluster) bringUp(ctx context.Context, s setup) error {
	if err := c.makeDir(ctx, s.running); err != nil {
		return err
	}
	if s.Node {
		if err := c.prepareNode(ctx, s); err != nil {
			return err
		}
	}
	etcdPort, securePort, err := freePorts()
	if err != nil {
		return err
	}
	if err := c.writeIdentities(c.address, securePort); err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(c.config)
	if err != nil {
		return fmt.Errorf("make a client: %w", err)
	}
	if err := c.startControlPlane(ctx, s, client, etcdPort, securePort); err != nil {
		return err
	}
	if s.Node {
		return c.startNode(ctx, s.commands, client)
	}
	return nil
}

func (c *Cluster) startControlPlane(ctx context.Context, s setup, client kubernetes.Interface, etcdPort, securePort int) error {
	if err := c.run(s.commands, etcd, etcdArgs(c.dir, etcdPort)); err != nil {
		return err
	}
	if err := c.await(ctx, "etcd is healthy", etcdHealthy("http://"+loopback(etcdPort)+"/health")); err != nil {
		return err
	}
	args := append(kubeAPIServerArgs(c.dir, c.address, etcdPort, securePort), s.APIServerArgs...)
	if err := c.run(s.commands, kubeAPIServer, args); err != nil {
		return err
	}
	if err := c.await(ctx, "the API server is ready", apiServerReady(client)); err != nil {
		return err
	}
	if err := c.run(s.commands, kubeControllerManager, kubeControllerManagerArgs(c.dir)); err != nil {
		return err
	}
	return c.await(ctx, "the controller manager has made the default ServiceAccount", defaultServiceAccountExists(client))
}

func (c *Cluster) makeDir(ctx context.Context, running records) error {
	dir, err := os.MkdirTemp("", dirPrefix)
	if err != nil {
		return fmt.Errorf("make the cluster's directory: %w", err)
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return fmt.Errorf("make the cluster's directory: %w", err)
	}
	c.dir = dir
	if c.record, err = running.add(ctx, dir); err != nil {
		return err
	}
	for _, name := range []string{"logs", "pki", "kubeconfigs"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			return fmt.Errorf("make the cluster's directory: %w", err)
		}
	}
	return nil
}

// run starts a component and takes responsibility for stopping it.
func (c *Cluster) run(commands commands, name string, args []string) error {
	component, err := startComponent(startChild, name, append(commands(name), args...), c.dir)
	if err != nil {
		return err
	}
	c.components = append(c.components, component)
	return nil
}

// await calls check until it succeeds. It gives up when ctx or readyTimeout
// is over or a component has ended; the error then holds the log of that
// component, or else of the one started last, which is the one waited for.
func (c *Cluster) await(ctx context.Context, condition string, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	ticker := time.NewTicker(readyInterval)
	defer ticker.Stop()
	for {
		err := probe(ctx, check)
		if err == nil {
			return nil
		}
		if ended := c.ended(); ended != nil {
			return ended
		}
		select {
		case <-ctx.Done():
			components := c.allComponents()
			last := components[len(components)-1]
			return fmt.Errorf("wait until %s: %w (last: %w)\n%s", condition, ctx.Err(), err, last.logTail())
		case <-ticker.C:
		}
	}
}

func probe(ctx context.Context, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	return check(ctx)
}

func etcdHealthy(url string) func(context.Context) error {
	// A transport of its own, because the environment's proxy is not for us.
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	return func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("GET %s: %s", url, response.Status)
		}
		return nil
	}
}

func apiServerReady(client kubernetes.Interface) func(context.Context) error {
	return func(ctx context.Context) error {
		return client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	}
}

func defaultServiceAccountExists(client kubernetes.Interface) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := client.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{})
		return err
	}
}

// freePorts returns two different loopback ports that nobody listens on.
func freePorts() (int, int, error) {
	var ports [2]int
	for i := range ports {
		listener, err := net.Listen("tcp", loopback(0))
		if err != nil {
			return 0, 0, fmt.Errorf("find a free port: %w", err)
		}
		// Held until both are found, or they could be the same.
		defer listener.Close()
		ports[i] = listener.Addr().(*net.TCPAddr).Port
	}
	return ports[0], ports[1], nil
}

func loopback(port int) string { return net.JoinHostPort(loopbackAddress, strconv.Itoa(port)) }
