package bundle

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/blang/semver/v4"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// blob is a piece of a file-based catalog, as far as these tests look at it.
type blob struct {
	Schema, Package, Name, Image, DefaultChannel string

	Entries    []entry
	Properties []struct{ Type string }
}

// entry is a release in a channel.
type entry struct {
	Name, Replaces, SkipRange string
	Skips                     []string
}

// makeCatalog makes the catalog in a directory of its own, which includes `opm
// validate`, and reads it.
func makeCatalog(t *testing.T, arguments ...string) []blob {
	t.Helper()
	tool(t, "opm")
	directory := t.TempDir()
	out, err := run(t, "make", append([]string{"-s", "catalog", "DIST=" + directory}, arguments...)...)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	files, err := filepath.Glob(directory + "/catalog/" + name + "/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var blobs []blob
	for _, file := range files {
		blobs = append(blobs, parse(t, readFile(t, file))...)
	}
	return blobs
}

// parse reads a file of a catalog.
func parse(t *testing.T, text []byte) []blob {
	t.Helper()
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
	var blobs []blob
	for {
		var one blob
		switch err := decoder.Decode(&one); {
		case errors.Is(err, io.EOF):
			return blobs
		case err != nil:
			t.Fatal(err)
		case one.Schema != "":
			blobs = append(blobs, one)
		}
	}
}

// of are the blobs of a schema.
func of(blobs []blob, schema string) []blob {
	return slices.DeleteFunc(slices.Clone(blobs), func(one blob) bool { return one.Schema != schema })
}

// The catalog holds every release, as an image of its version and without the
// objects that OpenShift's catalogs refuse.
func TestCatalogHoldsEveryRelease(t *testing.T) {
	blobs := makeCatalog(t)
	packages := of(blobs, "olm.package")
	if len(packages) != 1 || packages[0].Name != name || packages[0].DefaultChannel != "stable" {
		t.Fatalf("packages %+v", packages)
	}
	bundles := of(blobs, "olm.bundle")
	directories := append(earlier(t), current)
	if len(bundles) != len(directories) {
		t.Errorf("%d bundles of %d directories", len(bundles), len(directories))
	}
	for _, directory := range directories {
		csv := load(t, directory).CSV
		i := slices.IndexFunc(bundles, func(one blob) bool { return one.Name == csv.Name })
		if i < 0 {
			t.Errorf("%s is not there", csv.Name)
			continue
		}
		if want := "ghcr.io/imagepullsecrets/operator-bundle:v" + csv.Spec.Version.String(); bundles[i].Image != want {
			t.Errorf("%s is image %s", csv.Name, bundles[i].Image)
		}
		for _, property := range bundles[i].Properties {
			if property.Type == "olm.bundle.object" {
				t.Errorf("%s holds objects", csv.Name)
			}
		}
	}
}

// Inline, it holds the objects, and no image that would have to be pulled.
func TestInlineCatalogNeedsNoBundleImages(t *testing.T) {
	blobs := makeCatalog(t, "INLINE=1")
	for _, one := range of(blobs, "olm.bundle") {
		if one.Image != "" {
			t.Errorf("%s is image %s", one.Name, one.Image)
		}
	}
}

// From every release a channel leads to this one, by what it replaces and by
// the range that it skips; and its bundle says the same of itself.
func TestEveryReleaseIsUpgradedToThisOne(t *testing.T) {
	csv := load(t, current).CSV
	blobs := parse(t, readFile(t, repository+"/catalog/package.yaml"))
	var channels []string
	for _, channel := range of(blobs, "olm.channel") {
		channels = append(channels, channel.Name)
		i := slices.IndexFunc(channel.Entries, func(one entry) bool { return one.Name == csv.Name })
		if i < 0 {
			t.Errorf("channel %s has no %s", channel.Name, csv.Name)
			continue
		}
		this := channel.Entries[i]
		if this.Replaces != csv.Spec.Replaces || this.SkipRange != csv.Annotations["olm.skipRange"] {
			t.Errorf("channel %s says %+v, the bundle replaces %s and skips %s", channel.Name, this,
				csv.Spec.Replaces, csv.Annotations["olm.skipRange"])
		}
		skipped, err := semver.ParseRange(this.SkipRange)
		if err != nil {
			t.Fatalf("channel %s: %v", channel.Name, err)
		}
		if skipped(csv.Spec.Version.Version) {
			t.Errorf("channel %s: %s skips itself", channel.Name, csv.Name)
		}
		for _, directory := range earlier(t) {
			if before := load(t, directory).CSV; !skipped(before.Spec.Version.Version) {
				t.Errorf("channel %s: %s does not skip %s", channel.Name, csv.Name, before.Name)
			}
		}
	}
	if want := strings.Split(annotations(t, current)["operators.operatorframework.io.bundle.channels.v1"], ","); !slices.Equal(channels, want) {
		t.Errorf("channels %v, the bundle's are %v", channels, want)
	}
}

// readFile reads a file of the repository.
func readFile(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// community-operators' directories are named by version.
func TestReleasedBundlesAreNamedByVersion(t *testing.T) {
	for _, directory := range releases(t) {
		if version := load(t, directory).CSV.Spec.Version.String(); filepath.Base(directory) != version {
			t.Errorf("%s holds version %s", directory, version)
		}
	}
}
