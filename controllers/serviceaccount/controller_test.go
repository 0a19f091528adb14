package serviceaccount

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/internal/grant"
	"github.com/imagepullsecrets/operator/internal/metrics"
	"github.com/imagepullsecrets/operator/internal/rights"
	"github.com/imagepullsecrets/operator/internal/selector"
)

// world is an API server with one ServiceAccount, which a cache shows as it was
// when it was synced last.
type world struct {
	*Controller
	clock  *clocktesting.FakePassiveClock
	events *events.FakeRecorder
	cached toolscache.Indexer

	account *corev1.ServiceAccount // nil for none
	version int
	writes  int
	reads   int
	refuse  error // of each write
	// race is what another writer does between each read and our write.
	race func()
	// gone: the namespace is.
	gone bool
	// kept: the Secrets of all grants stand.
	kept bool
	// unreadable: the Secrets of the namespace are.
	unreadable bool
}

func newWorld(t *testing.T, grants ...*grant.Grant) *world {
	t.Helper()
	w := &world{clock: clocktesting.NewFakePassiveClock(start), events: events.NewFakeRecorder(10), version: 100}
	w.Controller = New(Deps{
		Book: &grant.Book{}, Prime: func(context.Context) error { return nil },
		Board: grant.NewBoard(func(string) {}), Scope: w, Secrets: secrets{w}, Writer: writer{w},
		Recorder: w.events, Metrics: metrics.New(prometheus.NewRegistry()), Clock: w.clock, ResyncInterval: time.Hour,
	})
	for _, g := range grants {
		w.Book.Put(g)
	}
	w.cached = toolscache.NewIndexer(toolscache.MetaNamespaceKeyFunc, toolscache.Indexers{
		toolscache.NamespaceIndex: toolscache.MetaNamespaceIndexFunc, byRecord: indexByRecord,
	})
	w.accounts.index = w.cached
	w.put("foreign")
	w.sync()
	return w
}

// put is a write of someone else.
func (w *world) put(secrets ...string) {
	w.version++
	w.account = &corev1.ServiceAccount{
		ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name, ResourceVersion: fmt.Sprint(w.version)},
	}
	w.account.ImagePullSecrets = refs(secrets...)
}

// sync has the cache show what is.
func (w *world) sync() {
	if w.account == nil {
		_ = w.cached.Replace(nil, "")
		return
	}
	_ = w.cached.Replace([]any{w.account.DeepCopy()}, "")
}

func (w *world) reconcile(t *testing.T) time.Duration {
	t.Helper()
	result, err := w.Reconcile(t.Context(), reconcile.Request{NamespacedName: key})
	if err != nil {
		t.Fatal(err)
	}
	return result.RequeueAfter
}

// Namespace, Selected and Selects are a Scope where every grant selects the
// namespace.
func (w *world) Namespace(_ context.Context, name string) (*metav1.PartialObjectMetadata, error) {
	if w.gone {
		return nil, nil
	}
	return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: name}}, nil
}

func (w *world) Selected(context.Context, *grant.Grant) ([]string, error) {
	return []string{key.Namespace}, nil
}

func (w *world) Selects(context.Context, *grant.Grant, *metav1.PartialObjectMetadata) (bool, error) {
	return true, nil
}

type writer struct{ *world }

func (w writer) Get(context.Context, types.NamespacedName) (*corev1.ServiceAccount, error) {
	w.reads++
	if w.account == nil {
		return nil, apierrors.NewNotFound(corev1.Resource("serviceaccounts"), key.Name)
	}
	return w.account.DeepCopy(), nil
}

func (w writer) Attach(_ context.Context, _ types.NamespacedName, version string, secrets []corev1.LocalObjectReference, attached string) (string, error) {
	w.writes++
	if w.race != nil {
		w.race()
	}
	switch {
	case w.refuse != nil:
		return "", w.refuse
	case w.account == nil:
		return "", apierrors.NewNotFound(corev1.Resource("serviceaccounts"), key.Name)
	case w.account.ResourceVersion != version:
		return "", apierrors.NewConflict(corev1.Resource("serviceaccounts"), key.Name, errors.New("it has changed"))
	}
	w.put()
	w.account.ImagePullSecrets, w.account.Annotations = secrets, map[string]string{v1alpha1.AnnotationAttached: attached}
	return w.account.ResourceVersion, nil
}

type secrets struct{ *world }

func (s secrets) Stands(context.Context, *grant.Grant, string) bool { return s.kept }

