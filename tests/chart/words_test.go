package chart

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// readYAML reads a file of the chart.
func readYAML(t *testing.T, file string) map[string]any {
	t.Helper()
	text, err := os.ReadFile(chartDir + "/" + file)
	if err != nil {
		t.Fatal(err)
	}
	var read map[string]any
	if err := yaml.Unmarshal(text, &read); err != nil {
		t.Fatal(err)
	}
	return read
}

// leaves are the paths of all values that hold no further ones.
func leaves(prefix string, values map[string]any) (paths []string) {
	for key, value := range values {
		if inner, ok := value.(map[string]any); ok && len(inner) > 0 {
			paths = append(paths, leaves(prefix+key+".", inner)...)
			continue
		}
		paths = append(paths, prefix+key)
	}
	return paths
}

// The README's table has every value, by itself or with the one that it is part
// of, and says something of each.
func TestEveryValueIsExplained(t *testing.T) {
	text, err := os.ReadFile(chartDir + "/README.md")
	if err != nil {
		t.Fatal(err)
	}
	described := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		if cells := strings.Split(line, " | "); len(cells) == 4 {
			described[strings.TrimPrefix(cells[0], "| ")] = strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(cells[3]), "|")) != ""
		}
	}
	paths := leaves("", readYAML(t, "values.yaml"))
	if len(paths) < 50 {
		t.Fatalf("only %d values were found", len(paths))
	}
	for _, path := range paths {
		found := described[path]
		for parent := path; !found && strings.Contains(parent, "."); {
			parent = parent[:strings.LastIndex(parent, ".")]
			found = described[parent]
		}
		if !found {
			t.Errorf("%s is not explained", path)
		}
	}
}

// Objects whose parts are Kubernetes's own, or people's, may hold anything; all
// others what the schema names.
func TestTheSchemaIsClosed(t *testing.T) {
	open := []string{
		"global", "resources", "podSecurityContext", "securityContext", "affinity", "serviceMonitor.tlsConfig",
		"networkPolicy.metricsFrom[].podSelector", "networkPolicy.metricsFrom[].namespaceSelector",
	}
	var find func(path string, schema map[string]any) []string
	find = func(path string, schema map[string]any) (found []string) {
		if properties, ok := schema["properties"].(map[string]any); ok {
			for name, property := range properties {
				if property, ok := property.(map[string]any); ok {
					found = append(found, find(strings.TrimPrefix(path+"."+name, "."), property)...)
				}
			}
		}
		if items, ok := schema["items"].(map[string]any); ok && len(items) > 0 && items["required"] == nil {
			found = append(found, find(path+"[]", items)...)
		}
		if _, closed := schema["additionalProperties"]; schema["type"] == "object" && !closed {
			found = append(found, path)
		}
		return found
	}
	schema := readYAML(t, "values.schema.json")
	var got []string
	for _, path := range find("", schema) {
		// Lists of what Kubernetes has a type for.
		if !strings.HasSuffix(path, "[]") && !strings.HasPrefix(path, "networkPolicy.egress.extra") && !strings.HasPrefix(path, "defaultConfig.") {
			got = append(got, path)
		}
	}
	slices.Sort(got)
	slices.Sort(open)
	if diff := cmp.Diff(open, got); diff != "" {
		t.Errorf("objects that may hold anything (-want +got):\n%s", diff)
	}
}

// Every value has a place in the schema.
func TestTheSchemaKnowsEveryValue(t *testing.T) {
	eachHelm(t, func(t *testing.T, h helm) {
		text, err := os.ReadFile(chartDir + "/values.yaml")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.template(t, string(text)); err != nil {
			t.Error(err)
		}
	})
}

