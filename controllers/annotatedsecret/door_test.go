package annotatedsecret

import (
	"context"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
)

type secrets map[types.NamespacedName]*metav1.PartialObjectMetadata

func (s secrets) Get(_ context.Context, key types.NamespacedName) (*metav1.PartialObjectMetadata, error) {
	if secret := s[key]; secret != nil {
		return secret, nil
	}
	return nil, apierrors.NewNotFound(corev1.Resource("secrets"), key.Name)
}

func (s secrets) Named(_ context.Context, names []string) (all []metav1.PartialObjectMetadata, err error) {
	for _, name := range names {
		for key, secret := range s {
			if key.Name == name {
				all = append(all, *secret)
			}
		}
	}
	return all, nil
}

var pullSecret = types.NamespacedName{Namespace: "team", Name: "pull-secret"}

// newDoor makes a Door of a cluster with one Secret, which asks for identity a.
func newDoor(allowed ...Pair) *Door {
	asking := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Namespace: pullSecret.Namespace, Name: pullSecret.Name, UID: "uid",
		Annotations: map[string]string{v1alpha1.AnnotationChainguardUpdater: " a "},
	}}
	config := Config{
		Names: []string{pullSecret.Name}, Allowed: allowed,
		Account: v1alpha1.ServiceAccountReference{Namespace: "operators", Name: "updater"},
	}
	return New(config, secrets{pullSecret: asking}, events.NewFakeRecorder(1), func(...string) {})
}

// A Secret gets the login of an identity only if a person has allowed just that
// to its namespace.
func TestWhoMayUseWhichIdentity(t *testing.T) {
	cases := map[string]struct {
		allowed []Pair
		want    bool
	}{
		"nobody, if nothing is said":                       {nil, false},
		"the namespace with the identity":                  {[]Pair{{"team", "a"}}, true},
		"the namespace with any":                           {[]Pair{{"team", Any}}, true},
		"any namespace with the identity":                  {[]Pair{{Any, "a"}}, true},
		"any namespace with any":                           {[]Pair{{Any, Any}}, true},
		"not the namespace with another identity":          {[]Pair{{"team", "b"}}, false},
		"not another namespace with the identity":          {[]Pair{{"other", "a"}}, false},
		"not another namespace with any":                   {[]Pair{{"other", Any}}, false},
		"not any namespace with another identity":          {[]Pair{{Any, "b"}}, false},
		"not by halves of two":                             {[]Pair{{"team", "b"}, {"other", "a"}}, false},
		"by the second of two":                             {[]Pair{{"team", "b"}, {"team", "a"}}, true},
		"not a namespace or an identity that begins so":    {[]Pair{{"team-2", "a"}, {"team", "ab"}}, false},
		"not a namespace or an identity that is a part":    {[]Pair{{"te", "a"}, {"team", ""}}, false},
		"a star within a name stands for nothing but that": {[]Pair{{"t*", "a"}, {"team", "a*"}}, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			door := newDoor(c.allowed...)
			order, err := door.Order(t.Context(), "secrets/team/pull-secret")
			if err != nil || order == nil {
				t.Fatal(order, err)
			}
			if allowed := order.Invalid == ""; allowed != c.want {
				t.Errorf("allowed is %t: %q", allowed, order.Invalid)
			}
			if !c.want && !strings.Contains(order.Invalid, `the identity "a" may not be used in namespace team: allow it with --chainguard-allow=team=<identity>`) {
				t.Errorf("it says %q", order.Invalid)
			}
			all, err := door.Orders(t.Context())
			if err != nil || len(all) != 1 || all[0].Invalid != order.Invalid {
				t.Errorf("among all orders it is %+v, %v", all, err)
			}
		})
	}
}

// Whoever asks says whose login he wants, and nothing else: not whose tokens it
// is obtained with, and not where it is put.
func TestAnOrderIsForTheSecretItself(t *testing.T) {
	order, err := newDoor(Pair{Any, Any}).Order(t.Context(), "secrets/team/pull-secret")
	if err != nil {
		t.Fatal(err)
	}
	source := order.Object.Spec.Registry.Credentials[0].Chainguard
	if source.Identity != "a" || source.ServiceAccount != (v1alpha1.ServiceAccountReference{Namespace: "operators", Name: "updater"}) || len(source.Registries) != 0 {
		t.Errorf("the source is %+v", source)
	}
	if !order.InPlace || order.Namespace != "team" || order.Object.Spec.Target.Secret.Name != "pull-secret" || order.Owner != nil || order.Account != nil {
		t.Errorf("the order is %+v", order)
	}
}

func TestASecretThatDoesNotAskHasNoOrder(t *testing.T) {
	silent := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Namespace: "team", Name: "pull-secret", Annotations: map[string]string{v1alpha1.AnnotationChainguardUpdater: " "},
	}}
	going := silent.DeepCopy()
	going.Annotations[v1alpha1.AnnotationChainguardUpdater] = "a"
	going.DeletionTimestamp = new(metav1.Unix(100, 0))
	for name, stands := range map[string]secrets{"none": {}, "one without an identity": {pullSecret: silent}, "one that goes": {pullSecret: going}} {
		door := newDoor(Pair{Any, Any})
		door.secrets = stands
		one, err := door.Order(t.Context(), "secrets/team/pull-secret")
		all, errAll := door.Orders(t.Context())
		if one != nil || err != nil || len(all) != 0 || errAll != nil {
			t.Errorf("%s: %+v, %v; among all %v, %v", name, one, err, all, errAll)
		}
	}
}