func (s secrets) Get(_ context.Context, key types.NamespacedName) (*metav1.PartialObjectMetadata, error) {
	if s.unreadable {
		return nil, apierrors.NewForbidden(corev1.Resource("secrets"), key.Name, nil)
	}
	return nil, apierrors.NewNotFound(corev1.Resource("secrets"), key.Name)
}

// attaching is a grant that attaches "pull" to every ServiceAccount.
func attaching(t *testing.T) *grant.Grant {
	t.Helper()
	accounts, errs := selector.CompileAccounts(v1alpha1.ServiceAccountSelector{Names: []string{"*"}})
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	return &grant.Grant{Name: "corp", UID: "uid", SecretName: "pull", Accounts: accounts}
}

func (w *world) expect(t *testing.T, want string, state grant.Summary) {
	t.Helper()
	if got := namesOf(w.account.ImagePullSecrets); got != want {
		t.Errorf("imagePullSecrets are %q, want %q", got, want)
	}
	if got := w.Board.Summary("corp", ""); got.Selected != state.Selected || got.Ready != state.Ready || got.Failing != state.Failing {
		t.Errorf("the board has %+v, want %+v", got, state)
	}
}

// An earlier system attached the Secret: its entry is taken over with the Secret.
func TestAnEntryIsInheritedWithItsSecret(t *testing.T) {
	g := attaching(t)
	g.InheritsEntries = true
	w := newWorld(t, g)
	w.put("foreign", "pull")
	w.sync()
	if again := w.reconcile(t); again < takeOver/2 || again > takeOver || w.writes > 0 {
		t.Errorf("before the Secret is: looked at again after %s, %d writes", again, w.writes)
	}
	w.kept = true
	for range 2 {
		if again := w.reconcile(t); again != 0 || w.writes != 1 {
			t.Errorf("afterwards: looked at again after %s, %d writes", again, w.writes)
		}
		w.sync()
	}
	w.expect(t, "foreign pull", grant.Summary{Selected: 1, Ready: 1})
	w.Book.Remove(g.Name)
	w.reconcile(t)
	if got := namesOf(w.account.ImagePullSecrets); got != "foreign" {
		t.Errorf("without the grant imagePullSecrets are %q", got)
	}
}

// A Secret that can't be looked at may be one that is retained.
func TestANameIsLeftWhileItsSecretMayNotBeRead(t *testing.T) {
	w := newWorld(t)
	w.put("pull")
	w.account.Annotations = map[string]string{v1alpha1.AnnotationAttached: "pull"}
	w.sync()
	w.unreadable = true
	if again := w.reconcile(t); again == 0 || again > revisit {
		t.Errorf("looked at again after %s", again)
	}
	w.expect(t, "pull", grant.Summary{})
	w.unreadable = false
	w.reconcile(t)
	w.expect(t, "", grant.Summary{})
}

// Another instance, which is for other names, keeps its record in the same place.
func TestNamesThatAreNotOursToKeepAreLeftOnRecord(t *testing.T) {
	w := newWorld(t, attaching(t))
	w.TargetNames = []string{"pull"}
	w.put("theirs")
	w.account.Annotations = map[string]string{v1alpha1.AnnotationAttached: "theirs"}
	w.sync()
	w.reconcile(t)
	w.expect(t, "theirs pull", grant.Summary{Selected: 1, Ready: 1})
	if got := w.account.Annotations[v1alpha1.AnnotationAttached]; got != "pull,theirs" {
		t.Errorf("on record are %q", got)
	}
}

func TestAConflictIsReadAndDecidedAnew(t *testing.T) {
	w := newWorld(t, attaching(t))
	once := true
	w.race = func() {
		if once {
			w.put("foreign", "raced")
		}
		once = false
	}
	if again := w.reconcile(t); again != 0 {
		t.Errorf("it is looked at again after %s", again)
	}
	w.expect(t, "foreign raced pull", grant.Summary{Selected: 1, Ready: 1})
	if w.writes != 2 || w.reads != 1 {
		t.Errorf("%d writes and %d reads", w.writes, w.reads)
	}
}

func TestAWriterThatIsAlwaysFasterIsNotRacedForEver(t *testing.T) {
	w := newWorld(t, attaching(t))
	w.race = func() { w.put("foreign") }
	if again := w.reconcile(t); again < afterRace*4/5 || again > afterRace {
		t.Errorf("it is tried again after %s", again)
	}
	if w.writes != attempts {
		t.Errorf("%d attempts, want %d", w.writes, attempts)
	}
}

