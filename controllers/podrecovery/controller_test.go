package podrecovery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	testingclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/internal/grant"
	"github.com/imagepullsecrets/operator/internal/kube"
	"github.com/imagepullsecrets/operator/internal/metrics"
	"github.com/imagepullsecrets/operator/internal/rights"
)

// world is a controller and all that it sees: one namespace with one Pod, whose
// ServiceAccount carries the name of the Secret of one grant.
type world struct {
	*Controller
	clock   *testingclock.FakePassiveClock
	pod     *corev1.Pod
	account *corev1.ServiceAccount
	// podErr, accountErr and evictErr are what the API server answers.
	podErr, accountErr, evictErr error
	// ahead is how far its clock is ahead of ours.
	ahead   time.Duration
	evicted []types.UID
	told    []string
	watched []bool
	// selected are the names of the grants that select the namespace.
	selected []string
	gone     bool // the namespace is terminating
}

func newWorld(t *testing.T, changes ...func(*grant.Grant)) *world {
	t.Helper()
	w := &world{clock: testingclock.NewFakePassiveClock(noon.Add(time.Hour)), pod: stuck(), account: account("pull", "pull"), selected: []string{"corp"}}
	book := &grant.Book{}
	board := grant.NewBoard(func(string) {})
	w.Controller = New(Deps{
		Book: book, Board: board, Scope: w, Pods: w, Recorder: w, Clock: w.clock,
		WatchFailures: func(wanted bool) { w.watched = append(w.watched, wanted) },
		Metrics:       metrics.New(prometheus.NewRegistry()),
	})
	g := granted().Grant
	g.Content = &grant.Content{DockerConfigJSON: []byte(`{"auths":{"reg.io":{"username":"ada","password":"pw"}}}`)}
	for _, change := range changes {
		change(g)
	}
	book.Put(g)
	board.Record("corp", "team-a", grant.Outcome{State: grant.Held})
	return w
}

func (w *world) Pod(context.Context, types.NamespacedName) (*corev1.Pod, error) {
	if w.podErr != nil {
		return nil, w.podErr
	}
	return w.pod.DeepCopy(), nil
}

func (w *world) ServiceAccount(context.Context, types.NamespacedName) (*corev1.ServiceAccount, error) {
	return w.account, w.accountErr
}

func (w *world) Evict(_ context.Context, _ types.NamespacedName, uid types.UID) error {
	if w.evictErr != nil {
		return w.evictErr
	}
	w.evicted = append(w.evicted, uid)
	grace := int64(30)
	ends := metav1.NewTime(w.clock.Now().Add(w.ahead + 30*time.Second))
	w.pod.DeletionTimestamp, w.pod.DeletionGracePeriodSeconds = &ends, &grace
	return nil
}

func (w *world) Namespace(_ context.Context, name string) (*metav1.PartialObjectMetadata, error) {
	if w.gone {
		return nil, nil
	}
	return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: name}}, nil
}

func (w *world) Selects(_ context.Context, g *grant.Grant, _ *metav1.PartialObjectMetadata) (bool, error) {
	return slices.Contains(w.selected, g.Name), nil
}

func (w *world) Eventf(regarding, _ runtime.Object, kind, reason, _, note string, args ...any) {
	about := regarding.(*corev1.ObjectReference)
	w.told = append(w.told, fmt.Sprintf("%s/%s %s %s: %s", about.Kind, about.UID, kind, reason, fmt.Sprintf(note, args...)))
}

// look has the Pod looked at, and returns when it is to be looked at again.
func (w *world) look(t *testing.T) time.Duration {
	t.Helper()
	result, err := w.Reconcile(t.Context(), reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "team-a", Name: "app-1"}})
	if err != nil {
		t.Fatal(err)
	}
	return result.RequeueAfter
}

// pass lets time pass.
func (w *world) pass(d time.Duration) { w.clock.SetTime(w.clock.Now().Add(d)) }

// replaced puts a Pod in the place of the one that there is, made now by the
// API server's clock.
func (w *world) replaced(uid types.UID) {
	w.pod = stuck(func(p *corev1.Pod) {
		p.UID, p.CreationTimestamp = uid, metav1.NewTime(w.clock.Now().Add(w.ahead).Truncate(time.Second))
	})
}

func (w *world) expect(t *testing.T, evicted int, told ...string) {
	t.Helper()
	if len(w.evicted) != evicted {
		t.Errorf("%d evictions, want %d", len(w.evicted), evicted)
	}
	if len(w.told) != len(told) {
		t.Fatalf("told %q, want %d events", w.told, len(told))
	}
	for i, want := range told {
		if !strings.Contains(w.told[i], want) {
			t.Errorf("told %q, want %q", w.told[i], want)
		}
	}
}

