package annotatedaccount

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/events"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
)

var soon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

type accounts map[types.NamespacedName]*corev1.ServiceAccount

func (a accounts) Account(key types.NamespacedName) *corev1.ServiceAccount { return a[key] }

func (a accounts) Watch(context.Context) error { return nil }

func (a accounts) Accounts() ([]*corev1.ServiceAccount, bool) {
	var all []*corev1.ServiceAccount
	for _, account := range a {
		all = append(all, account)
	}
	return all, true
}

type secrets map[types.NamespacedName]*metav1.PartialObjectMetadata

func (s secrets) Get(_ context.Context, key types.NamespacedName) (*metav1.PartialObjectMetadata, error) {
	if secret := s[key]; secret != nil {
		return secret, nil
	}
	return nil, apierrors.NewNotFound(corev1.Resource("secrets"), key.Name)
}

// world is a Door, what it reads and what it tells.
type world struct {
	*Door
	t       *testing.T
	account *corev1.ServiceAccount
	events  *events.FakeRecorder
	woken   []string
}

var appKey = types.NamespacedName{Namespace: "team", Name: "app"}

func newWorld(t *testing.T, stands secrets, annotations map[string]string) *world {
	w := &world{t: t, account: annotated("app", annotations), events: events.NewFakeRecorder(100)}
	w.Door = New(accounts{appKey: w.account}, stands, w.events, func(names ...string) { w.woken = append(w.woken, names...) })
	return w
}

// report tells of the order of an index: whether it is ready, and until when its
// login is good.
func (w *world) report(index int, ready metav1.ConditionStatus, message string, expires time.Time) {
	w.t.Helper()
	o, err := w.Order(w.t.Context(), nameOf(appKey, index))
	if err != nil || o == nil {
		w.t.Fatalf("order %v, %v", o, err)
	}
	status := v1alpha1.ImagePullSecretStatus{}
	meta.SetStatusCondition(&status.Conditions, metav1.Condition{Type: v1alpha1.ConditionReady, Status: ready, Reason: "R", Message: message})
	if !expires.IsZero() {
		status.ExpiresAt = &metav1.Time{Time: expires}
	}
	if err := w.Report(w.t.Context(), o, status); err != nil {
		w.t.Fatal(err)
	}
}

// expect wants just these events since the last call, each by a part of it.
func (w *world) expect(parts ...string) {
	w.t.Helper()
	for _, part := range parts {
		select {
		case event := <-w.events.Events:
			if !strings.Contains(event, part) {
				w.t.Errorf("event %q, want %q in it", event, part)
			}
		default:
			w.t.Errorf("no event with %q", part)
		}
	}
	select {
	case event := <-w.events.Events:
		w.t.Errorf("unwanted event %q", event)
	default:
	}
}

func twoRoles() map[string]string {
	return map[string]string{"registry": ecrRegistry, "aws-role-arn": role + "," + role + "2"}
}

func TestEachNewLoginIsToldOnce(t *testing.T) {
	w := newWorld(t, nil, twoRoles())
	w.report(0, metav1.ConditionTrue, "", soon)
	w.expect("Normal ProvisionedImagePullSecret Secret imagepullsecret-app stands, with a login until 2026-11-21T12:00:00Z")
	w.report(0, metav1.ConditionTrue, "", soon)
	w.expect()
	w.report(0, metav1.ConditionTrue, "", soon.Add(time.Hour))
	w.expect("until 2026-11-21T13:00:00Z")
	w.report(1, metav1.ConditionFalse, "the role does not trust", time.Time{})
	w.expect("Warning FailedProvisioningImagePullSecret Secret imagepullsecret-app-1: the role does not trust")
	w.report(1, metav1.ConditionFalse, "the role does not trust", time.Time{})
	w.expect()
}

// What stands from an earlier process is not told again.
func TestARestartTellsNothingAgain(t *testing.T) {
	stood := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Labels:      map[string]string{v1alpha1.LabelOwnerUID: "uid"},
		Annotations: map[string]string{v1alpha1.AnnotationExpiresAt: soon.Format(time.RFC3339)},
	}}
	w := newWorld(t, secrets{{Namespace: "team", Name: "imagepullsecret-app"}: stood}, twoRoles())
	w.report(0, metav1.ConditionTrue, "", soon)
	w.expect()
	w.report(0, metav1.ConditionTrue, "", soon.Add(time.Hour))
	w.expect("ProvisionedImagePullSecret")
}

