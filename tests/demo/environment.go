package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/discovery"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/tests/cluster"
	"github.com/imagepullsecrets/operator/tests/fakecloud"
	"github.com/imagepullsecrets/operator/tests/operator"
)

// environment is everything that the story takes place in.
type environment struct {
	cluster  *cluster.Cluster
	cloud    *fakecloud.Cloud
	operator *operator.Process

	api       client.WithWatch // as the administrator
	discovery *discovery.DiscoveryClient
	witness   *witness

	// lifetime ends after everything was stopped in order, so that Ctrl-C
	// does not kill under the hands of those who stop.
	lifetime context.Context
	end      context.CancelFunc
}

func newEnvironment() *environment {
	e := &environment{}
	e.lifetime, e.end = context.WithCancel(context.Background())
	return e
}

// interruptible makes the end of ctx interrupt what is being started, until
// the returned function is called.
func (e *environment) interruptible(ctx context.Context) (started func() bool) {
	return context.AfterFunc(ctx, e.end)
}

// startCluster starts the cluster, which may mean to build it first, and
// connects to it.
func (e *environment) startCluster(ctx context.Context, progress io.Writer) (err error) {
	defer e.interruptible(ctx)()
	e.cluster, err = cluster.Start(e.lifetime, cluster.Options{Progress: progress})
	if err != nil {
		return err
	}
	if e.api, err = newClient(e.cluster.Config()); err != nil {
		return err
	}
	if e.discovery, err = discovery.NewDiscoveryClientForConfig(e.cluster.Config()); err != nil {
		return fmt.Errorf("make a discovery client: %w", err)
	}
	e.witness, err = watchSecrets(e.lifetime, e.api)
	return err
}

// startCloud starts the fake cloud.
func (e *environment) startCloud(ctx context.Context) (err error) {
	defer e.interruptible(ctx)()
	e.cloud, err = fakecloud.Start(e.lifetime, fakecloud.Options{})
	return err
}

// startOperatorProcess starts a built operator as its ServiceAccount.
func (e *environment) startOperatorProcess(ctx context.Context, binary, kubeconfig string) (err error) {
	defer e.interruptible(ctx)()
	e.operator, err = operator.Start(e.lifetime, operator.Options{
		Binary: binary, Kubeconfig: kubeconfig, Env: e.cloud.Env(),
		// Everything is logged, so that a secret has every chance to be; and
		// nobody wants to wait for what goes with the last Pod.
		Args: []string{"--log-level=debug", "--pod-selector-grace=1s"},
	})
	return err
}

// stop stops what was started, in the order in which nothing misses anything. It
// fails, too, if a secret was logged.
func (e *environment) stop() error {
	defer e.end()
	var errs []error
	if e.operator != nil {
		if err := e.operator.Stop(); err != nil {
			errs = append(errs, fmt.Errorf("the operator did not end well: %w", err))
		}
		errs = append(errs, checkLog(e.operator.Log(), e.cloud.Secrets()))
	}
	if e.cloud != nil {
		e.cloud.Stop()
	}
	if e.witness != nil {
		e.witness.stop()
	}
	if e.cluster != nil {
		errs = append(errs, e.cluster.Stop())
	}
	return errors.Join(errs...)
}

// checkLog searches all that the operator logged, its last lines included, for
// what no log may hold.
func checkLog(log string, secrets *fakecloud.Secrets) error {
	if log == "" {
		return errors.New("the operator logged nothing: there is no log to search for secrets")
	}
	if leaks := secrets.In(log); len(leaks) > 0 {
		return fmt.Errorf("a secret was logged: %d parts of tokens, keys or passwords stand in the operator's log", len(leaks))
	}
	return nil
}

// newClient returns a client that knows Kubernetes's own types and ours.
func newClient(config *rest.Config) (client.WithWatch, error) {
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return nil, fmt.Errorf("register types: %w", err)
	}
	config.WarningHandler = rest.NoWarnings{}
	made, err := client.NewWithWatch(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("make a client: %w", err)
	}
	return made, nil
}

// clientFromFile is newClient for whom a kubeconfig file names.
func clientFromFile(kubeconfig string) (client.WithWatch, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", kubeconfig, err)
	}
	return newClient(config)
}

// timed returns what an action took.
func timed(action func() error) (time.Duration, error) {
	begin := time.Now()
	err := action()
	return time.Since(begin), err
}
