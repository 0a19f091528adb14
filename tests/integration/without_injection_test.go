package integration

import (
	"slices"
	"testing"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/tests/operator"
)

// Where nothing gives new Pods the name, Secrets are kept all the same, and Pods
// have the name from their ServiceAccount, to which the operator attaches it. One
// that came before that is made anew.
func TestAClusterWithoutInjection(t *testing.T) {
	own := ownCluster(t, withAllRights, operator.WithoutInjection(t, shared.cluster.Config())...)
	if known, err := operator.Injects(own.Config()); err != nil || known {
		t.Fatalf("the cluster can inject: %t, %v", known, err)
	}
	runOperator(t, own)
	m := newTeam(t, func(o *v1alpha1.ImagePullSecret) { o.Spec.Target.Pods = v1alpha1.PodsInject }).ready(t)
	early := m.deploy(t, m.spec())
	if names := listed(early); len(names) > 0 {
		t.Fatalf("a Pod is given %q, by nobody", names)
	}

	update(t, m.imps.Name, func(o *v1alpha1.ImagePullSecret) { o.Spec.Target.ServiceAccounts = accountsNamed("default") })
	expectRecorded(t, m.namespace, "default", "pull")
	if names := listed(m.deploy(t, m.spec())); !slices.Equal(names, []string{"pull"}) {
		t.Errorf("a new Pod has %q of its ServiceAccount", names)
	}
	failPull(t, early, "app")
	if names := listed(expectEvicted(t, early)); !slices.Equal(names, []string{"pull"}) {
		t.Errorf("and the one in place of an early one %q", names)
	}
}