func TestWhatIsNotAskedForAnyMoreIsTold(t *testing.T) {
	w := newWorld(t, nil, twoRoles())
	w.report(0, metav1.ConditionTrue, "", soon)
	w.report(1, metav1.ConditionTrue, "", soon)
	w.expect("imagepullsecret-app ", "imagepullsecret-app-1 ")

	before := w.account.DeepCopy()
	w.account.Annotations[v1alpha1.AnnotationAWSRoleARN] = role
	w.OnUpdate(before, w.account)
	if want := []string{nameOf(appKey, 0), nameOf(appKey, 1)}; !slices.Equal(w.woken, want) {
		t.Errorf("woken are %v, want %v", w.woken, want)
	}
	if o, err := w.Order(t.Context(), nameOf(appKey, 1)); o != nil || err != nil {
		t.Errorf("the second order is %v, %v", o, err)
	}
	w.expect("Normal DecommissionedImagePullSecret Secret imagepullsecret-app-1 ")

	w.account.Annotations = nil
	if o, _ := w.Order(t.Context(), nameOf(appKey, 0)); o == nil || !o.Withdrawn || o.Object.UID != "uid" {
		t.Errorf("the first order is %+v, want a withdrawn one", o)
	}
	w.expect("DecommissionedImagePullSecret Secret imagepullsecret-app ")
}

func TestOnlyItsOwnAnnotationsBringAServiceAccount(t *testing.T) {
	w := newWorld(t, nil, twoRoles())
	after := w.account.DeepCopy()
	after.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "x"}}
	w.OnUpdate(w.account, after)
	if len(w.woken) != 0 {
		t.Errorf("woken are %v", w.woken)
	}
	anew := after.DeepCopy()
	anew.UID = "another"
	w.OnUpdate(after, anew)
	if len(w.woken) != 2 {
		t.Errorf("one of the same name that was made anew: woken are %v", w.woken)
	}
}

// An informer that lost its watch tells of what went meanwhile by a tombstone,
// with what it knew last, and that may be nothing.
func TestAServiceAccountThatWentUnseenBringsItsOrders(t *testing.T) {
	gone := annotated("app", twoRoles())
	both := []string{nameOf(appKey, 0), nameOf(appKey, 1)}
	for sentence, c := range map[string]struct {
		told  any
		woken []string
	}{
		"it went before our eyes":        {gone, both},
		"it went unseen":                 {toolscache.DeletedFinalStateUnknown{Key: "team/app", Obj: gone}, both},
		"nothing is known of it":         {toolscache.DeletedFinalStateUnknown{Key: "team/app"}, nil},
		"what is known is of other kind": {toolscache.DeletedFinalStateUnknown{Key: "team/app", Obj: &corev1.Pod{}}, nil},
	} {
		t.Run(sentence, func(t *testing.T) {
			w := newWorld(t, nil, nil)
			w.OnDelete(c.told)
			if !slices.Equal(w.woken, c.woken) {
				t.Errorf("woken are %v, want %v", w.woken, c.woken)
			}
		})
	}
}

// A tenant's order stays in his namespace and acts as nobody but himself.
func TestAnOrderStaysAtHome(t *testing.T) {
	w := newWorld(t, nil, map[string]string{"registry": ecrRegistry, "aws-role-arn": role})
	orders, err := w.Orders(t.Context())
	if err != nil || len(orders) != 1 {
		t.Fatal(orders, err)
	}
	o := orders[0]
	if o.Namespace != "team" || o.Account != w.account || o.Owner.UID != "uid" || !*o.Owner.Controller {
		t.Errorf("order is %+v", o)
	}
	if account := o.Object.Spec.Registry.Credentials[0].Account(); account.Namespace != "team" || account.Name != "app" {
		t.Errorf("tokens are those of %+v", account)
	}
	spec := o.Object.Spec
	if same, _ := w.Order(t.Context(), o.Name()); same.Object.Generation != o.Object.Generation {
		t.Error("the same spec has another generation")
	}
	w.account.Annotations[v1alpha1.AnnotationAccountAudience] = "other"
	changed, _ := w.Order(t.Context(), o.Name())
	if changed.Object.Generation == o.Object.Generation || changed.Object.Generation < 0 {
		t.Errorf("another spec has generation %d; it was %d for %+v", changed.Object.Generation, o.Object.Generation, spec)
	}
}

func TestAnnotationsThatMeanNothingAreTold(t *testing.T) {
	w := newWorld(t, nil, map[string]string{"registry": ecrRegistry})
	w.OnAdd(w.account, false)
	w.expect("Warning FailedProvisioningImagePullSecret annotation imagepullsecrets.preferred.jp/registry")
	if len(w.woken) != 0 {
		t.Errorf("woken are %v", w.woken)
	}
}
