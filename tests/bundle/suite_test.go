// Package bundle tests what is shipped for the Operator Lifecycle Manager: the
// bundles of every release, by the rules of those who take them, and the
// catalog that they make.
package bundle

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/operator-framework/api/pkg/manifests"
	"sigs.k8s.io/yaml"
)

const (
	repository = "../.."
	name       = "imagepullsecret-operator"
	released   = repository + "/catalog/bundles"
	current    = repository + "/bundle"
)

// buildTools builds the tools that these tests run, once.
var buildTools = sync.OnceValue(func() error {
	tools := []string{"bin/operator-sdk", "bin/scorecard-test", "bin/opm"}
	fmt.Fprintf(os.Stderr, "building %s if they are not there (minutes, once)\n", strings.Join(tools, ", "))
	out, err := exec.Command("make", append([]string{"-s", "-C", repository}, tools...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("building the tools: %w\n%s", err, out)
	}
	return nil
})

// tool returns the absolute path of a tool in bin/.
func tool(t *testing.T, name string) string {
	t.Helper()
	if err := buildTools(); err != nil {
		t.Fatal(err)
	}
	path, err := filepath.Abs(filepath.Join(repository, "bin", name))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// run runs a program in the repository's root and returns all that it printed.
func run(t *testing.T, path string, args ...string) (string, error) {
	t.Helper()
	command := exec.CommandContext(t.Context(), path, args...)
	command.Dir = repository
	out, err := command.CombinedOutput()
	return string(out), err
}

// eachBundle runs a test with the bundle of this version and with those of all
// releases before it.
func eachBundle(t *testing.T, test func(t *testing.T, directory string)) {
	t.Helper()
	for _, directory := range append(releases(t), current) {
		t.Run(filepath.Base(directory), func(t *testing.T) { test(t, directory) })
	}
}

// releases are the directories of the released bundles, of which there must be
// one at least.
func releases(t *testing.T) []string {
	t.Helper()
	directories, err := filepath.Glob(released + "/*")
	if err != nil || len(directories) == 0 {
		t.Fatalf("no released bundles in %s: %v", released, err)
	}
	return directories
}

// earlier are the releases before this version, which may itself be among the
// released ones.
func earlier(t *testing.T) []string {
	t.Helper()
	version := load(t, current).CSV.Spec.Version.String()
	return slices.DeleteFunc(releases(t), func(directory string) bool { return filepath.Base(directory) == version })
}

// load reads a bundle from its directory, with its channels and package.
func load(t *testing.T, directory string) *manifests.Bundle {
	t.Helper()
	bundle, err := manifests.GetBundleFromDir(directory)
	if err != nil {
		t.Fatal(err)
	}
	if bundle.CSV == nil || len(bundle.V1CRDs) == 0 {
		t.Fatalf("%s has no ClusterServiceVersion or no CRD", directory)
	}
	return bundle
}

// read decodes a YAML file of the repository.
func read[T any](t *testing.T, path string) T {
	t.Helper()
	var into T
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, &into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return into
}

// annotations are those of a bundle's metadata.
func annotations(t *testing.T, directory string) map[string]string {
	t.Helper()
	return read[struct{ Annotations map[string]string }](t, directory+"/metadata/annotations.yaml").Annotations
}

// chart is what these tests need of Chart.yaml.
type chart struct {
	Version     string
	KubeVersion string
	Annotations map[string]string
}

func readChart(t *testing.T) chart {
	t.Helper()
	return read[chart](t, repository+"/charts/"+name+"/Chart.yaml")
}
