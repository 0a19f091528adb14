package chart

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// `make bundle` needs operator-sdk, which takes minutes to build; this test
// tells without it whether the ClusterServiceVersion still says what
// config/default says, which is what the chart says: Deployment and rights.
func TestBundleSaysWhatConfigSays(t *testing.T) {
	config, csv := configDefault(t), bundleManifests(t)[csvKey(t)]
	if csv == nil {
		t.Fatalf("bundle/ has no ClusterServiceVersion of the chart's version; run make bundle")
	}

	want := field(t, config["Deployment "+namespace+"/"+name], "spec").(map[string]any)
	asInBundle(want)
	if diff := cmp.Diff(want, bundledDeployment(t, csv)); diff != "" {
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

// The CRD and everything else, but for the admission policies, which OLM can't
// install.
func TestBundleHoldsWhatConfigHolds(t *testing.T) {
	config, bundle := configDefault(t), bundleManifests(t)
	delete(bundle, csvKey(t))
	rest := objects{}
	for key, object := range config {
		switch object.GetKind() {
		// These are in the ClusterServiceVersion, or follow from it.
		case "Deployment", "Namespace", "ServiceAccount", "Role", "RoleBinding", "ClusterRoleBinding":
		case "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding":
		default:
			if key != "ClusterRole "+name {
				object.SetNamespace("") // OLM puts it where the operator is.
				rest[object.GetKind()+" "+object.GetName()] = object
			}
		}
	}
	for _, object := range bundle {
		asWritten(object)
	}
	if diff := cmp.Diff(rest, bundle); diff != "" {
		t.Errorf("other objects, config/ (-) and bundle/ (+); run make bundle:\n%s", diff)
	}
}

// configDefault is what config/default says.
func configDefault(t *testing.T) objects {
	t.Helper()
	out, _, err := execute(nil, "", tool(t, "kustomize"), "build", repository+"/config/default")
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, out)
}

// csvKey is the key of this version's ClusterServiceVersion.
func csvKey(t *testing.T) string {
	t.Helper()
	return "ClusterServiceVersion placeholder/" + name + ".v" + chartVersion(t)
}

// asInBundle makes the two differences of the bundle's Deployment: no policy
// injects names into Pods there, and the image is listed for mirrors.
func asInBundle(deployment map[string]any) {
	containers := deployment["template"].(map[string]any)["spec"].(map[string]any)["containers"].([]any)
	container := containers[0].(map[string]any)
	for i, arg := range container["args"].([]any) {
		if arg == "--pod-injection=true" {
			container["args"].([]any)[i] = "--pod-injection=false"
		}
	}
	container["env"] = append(container["env"].([]any), map[string]any{"name": "RELATED_IMAGE_MANAGER", "value": container["image"]})
}

// bundledDeployment is the spec of the Deployment in a ClusterServiceVersion,
// without what operator-sdk writes out empty.
func bundledDeployment(t *testing.T, csv *unstructured.Unstructured) map[string]any {
	t.Helper()
	deployment := field(t, csv, "spec", "install", "spec", "deployments").([]any)[0].(map[string]any)["spec"].(map[string]any)
	delete(deployment, "strategy")
	for _, container := range deployment["template"].(map[string]any)["spec"].(map[string]any)["containers"].([]any) {
		for _, variable := range container.(map[string]any)["env"].([]any) {
			unstructured.RemoveNestedField(variable.(map[string]any), "valueFrom", "resourceFieldRef", "divisor")
		}
	}
	return deployment
}

// asWritten removes what operator-sdk writes out empty.
func asWritten(object *unstructured.Unstructured) {
	unstructured.RemoveNestedField(object.Object, "metadata", "creationTimestamp")
	unstructured.RemoveNestedField(object.Object, "status")
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
