package integration

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/internal/credentials"
	"github.com/imagepullsecrets/operator/internal/dockerconfig"
	"github.com/imagepullsecrets/operator/internal/kube"
	"github.com/imagepullsecrets/operator/providers"
	providerregistry "github.com/imagepullsecrets/operator/providers/registry"
	"github.com/imagepullsecrets/operator/tests/cluster"
	"github.com/imagepullsecrets/operator/tests/federation"
	"github.com/imagepullsecrets/operator/tests/operator"
)

const (
	herdObjects    = 5
	sourcesPerHerd = 100 // of each object, the most that one may have
	// herdRemaining is enough if many exchanges run at a time, and for a
	// fraction of them only if few do.
	herdRemaining = 40 * time.Second
	herdLatency   = time.Second
)

// herd are logins that all end in the same second and are all due.
type herd struct {
	objects   []string
	expires   time.Time
	passwords map[string]bool // that were persisted
}

// Five hundred logins end in the same second, and every request to a cloud takes
// a second: each of them is renewed in time, and none is ever told expired.
func TestManyLoginsThatEndInTheSameSecondAreRenewedInTime(t *testing.T) {
	own := ownCluster(t, withAllRights)
	trusted(t, own)
	label := unique("label")
	selected := namespace(t, label, "yes")
	h := newHerd(t, own, label)
	shared.cloud.SetLatency(herdLatency)
	t.Cleanup(func() { shared.cloud.SetLatency(0) })
	process := runOperator(t, own)
	h.expectRenewals(t, own)
	for i, name := range h.objects {
		expectReady(t, name, 1)
		h.expectNewLogins(t, selected, secretOfHerd(i))
	}
	if err := process.Stop(); err != nil {
		t.Error(err)
	}
}

func secretOfHerd(i int) string { return fmt.Sprintf("pull-%d", i) }

// newHerd makes the objects and persists a lease for each of their sources, half
// of which are of AWS, with two requests to an exchange, and half of Google.
func newHerd(t *testing.T, own *cluster.Cluster, label string) herd {
	t.Helper()
	id := identity(t)
	h := herd{passwords: map[string]bool{}}
	var sources []federation.Source
	for i := range herdObjects {
		var entries []v1alpha1.CredentialSource
		for range sourcesPerHerd / 2 {
			pair := []federation.Source{federation.ECR(shared.cloud, id, number()), federation.ArtifactRegistry(shared.cloud, id, number())}
			sources = append(sources, pair...)
			entries = append(entries, pair[0].Entry, pair[1].Entry)
		}
		h.objects = append(h.objects, object(t, secretOfHerd(i), label, entries...).Name)
	}
	h.persist(t, own, id, sources)
	return h
}

// persist keeps a lease for each source as an operator did that has ended.
func (h *herd) persist(t *testing.T, own *cluster.Cluster, id federation.Identity, sources []federation.Source) {
	t.Helper()
	account := &corev1.ServiceAccount{}
	if err := shared.api.Get(t.Context(), client.ObjectKey{Namespace: id.Namespace, Name: id.Name}, account); err != nil {
		t.Fatal(err)
	}
	api, err := kubernetes.NewForConfig(own.Config())
	if err != nil {
		t.Fatal(err)
	}
	leases := kube.NewLeases(api.CoreV1().Secrets(operator.Namespace))
	if _, err := leases.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.expires = time.Now().Add(herdRemaining).Truncate(time.Second)
	for _, source := range sources {
		found, err := providerregistry.New(providerregistry.Options{}).Source(source.Entry, nil, account)
		if err != nil {
			t.Fatal(err)
		}
		made := password()
		h.passwords[made] = true
		err = leases.Save(t.Context(), found.Provider.Key(), credentials.SavedLease{
			Credential: providers.Credential{Login: dockerconfig.Login{Username: "AWS", Password: made}, ExpiresAt: h.expires},
			IssuedAt:   h.expires.Add(-time.Hour),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// expectRenewals follows every status until it tells of new logins only. Each
// credential must be told with its persisted login before, and never as expired.
func (h *herd) expectRenewals(t *testing.T, own *cluster.Cluster) {
	t.Helper()
	scheme, err := newScheme()
	if err != nil {
		t.Fatal(err)
	}
	api, err := client.NewWithWatch(own.Config(), client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	statuses, err := api.Watch(t.Context(), &v1alpha1.ImagePullSecretList{})
	if err != nil {
		t.Fatal(err)
	}
	defer statuses.Stop()
	due, renewed := map[string]bool{}, map[string]bool{}
	deadline := time.After(herdRemaining + patience)
	for len(renewed) < herdObjects*sourcesPerHerd {
		select {
		case event := <-statuses.ResultChan():
			imps, ok := event.Object.(*v1alpha1.ImagePullSecret)
			if !ok {
				t.Fatalf("the watch ended with %+v", event.Object)
			}
			h.follow(t, imps, due, renewed)
		case <-deadline:
			t.Fatalf("%d logins were renewed in time", len(renewed))
		}
	}
	if len(due) != len(renewed) {
		t.Errorf("%d persisted logins were in use, want %d", len(due), len(renewed))
	}
}

// follow notes which credentials have their persisted login, and which a new one.
func (h *herd) follow(t *testing.T, imps *v1alpha1.ImagePullSecret, due, renewed map[string]bool) {
	t.Helper()
	for _, c := range imps.Status.Credentials {
		name := imps.Name + " " + c.Name
		switch {
		case c.Reason == v1alpha1.ReasonExpired:
			t.Fatalf("%s expired, with %d renewed: %s", name, len(renewed), c.Message)
		case c.Ready == metav1.ConditionFalse:
			t.Fatalf("%s is %s: %s", name, c.Reason, c.Message)
		case c.ExpiresAt == nil: // leases are still being loaded
		case c.ExpiresAt.Time.Equal(h.expires):
			due[name] = true
		default:
			renewed[name] = true
		}
	}
}

// expectNewLogins waits until a Secret holds none of the persisted logins.
func (h *herd) expectNewLogins(t *testing.T, namespace, name string) {
	t.Helper()
	eventually(t, "new logins in Secret "+name, func() error {
		secret, err := secretIn(t, namespace, name)
		if err != nil {
			return err
		}
		document, err := authsOf(secret)
		if err != nil {
			return err
		}
		old := 0
		for _, login := range document.Auths {
			if h.passwords[login.Password] {
				old++
			}
		}
		if old > 0 || len(document.Auths) != sourcesPerHerd {
			return fmt.Errorf("%d of its %d logins are the persisted ones", old, len(document.Auths))
		}
		return nil
	})
}