// What Artifact Hub shows can be read, and is of this version.
func TestAnnotationsOfArtifactHub(t *testing.T) {
	chart := readYAML(t, "Chart.yaml")
	annotations, _ := chart["annotations"].(map[string]any)
	read := func(name string, into any) {
		t.Helper()
		text, ok := annotations["artifacthub.io/"+name].(string)
		if !ok || yaml.Unmarshal([]byte(text), into) != nil {
			t.Errorf("%s can't be read: %v", name, annotations["artifacthub.io/"+name])
		}
	}
	var images []struct {
		Name, Image string
		Platforms   []string
	}
	var links []struct{ Name, URL string }
	var changes []string
	var examples, crds []map[string]any
	for name, into := range map[string]any{"images": &images, "links": &links, "changes": &changes, "crdsExamples": &examples, "crds": &crds} {
		read(name, into)
	}
	if len(images) != 1 || images[0].Image != "ghcr.io/imagepullsecrets/operator:v"+chart["appVersion"].(string) || len(images[0].Platforms) != 2 {
		t.Errorf("images are %v", images)
	}
	if !slices.ContainsFunc(links, func(l struct{ Name, URL string }) bool {
		return l.Name == "support" && strings.HasPrefix(l.URL, "https://")
	}) {
		t.Errorf("nobody finds support: %v", links)
	}
	if len(changes) == 0 || len(crds) != 1 || len(examples) != 1 || examples[0]["kind"] != crds[0]["kind"] {
		t.Errorf("changes are %q, CRDs %v, their examples %v", changes, crds, examples)
	}
	for _, name := range []string{"prerelease", "containsSecurityUpdates", "operator"} {
		if value := annotations["artifacthub.io/"+name]; value != "true" && value != "false" {
			t.Errorf("%s is %v", name, value)
		}
	}
	maintainers, _ := chart["maintainers"].([]any)
	if icon, _ := chart["icon"].(string); !strings.HasSuffix(icon, "/docs/icon.svg") || len(maintainers) == 0 {
		t.Errorf("icon %q, maintainers %v", icon, maintainers)
	}
}

// notesAsObject has the notes, which Helm 3 prints for a cluster only, made an
// object.
const notesAsObject = `extraObjects=["apiVersion: v1\nkind: ConfigMap\nmetadata: {name: notes}\n` +
	`data:\n  notes: {{ include (print .Template.BasePath \"/NOTES.txt\") . | toJson }}\n"]`

// The notes warn of what is risky, and of nothing else.
func TestNotesWarn(t *testing.T) {
	warnings := []string{
		"replicas is 0", "keeps the only replica from being evicted", "Prometheus can't read the metrics", "whoever reaches it reads the metrics",
		"fence.enabled is false", "fence.allowReplacing is true", "annotatedServiceAccounts.namespaces is empty",
		"helm uninstall deletes every ImagePullSecret of the\ncluster, and with it", "crds.keep is false",
	}
	for sentence, test := range map[string]struct {
		values string
		want   []string
	}{
		"nothing by default":              {"", nil},
		"nothing runs":                    {"replicas: 0", warnings[0:1]},
		"a node that can't be drained":    {"podDisruptionBudget: {enabled: true}", warnings[1:2]},
		"two replicas":                    {"{podDisruptionBudget: {enabled: true}, replicas: 2}", nil},
		"one that may go":                 {"podDisruptionBudget: {enabled: true, maxUnavailable: 1}", nil},
		"metrics that are shut":           {"{networkPolicy: {enabled: true}, podMonitor: {enabled: true}}", warnings[2:3]},
		"metrics that are open":           {"service: {type: LoadBalancer}", warnings[3:4]},
		"no fence":                        {"fence: {enabled: false}", warnings[4:5]},
		"a fence with a gate":             {"fence: {allowReplacing: true}", warnings[5:6]},
		"tokens of everybody":             {"annotatedServiceAccounts: {enabled: true}", warnings[6:7]},
		"tokens of a namespace":           {"annotatedServiceAccounts: {enabled: true, namespaces: [a]}", nil},
		"an uninstall that cleans up":     {"{uninstall: {cleanUp: true}, crds: {keep: false}}", warnings[7:8]},
		"an uninstall that takes the CRD": {"crds: {keep: false}", warnings[8:9]},
	} {
		t.Run(sentence, func(t *testing.T) {
			eachHelm(t, func(t *testing.T, h helm) {
				notes := into[corev1.ConfigMap](t, h.mustTemplate(t, test.values, "--set-json", notesAsObject), "ConfigMap notes").Data["notes"]
				if !strings.Contains(notes, "helm test "+name) {
					t.Errorf("the notes do not say how to see whether it works:\n%s", notes)
				}
				var got []string
				for _, warning := range warnings {
					if strings.Contains(notes, warning) {
						got = append(got, warning)
					}
				}
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Errorf("warnings (-want +got):\n%s", diff)
				}
			})
		})
	}
}
