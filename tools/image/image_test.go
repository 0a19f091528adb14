package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

func TestTheImageRunsTheOperatorAsNobody(t *testing.T) {
	directory := writeImage(t, standIns(t))
	images := imagesIn(t, directory)
	if len(images) != 2 {
		t.Fatalf("images for %d platforms, want 2", len(images))
	}
	for platform, image := range images {
		config, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if got := config.OS + "/" + config.Architecture; got != platform {
			t.Errorf("the configuration of %s says %s", platform, got)
		}
		want := v1.Config{
			Entrypoint: []string{"/imagepullsecret-operator"}, Cmd: []string{"manager"},
			User: "65532:65532", WorkingDir: "/", Labels: made.labels(),
		}
		if diff := cmp.Diff(want, config.Config); diff != "" {
			t.Errorf("%s (-want +got):\n%s", platform, diff)
		}
		if !config.Created.Equal(made.created) {
			t.Errorf("%s was created at %s", platform, config.Created)
		}
	}
}

// No shell, no /tmp, nothing that anybody but root may change.
func TestTheImageHoldsTheOperatorAndItsAuthoritiesOnly(t *testing.T) {
	for platform, image := range imagesIn(t, writeImage(t, standIns(t))) {
		layers, err := image.Layers()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, layer := range layers {
			content, err := layer.Uncompressed()
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, entries(t, content, beginning)...)
		}
		want := []string{
			"drwxr-xr-x etc/", "drwxr-xr-x etc/ssl/", "drwxr-xr-x etc/ssl/certs/",
			"-r--r--r-- etc/ssl/certs/ca-certificates.crt", "-r-xr-xr-x imagepullsecret-operator",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", platform, diff)
		}
	}
}

func TestTheSameBinariesGiveTheSameBytes(t *testing.T) {
	programs := standIns(t)
	first, second := writeImage(t, programs), writeImage(t, programs)
	for _, directory := range []string{first, second} {
		if err := run(t.Context(), []string{"sums", directory}, io.Discard); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(read(t, filepath.Join(first, sumsFile)), read(t, filepath.Join(second, sumsFile))); diff != "" {
		t.Error(diff)
	}
}

// So that an upgrade pulls the operator alone.
func TestTheAuthoritiesLayerDoesNotDependOnTheRelease(t *testing.T) {
	binaries, err := readBinaries(standIns(t))
	if err != nil {
		t.Fatal(err)
	}
	later := release{version: "v2.0.0", revision: "abc", created: made.created.Add(time.Hour)}
	var digests [2][]v1.Hash
	for i, r := range []release{made, later} {
		index, err := operatorIndex(binaries, r)
		if err != nil {
			t.Fatal(err)
		}
		for _, image := range imagesOf(t, index) {
			manifest, err := image.Manifest()
			if err != nil {
				t.Fatal(err)
			}
			digests[i] = append(digests[i], manifest.Layers[0].Digest)
		}
	}
	if all := slices.Concat(digests[0], digests[1]); len(slices.Compact(all)) != 1 {
		t.Errorf("layers of authorities: %v", all)
	}
}

func TestTheArchiveIsTheLayout(t *testing.T) {
	directory := writeImage(t, standIns(t))
	archive, err := os.Open(filepath.Join(directory, "imagepullsecret-operator-1.2.3.oci.tar"))
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	found := map[string]string{}
	for reader := tar.NewReader(archive); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(reader)
		if err != nil {
			t.Fatal(err)
		}
		if !header.ModTime.Equal(made.created) {
			t.Errorf("%s is of %s", header.Name, header.ModTime)
		}
		found[header.Name] = string(content)
	}
	onDisk := map[string]string{}
	for _, name := range filesBelow(t, filepath.Join(directory, "image")) {
		onDisk[name] = read(t, filepath.Join(directory, "image", name))
	}
	if diff := cmp.Diff(onDisk, found); diff != "" {
		t.Errorf("the archive and the layout differ (-layout +archive):\n%s", diff)
	}
	if !strings.Contains(found["index.json"], `"io.containerd.image.name": "`+reference+`"`) {
		t.Errorf("containerd would not know the name: %s", found["index.json"])
	}
}

// entries lists a layer: mode and name. Everything in it is to belong to root
// and to be of one time.
func entries(t *testing.T, content io.Reader, modified time.Time) []string {
	t.Helper()
	var list []string
	for reader := tar.NewReader(content); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		if header.Uid != 0 || header.Gid != 0 || !header.ModTime.Equal(modified) {
			t.Errorf("%s belongs to %d:%d and is of %s", header.Name, header.Uid, header.Gid, header.ModTime)
		}
		list = append(list, header.FileInfo().Mode().String()+" "+header.Name)
	}
}

// imagesIn returns the images in a directory that writeImage wrote, by their
// platforms.
func imagesIn(t *testing.T, directory string) map[string]v1.Image {
	t.Helper()
	index, err := readLayout(filepath.Join(directory, "image"))
	if err != nil {
		t.Fatal(err)
	}
	return imagesOf(t, index)
}

func imagesOf(t *testing.T, index v1.ImageIndex) map[string]v1.Image {
	t.Helper()
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	images := map[string]v1.Image{}
	for _, entry := range manifest.Manifests {
		if images[entry.Platform.String()], err = index.Image(entry.Digest); err != nil {
			t.Fatal(err)
		}
	}
	return images
}

func filesBelow(t *testing.T, directory string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(directory, func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			names = append(names, strings.TrimPrefix(filepath.ToSlash(path), filepath.ToSlash(directory)+"/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(bytes.TrimSpace(content))
}
