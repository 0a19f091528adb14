package cleanup

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
)

func TestTheOwnerDecidesTheFateOfASecret(t *testing.T) {
	for sentence, test := range map[string]struct {
		owners []metav1.OwnerReference
		want   fate
	}{
		"of an ImagePullSecret":                     {[]metav1.OwnerReference{{Kind: "ImagePullSecret", UID: "1"}}, collected},
		"of a ServiceAccount":                       {[]metav1.OwnerReference{{Kind: "ServiceAccount", UID: "1"}}, deleted},
		"of nobody":                                 {nil, retained},
		"of another ServiceAccount than it is for":  {[]metav1.OwnerReference{{Kind: "ServiceAccount", UID: "2"}}, retained},
		"of a ServiceAccount, and of somebody else": {[]metav1.OwnerReference{{Kind: "Deployment", UID: "2"}, {Kind: "ServiceAccount", UID: "1"}}, deleted},
	} {
		secret := metav1.ObjectMeta{Labels: map[string]string{v1alpha1.LabelOwnerUID: "1"}, OwnerReferences: test.owners}
		if got := fateOf(secret); got != test.want {
			t.Errorf("%s: got %d, want %d", sentence, got, test.want)
		}
	}
}

func TestALeaseIsHeldUntilItIsGivenUpOrRunsOut(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for sentence, test := range map[string]struct {
		holder *string
		age    time.Duration
		want   bool
	}{
		"renewed just now": {ptr.To("a"), time.Second, true},
		"run out":          {ptr.To("a"), 16 * time.Second, false},
		"given up":         {ptr.To(""), time.Second, false},
		"of nobody":        {nil, time.Second, false},
	} {
		renewed := metav1.NewMicroTime(now.Add(-test.age))
		lease := &coordinationv1.Lease{Spec: coordinationv1.LeaseSpec{HolderIdentity: test.holder, RenewTime: &renewed, LeaseDurationSeconds: ptr.To[int32](15)}}
		if got := held(lease, now); got != test.want {
			t.Errorf("%s: got %t", sentence, got)
		}
	}
}

// A message names ten things and counts the others, so that the end of a log
// can be read.
func TestWhatIsLeftIsNamed(t *testing.T) {
	var left []string
	for i := range 12 {
		left = append(left, fmt.Sprintf("thing %d", i))
	}
	late, last := errors.New("too late"), errors.New("no answer")
	text := unfinished("things", left, last, late).Error()
	for _, want := range []string{"things: too late, and 12 are left: thing 0; ", "thing 9; and 2 more", "the last failure: no answer"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in: %s", want, text)
		}
	}
	if strings.Contains(text, "thing 10") {
		t.Errorf("too much is named: %s", text)
	}
}

func TestWhyAnObjectIsStillThereIsTold(t *testing.T) {
	going := metav1.Now()
	for want, object := range map[string]metav1.ObjectMeta{
		"ImagePullSecret a, which was made anew":                                       {Name: "a"},
		"ImagePullSecret a, which is being deleted":                                    {Name: "a", DeletionTimestamp: &going},
		"ImagePullSecret a, which waits for whoever set the finalizers x.io/1, y.io/2": {Name: "a", DeletionTimestamp: &going, Finalizers: []string{"x.io/1", "y.io/2"}},
	} {
		if got := waitingObject(object); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// What the API server goes on refusing is told soon; anything else is tried again.
func TestARefusalEndsAStep(t *testing.T) {
	refused := apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, "pull", errors.New("no rule"))
	tries := 0
	err := New(Deps{}).finish(t.Context(), step{"Secrets", func(context.Context) ([]string, error) {
		if tries++; tries == 2 {
			return nil, errors.New("no answer")
		}
		return []string{"Secret a"}, refused
	}})
	if !apierrors.IsForbidden(err) || tries != 2+lastRefusal || !strings.HasPrefix(err.Error(), "Secrets: ") {
		t.Errorf("after %d tries: %v", tries, err)
	}
}

func TestAStepThatIsNotDoneInTimeTellsWhatIsLeft(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	err := New(Deps{}).finish(ctx, step{"Secrets", func(context.Context) ([]string, error) {
		cancel(errors.New("not done in 1s"))
		return []string{"Secret a/b, which waits"}, nil
	}})
	if want := "Secrets: not done in 1s, and 1 are left: Secret a/b, which waits"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