// The cache shows our own write a little later; until then it is not believed.
func TestACacheThatIsBehindCausesNoWrite(t *testing.T) {
	w := newWorld(t, attaching(t))
	for range 3 {
		w.reconcile(t)
	}
	w.sync()
	w.reconcile(t)
	w.expect(t, "foreign pull", grant.Summary{Selected: 1, Ready: 1})
	if w.writes != 1 || w.reads != 2 {
		t.Errorf("%d writes and %d reads, want one write and a read while the cache was behind", w.writes, w.reads)
	}
}

func TestAContestedNameIsToldOfAndPutBackLater(t *testing.T) {
	w := newWorld(t, attaching(t))
	takeAway := func() {
		w.put("foreign")
		w.sync()
	}
	w.reconcile(t)
	takeAway()
	w.reconcile(t)
	w.expect(t, "foreign pull", grant.Summary{Selected: 1, Ready: 1})
	takeAway()
	if again := w.reconcile(t); again != firstWait {
		t.Errorf("it is looked at again after %s", again)
	}
	w.expect(t, "foreign", grant.Summary{Selected: 1, Failing: 1})
	select {
	case told := <-w.events.Events:
		if !strings.Contains(told, "Warning "+v1alpha1.ReasonAttachmentContested) || !strings.Contains(told, key.String()) {
			t.Errorf("the event is %q", told)
		}
	default:
		t.Error("there is no event")
	}
	w.clock.SetTime(start.Add(firstWait))
	w.reconcile(t)
	w.expect(t, "foreign pull", grant.Summary{Selected: 1, Ready: 1})
}

func TestWhatAFailureMeans(t *testing.T) {
	forbidden := func(message string) error {
		return apierrors.NewForbidden(corev1.Resource("serviceaccounts"), key.Name, errors.New(message))
	}
	terminating := apierrors.NewForbidden(corev1.Resource("serviceaccounts"), key.Name, errors.New("terminating"))
	terminating.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}
	cases := map[string]struct {
		err    error
		state  grant.State
		reason string
		words  string
		again  bool // as an error
	}{
		"it went well":                  {nil, grant.Held, "", "", false},
		"it is gone":                    {apierrors.NewNotFound(corev1.Resource("serviceaccounts"), key.Name), grant.Pending, "", "", false},
		"its namespace is going":        {terminating, grant.Pending, "", "", false},
		"a right is missing":            {forbidden(`cannot patch resource "serviceaccounts" in API group ""`), grant.Failing, v1alpha1.ReasonAttachForbidden, "add to a ClusterRole of its ServiceAccount the rule " + rights.ForAttaching, false},
		"an admission policy says no":   {forbidden("denied by policy"), grant.Failing, v1alpha1.ReasonWriteFailed, "denied by policy", false},
		"the API server is in trouble":  {apierrors.NewInternalError(errors.New("etcd")), grant.Failing, v1alpha1.ReasonWriteFailed, "tried again", true},
		"something is wrong on the way": {errors.New("connection refused"), grant.Failing, v1alpha1.ReasonWriteFailed, "tried again", true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := failureOf(rights.Mode{}, key, c.err)
			if got.State != c.state || got.Reason != c.reason || !strings.Contains(got.Message, c.words) || (err != nil) != c.again {
				t.Errorf("got %+v and the error %v", got, err)
			}
		})
	}
}

func TestAForbiddenWriteIsToldAndTriedLater(t *testing.T) {
	w := newWorld(t, attaching(t))
	w.refuse = apierrors.NewForbidden(corev1.Resource("serviceaccounts"), key.Name, errors.New(`cannot patch resource "serviceaccounts" in API group ""`))
	if again := w.reconcile(t); again < revisit*4/5 || again > revisit {
		t.Errorf("it is looked at again after %s", again)
	}
	w.expect(t, "foreign", grant.Summary{Selected: 1, Failing: 1})
	w.refuse = nil
	w.reconcile(t)
	w.expect(t, "foreign pull", grant.Summary{Selected: 1, Ready: 1})
}

func TestWhatIsGoneDoesNotCount(t *testing.T) {
	for name, leave := range map[string]func(*world){
		"the ServiceAccount is gone":  func(w *world) { w.account = nil; w.sync() },
		"the ServiceAccount is going": func(w *world) { w.account.DeletionTimestamp = &metav1.Time{Time: start}; w.sync() },
		"it went between read and write": func(w *world) {
			w.put("foreign")
			w.sync()
			w.race = func() { w.put("x"); w.account.DeletionTimestamp = &metav1.Time{Time: start} }
		},
		"the namespace is going": func(w *world) { w.gone = true },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, attaching(t))
			w.reconcile(t)
			leave(w)
			w.reconcile(t)
			if got := w.Board.Summary("corp", ""); got.Selected != 0 {
				t.Errorf("the board has %+v", got)
			}
		})
	}
}

