//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
)

// upgradeTargets is how many namespaces have the Secret while OLM upgrades the
// operator.
const upgradeTargets = 20

// The page about OLM is followed from its beginning to its end: install from a
// catalog, with the operator's image in a private registry; the main job; the
// upgrade that the catalog's next release brings; one that OLM refuses; removal.
func TestOLMInstallsUpgradesAndRemovesTheOperator(t *testing.T) {
	lap := newLaps(t)
	catalogs := openWorkshop(t).catalogs(t)
	lap("catalogs of " + firstRelease + ", " + currentRelease + " and " + brokenRelease + " are made")
	o := olmJourney{docs: readPage(t, "olm.md"), lifecycle: startOLM(t), lap: lap}
	lap("OLM runs")
	before := takeInventory(t)
	t.Run("followed to the end", func(t *testing.T) {
		o.serve(t, catalogs[firstRelease])
		o.addCatalog(t)
		t.Run("an OperatorGroup for one namespace", o.isRefusedForOneNamespace)
		o.install(t)
		o.team(t)
		o.upgrade(t, catalogs[currentRelease])
		o.addPolicies(t)
		o.refuseUpgrade(t, catalogs[brokenRelease])
		o.remove(t)
	})
	if !t.Failed() {
		nothingIsAdded(t, before)
		o.lap("nothing is left behind")
	}
}

// team makes the sample and namespaces of its teams, whose Pods name the Secret:
// without the admission policies nobody else does.
func (o *olmJourney) team(t *testing.T) {
	t.Helper()
	o.image = pushPause(t, "team/app:3")
	makeSource(t)
	o.sample = applySample(t)
	for range upgradeTargets {
		o.namespaces = append(o.namespaces, makeNamespace(t, "team-"))
	}
	isPulledAtOnce(t, o.pod(t, o.namespaces[0]))
	o.lap("the sample is ready, and a Pod in a new namespace runs, its image pulled at the first attempt")
}

func (o *olmJourney) pod(t *testing.T, namespace string) *corev1.Pod {
	t.Helper()
	return makePod(t, namespace, o.image, o.sample.Spec.Target.Secret.Name)
}

// upgrade publishes the next release and starts Pods until it has replaced the
// one before. No Secret is written meanwhile, let alone made anew.
func (o *olmJourney) upgrade(t *testing.T, catalog string) {
	t.Helper()
	targets := followTargets(t, o.sample, o.namespaces)
	targets.await(t, shared.registry.Host())
	before := secretVersions(t)
	o.serve(t, catalog)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var slowest time.Duration
	pods := 0
	for err := error(nil); pods == 0 || err != nil; pods++ {
		isPulledAtOnce(t, o.pod(t, o.namespaces[pods%len(o.namespaces)]))
		slowest = max(slowest, o.secretDelay(t))
		if err = installedIs(t.Context(), currentRelease); ctx.Err() != nil {
			t.Fatalf("%s is not installed after %s: %v", currentRelease, patience, err)
		}
	}
	if err := targets.stop(); err != nil {
		t.Errorf("in between a Secret was not as it should be: %v", err)
	}
	after := secretVersions(t)
	maps.DeleteFunc(after, func(key types.NamespacedName, _ string) bool { return before[key] == "" }) // new namespaces'
	if !maps.Equal(before, after) {
		t.Errorf("Secrets were %v and are %v", before, after)
	}
	if got, want := accountPullSecrets(t), []corev1.LocalObjectReference{{Name: operatorLogin}}; !slices.Equal(got, want) {
		t.Errorf("after OLM wrote the operator's ServiceAccount, and the operator put it right, it lists %v, want %v", got, want)
	}
	o.lap(fmt.Sprintf("%s has replaced %s; %d Secrets are untouched, %d Pods' images were pulled meanwhile, and the Secret was in a new namespace after %s at most",
		currentRelease, firstRelease, len(before), pods, slowest.Round(time.Millisecond)))
}

// secretDelay is how long a new namespace is without the Secret.
func (o *olmJourney) secretDelay(t *testing.T) time.Duration {
	t.Helper()
	begin := time.Now()
	namespace := makeNamespace(t, "team-new-")
	eventually(t, "a new namespace has the Secret", func(ctx context.Context) error {
		return shared.api.Get(ctx, client.ObjectKey{Namespace: namespace, Name: o.sample.Spec.Target.Secret.Name}, &corev1.Secret{})
	})
	return time.Since(begin)
}

// secretVersions are which Secrets of the operator there are, and what was
// written to each last.
func secretVersions(t *testing.T) map[types.NamespacedName]string {
	t.Helper()
	var all corev1.SecretList
	if err := shared.api.List(t.Context(), &all, client.HasLabels{v1alpha1.LabelOwnerUID}); err != nil {
		t.Fatal(err)
	}
	versions := map[types.NamespacedName]string{}
	for i := range all.Items {
		secret := &all.Items[i]
		versions[client.ObjectKeyFromObject(secret)] = string(secret.UID) + " at " + secret.ResourceVersion
	}
	return versions
}
