//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/tests/olm"
	"github.com/imagepullsecrets/operator/tests/operator"
)

// planRetry is how long OLM goes on with an InstallPlan that fails.
const planRetry = 5 * time.Second

// olmJourney is what the steps of the journey have in common.
type olmJourney struct {
	docs      page
	lifecycle *olm.OLM
	lap       func(what string)

	image      string // of the teams' Pods
	sample     *v1alpha1.ImagePullSecret
	namespaces []string // of the teams
}

// startOLM runs OLM until the test ends.
func startOLM(t *testing.T) *olm.OLM {
	t.Helper()
	lifecycle, err := olm.Start(t.Context(), shared.cluster, olm.Options{
		Progress: os.Stderr, OPM: filepath.Join(operator.Root(), "bin", "opm"), PlanRetry: planRetry,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lifecycle.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return lifecycle
}

// serve publishes a catalog in place of the one before.
func (o *olmJourney) serve(t *testing.T, catalog string) {
	t.Helper()
	if err := o.lifecycle.Serve(catalog); err != nil {
		t.Fatal(err)
	}
}

// object is the one of a kind in a section of the page.
func (o *olmJourney) object(t *testing.T, heading, kind string) *unstructured.Unstructured {
	t.Helper()
	objects := o.docs.objects(t, heading)
	i := slices.IndexFunc(objects, func(object *unstructured.Unstructured) bool { return object.GetKind() == kind })
	if i < 0 {
		t.Fatalf("%s shows no %s", heading, kind)
	}
	return objects[i]
}

// addCatalog makes the page's CatalogSource, with an address in place of an image
// that would have to be published, and returns when OLM is connected to it.
func (o *olmJourney) addCatalog(t *testing.T) {
	t.Helper()
	source := o.object(t, "## Install", "CatalogSource")
	spec := source.Object["spec"].(map[string]any)
	delete(spec, "image")
	delete(spec, "updateStrategy")
	spec["address"] = olm.CatalogAddress
	create(t, source)
	eventually(t, "OLM is connected to the catalog", func(ctx context.Context) error {
		if err := shared.api.Get(ctx, client.ObjectKeyFromObject(source), source); err != nil {
			return err
		}
		if state, _, _ := unstructured.NestedString(source.Object, "status", "connectionState", "lastObservedState"); state != "READY" {
			return fmt.Errorf("the connection is %q", state)
		}
		return nil
	})
}

// isRefusedForOneNamespace subscribes in another namespace, with an OperatorGroup
// that is not for all of them.
func (o *olmJourney) isRefusedForOneNamespace(t *testing.T) {
	namespace := makeNamespace(t, "one-")
	deleteLeftByOLM(t)
	group, subscription := o.object(t, "## Install", "OperatorGroup"), o.object(t, "## Install", "Subscription")
	group.Object["spec"] = map[string]any{"targetNamespaces": []any{namespace}}
	for _, object := range []*unstructured.Unstructured{group, subscription} {
		object.SetNamespace(namespace)
		create(t, object)
	}
	csv := olmObject("ClusterServiceVersion")
	eventually(t, "OLM refuses the OperatorGroup", func(ctx context.Context) error {
		if err := shared.api.Get(ctx, client.ObjectKey{Namespace: namespace, Name: csvName(firstRelease)}, csv); err != nil {
			return err
		}
		return statusIs(csv, "Failed", "UnsupportedOperatorGroup")
	})
	deleteNow(t, subscription) // or OLM installs it again
	deleteNow(t, csv)
	deleteNow(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
	for _, object := range append(leftByOLM(), listedOperator(namespace)) {
		deleteNow(t, object)
	}
	o.lap("an OperatorGroup for one namespace is refused")
}

// install makes the page's objects and gives the operator the login for its own
// image.
func (o *olmJourney) install(t *testing.T) {
	t.Helper()
	deleteLeftByOLM(t)
	for _, kind := range []string{"Namespace", "OperatorGroup", "Subscription"} {
		create(t, o.object(t, "## Install", kind))
	}
	const heading = "### Its image from a registry of your own"
	o.docs.follow(t, heading, map[string]func(){
		"kubectl -n imagepullsecret-system create secret docker-registry mirror --docker-server=… --docker-username=… --docker-password=…": func() {
			createLogin(t, operatorNamespace, "mirror")
		},
		`kubectl -n imagepullsecret-system patch serviceaccount imagepullsecret-operator -p '{"imagePullSecrets": [{"name": "mirror"}]}'`: func() {
			eventually(t, "OLM has made the ServiceAccount", func(ctx context.Context) error {
				account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: operatorNamespace, Name: operatorName}}
				return shared.api.Patch(ctx, account, client.RawPatch("application/strategic-merge-patch+json", []byte(`{"imagePullSecrets": [{"name": "mirror"}]}`)))
			})
		},
		"kubectl -n imagepullsecret-system delete pod -l app.kubernetes.io/name=imagepullsecret-operator": func() {
			if err := shared.api.DeleteAllOf(t.Context(), &corev1.Pod{}, client.InNamespace(operatorNamespace), client.MatchingLabels{"app.kubernetes.io/name": operatorName}); err != nil {
				t.Fatal(err)
			}
		},
	})
	eventually(t, firstRelease+" is installed", func(ctx context.Context) error { return installedIs(ctx, firstRelease) })
	o.lap(firstRelease + " is installed, its image pulled from the private registry")
	create(t, o.object(t, heading, v1alpha1.Kind))
	eventually(t, "the operator sees to its own ServiceAccount", func(context.Context) error {
		if listed := accountPullSecrets(t); !slices.Contains(listed, corev1.LocalObjectReference{Name: operatorLogin}) {
			return fmt.Errorf("it lists %v", listed)
		}
		return nil
	})
}

// addPolicies applies what the page says of admission policies, and returns when
// they are in force: a Pod that names no Secret is given the name.
func (o *olmJourney) addPolicies(t *testing.T) {
	t.Helper()
	policies := admissionPolicies(t)
	o.docs.follow(t, "## The admission policies", map[string]func(){
		"kubectl apply -k 'https://github.com/imagepullsecrets/operator//config/admission?ref=v0.2.0'": func() {
			for _, policy := range policies {
				create(t, policy)
			}
		},
	})
	eventually(t, "Pods are given the Secret's name", func(ctx context.Context) error {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: o.namespaces[0], Name: "asks"}, Spec: podSpec(o.image)}
		if err := shared.api.Create(ctx, pod, client.DryRunAll); err != nil {
			return err
		}
		if len(pod.Spec.ImagePullSecrets) == 0 {
			return errors.New("it is given none")
		}
		return nil
	})
	o.startsInNewNamespace(t)
	o.lap("the admission policies are there, and a Pod that names no Secret runs")
}

