package integration

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
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
	herdSize       = herdObjects * sourcesPerHerd
	// herdRemaining is enough if many exchanges run at a time, and for a
	// fraction of them only if few do: one by one they take 12 minutes.
	herdRemaining = time.Minute
	herdLatency   = time.Second
)

// herd are logins that all end in the same second and are all due.
type herd struct {
	objects   []string
	expires   time.Time
	passwords map[string]bool // that were persisted
	due       map[string]bool // credentials that were told with their persisted login
	renewed   map[string]int  // by Secret, its logins that are new
}

// Five hundred logins end in the same second, every request to a cloud takes a
// second, and the operator is killed in the middle of it: each login has a new
// one in its place before it ends, and none is ever told expired.
func TestManyLoginsThatEndInTheSameSecondAreRenewedInTime(t *testing.T) {
	own := ownCluster(t, withAllRights)
	trusted(t, own)
	label := unique("label")
	selected := namespace(t, label, "yes")
	h := newHerd(t, own, label)
	shared.cloud.SetLatency(herdLatency)
	t.Cleanup(func() { shared.cloud.SetLatency(0) })
	statuses := watching(t, own, &v1alpha1.ImagePullSecretList{})
	targets := watching(t, own, &corev1.SecretList{}, client.InNamespace(selected))
	process := runOperator(t, own)
	h.expectRenewed(t, statuses, targets, herdSize/5)
	process.Kill()
	if begun := h.countRenewed(); begun == herdSize {
		t.Fatal("all was done before the operator was killed")
	}
	process = runOperator(t, own)
	h.expectRenewed(t, statuses, targets, herdSize)
	if len(h.due) != herdSize {
		t.Errorf("%d persisted logins were in use, want %d", len(h.due), herdSize)
	}
	for _, name := range h.objects {
		expectReady(t, name, 1)
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
	h := herd{passwords: map[string]bool{}, due: map[string]bool{}, renewed: map[string]int{}}
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

// watching follows objects of a kind from now on.
func watching(t *testing.T, own *cluster.Cluster, list client.ObjectList, of ...client.ListOption) <-chan watch.Event {
	t.Helper()
	scheme, err := newScheme()
	if err != nil {
		t.Fatal(err)
	}
	api, err := client.NewWithWatch(own.Config(), client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	following, err := api.Watch(t.Context(), list, of...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(following.Stop)
	return following.ResultChan()
}

// expectRenewed follows every status and every Secret until so many new logins
// stand in the Secrets. The time for that is the one that all logins end at,
// after which an old one is of no use.
func (h *herd) expectRenewed(t *testing.T, statuses, targets <-chan watch.Event, want int) {
	t.Helper()
	end := time.NewTimer(time.Until(h.expires))
	defer end.Stop()
	for h.countRenewed() < want {
		select {
		case event := <-statuses:
			h.followStatus(t, event)
		case event := <-targets:
			h.followSecret(t, event)
		case <-end.C:
		}
		if !time.Now().Before(h.expires) {
			t.Fatalf("%d of %d logins ended before a new one was seen in their Secret", herdSize-h.countRenewed(), herdSize)
		}
	}
}

// followStatus notes which credentials are told with their persisted login.
// None may ever be told as expired, or otherwise not ready.
func (h *herd) followStatus(t *testing.T, event watch.Event) {
	t.Helper()
	imps, ok := event.Object.(*v1alpha1.ImagePullSecret)
	if !ok {
		t.Fatalf("the watch ended with %+v", event.Object)
	}
	for _, c := range imps.Status.Credentials {
		name := imps.Name + " " + c.Name
		switch {
		case c.Ready == metav1.ConditionFalse:
			t.Fatalf("%s is %s, with %d renewed: %s", name, c.Reason, h.countRenewed(), c.Message)
		case c.ExpiresAt == nil: // leases are still being loaded
		case c.ExpiresAt.Time.Equal(h.expires):
			h.due[name] = true
		}
	}
}

// followSecret notes how many of a Secret's logins are new.
func (h *herd) followSecret(t *testing.T, event watch.Event) {
	t.Helper()
	secret, ok := event.Object.(*corev1.Secret)
	if !ok {
		t.Fatalf("the watch ended with %+v", event.Object)
	}
	document, err := authsOf(secret)
	if err != nil {
		t.Fatal(err)
	}
	renewed := 0
	for _, login := range document.Auths {
		if !h.passwords[login.Password] {
			renewed++
		}
	}
	h.renewed[secret.Name] = renewed
}

func (h *herd) countRenewed() (count int) {
	for _, renewed := range h.renewed {
		count += renewed
	}
	return count
}