func TestAnEvictionIsToldOnThePodAndItsController(t *testing.T) {
	w := newWorld(t)
	if next := w.look(t); next != 0 {
		t.Errorf("the next look is after %s", next)
	}
	w.expect(t, 1, "Pod/pod-uid Normal EvictedForImagePullSecret: evicted Pod app-1, which could not pull reg.io/team/app:v1",
		"ReplicaSet/rs-uid Normal EvictedForImagePullSecret: evicted Pod app-1, which could not pull reg.io/team/app:v1: it came before the name of Secret pull")
}

func TestAPodIsEvictedOnlyOnce(t *testing.T) {
	w := newWorld(t)
	w.look(t)
	w.pod.DeletionTimestamp = nil // a cache would show it so
	w.look(t)
	w.expect(t, 1, "Pod/", "ReplicaSet/")
}

// A Pod that takes an evicted one's place and lacks the name again is left,
// whatever the clocks say, while those that were there before are evicted.
func TestNoEvictionIsRepeatedInVain(t *testing.T) {
	for _, ahead := range []time.Duration{0, time.Minute, -time.Minute, 500 * time.Millisecond} {
		t.Run(ahead.String(), func(t *testing.T) {
			w := newWorld(t)
			w.ahead = ahead
			w.replaced("first") // one second before the eviction
			w.pass(time.Second)
			w.look(t)
			w.replaced("second")
			second := w.pod
			w.look(t)
			w.pass(time.Hour)
			w.look(t)
			w.expect(t, 1, "Pod/first", "ReplicaSet/", "Pod/second Warning FailedEvictionForImagePullSecret: not evicted, though it can't pull reg.io/team/app:v1: it came after")

			w.pod = stuck(func(p *corev1.Pod) { p.UID = "sibling" })
			w.look(t)
			w.expect(t, 2, "Pod/first", "ReplicaSet/", "Pod/second", "Pod/sibling Normal", "ReplicaSet/")
			// A later eviction does not make the replacement one of those before.
			w.pod = second
			w.look(t)
			w.expect(t, 2, "Pod/first", "ReplicaSet/", "Pod/second", "Pod/sibling Normal", "ReplicaSet/")

			w.pass(remembered)
			w.replaced("third")
			w.look(t)
			if len(w.evicted) != 3 {
				t.Errorf("after %s it is still remembered", remembered)
			}
		})
	}
}

// A Pod says itself who its controller is, so that it may name another's.
func TestAControllerOfThatUIDInAnotherNamespaceDoesNotCount(t *testing.T) {
	w := newWorld(t)
	w.Board.Record("corp", "team-b", grant.Outcome{State: grant.Held})
	w.pod = stuck(func(p *corev1.Pod) { p.Namespace = "team-b" })
	if _, err := w.Reconcile(t.Context(), reconcile.Request{NamespacedName: keyOf(w.pod)}); err != nil {
		t.Fatal(err)
	}
	w.replaced("after-it")
	w.look(t)
	w.expect(t, 2, "Pod/", "ReplicaSet/", "Pod/after-it Normal", "ReplicaSet/")
}

func TestAnEvictionThatFailsIsTriedAgain(t *testing.T) {
	budget := apierrors.NewTooManyRequests("Cannot evict pod as it would violate the pod's disruption budget.", 0)
	budget.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: policyv1.DisruptionBudgetCause, Message: "needs 1 healthy pods"}}
	pods := corev1.Resource("pods")
	cases := map[string]struct {
		err  error
		told []string
	}{
		"a disruption budget is told once": {budget, []string{
			"Pod/pod-uid Warning FailedEvictionForImagePullSecret: evicting Pod app-1, which can't pull reg.io/team/app:v1 for it lacks Secret pull: a PodDisruptionBudget does not allow it now",
			"ReplicaSet/rs-uid Warning FailedEvictionForImagePullSecret"}},
		"a missing right is named": {apierrors.NewForbidden(pods, "app-1", errors.New(`User "u" cannot create resource "pods/eviction" in API group ""`)), []string{
			rights.ForEviction, rights.ForEviction}},
		"what admission says is told without what may be secret": {
			apierrors.NewForbidden(pods, "app-1", errors.New("admission webhook denied the request: the token eyJhbGciOiJSUzI1NiJ9.eyJodW50ZXIyIn0.c2ln is bad")), []string{"admission webhook denied", "refuses"}},
		"a busy API server is no matter of the Pod's": {apierrors.NewTooManyRequests("busy", 1), nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.evictErr = c.err
			for _, want := range seconds(5, 10, 20, 40, 80, 160, 300, 300) {
				if next := w.look(t); next != want {
					t.Errorf("the next look is after %s, want %s", next, want)
				}
				w.pass(want)
			}
			w.expect(t, 0, c.told...)
			if strings.Contains(strings.Join(w.told, ""), "eyJ") {
				t.Errorf("a secret is told: %q", w.told)
			}
			w.evictErr = nil
			if w.look(t); len(w.evicted) != 1 {
				t.Error("it is not evicted when it may be")
			}
		})
	}
}

