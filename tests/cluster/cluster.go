// Package cluster runs a real Kubernetes control plane for tests: etcd,
// kube-apiserver and kube-controller-manager as child processes on loopback
// ports. Admission, CEL, RBAC, TokenRequest, server-side apply, watches and
// garbage collection are therefore the real ones; there are no nodes.
//
// The first Start on a machine compiles Kubernetes from its Go module, which
// takes minutes; the binary is kept in the user's cache directory and later
// starts take a second or two. When KUBEBUILDER_ASSETS is set, the etcd,
// kube-apiserver and kube-controller-manager in that directory are used
// instead and nothing is compiled.
//
// Nothing outlives the process that called Start: on Linux the kernel kills
// the components with it, and on every system the next Start stops what an
// earlier process left behind. Linux and macOS are supported.
package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

const (
	// startAttempts bounds how often Start tries new ports. A port can be
	// taken between finding it free and the component's listening on it.
	startAttempts = 5

	dirPrefix = "imagepullsecret-cluster-"
)

// Options change how Start builds and starts a cluster. The zero value is
// ready to use.
type Options struct {
	// Progress receives one human line, newline included, for each step and
	// every few seconds while Kubernetes is compiled. Writes never overlap.
	// nil discards them.
	Progress io.Writer

	// APIServerArgs are further kube-apiserver flags ("--name=value"), after
	// the cluster's own: a flag that holds one value replaces the cluster's,
	// one that holds a list adds to it.
	APIServerArgs []string
}

// Cluster is a running control plane. Its methods may be called from several
// goroutines at once, and what they return stays valid until Stop.
type Cluster struct {
	dir    string
	record *os.File // locked for as long as this process lives, see leftovers.go
	config *rest.Config

	mu         sync.Mutex
	components []*component // that should run, in starting order
	apiServer  []string     // its command while it is stopped

	stopOnce sync.Once
	stopErr  error
}

// Start builds Kubernetes if needed, stops what crashed runs left behind and
// returns once a new, empty cluster is ready: the API server's /readyz
// succeeds and the ServiceAccount "default" exists in the namespace "default".
//
// The cluster runs until Stop is called or ctx ends, whichever is first, so
// ctx must not be one that ends when Start is over. An error holds the last
// log lines of the component that failed; nothing is left running then.
func Start(ctx context.Context, o Options) (*Cluster, error) {
	cache, err := cacheDir()
	if err != nil {
		return nil, err
	}
	return startWith(ctx, o, cache, records{dir: filepath.Join(cache, "running")})
}

// Prepare builds Kubernetes if needed, as the first Start does, and starts
// nothing. progress is as in Options.
func Prepare(ctx context.Context, progress io.Writer) error {
	cache, err := cacheDir()
	if err != nil {
		return err
	}
	_, err = findCommands(ctx, cache, newProgress(progress))
	return err
}

// startWith is Start with the directories that a test wants of its own.
func startWith(ctx context.Context, o Options, cache string, running records) (*Cluster, error) {
	progress := newProgress(o.Progress)
	commands, err := findCommands(ctx, cache, progress)
	if err != nil {
		return nil, err
	}
	if err := running.clean(ctx, progress); err != nil {
		return nil, fmt.Errorf("stop what earlier test clusters left behind: %w", err)
	}
	for attempt := 1; ; attempt++ {
		begin := time.Now()
		c, err := startOnce(ctx, commands, running, o.APIServerArgs)
		if err == nil {
			progress.printf("ready after %s: %s, logs in %s", time.Since(begin).Round(time.Millisecond), c.config.Host, filepath.Join(c.dir, "logs"))
			return c, nil
		}
		if !errors.Is(err, errAddressInUse) || attempt == startAttempts {
			return nil, fmt.Errorf("start the test cluster: %w", err)
		}
		progress.printf("another process took the chosen port, trying again with others")
	}
}