// An informer that lost its watch tells of what went meanwhile by a tombstone,
// with what it knew last, and that may be nothing.
func TestAServiceAccountThatWentUnseenIsLookedAt(t *testing.T) {
	gone := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
	for sentence, c := range map[string]struct {
		told    any
		waiting int
	}{
		"it went before our eyes":        {gone, 1},
		"it went unseen":                 {toolscache.DeletedFinalStateUnknown{Key: key.String(), Obj: gone}, 1},
		"nothing is known of it":         {toolscache.DeletedFinalStateUnknown{Key: key.String()}, 0},
		"what is known is of other kind": {toolscache.DeletedFinalStateUnknown{Key: key.String(), Obj: &corev1.Pod{}}, 0},
	} {
		t.Run(sentence, func(t *testing.T) {
			w := newWorld(t, attaching(t))
			accountEvents{w.Controller}.OnDelete(c.told)
			if got := w.Waiting(); got != c.waiting {
				t.Errorf("%d wait, want %d", got, c.waiting)
			}
		})
	}
}

func TestNothingIsDoneBeforeAllGrantsAreKnown(t *testing.T) {
	w := newWorld(t)
	w.account.Annotations = map[string]string{v1alpha1.AnnotationAttached: "foreign"}
	w.sync()
	w.Prime = func(context.Context) error { return errors.New("not yet") }
	if _, err := w.Reconcile(t.Context(), reconcile.Request{NamespacedName: key}); err == nil || w.writes > 0 {
		t.Errorf("%d writes, error %v", w.writes, err)
	}
	w.Prime = func(context.Context) error { return nil }
	w.reconcile(t)
	if got := namesOf(w.account.ImagePullSecrets); got != "" {
		t.Errorf("imagePullSecrets are %q", got)
	}
}

func TestAGrantIsPendingWhereverItIsBrought(t *testing.T) {
	g := attaching(t)
	w := newWorld(t, g)
	bring := func(change func(*grant.Grant)) {
		t.Helper()
		changed := *g
		change(&changed)
		w.Book.Put(&changed)
		if err := w.Bring(t.Context(), &changed); err != nil {
			t.Fatal(err)
		}
	}
	same := func(*grant.Grant) {}
	bring(same)
	w.expect(t, "foreign", grant.Summary{Selected: 1})
	w.reconcile(t)
	w.sync()
	bring(same)
	bring(func(g *grant.Grant) { g.Generation = 2 })
	w.expect(t, "foreign pull", grant.Summary{Selected: 1, Ready: 1})
	bring(func(g *grant.Grant) { g.SecretName = "other" })
	w.expect(t, "foreign pull", grant.Summary{Selected: 1})
	w.reconcile(t)
	w.expect(t, "foreign other", grant.Summary{Selected: 1, Ready: 1})
	bring(func(g *grant.Grant) { g.Generation, g.SecretName, g.Accounts = 3, "other", selector.Accounts{} })
	w.expect(t, "foreign other", grant.Summary{})
}

func TestWhatIsNewsAboutAServiceAccount(t *testing.T) {
	labelled := func(a *corev1.ServiceAccount) { a.Labels = map[string]string{"a": "b"} }
	cases := map[string]struct {
		grants []*grant.Grant
		change func(*corev1.ServiceAccount)
		want   int
	}{
		"someone else's write":               {[]*grant.Grant{attaching(t)}, labelled, 1},
		"our own write is none":              {[]*grant.Grant{attaching(t)}, func(a *corev1.ServiceAccount) { a.ResourceVersion = "500" }, 0},
		"a relist is none":                   {[]*grant.Grant{attaching(t)}, func(a *corev1.ServiceAccount) { a.ResourceVersion = "101" }, 0},
		"what no grant selects is none":      {nil, labelled, 0},
		"unless a name of ours stands there": {nil, func(a *corev1.ServiceAccount) { a.Annotations = map[string]string{v1alpha1.AnnotationAttached: "x"} }, 1},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, c.grants...)
			q := priorityqueue.New[reconcile.Request]("test")
			defer q.ShutDown()
			if err := w.Take(t.Context(), q); err != nil {
				t.Fatal(err)
			}
			w.memory.wrote(key, "", "500", plan{}, start)
			before, after := w.account.DeepCopy(), w.account.DeepCopy()
			after.ResourceVersion = "501"
			c.change(after)
			accountEvents{w.Controller}.OnUpdate(before, after)
			if got := q.Len(); got != c.want {
				t.Errorf("%d are looked at, want %d", got, c.want)
			}
		})
	}
}
