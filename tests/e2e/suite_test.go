//go:build e2e

// Package e2e tests the operator as it is shipped, on a real node: its image,
// installed by Helm, gets other images pulled.
package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/tests/cluster"
	"github.com/imagepullsecrets/operator/tests/fakecloud"
	"github.com/imagepullsecrets/operator/tests/federation"
	"github.com/imagepullsecrets/operator/tests/registry"
)

// shared is what all journeys have: a cluster with a node, a registry that shows
// images to those only who have the login, and clouds that trust the cluster.
var shared struct {
	cluster  *cluster.Cluster
	api      client.WithWatch
	registry *registry.Registry
	cloud    *fakecloud.Cloud
}

// cloudProxy is where the node and its Pods reach the clouds.
const cloudProxy = cluster.HostAddress + ":3128"

// login is the private registry's.
var login = registry.Login{Username: "robot", Password: "only-for-tests"}

var counter atomic.Int32

// number returns one that no other account or registry of a cloud has.
func number() int { return int(counter.Add(1)) }

func TestMain(m *testing.M) {
	ctrllog.SetLogger(logr.Discard()) // of the tests' own clients
	code, err := runSuite(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "end-to-end tests:", err)
		code = 1
	}
	os.Exit(code)
}

func runSuite(m *testing.M) (code int, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if shared.cloud, err = fakecloud.Start(ctx, fakecloud.Options{}); err != nil {
		return 1, err
	}
	defer shared.cloud.Stop()
	begin := time.Now()
	if shared.cluster, err = cluster.Start(ctx, cluster.Options{Progress: os.Stderr, Node: true, NodeEnv: []string{
		"HTTPS_PROXY=http://" + cloudProxy, "SSL_CERT_FILE=" + shared.cloud.CAFile(),
	}}); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, shared.cluster.Stop()) }()
	fmt.Fprintf(os.Stderr, "a cluster with a node is ready after %s\n", time.Since(begin).Round(time.Millisecond))
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return 1, err
	}
	if shared.api, err = client.NewWithWatch(shared.cluster.Config(), client.Options{Scheme: scheme}); err != nil {
		return 1, err
	}
	if shared.registry, err = registry.Start(ctx, cluster.HostAddress, login); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, shared.registry.Stop()) }()
	if err := shared.cluster.AllowPlainHTTP(shared.registry.Host()); err != nil {
		return 1, err
	}
	if err := errors.Join(pushOperator(ctx, current), pushOperator(ctx, previous)); err != nil {
		return 1, err
	}
	if err := federation.TrustCluster(shared.cloud, shared.cluster); err != nil {
		return 1, err
	}
	stop, err := forward(ctx, cloudProxy, shared.cloud.ProxyURL().Host)
	if err != nil {
		return 1, err
	}
	defer stop()
	return m.Run(), nil
}
