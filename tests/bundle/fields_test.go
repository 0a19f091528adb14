package bundle

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/operator-framework/api/pkg/operators/v1alpha1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// What the pipelines of community-operators demand of a ClusterServiceVersion,
// which no validator does (check_required_fields), by its annotations.
func TestCommunityOperatorsFindTheirFields(t *testing.T) {
	demanded := map[string]*regexp.Regexp{
		"alm-examples":   regexp.MustCompile(`(?s)^.{30,}$`),
		"capabilities":   regexp.MustCompile(`^(Basic Install|Seamless Upgrades|Full Lifecycle|Deep Insights|Auto Pilot)$`),
		"categories":     regexp.MustCompile(`^[A-Z][A-Za-z &]+(, [A-Z][A-Za-z &]+)*$`),
		"containerImage": regexp.MustCompile(`^[^/]+/[^/]+/[^/:]+:.+$`),
		"createdAt":      regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$`),
		"description":    regexp.MustCompile(`^.{10,135}$`),
		"repository":     regexp.MustCompile(`^https://\S+$`),
		"support":        regexp.MustCompile(`^.{3,}$`),
	}
	eachBundle(t, func(t *testing.T, directory string) {
		csv := load(t, directory).CSV
		for key, pattern := range demanded {
			if value := csv.Annotations[key]; !pattern.MatchString(value) {
				t.Errorf("annotation %s is %q", key, value)
			}
		}
		spec := csv.Spec
		for what, isThere := range map[string]bool{
			"displayName of 3 to 50 characters":  len(spec.DisplayName) >= 3 && len(spec.DisplayName) <= 50,
			"description of 20 characters":       len(spec.Description) >= 20,
			"one icon":                           len(spec.Icon) == 1,
			"keywords":                           len(spec.Keywords) > 0,
			"maintainers":                        len(spec.Maintainers) > 0,
			"links":                              len(spec.Links) > 0,
			"provider of 3 characters":           len(spec.Provider.Name) >= 3,
			"maturity":                           spec.Maturity != "",
			"version as its name says":           csv.Name == name+".v"+spec.Version.String(),
			"an image that the operator runs in": len(spec.RelatedImages) == 1,
		} {
			if !isThere {
				t.Errorf("it lacks: %s", what)
			}
		}
		if _, err := time.Parse(time.RFC3339, csv.Annotations["createdAt"]); err != nil {
			t.Error(err)
		}
	})
}

// The pipelines of community-operators refuse a NetworkPolicy; OLM would not
// install an admission policy or a Namespace.
func TestBundlesHoldWhatOLMInstalls(t *testing.T) {
	eachBundle(t, func(t *testing.T, directory string) {
		for _, object := range load(t, directory).Objects {
			kinds := []string{"ClusterServiceVersion", "CustomResourceDefinition", "ClusterRole", "Service"}
			if !slices.Contains(kinds, object.GetKind()) {
				t.Errorf("%s %s", object.GetKind(), object.GetName())
			}
		}
	})
}

// The image is named once (IMG), and wherever a mirror or a reader looks for it.
func TestOneImageEverywhere(t *testing.T) {
	eachBundle(t, func(t *testing.T, directory string) {
		csv := load(t, directory).CSV
		container := csv.Spec.InstallStrategy.StrategySpec.DeploymentSpecs[0].Spec.Template.Spec.Containers[0]
		if !strings.HasSuffix(container.Image, ":v"+csv.Spec.Version.String()) && !strings.Contains(container.Image, "@sha256:") {
			t.Errorf("version %s runs %s", csv.Spec.Version, container.Image)
		}
		if named := csv.Annotations["containerImage"]; named != container.Image {
			t.Errorf("containerImage is %s, the Deployment's %s", named, container.Image)
		}
		if related := csv.Spec.RelatedImages[0].Image; related != container.Image {
			t.Errorf("relatedImages has %s, the Deployment %s", related, container.Image)
		}
	})
}

func TestBundleSaysWhatTheChartSays(t *testing.T) {
	chart, csv := readChart(t), load(t, current).CSV
	if got := csv.Spec.Version.String(); got != chart.Version {
		t.Errorf("version %s, the chart's is %s", got, chart.Version)
	}
	if want := ">=" + csv.Spec.MinKubeVersion + "-0"; chart.KubeVersion != want {
		t.Errorf("the chart takes Kubernetes %s, the bundle %s", chart.KubeVersion, want)
	}
	if got, want := csv.Annotations["capabilities"], chart.Annotations["artifacthub.io/operatorCapabilities"]; got != want {
		t.Errorf("capability level %s, the chart's is %s", got, want)
	}
}