func TestAPodThatWentMeanwhileIsNoFailure(t *testing.T) {
	for name, err := range map[string]error{
		"gone":          apierrors.NewNotFound(corev1.Resource("pods"), "app-1"),
		"another by it": apierrors.NewConflict(corev1.Resource("pods"), "app-1", errors.New("the UID does not match")),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.evictErr = err
			if next := w.look(t); next != 0 {
				t.Errorf("the next look is after %s", next)
			}
			w.expect(t, 0)
		})
	}
	w := newWorld(t)
	w.podErr = apierrors.NewNotFound(corev1.Resource("pods"), "app-1")
	if next := w.look(t); next != 0 {
		t.Errorf("the next look is after %s", next)
	}
}

func TestWhatIsMissingIsWaitedFor(t *testing.T) {
	w := newWorld(t)
	w.Board.Record("corp", "team-a", grant.Outcome{State: grant.Pending})
	for _, want := range seconds(1, 2, 4) {
		if next := w.look(t); next != want {
			t.Errorf("the next look is after %s, want %s", next, want)
		}
		// Its kubelet tells of it more often than that.
		if next := w.look(t); next != want {
			t.Errorf("it is looked at early: the next look is after %s", next)
		}
		w.pass(want)
	}
	w.Board.Record("corp", "team-a", grant.Outcome{State: grant.Held})
	w.look(t)
	w.expect(t, 1, "Pod/", "ReplicaSet/")
}

func TestAServiceAccountIsWaitedForAWhile(t *testing.T) {
	w := newWorld(t, func(g *grant.Grant) { g.Accounts = everyAccount() })
	w.account = account("")
	for _, want := range seconds(1, 2, 4, 8, 16, 0, 0) {
		if next := w.look(t); next != want {
			t.Errorf("the next look is after %s, want %s", next, want)
		}
		w.pass(want)
	}
	w.account = account("pull", "pull")
	w.look(t)
	w.expect(t, 1, "Pod/", "ReplicaSet/")
}

func TestAMissingAccountIsNoError(t *testing.T) {
	w := newWorld(t)
	w.account, w.accountErr = nil, apierrors.NewNotFound(corev1.Resource("serviceaccounts"), "default")
	w.look(t)
	w.expect(t, 0)

	// Another Secret's name is injected, which needs no account.
	w.Injection = true
	w.Book.Get("corp").Pods = v1alpha1.PodsNone
	other := *w.Book.Get("corp")
	other.Name, other.SecretName, other.Pods = "other", "other", v1alpha1.PodsInject
	w.Book.Put(&other)
	w.Board.Record("other", "team-a", grant.Outcome{State: grant.Held})
	w.selected = append(w.selected, "other")
	w.look(t)
	w.expect(t, 1, "Secret other", "Secret other")
}

func TestAnInjectedNameIsNoListOfThePodsOwn(t *testing.T) {
	other := func(w *world, policy v1alpha1.PodPolicy) {
		w.Book.Put(&grant.Grant{Name: "other", UID: "other-uid", SecretName: "early", Content: &grant.Content{}, Pods: policy})
		w.Book.Get("corp").Pods = v1alpha1.PodsNone
		w.pod.Spec.ImagePullSecrets = references("early")
		w.selected = append(w.selected, "other")
	}
	cases := map[string]struct {
		change func(*world)
		want   int
	}{
		"a name that is injected":        {func(w *world) { w.Injection = true; other(w, v1alpha1.PodsInject) }, 1},
		"by an object that wants it not": {func(w *world) { w.Injection = true; other(w, v1alpha1.PodsNone) }, 0},
		"by one for other namespaces":    {func(w *world) { w.Injection = true; other(w, v1alpha1.PodsInject); w.selected = []string{"corp"} }, 0},
		"without injection":              {func(w *world) { other(w, v1alpha1.PodsInject) }, 0},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c.change(w)
			w.look(t)
			if len(w.evicted) != c.want {
				t.Errorf("%d evictions", len(w.evicted))
			}
		})
	}
}

func TestARefusedWatchIsTold(t *testing.T) {
	w := newWorld(t)
	w.Book.Put(&grant.Grant{Name: "none", UID: "none-uid", SecretName: "other", Recovery: v1alpha1.RecoveryNone})
	for range 3 {
		w.WatchRefused(t.Context(), "", apierrors.NewForbidden(corev1.Resource("events"), "", errors.New(`User "u" cannot watch resource "events"`)))
	}
	w.expect(t, 0, "ImagePullSecret/imps-uid Warning")
}

