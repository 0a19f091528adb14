package target

import (
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/internal/grant"
	"github.com/imagepullsecrets/operator/internal/rights"
)

func TestOutcome(t *testing.T) {
	secrets := corev1.Resource("secrets")
	ending := apierrors.NewForbidden(secrets, "pull", errors.New("unable to create new content in namespace team-a because it is being terminated"))
	ending.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}
	cases := map[string]struct {
		err    error
		state  grant.State
		reason string
		words  string
		retry  bool
	}{
		"no error is no failure":                {nil, grant.Pending, "", "", false},
		"a namespace that ends is no failure":   {ending, grant.Pending, "", "", false},
		"one that is gone is none either":       {apierrors.NewNotFound(corev1.Resource("namespaces"), "team-a"), grant.Pending, "", "", false},
		"a missing right is named":              {apierrors.NewForbidden(secrets, "pull", errors.New(`User "u" cannot patch resource "secrets" in API group ""`)), grant.Failing, v1alpha1.ReasonTargetForbidden, "resourceNames: [pull]", false},
		"a quota is told as it is":              {apierrors.NewForbidden(secrets, "pull", errors.New("exceeded quota")), grant.Failing, v1alpha1.ReasonWriteFailed, "exceeded quota", false},
		"what is invalid is told and not tried": {apierrors.NewInvalid(v1alpha1.GroupVersion.WithKind("Secret").GroupKind(), "pull", nil), grant.Failing, v1alpha1.ReasonWriteFailed, "refuses Secret team-a/pull", false},
		"a server's trouble is tried again":     {apierrors.NewInternalError(errors.New("etcd")), grant.Failing, v1alpha1.ReasonWriteFailed, "it is tried again", true},
		"so is a broken connection":             {errors.New("connection refused"), grant.Failing, v1alpha1.ReasonWriteFailed, "connection refused", true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := (&Controller{}).outcome(key, c.err)
			if got.State != c.state || got.Reason != c.reason || !strings.Contains(got.Message, c.words) || (err != nil) != c.retry {
				t.Errorf("got %+v, retry %v", got, err)
			}
		})
	}
}

// Where rights are in single namespaces, a person is told of the Role there.
func TestAMissingRightInANamespaceIsNamed(t *testing.T) {
	refused := apierrors.NewForbidden(corev1.Resource("secrets"), "pull", errors.New(`User "u" cannot list resource "secrets" in API group "" in the namespace "team-a"`))
	c := New(Deps{Rights: rights.Mode{Namespaces: true}})
	got, _ := c.outcome(key, refused)
	want := "add to a Role in namespace team-a of its ServiceAccount the rule " +
		`{apiGroups: [""], resources: [secrets], verbs: [get, list, watch, create, patch, delete]}`
	if got.Reason != v1alpha1.ReasonTargetForbidden || !strings.Contains(got.Message, want) {
		t.Errorf("got %+v", got)
	}
}
