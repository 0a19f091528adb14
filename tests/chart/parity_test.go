package chart

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// The chart's defaults and what config/ has for the same cluster are the same
// installation, object by object and field by field; only labels, which name the
// release, differ.
func TestChartSaysWhatConfigSays(t *testing.T) {
	for directory, apis := range map[string]string{
		"config/default":           injectionAPI + "," + fenceAPI,
		"config/without-injection": fenceAPI,
	} {
		t.Run(directory, func(t *testing.T) { chartSaysWhatConfigSays(t, directory, apis) })
	}
}

func chartSaysWhatConfigSays(t *testing.T, directory, apis string) {
	out, _, err := execute(nil, "", tool(t, "kustomize"), "build", filepath.Join(repository, directory))
	if err != nil {
		t.Fatal(err)
	}
	want := parse(t, out)
	delete(want, "Namespace "+namespace) // Helm makes it, or whoever runs Helm.
	for _, object := range want {
		withoutLabels(object)
	}
	eachHelm(t, func(t *testing.T, h helm) {
		got := h.mustTemplate(t, "", "--api-versions", apis)
		for key, object := range got {
			if object.GetAnnotations()["helm.sh/hook"] == "test" {
				delete(got, key) // of Helm alone
				continue
			}
			if object.GetKind() == "CustomResourceDefinition" {
				annotations := object.GetAnnotations()
				if annotations["helm.sh/resource-policy"] != "keep" {
					t.Errorf("%s is not kept on uninstall", key)
				}
				delete(annotations, "helm.sh/resource-policy")
				object.SetAnnotations(annotations)
			}
			withoutLabels(object)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-) and the chart (+) differ:\n%s", directory, diff)
		}
	})
}

// Who installs with kustomize or OLM applies the sample, and has what the chart
// makes of its value.
func TestIdentitySampleSaysWhatTheChartSays(t *testing.T) {
	sample, err := os.ReadFile(repository + "/config/samples/identity_role.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := parse(t, string(sample))
	delete(want, "Namespace registry-access")
	eachHelm(t, func(t *testing.T, h helm) {
		got := h.mustTemplate(t, "identities: [{namespace: registry-access, name: image-puller, create: true}]")
		for key, object := range got {
			if object.GetNamespace() != "registry-access" {
				delete(got, key)
			}
			withoutLabels(object)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("config/samples/identity_role.yaml (-) and the chart (+) differ:\n%s", diff)
		}
	})
}

// withoutLabels removes labels and what selects by them; of the labels that
// mean something to Kubernetes itself it leaves a trace.
func withoutLabels(object *unstructured.Unstructured) {
	aggregated, isSet := object.GetLabels()["rbac.authorization.k8s.io/aggregate-to-view"]
	object.SetLabels(nil)
	if isSet {
		object.SetLabels(map[string]string{"aggregate-to-view": aggregated})
	}
	unstructured.RemoveNestedField(object.Object, "spec", "selector")
	unstructured.RemoveNestedField(object.Object, "spec", "template", "metadata", "labels")
}

func TestCRDIsASwitch(t *testing.T) {
	const crd = "CustomResourceDefinition imagepullsecrets.images.banzaicloud.io"
	eachHelm(t, func(t *testing.T, h helm) {
		if h.mustTemplate(t, "crds: {enabled: false}")[crd] != nil {
			t.Error("crds.enabled=false renders the CRD")
		}
		kept := h.mustTemplate(t, "crds: {keep: false}")[crd].GetAnnotations()["helm.sh/resource-policy"]
		if kept != "" {
			t.Errorf("crds.keep=false renders resource policy %q", kept)
		}
	})
}
