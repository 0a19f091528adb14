// Package witness holds the fake cloud and the operator's Secret against
// programs that others wrote: the clouds' own clients obtain their tokens from
// the fake cloud with tokens of a real API server, and skopeo pulls with the
// Secret that the built operator wrote.
package witness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/go-logr/logr"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/tests/cluster"
	"github.com/imagepullsecrets/operator/tests/fakecloud"
	"github.com/imagepullsecrets/operator/tests/federation"
	"github.com/imagepullsecrets/operator/tests/operator"
)

// shared is what all tests look at: a cluster with a ServiceAccount, and a cloud
// that trusts the cluster.
var shared struct {
	cluster *cluster.Cluster
	cloud   *fakecloud.Cloud
	api     client.Client
	id      federation.Identity
}

func TestMain(m *testing.M) {
	ctrllog.SetLogger(logr.Discard()) // of the tests' own clients
	code, err := runSuite(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "witness tests:", err)
		code = 1
	}
	os.Exit(code)
}

func runSuite(m *testing.M) (code int, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if shared.cluster, err = cluster.Start(ctx, cluster.Options{Progress: os.Stderr}); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, shared.cluster.Stop()) }()
	if shared.cloud, err = fakecloud.Start(ctx, fakecloud.Options{}); err != nil {
		return 1, err
	}
	defer shared.cloud.Stop()
	if err := federation.TrustCluster(shared.cloud, shared.cluster); err != nil {
		return 1, err
	}
	// With the operator's types and rights, for the tests that run it.
	if err := operator.Install(ctx, shared.cluster.Config(), operator.Fence{Audiences: federation.Audiences()}); err != nil {
		return 1, err
	}
	if err := makeIdentity(ctx); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

// makeIdentity makes the ServiceAccount whose tokens the clouds get.
func makeIdentity(ctx context.Context) error {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			return err
		}
	}
	var err error
	if shared.api, err = client.New(shared.cluster.Config(), client.Options{Scheme: scheme}); err != nil {
		return err
	}
	shared.id = federation.Identity{Issuer: shared.cluster.Issuer(), Namespace: "team", Name: "puller"}
	if err := shared.api.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: shared.id.Namespace}}); err != nil {
		return err
	}
	return shared.id.Create(ctx, shared.api)
}

// tokenFor mints a token of the ServiceAccount that the clouds trust.
func tokenFor(t *testing.T, audience string) string {
	t.Helper()
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: []string{audience}}}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: shared.id.Namespace, Name: shared.id.Name}}
	if err := shared.api.SubResource("token").Create(t.Context(), account, request); err != nil {
		t.Fatalf("minting a token: %v", err)
	}
	return request.Status.Token
}
