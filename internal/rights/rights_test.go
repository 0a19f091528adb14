package rights

import (
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

func TestOnlyRBACIsAMissingRight(t *testing.T) {
	secrets := corev1.Resource("secrets")
	cases := map[string]struct {
		err  error
		want bool
	}{
		"a refusal by RBAC": {apierrors.NewForbidden(secrets, "pull", errors.New(`User "u" cannot patch resource "secrets" in API group "" in the namespace "a"`)), true},
		"a quota":           {apierrors.NewForbidden(secrets, "pull", errors.New("exceeded quota: q, requested: secrets=1, used: secrets=1")), false},
		"a webhook":         {apierrors.NewForbidden(secrets, "pull", errors.New(`admission webhook "w" denied the request`)), false},
		"something else":    {errors.New("cannot patch resource \"secrets\""), false},
		"nothing":           {nil, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := Missing(c.err); got != c.want {
				t.Errorf("got %t", got)
			}
		})
	}
	if !strings.Contains(ForTarget("pull"), "create, patch, delete") || strings.Contains(ForSource("s"), "patch") {
		t.Error("the rules are not those that are needed")
	}
}