func startOnce(ctx context.Context, commands commands, running records, apiServerArgs []string) (*Cluster, error) {
	c := &Cluster{}
	if err := c.bringUp(ctx, commands, running, apiServerArgs); err != nil {
		// Not Stop: it would report a second time that a component ended.
		var cleanup error
		c.stopOnce.Do(func() { cleanup = c.tearDown() })
		return nil, errors.Join(err, cleanup)
	}
	context.AfterFunc(ctx, func() { _ = c.Stop() })
	return c, nil
}

// Config returns a client configuration for the cluster's administrator
// (group system:masters) without a client-side rate limit. Each call returns
// its own copy, which the caller may change.
func (c *Cluster) Config() *rest.Config { return rest.CopyConfig(c.config) }

// Kubeconfig returns the path of a kubeconfig file for the administrator of
// Config. Certificates are inside the file.
func (c *Cluster) Kubeconfig() string { return filepath.Join(c.dir, "admin.kubeconfig") }

// CA returns a copy of the certificate, in PEM, that signed the API server's
// serving certificate.
func (c *Cluster) CA() []byte { return bytes.Clone(c.config.CAData) }

// CAFile returns the path of a file that holds CA.
func (c *Cluster) CAFile() string { return filepath.Join(c.dir, caFile) }

// Issuer returns the URL that ServiceAccount tokens name as their issuer. It
// does not resolve: keys are read from Config's host, at /openid/v1/jwks.
func (c *Cluster) Issuer() string { return issuer }

// Dir returns the absolute path of the cluster's temporary directory. Each
// component logs to logs/<component>.log in it.
func (c *Cluster) Dir() string { return c.dir }

// StopAPIServer ends the API server alone, as an update of the control plane
// does: etcd keeps what it held. Clients find nobody listening.
func (c *Cluster) StopAPIServer() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.components, func(running *component) bool { return running.name == kubeAPIServer })
	if i < 0 {
		return errors.New("the API server does not run")
	}
	stopped := c.components[i]
	c.components = slices.Delete(c.components, i, i+1)
	c.apiServer = stopped.cmd.Args
	return stopped.stop()
}

// StartAPIServer starts the API server again after StopAPIServer, at the same
// address, and returns once it is ready.
func (c *Cluster) StartAPIServer(ctx context.Context) error {
	client, err := kubernetes.NewForConfig(c.config)
	if err != nil {
		return fmt.Errorf("make a client: %w", err)
	}
	c.mu.Lock()
	command := c.apiServer
	c.apiServer = nil
	c.mu.Unlock()
	if command == nil {
		return errors.New("the API server was not stopped")
	}
	if err := c.run(kubeAPIServer, command); err != nil {
		return err
	}
	return c.await(ctx, "the API server is ready again", apiServerReady(client))
}

// Stop ends the components, etcd last, and removes Dir. The error names a component that had ended before, with
// its last log lines, or what could not be stopped or removed. Calls after
// the first wait for it and return the same.
func (c *Cluster) Stop() error {
	c.stopOnce.Do(func() {
		c.stopErr = errors.Join(c.ended(), c.tearDown())
	})
	return c.stopErr
}

// ended returns an error for the first component that has ended by itself.
func (c *Cluster) ended() error {
	for _, component := range c.running() {
		select {
		case <-component.done:
			return component.exitError()
		default:
		}
	}
	return nil
}

// running returns the components that should run, in starting order.
func (c *Cluster) running() []*component {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.components)
}

// tearDown stops and removes as much of the cluster as exists.
func (c *Cluster) tearDown() error {
	var errs []error
	for _, component := range slices.Backward(c.running()) {
		errs = append(errs, component.stop())
	}
	if err := errors.Join(errs...); err != nil {
		// The record stays, so that the next Start tries again.
		return err
	}
	if c.dir != "" {
		errs = append(errs, os.RemoveAll(c.dir))
	}
	if c.record != nil {
		errs = append(errs, os.Remove(c.record.Name()), c.record.Close())
	}
	return errors.Join(errs...)
}
