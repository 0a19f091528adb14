//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"maps"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
)

// The last release is upgraded to this one, rolled back, removed and installed
// anew. Objects and Secrets stay as they are all the time, and images are pulled
// in new namespaces at the first attempt whenever an operator runs.
func TestHelmUpgradesRollsBackAndComesBack(t *testing.T) {
	inEveryWay(t, func(t *testing.T, w way) {
		lap := newLaps(t)
		image := pushPause(t, "team/app:3")
		works := func(release, after string) {
			t.Helper()
			lap(after)
			awaitLeader(t, release)
			lap("it leads")
			pod := podOf(t, makeDeployment(t, makeNamespace(t, "team-"), podSpec(image)), isAnyPod)
			isPulledAtOnce(t, pod)
			lap("a Pod in a new namespace runs, its image pulled at the first attempt")
		}
		makeSource(t)
		prepareNamespace(t)
		w.release(t, "install", previous, "")
		t.Cleanup(func() { w.uninstall(context.Background(), t) })
		sample := applySample(t)
		works(previous, "the last release is installed")

		kept := makeNamespace(t, "team-kept-")
		targets := followTargets(t, sample, []string{kept})
		targets.await(t, shared.registry.Host())
		before := targets.versions()

		w.release(t, "upgrade", current, "")
		works(current, "upgraded to this one")
		w.run(t.Context(), t, "", "rollback", operatorName, "1", "--wait")
		works(previous, "rolled back")
		w.release(t, "upgrade", current, "")
		works(current, "upgraded again")

		w.uninstall(t.Context(), t)
		if err := shared.api.Get(t.Context(), client.ObjectKeyFromObject(sample), &v1alpha1.ImagePullSecret{}); err != nil {
			t.Errorf("the object went with the operator: %v", err)
		}
		isPulledAtOnce(t, makePod(t, kept, image, sample.Spec.Target.Secret.Name))
		lap("removed, and a Pod pulls with the Secret that stays")
		w.release(t, "install", current, "")
		isReady(t, sample)
		works(current, "installed again over what was kept")

		if err := targets.stop(); err != nil {
			t.Error(err)
		}
		if after := targets.versions(); !maps.Equal(before, after) {
			t.Errorf("the Secret was written: it was %v, and is %v", before, after)
		}
	})
}

// awaitLeader waits until an operator of a release leads. The one before gives
// its Lease back when it ends; if its rights went first, the Lease has to expire.
func awaitLeader(t *testing.T, release string) {
	t.Helper()
	want := shared.registry.Host() + "/" + operatorImage + ":" + release
	eventually(t, release+" leads", func(ctx context.Context) error {
		pod, err := leader(ctx)
		if err != nil {
			return err
		}
		if got := pod.Spec.Containers[0].Image; got != want {
			return fmt.Errorf("the leader runs %s, want %s", got, want)
		}
		return nil
	})
}
