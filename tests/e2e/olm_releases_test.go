//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/imagepullsecrets/operator/tests/operator"
)

// The releases in the tests' catalogs. The broken one is the current one with a
// CRD that has another version in place of the one that objects are stored in.
const (
	firstRelease   = "0.1.0"
	currentRelease = "0.2.0"
	brokenRelease  = "0.3.0"
)

// workshop is a copy of the repository, in which bundles and catalogs are made for
// the private registry as somebody makes them who has one.
type workshop struct{ directory string }

// openWorkshop makes the copy, with the tools and the kept bundle of the first
// release, which is changed to name the private registry, too.
func openWorkshop(t *testing.T) workshop {
	t.Helper()
	w := workshop{t.TempDir()}
	for _, name := range []string{"api", "catalog", "charts", "config", "hack"} {
		if err := os.CopyFS(w.path(name), os.DirFS(filepath.Join(operator.Root(), name))); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"Makefile", "PROJECT", "go.mod", "go.sum"} {
		w.write(t, name, readFile(t, filepath.Join(operator.Root(), name)))
	}
	if err := os.Mkdir(w.path("bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, tool := range []string{"kustomize", "operator-sdk", "opm"} {
		if err := os.Symlink(filepath.Join(operator.Root(), "bin", tool), w.path("bin", tool)); err != nil {
			t.Fatal(err)
		}
	}
	w.replace(t, "catalog/bundles/"+firstRelease, "ghcr.io/imagepullsecrets/operator:v"+firstRelease, imageOf(firstRelease))
	return w
}

func (w workshop) path(elements ...string) string {
	return filepath.Join(append([]string{w.directory}, elements...)...)
}

// make runs make, which takes the tools as they are.
func (w workshop) make(t *testing.T, arguments ...string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), "make", append([]string{
		"--silent", "--old-file=bin/kustomize", "--old-file=bin/operator-sdk", "--old-file=bin/opm",
	}, arguments...)...)
	command.Dir = w.directory
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("make %v: %v\n%s", arguments, err, output)
	}
}

func (w workshop) write(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(w.path(name), content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// replace replaces a text in the files of a directory, in which it has to be.
func (w workshop) replace(t *testing.T, directory, before, after string) {
	t.Helper()
	found := false
	err := filepath.WalkDir(w.path(directory), func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content := readFile(t, path)
		found = found || bytes.Contains(content, []byte(before))
		return os.WriteFile(path, bytes.ReplaceAll(content, []byte(before), []byte(after)), 0o600)
	})
	if err != nil || !found {
		t.Fatalf("replace %q in %s: found %t, %v", before, directory, found, err)
	}
}

func (w workshop) copyBundle(t *testing.T, from, to string) {
	t.Helper()
	if err := errors.Join(os.RemoveAll(w.path(to)), os.CopyFS(w.path(to), os.DirFS(w.path(from)))); err != nil {
		t.Fatal(err)
	}
}

// imageOf is the image of a release in the private registry.
func imageOf(release string) string {
	tags := map[string]string{firstRelease: previous, currentRelease: current}
	return shared.registry.Host() + "/" + operatorImage + ":" + tags[release]
}

// catalogs are the directories of the catalog as it is after each release.
func (w workshop) catalogs(t *testing.T) map[string]string {
	t.Helper()
	catalogs := map[string]string{}
	w.copyBundle(t, "catalog/bundles/"+firstRelease, "bundle")
	catalogs[firstRelease] = w.catalog(t, firstRelease)

	w.make(t, "bundle", "IMG="+imageOf(currentRelease))
	catalogs[currentRelease] = w.catalog(t, firstRelease, currentRelease)

	w.copyBundle(t, "bundle", "catalog/bundles/"+currentRelease)
	csv := "bundle/manifests"
	w.replace(t, csv, "name: "+operatorName+".v"+currentRelease, "name: "+operatorName+".v"+brokenRelease)
	w.replace(t, csv, "replaces: "+operatorName+".v"+firstRelease, "replaces: "+operatorName+".v"+currentRelease)
	w.replace(t, csv, "\n  version: "+currentRelease, "\n  version: "+brokenRelease)
	w.replace(t, csv, "version: v1alpha1\n", "version: v1beta1\n") // the CSV's list of what it owns
	w.replace(t, csv, "\n    name: v1alpha1\n", "\n    name: v1beta1\n")
	catalogs[brokenRelease] = w.catalog(t, firstRelease, currentRelease, brokenRelease)
	return catalogs
}

// catalog makes the catalog of some releases, of which the last one is in bundle/,
// and returns its directory.
func (w workshop) catalog(t *testing.T, releases ...string) string {
	t.Helper()
	w.write(t, "catalog/package.yaml", packageOf(t, releases))
	last := releases[len(releases)-1]
	w.make(t, "catalog", "INLINE=1", "DIST="+w.path("dist", last))
	return w.path("dist", last, "catalog")
}

// packageOf is the catalog's package as it was when the last of the releases had
// come out: later ones are left out, and the broken one, which the repository
// does not know, is added.
func packageOf(t *testing.T, releases []string) []byte {
	t.Helper()
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(readFile(t, filepath.Join(operator.Root(), "catalog", "package.yaml"))), 4096)
	var text bytes.Buffer
	for {
		var blob map[string]any
		switch err := decoder.Decode(&blob); {
		case errors.Is(err, io.EOF):
			return text.Bytes()
		case err != nil:
			t.Fatal(err)
		}
		if entries, isChannel := blob["entries"].([]any); isChannel {
			entries = slices.DeleteFunc(entries, func(entry any) bool {
				_, release, _ := strings.Cut(entry.(map[string]any)["name"].(string), ".v")
				return !slices.Contains(releases, release)
			})
			if slices.Contains(releases, brokenRelease) {
				entries = append(entries, map[string]any{
					"name": operatorName + ".v" + brokenRelease, "replaces": operatorName + ".v" + currentRelease,
				})
			}
			blob["entries"] = entries
		}
		text.WriteString("---\n")
		if err := json.NewEncoder(&text).Encode(blob); err != nil {
			t.Fatal(err)
		}
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}
