package chart

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// `make bundle` needs operator-sdk, which takes minutes to build; this test
// tells without it whether the bundle still says what config/ says.
func TestBundleSaysWhatConfigSays(t *testing.T) {
	out, _, err := execute(nil, "", tool(t, "kustomize"), "build", repository+"/config/manifests")
	if err != nil {
		t.Fatal(err)
	}
	config, bundle := parse(t, out), bundleManifests(t)
	const crd = "CustomResourceDefinition imagepullsecrets.images.banzaicloud.io"
	if diff := cmp.Diff(field(t, config[crd], "spec"), field(t, bundle[crd], "spec")); diff != "" {
		t.Errorf("CRD, config/ (-) and bundle/ (+); run make bundle:\n%s", diff)
	}

	csv := bundle["ClusterServiceVersion placeholder/"+name+".v"+chartVersion(t)]
	if csv == nil {
		t.Fatalf("bundle/ has no ClusterServiceVersion of the chart's version; run make bundle")
	}
	deployment := field(t, csv, "spec", "install", "spec", "deployments").([]any)[0].(map[string]any)["spec"].(map[string]any)
	delete(deployment, "strategy") // Written out empty by operator-sdk, as is the divisor.
	for _, container := range deployment["template"].(map[string]any)["spec"].(map[string]any)["containers"].([]any) {
		for _, variable := range container.(map[string]any)["env"].([]any) {
			unstructured.RemoveNestedField(variable.(map[string]any), "valueFrom", "resourceFieldRef", "divisor")
		}
	}
	if diff := cmp.Diff(field(t, config["Deployment "+namespace+"/"+name], "spec"), any(deployment)); diff != "" {
		t.Errorf("Deployment, config/ (-) and bundle/ (+); run make bundle:\n%s", diff)
	}

	rules := func(key string) []any { return field(t, config[key], "rules").([]any) }
	for section, want := range map[string][]any{
		"clusterPermissions": rules("ClusterRole " + name),
		"permissions": append(rules("Role "+namespace+"/"+name),
			rules("Role "+namespace+"/"+name+"-leader-election")...),
	} {
		got := field(t, csv, "spec", "install", "spec", section).([]any)[0].(map[string]any)["rules"]
		if diff := cmp.Diff(any(want), got); diff != "" {
			t.Errorf("%s, config/ (-) and bundle/ (+); run make bundle:\n%s", section, diff)
		}
	}
}

// bundleManifests reads bundle/manifests.
func bundleManifests(t *testing.T) objects {
	t.Helper()
	files, err := filepath.Glob(repository + "/bundle/manifests/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no manifests in bundle/: %v", err)
	}
	all := objects{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for key, object := range parse(t, string(text)) {
			all[key] = object
		}
	}
	return all
}

// chartVersion is the version that chart, image and bundle share.
func chartVersion(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(chartDir + "/Chart.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, chart := range parse(t, "kind: Chart\nmetadata: {name: chart}\n"+string(text)) {
		if chart.Object["version"] != chart.Object["appVersion"] {
			t.Errorf("version %v and appVersion %v differ", chart.Object["version"], chart.Object["appVersion"])
		}
		return chart.Object["version"].(string)
	}
	return ""
}

// field is what an object holds at a path.
func field(t *testing.T, object *unstructured.Unstructured, path ...string) any {
	t.Helper()
	if object == nil {
		t.Fatalf("there is no object to look for %v in", path)
	}
	value, found, err := unstructured.NestedFieldCopy(object.Object, path...)
	if err != nil || !found {
		t.Fatalf("%s %s has no %v: %v", object.GetKind(), object.GetName(), path, err)
	}
	return value
}