// startsInNewNamespace makes a Deployment, whose Pod names no Secret.
func (o *olmJourney) startsInNewNamespace(t *testing.T) {
	t.Helper()
	deployment := makeDeployment(t, makeNamespace(t, "team-late-"), podSpec(o.image))
	isPulledAtOnce(t, podOf(t, deployment, isAnyPod))
}

// admissionPolicies are the objects of config/admission.
func admissionPolicies(t *testing.T) []*unstructured.Unstructured {
	t.Helper()
	output, err := exec.CommandContext(t.Context(), filepath.Join(operator.Root(), "bin", "kustomize"), "build",
		filepath.Join(operator.Root(), "config", "admission")).Output()
	if err != nil {
		t.Fatal(err)
	}
	return decodeObjects(t, output)
}

// refuseUpgrade publishes a release that would lose a stored version. OLM says
// why it does not install it, and what is installed goes on.
func (o *olmJourney) refuseUpgrade(t *testing.T, catalog string) {
	t.Helper()
	o.serve(t, catalog)
	eventually(t, "OLM refuses "+brokenRelease, func(ctx context.Context) error {
		plans := olmList("InstallPlan")
		if err := shared.api.List(ctx, plans, client.InNamespace(operatorNamespace)); err != nil {
			return err
		}
		for i := range plans.Items {
			names, _, _ := unstructured.NestedStringSlice(plans.Items[i].Object, "spec", "clusterServiceVersionNames")
			if slices.Contains(names, csvName(brokenRelease)) {
				return statusIs(&plans.Items[i], "Failed", "risk of data loss", "new CRD removes version v1alpha1 that is listed as a stored version on the existing CRD")
			}
		}
		return fmt.Errorf("there is no InstallPlan for it among %d", len(plans.Items))
	})
	eventually(t, brokenRelease+" waits for its CRD", func(ctx context.Context) error {
		csv := olmObject("ClusterServiceVersion")
		if err := shared.api.Get(ctx, client.ObjectKey{Namespace: operatorNamespace, Name: csvName(brokenRelease)}, csv); err != nil {
			return err
		}
		return statusIs(csv, "Pending", "RequirementsNotMet")
	})
	if err := runsFrom(t.Context(), imageOf(currentRelease)); err != nil {
		t.Error(err)
	}
	o.startsInNewNamespace(t)
	o.lap(brokenRelease + ", whose CRD has no v1alpha1, is refused, and " + currentRelease + " goes on")
}

// remove does what the page says.
func (o *olmJourney) remove(t *testing.T) {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: operatorNamespace}}
	o.docs.follow(t, "## Remove", map[string]func(){
		"kubectl delete imps --all": func() {
			if err := shared.api.DeleteAllOf(t.Context(), &v1alpha1.ImagePullSecret{}); err != nil {
				t.Fatal(err)
			}
		},
		"kubectl get secrets -A -l images.banzaicloud.io/owner-uid": func() {
			eventually(t, "the operator has taken its Secrets away", func(context.Context) error {
				if left := secretVersions(t); len(left) > 0 {
					return fmt.Errorf("there are %v", left)
				}
				return nil
			})
		},
		"kubectl -n imagepullsecret-system delete subscription,csv --all": func() {
			deleteAll(t, "Subscription", operatorNamespace)
			deleteAll(t, "ClusterServiceVersion", operatorNamespace)
		},
		"kubectl delete namespace imagepullsecret-system":           func() { deleteNow(t, namespace) },
		"kubectl delete crd imagepullsecrets.images.banzaicloud.io": func() { deleteNow(t, leftByOLM()[0]) },
		"kubectl delete clusterrole imagepullsecret-operator-editor imagepullsecret-operator-viewer": func() {
			deleteNow(t, leftByOLM()[1])
			deleteNow(t, leftByOLM()[2])
		},
		"kubectl delete operator imagepullsecret-operator.imagepullsecret-system": func() { deleteNow(t, listedOperator(operatorNamespace)) },
		"kubectl -n olm delete catalogsource imagepullsecrets":                    func() { deleteNow(t, o.object(t, "## Install", "CatalogSource")) },
		"kubectl delete -k 'https://github.com/imagepullsecrets/operator//config/admission?ref=v0.2.0'": func() {
			for _, policy := range admissionPolicies(t) {
				deleteNow(t, policy)
			}
		},
	})
	o.lap("the operator and its Secrets are removed")
}
