// Package cluster runs a real Kubernetes control plane for tests: etcd,
// kube-apiserver and kube-controller-manager as child processes on loopback
// ports. Admission, CEL, RBAC, TokenRequest, server-side apply, watches and
// garbage collection are therefore the real ones. With Options.Node there is a
// node too, on which Pods run.
//
// The first Start on a machine compiles Kubernetes from its Go module, which
// takes minutes; the binary is kept in the user's cache directory and later
// starts take a second or two. When KUBEBUILDER_ASSETS is set, the etcd,
// kube-apiserver and kube-controller-manager in that directory are used
// instead and nothing is compiled. KUBERNETES_VERSION asks for an older
// Kubernetes, see VersionVariable.
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

	// Node adds a node on which Pods run: containerd, kubelet and kube-proxy,
	// in namespaces of their own, and kube-scheduler. It needs Linux, root and
	// a few programs, which the error of Start names if they are missing. A
	// machine has one such node at a time; Start waits for it.
	Node bool

	// NodeEnv is what containerd has in its environment besides, "NAME=value",
	// such as a proxy and the authorities to trust.
	NodeEnv []string
}

// Cluster is a running control plane. Its methods may be called from several
// goroutines at once, and what they return stays valid until Stop.
type Cluster struct {
	dir        string
	record     *os.File // locked for as long as this process lives, see leftovers.go
	address    string   // the API server's
	authority  *authority
	config     *rest.Config
	node       *node        // nil without Options.Node
	components []*component // that should run, in starting order

	changing  sync.Mutex // held while components are stopped and started
	apiServer *component // while it is stopped
	stopOnce  sync.Once
	stopErr   error
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

// PrepareNode is Prepare for what a node needs besides, so that nobody has to
// wait for the machine's node while it is built.
func PrepareNode(ctx context.Context, progress io.Writer) error {
	cache, err := cacheDir()
	if err != nil {
		return err
	}
	_, err = built(ctx, cache, containerdSoftware, newProgress(progress))
	return err
}

// setup is what a start has to work with.
type setup struct {
	Options
	commands commands
	running  records
	cache    string // the directory of what is built
	progress *progress
}

// startWith is Start with the directories that a test wants of its own.
func startWith(ctx context.Context, o Options, cache string, running records) (*Cluster, error) {
	if version := os.Getenv(VersionVariable); o.Node && version != "" && version != newestKubernetes {
		return nil, fmt.Errorf("%s is %q, and a node needs %s: unset it", VersionVariable, version, newestKubernetes)
	}
	progress := newProgress(o.Progress)
	commands, err := findCommands(ctx, cache, progress)
	if err != nil {
		return nil, err
	}
	if err := running.clean(ctx, progress); err != nil {
		return nil, fmt.Errorf("stop what earlier test clusters left behind: %w", err)
	}
	s := setup{Options: o, commands: commands, running: running, cache: cache, progress: progress}
	for attempt := 1; ; attempt++ {
		begin := time.Now()
		c, err := startOnce(ctx, s)
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

func startOnce(ctx context.Context, s setup) (*Cluster, error) {
	c := &Cluster{address: loopbackAddress}
	if err := c.bringUp(ctx, s); err != nil {
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

// Stop ends the node with all its Pods, the controller manager, the API server
// and etcd, in this order, and removes Dir. The error names a component that
// had ended before, with its last log lines, or what could not be stopped or
// removed. Calls after the first wait for it and return the same.
func (c *Cluster) Stop() error {
	c.stopOnce.Do(func() {
		c.changing.Lock()
		defer c.changing.Unlock()
		c.stopErr = errors.Join(c.ended(), c.tearDown())
	})
	return c.stopErr
}

// ended returns an error for the first component that has ended by itself.
func (c *Cluster) ended() error {
	for _, component := range c.allComponents() {
		select {
		case <-component.done:
			return component.exitError()
		default:
		}
	}
	return nil
}

// allComponents returns the components, the node's last.
func (c *Cluster) allComponents() []*component {
	if c.node == nil {
		return c.components
	}
	return slices.Concat(c.components, c.node.components)
}

// tearDown stops and removes as much of the cluster as exists.
func (c *Cluster) tearDown() error {
	var errs []error
	if c.node != nil {
		errs = append(errs, c.node.stop())
	}
	for i := len(c.components) - 1; i >= 0; i-- {
		errs = append(errs, c.components[i].stop())
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
