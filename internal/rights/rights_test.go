package rights

import (
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// What a person is told to add, and to what, fits where the rights are.
func TestRulesFitTheMode(t *testing.T) {
	const verbs = `verbs: [get, list, watch, create, patch, delete]}`
	named, any := `{apiGroups: [""], resources: [secrets], resourceNames: [pull], `+verbs, `{apiGroups: [""], resources: [secrets], `+verbs
	for sentence, c := range map[string]struct {
		mode         Mode
		role, target string
	}{
		"in the whole cluster":               {Mode{}, "a ClusterRole", named},
		"on names in the whole cluster":      {Mode{Names: true}, "a ClusterRole", named},
		"in namespaces, of Secrets by label": {Mode{Namespaces: true}, "a Role in namespace team-a", any},
		"on names in namespaces":             {Mode{Namespaces: true, Names: true}, "a Role in namespace team-a", named},
	} {
		t.Run(sentence, func(t *testing.T) {
			if role, target := c.mode.Role("team-a"), c.mode.Target("pull"); role != c.role || target != c.target {
				t.Errorf("to %s add %s", role, target)
			}
		})
	}
}

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