func TestIconIsTheProjects(t *testing.T) {
	want, err := os.ReadFile(repository + "/docs/icon.svg")
	if err != nil {
		t.Fatal(err)
	}
	icon := load(t, current).CSV.Spec.Icon[0]
	if got, err := base64.StdEncoding.DecodeString(icon.Data); err != nil || string(got) != string(want) {
		t.Errorf("the icon is not docs/icon.svg (%v); as base64 that is %s", err, base64.StdEncoding.EncodeToString(want))
	}
	if icon.MediaType != "image/svg+xml" {
		t.Errorf("its type is %s", icon.MediaType)
	}
}

// The labels of the bundle's image are the annotations of its metadata.
func TestDockerfileSaysWhatTheMetadataSay(t *testing.T) {
	text, err := os.ReadFile(repository + "/bundle.Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	labels := map[string]string{}
	for _, match := range regexp.MustCompile(`(?m)^LABEL (\S+)=(\S+)$`).FindAllStringSubmatch(string(text), -1) {
		labels[match[1]] = match[2]
	}
	if want := annotations(t, current); !maps.Equal(labels, want) {
		t.Errorf("labels %v, annotations %v", labels, want)
	}
}

// Every field that people write or read has a descriptor, by its path; what is
// below a label selector is Kubernetes' own.
func TestEveryFieldHasADescriptor(t *testing.T) {
	bundle := load(t, current)
	described := map[string][]string{}
	owned := bundle.CSV.Spec.CustomResourceDefinitions.Owned[0]
	for _, descriptor := range owned.SpecDescriptors {
		described["spec"] = append(described["spec"], descriptor.Path)
		complete(t, descriptor.Path, descriptor.DisplayName, descriptor.Description)
	}
	for _, descriptor := range owned.StatusDescriptors {
		described["status"] = append(described["status"], descriptor.Path)
		complete(t, descriptor.Path, descriptor.DisplayName, descriptor.Description)
	}
	schema := bundle.V1CRDs[0].Spec.Versions[0].Schema.OpenAPIV3Schema
	for part, paths := range described {
		want := fields(schema.Properties[part], "")
		slices.Sort(want)
		slices.Sort(paths)
		for _, path := range want {
			if _, isThere := slices.BinarySearch(paths, path); !isThere {
				t.Errorf("%s.%s has no descriptor: give the field a marker +operator-sdk:csv:…", part, path)
			}
		}
		for _, path := range paths {
			if _, isThere := slices.BinarySearch(want, path); !isThere {
				t.Errorf("the descriptor of %s.%s is of no field", part, path)
			}
		}
	}
}

// complete reports a descriptor that says nothing.
func complete(t *testing.T, path, displayName, description string) {
	t.Helper()
	if displayName == "" || description == "" {
		t.Errorf("the descriptor of %s has name %q and description %q", path, displayName, description)
	}
}

// fields are the paths of all fields below one, in a descriptor's form.
func fields(schema apiextensionsv1.JSONSchemaProps, path string) []string {
	var all []string
	for key, field := range schema.Properties {
		here := strings.TrimPrefix(path+"."+key, ".")
		all = append(all, here)
		below := here
		if field.Items != nil && field.Items.Schema != nil {
			field, below = *field.Items.Schema, here+"[0]"
		}
		if _, isSelector := field.Properties["matchExpressions"]; isSelector && field.Properties["matchAnnotations"].Type == "" {
			continue
		}
		if key == "matchExpressions" || key == "conditions" {
			continue
		}
		all = append(all, fields(field, below)...)
	}
	return all
}

// The examples are the samples, and there are several.
func TestExamplesAreTheSamples(t *testing.T) {
	var examples []map[string]any
	if err := json.Unmarshal([]byte(load(t, current).CSV.Annotations["alm-examples"]), &examples); err != nil {
		t.Fatal(err)
	}
	listed := read[struct{ Resources []string }](t, repository+"/config/samples/kustomization.yaml").Resources
	if len(listed) < 5 {
		t.Errorf("only %d samples", len(listed))
	}
	for _, file := range listed {
		sample := read[map[string]any](t, repository+"/config/samples/"+file)
		if !slices.ContainsFunc(examples, func(example map[string]any) bool { return equal(t, example, sample) }) {
			t.Errorf("%s is not among the examples; run make bundle", file)
		}
	}
	if len(examples) != len(listed) {
		t.Errorf("%d examples, %d samples", len(examples), len(listed))
	}
}

// equal tells whether two values are the same in JSON.
func equal(t *testing.T, a, b any) bool {
	t.Helper()
	texts := [2]string{}
	for i, value := range []any{a, b} {
		text, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		texts[i] = string(text)
	}
	return texts[0] == texts[1]
}

// Where the objects are and what they select leaves one install mode.
func TestOnlyAllNamespacesIsSupported(t *testing.T) {
	eachBundle(t, func(t *testing.T, directory string) {
		for _, mode := range load(t, directory).CSV.Spec.InstallModes {
			if mode.Supported != (mode.Type == v1alpha1.InstallModeTypeAllNamespaces) {
				t.Errorf("%s: %v", mode.Type, mode.Supported)
			}
		}
	})
}
