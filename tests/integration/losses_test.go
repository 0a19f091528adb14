package integration

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/tests/cluster"
	"github.com/imagepullsecrets/operator/tests/operator"
)

func TestLossesAreSurvived(t *testing.T) {
	own := ownCluster(t, withAllRights)
	t.Run("that of the API server", func(t *testing.T) { loseAPIServer(t, own) })
	t.Run("that of the leader", func(t *testing.T) { loseLeaders(t, own) })
}

// loseAPIServer takes the API server away from a running operator. What changes
// once it is back is seen, though the watches were lost, and what does not is
// not written. Nothing starts the operator again: it is the same process.
func loseAPIServer(t *testing.T, own *cluster.Cluster) {
	process := runOperator(t, own, "--pod-selector-grace=1s")
	home, label := namespace(t), unique("label")
	stays, leaves, goes, workload := namespace(t, label, "yes"), namespace(t, label, "yes"), namespace(t, label, "yes"), namespace(t)
	app := pod(t, workload, metav1.ObjectMeta{Labels: map[string]string{label: "yes"}})
	gone, kept := account(t, stays, nil), account(t, stays, nil)
	made := newObject("pull", label, staticSource(t, home, registry))
	made.Spec.Target.NamespacesWithPods.Labels = []metav1.LabelSelector{{MatchLabels: map[string]string{label: "yes"}}}
	made.Spec.Target.ServiceAccounts = accountsNamed(gone.Name, kept.Name)
	create(t, made)
	expectReady(t, made.Name, 4)
	expectAccounts(t, made.Name, v1alpha1.ServiceAccountCounts{Selected: 2, Attached: 2})
	stood := expectSecret(t, stays, "pull", registry)
	shared.cloud.SetTokenLifetime(8 * time.Second) // renewals want to write
	t.Cleanup(func() { shared.cloud.SetTokenLifetime(12 * time.Hour) })
	login := newECRAccount(t)
	object(t, "short-lived", label, source(t, home, v1alpha1.SecretTypeECR, login.data()))
	expectSecret(t, stays, "short-lived", login.host())

	if err := own.StopAPIServer(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the operator misses the API server", func() error {
		if metric(t, process, "imagepullsecret_lease_save_failures_total") == 0 {
			return errors.New("every lease was saved")
		}
		return nil
	})
	if err := own.StartAPIServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := outputs.record(context.Background(), own); err != nil { // its watches were lost, too
		t.Fatal(err)
	}
	relabel(t, leaves, label, "no")
	remove(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: goes}})
	remove(t, app)
	remove(t, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: gone.Namespace, Name: gone.Name}})
	comes := namespace(t, label, "yes")

	expectSecret(t, comes, "pull", registry)
	expectNoSecret(t, leaves, "pull")
	expectNoSecret(t, workload, "pull")
	expectReady(t, made.Name, 2)
	expectAccounts(t, made.Name, v1alpha1.ServiceAccountCounts{Selected: 1, Attached: 1})
	expectUntouched(t, stood)
	expectAttached(t, kept, "pull", "pull")
	expectPull(t, comes, "short-lived", login.host())
	if err := process.Stop(); err != nil {
		t.Errorf("the operator did not run to its end: %v", err)
	}
}

// loseLeaders runs three operators that let one of them do the work: another one
// goes on when that one dies, and at once when it ends well. Those that wait
// are ready, or no Deployment of them could be updated; that they watch their
// Secrets by name must not change that.
func loseLeaders(t *testing.T, own *cluster.Cluster) {
	home, label := namespace(t), unique("label")
	object(t, "pull", label, staticSource(t, home, registry))
	arguments := []string{"--leader-elect", "--target-secret-names=pull"}
	serve := func() {
		t.Helper()
		selected := namespace(t, label, "yes")
		eventuallyLong(t, "the Secret in a new namespace", func() error {
			_, err := secretIn(t, selected, "pull")
			return err
		})
	}

	first := runOperator(t, own, arguments...)
	serve()
	second := runOperator(t, own, arguments...)
	for range 5 {
		serve()
	}
	expectIdle(t, second)
	first.Kill()
	serve()
	leader := holder(t)

	third := runOperator(t, own, arguments...)
	serve()
	expectIdle(t, third)
	if err := second.Stop(); err != nil {
		t.Fatal(err)
	}
	if left := holder(t); left == leader {
		t.Error("the leader left and did not give up its lease")
	}
	serve()
	// It counts a write once the API server has answered, which may be after the
	// Secret was seen.
	eventually(t, "the third one serves", func() error {
		if metric(t, third, `imagepullsecret_target_writes_total{operation="apply",result="success"}`) == 0 {
			return errors.New("it counts no write")
		}
		return nil
	})
}

// expectIdle waits until an operator competes for the lease, and checks that it
// writes nothing and knows of no object.
func expectIdle(t *testing.T, process *operator.Process) {
	t.Helper()
	eventually(t, "an operator competes for the lease", func() error {
		if !strings.Contains(strings.ToLower(process.Log()), "attempting to acquire leader lease") {
			return errors.New("it does not say so")
		}
		return nil
	})
	metrics, err := process.Metrics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, series := range []string{"imagepullsecret_target_writes_total{", "imagepullsecret_targets{"} {
		if strings.Contains(metrics, series) {
			t.Errorf("an operator that waits has %s...}", series)
		}
	}
}

// holder is who leads, "" for nobody.
func holder(t *testing.T) string {
	t.Helper()
	lease := &coordinationv1.Lease{}
	if err := shared.api.Get(t.Context(), client.ObjectKey{Namespace: operator.Namespace, Name: v1alpha1.FieldManager}, lease); err != nil {
		t.Fatal(err)
	}
	return ptr.Deref(lease.Spec.HolderIdentity, "")
}
