package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
)

func TestCheckReportsWhatItFound(t *testing.T) {
	directory := writeImage(t, standIns(t))
	var report bytes.Buffer
	if err := run(t.Context(), flags("check", directory), &report); err != nil {
		t.Fatal(err)
	}
	for _, platform := range []string{"amd64", "arm64"} {
		told := "not run: of another architecture"
		if own("linux", platform) {
			told = made.described()
		}
		line := regexp.MustCompile(`(?m)^linux/` + platform + `: \d+\.\d MB to pull, \d+\.\d MB unpacked; ` + regexp.QuoteMeta(told) + `$`)
		if !line.MatchString(report.String()) {
			t.Errorf("no line like %s in:\n%s", line, &report)
		}
	}
}

func TestCheckRefusesAnImageThatIsNotAsItShouldBe(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the binary can't be run on this system")
	}
	cases := map[string]struct {
		spoil func(t *testing.T, layoutDirectory string)
		want  string
	}{
		"its binary tells another version": {
			func(t *testing.T, directory string) {
				other := standIn(t, "linux", runtime.GOARCH, strings.Replace(made.described(), "v1.2.3", "v1.2.2", 1))
				writeIndex(t, directory, indexOf(t, other))
			}, `its binary says "imagepullsecret-operator version v1.2.2 (`,
		},
		"it holds a shell": {
			func(t *testing.T, directory string) { addLayer(t, directory, "bin/sh") },
			"it holds [bin/sh etc/ssl/certs/ca-certificates.crt imagepullsecret-operator]",
		},
		"a blob was changed": {
			changeABlob,
			"validating layers",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			directory := writeImage(t, []string{standIn(t, "linux", runtime.GOARCH, made.described())})
			c.spoil(t, filepath.Join(directory, "image"))
			err := run(t.Context(), flags("check", directory), t.Output())
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q in it", err, c.want)
			}
		})
	}
}

func TestOnlyStaticBinariesForLinuxAreTaken(t *testing.T) {
	good := standIn(t, "linux", "amd64", "")
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		paths []string
		want  string
	}{
		"a script":                        {[]string{script}, "not a binary of Go"},
		"a binary for another system":     {[]string{standIn(t, "darwin", "arm64", "")}, "built for darwin/arm64"},
		"a binary that asks for a linker": {[]string{asksForALinker(t, good)}, "linked dynamically"},
		"two for one platform":            {[]string{good, good}, "a second binary for linux/amd64"},
		"none at all":                     {[]string{filepath.Join(t.TempDir(), "missing")}, "no such file"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if _, err := readBinaries(c.paths); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q in it", err, c.want)
			}
		})
	}
}

func TestAReleaseOfUnknownOriginIsRefused(t *testing.T) {
	program := standIn(t, "linux", "amd64", "")
	all := map[string]string{"-version": "v1", "-revision": "abc", "-created": "2026-11-20T10:00:00Z"}
	for missing := range all {
		args := []string{"write", "-out", t.TempDir()}
		for name, value := range all {
			if name == missing {
				value = ""
			}
			args = append(args, name, value)
		}
		if err := run(t.Context(), append(args, program), t.Output()); err == nil || !strings.Contains(err.Error(), missing) {
			t.Errorf("without %s: %v", missing, err)
		}
	}
}

func indexOf(t *testing.T, programs ...string) v1.ImageIndex {
	t.Helper()
	binaries, err := readBinaries(programs)
	if err != nil {
		t.Fatal(err)
	}
	index, err := operatorIndex(binaries, made)
	if err != nil {
		t.Fatal(err)
	}
	return index
}

func writeIndex(t *testing.T, directory string, index v1.ImageIndex) {
	t.Helper()
	if err := writeLayout(directory, index, reference); err != nil {
		t.Fatal(err)
	}
}

// addLayer adds a file to the only image in a layout.
func addLayer(t *testing.T, directory, name string) {
	t.Helper()
	index, err := readLayout(directory)
	if err != nil {
		t.Fatal(err)
	}
	more, err := layer(name, 0o755, []byte("#!"))
	if err != nil {
		t.Fatal(err)
	}
	for _, image := range imagesOf(t, index) {
		image, err := mutate.AppendLayers(image, more)
		if err != nil {
			t.Fatal(err)
		}
		// Elsewhere first: the layers are still read from this one.
		other := t.TempDir()
		writeIndex(t, other, mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: image}))
		if err := os.RemoveAll(directory); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(other, directory); err != nil {
			t.Fatal(err)
		}
	}
}

// changeABlob flips a bit of the largest blob, a layer.
func changeABlob(t *testing.T, directory string) {
	t.Helper()
	largest, content := "", []byte(nil)
	for _, name := range filesBelow(t, directory) {
		path := filepath.Join(directory, name)
		blob, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if len(blob) > len(content) {
			largest, content = path, blob
		}
	}
	content[len(content)/2] ^= 1
	if err := os.WriteFile(largest, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// asksForALinker returns a copy of a 64-bit ELF binary, the first of whose
// program headers says PT_INTERP.
func asksForALinker(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const headersAt, interpreter = 32, 3 // e_phoff in the file's header; PT_INTERP
	content[content[headersAt]] = interpreter
	changed := filepath.Join(t.TempDir(), "dynamic")
	if err := os.WriteFile(changed, content, 0o700); err != nil {
		t.Fatal(err)
	}
	return changed
}