// In a namespace that is not there no right can be.
func TestARefusedWatchOfANamespaceIsToldIfItIsThere(t *testing.T) {
	for sentence, gone := range map[string]bool{"it is there": false, "it is gone": true} {
		t.Run(sentence, func(t *testing.T) {
			w := newWorld(t)
			w.gone, w.Rights = gone, rights.Mode{Namespaces: true}
			w.WatchRefused(t.Context(), "team-a", apierrors.NewForbidden(corev1.Resource("events"), "", errors.New("no right")))
			if gone {
				w.expect(t, 0)
				return
			}
			w.expect(t, 0, "ImagePullSecret/imps-uid Warning")
			if want := "add to a Role in namespace team-a of the operator's ServiceAccount the rules"; !strings.Contains(w.told[0], want) {
				t.Errorf("told %q", w.told[0])
			}
		})
	}
}

func TestAMissingRightToReadIsToldToWhoeverAsks(t *testing.T) {
	refused := func(what string) error {
		return apierrors.NewForbidden(corev1.Resource(what), "x", fmt.Errorf(`User "u" cannot get resource %q in API group ""`, what))
	}
	for name, spoil := range map[string]func(*world){
		"Pods":            func(w *world) { w.podErr = refused("pods") },
		"ServiceAccounts": func(w *world) { w.accountErr = refused("serviceaccounts") },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			spoil(w)
			for range 3 {
				if next := w.look(t); next != longestWait {
					t.Errorf("the next look is after %s", next)
				}
				w.pass(longestWait)
			}
			told := slices.Clone(w.told)
			w.WatchRefused(t.Context(), "", refused("events"))
			if !slices.Equal(told, w.told) {
				t.Error("it is told twice")
			}
			w.expect(t, 0, "ImagePullSecret/imps-uid Warning FailedEvictionForImagePullSecret: ")
			for _, rule := range []string{rights.ForPodEvents, rights.ForPod, rights.ForPodsAccount, rights.ForEviction} {
				if !strings.Contains(w.told[0], rule) {
					t.Errorf("%s is not named: %s", rule, w.told[0])
				}
			}
			if len(w.told[0]) > 1024 {
				t.Errorf("the note is too long, %d characters", len(w.told[0]))
			}
		})
	}
}

func TestOnlySecretsInForceCount(t *testing.T) {
	older := func(g *grant.Grant) { g.CreatedAt = metav1.NewTime(noon) }
	cases := map[string]struct {
		grant  func(*grant.Grant)
		change func(*world)
		want   int
	}{
		"the one of the grant that selects the namespace": {older, func(*world) {}, 1},
		"not one that does not select it":                 {older, func(w *world) { w.selected = nil }, 0},
		"not in a namespace that ends":                    {older, func(w *world) { w.gone = true }, 0},
		"not one without recovery":                        {func(g *grant.Grant) { g.Recovery = v1alpha1.RecoveryNone }, func(*world) {}, 0},
		"not one that is suspended":                       {func(g *grant.Grant) { g.Suspended = true }, func(*world) {}, 0},
		"not that of a grant that does not win": {older, func(w *world) {
			w.Book.Put(&grant.Grant{Name: "winner", SecretName: "pull", Recovery: v1alpha1.RecoveryEvict, Content: &grant.Content{DockerConfigJSON: []byte(`{"auths":{}}`)}})
			w.selected = append(w.selected, "winner")
		}, 0},
		"a winner elsewhere does not count": {older, func(w *world) {
			w.Book.Put(&grant.Grant{Name: "winner", SecretName: "pull", Recovery: v1alpha1.RecoveryEvict})
		}, 1},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, c.grant)
			c.change(w)
			if w.look(t); len(w.evicted) != c.want {
				t.Errorf("%d evictions", len(w.evicted))
			}
		})
	}
}

func TestFailuresAreWatchedWhileAGrantRecovers(t *testing.T) {
	w := newWorld(t)
	w.Book.Changed = w.GrantsChanged
	w.Book.Put(&grant.Grant{Name: "none", SecretName: "other", Recovery: v1alpha1.RecoveryNone})
	w.Book.Remove("corp")
	w.Book.Put(&grant.Grant{Name: "all", SecretName: "other", Recovery: v1alpha1.RecoveryEvictAll})
	if !slices.Equal(w.watched, []bool{true, false, true}) {
		t.Errorf("watched: %t", w.watched)
	}
}

// What is read after an eviction tells when it was, by the API server's clock.
func TestDeletedAt(t *testing.T) {
	if at := kube.DeletedAt(stuck()); !at.IsZero() {
		t.Errorf("a Pod that stands was deleted at %s", at)
	}
	grace := int64(30)
	ends := metav1.NewTime(noon)
	if at := kube.DeletedAt(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{DeletionTimestamp: &ends, DeletionGracePeriodSeconds: &grace}}); !at.Equal(noon.Add(-30 * time.Second)) {
		t.Errorf("deleted at %s", at)
	}
}
