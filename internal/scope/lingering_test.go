package scope

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
	testingclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/internal/grant"
	"github.com/imagepullsecrets/operator/internal/kube"
	"github.com/imagepullsecrets/operator/internal/selector"
)

const grace = 10 * time.Minute

// world is a Scope whose Pods, Secrets and clock a test sets.
type world struct {
	*Scope
	t       *testing.T
	g       *grant.Grant
	pods    cache.Indexer
	clock   *testingclock.FakeClock
	stands  bool
	changes []Change
}

func newWorld(t *testing.T, length time.Duration) *world {
	t.Helper()
	selection, errs := selector.Compile(v1alpha1.TargetConfig{NamespacesWithPods: v1alpha1.PodSelector{
		Labels: []metav1.LabelSelector{{MatchLabels: map[string]string{"pull": "yes"}}},
	}})
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	w := &world{
		t: t, g: &grant.Grant{Name: "corp", SecretName: "pull", Selection: selection},
		pods:  cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc}),
		clock: testingclock.NewFakeClock(time.Unix(0, 0)),
	}
	book := &grant.Book{}
	book.Put(w.g)
	w.Scope = New(Deps{
		Book: book, Grace: length, Clock: w.clock,
		Stands:  func(context.Context, *grant.Grant, string) bool { return w.stands },
		Changed: func(c Change) { w.changes = append(w.changes, c) },
	})
	w.Scope.pods.want("corp", true)
	w.Scope.pods.started(w.pods, func() {})
	return w
}

func (w *world) pod(labels map[string]string) *metav1.PartialObjectMetadata {
	pod := kube.PodMetadata()
	pod.Namespace, pod.Name, pod.Labels = "team", "app", labels
	return pod
}

func (w *world) comes() {
	pod := w.pod(map[string]string{"pull": "yes"})
	_ = w.pods.Add(pod)
	podEvents{w.Scope}.OnAdd(pod, false)
}

func (w *world) leaves() {
	pod := w.pod(map[string]string{"pull": "yes"})
	_ = w.pods.Delete(pod)
	podEvents{w.Scope}.OnDelete(pod)
}

// expect looks whether the namespace is selected, as the controllers do after
// each change.
func (w *world) expect(selected bool) {
	w.t.Helper()
	namespace := kube.NamespaceMetadata()
	namespace.Name = "team"
	got, err := w.Selects(w.t.Context(), w.g, namespace)
	if err != nil || got != selected {
		w.t.Fatalf("selected is %v, want %v; %v", got, selected, err)
	}
	w.stands = got
}

// told returns how many changes were told since the last call.
func (w *world) told() int {
	n := len(w.changes)
	w.changes = nil
	return n
}

func TestANamespaceStaysSelectedForAWhileAfterItsLastPod(t *testing.T) {
	w := newWorld(t, grace)
	w.expect(false)
	w.comes()
	w.expect(true)
	w.leaves()
	if w.told() != 2 {
		t.Fatal("a Pod that comes and one that leaves are told of")
	}
	w.expect(true)
	w.clock.Step(grace - time.Second)
	w.expect(true)
	w.clock.Step(time.Second)
	if w.told() != 1 {
		t.Fatal("the end of the grace period is not told of")
	}
	w.expect(false)
	w.expect(false)
}

func TestAPodThatComesBackEndsTheGracePeriod(t *testing.T) {
	w := newWorld(t, grace)
	w.comes()
	w.expect(true)
	w.leaves()
	w.expect(true)
	w.clock.Step(grace / 2)
	w.told()
	w.comes()
	if w.told() != 0 {
		t.Error("a Pod is told of that changes nothing")
	}
	w.leaves()
	w.expect(true)
	w.clock.Step(grace - time.Second)
	w.expect(true)
	w.clock.Step(time.Second)
	w.expect(false)
}

// When the last Pod left is not known then; what stands counts from the start.
func TestTheGracePeriodBeginsAnewAfterARestart(t *testing.T) {
	w := newWorld(t, grace)
	w.stands = true
	w.expect(true)
	w.clock.Step(grace)
	w.expect(false)
}

func TestWithoutAGracePeriodANamespaceIsLeftAtOnce(t *testing.T) {
	w := newWorld(t, 0)
	w.comes()
	w.expect(true)
	w.leaves()
	w.expect(false)
}

func TestNothingLingersThatIsNotNeededAnyMore(t *testing.T) {
	for sentence, end := range map[string]func(w *world){
		"the grant needs no Pods": func(w *world) { _, _ = w.WatchPods(w.t.Context(), "corp", false) },
		"the namespace is gone": func(w *world) {
			namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "team"}}
			w.NamespaceEvents().Delete(w.t.Context(), event.DeleteEvent{Object: namespace}, nil)
		},
		"the Secret is gone": func(w *world) { w.stands = false; w.expect(false) },
	} {
		t.Run(sentence, func(t *testing.T) {
			w := newWorld(t, grace)
			w.comes()
			w.expect(true)
			w.leaves()
			w.expect(true)
			if len(w.lingering.entries) != 1 {
				t.Fatal("nothing lingers")
			}
			end(w)
			if len(w.lingering.entries) != 0 || w.clock.HasWaiters() {
				t.Error("something lingers")
			}
		})
	}
}

// An informer that lost its watch tells of what went meanwhile by a tombstone,
// with what it knew last, and that may be nothing.
func TestAPodThatWentUnseenIsToldOf(t *testing.T) {
	for sentence, c := range map[string]struct {
		tombstone func(w *world) cache.DeletedFinalStateUnknown
		told      int
	}{
		"one that made a difference": {func(w *world) cache.DeletedFinalStateUnknown {
			return cache.DeletedFinalStateUnknown{Key: "team/app", Obj: w.pod(map[string]string{"pull": "yes"})}
		}, 1},
		"one that did not": {func(w *world) cache.DeletedFinalStateUnknown {
			return cache.DeletedFinalStateUnknown{Key: "team/app", Obj: w.pod(nil)}
		}, 0},
		"one of which nothing is known": {func(*world) cache.DeletedFinalStateUnknown {
			return cache.DeletedFinalStateUnknown{Key: "team/app"}
		}, 0},
	} {
		t.Run(sentence, func(t *testing.T) {
			w := newWorld(t, grace)
			podEvents{w.Scope}.OnDelete(c.tombstone(w))
			if got := w.told(); got != c.told {
				t.Errorf("%d changes are told, want %d", got, c.told)
			}
		})
	}
}
