package main

import (
	"bytes"
	"debug/buildinfo"
	"encoding/json"
	"net/url"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/xeipuuv/gojsonschema"

	"github.com/imagepullsecrets/operator/tools/image/roots"
)

// described is a binary with a module of each kind.
var described = binary{
	content:  []byte("abc"),
	platform: v1.Platform{OS: "linux", Architecture: "arm64"},
	info: &buildinfo.BuildInfo{
		GoVersion: "go1.26.8 X:experiment",
		Main:      debug.Module{Path: "github.com/imagepullsecrets/operator", Version: "(devel)"},
		Deps: []*debug.Module{
			{Path: "k8s.io/api", Version: "v0.37.2", Sum: "h1:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="},
			{Path: "github.com/Azure/thing/v2", Version: "v2.0.0+incompatible"},
			{Path: "example.com/old", Version: "v1.0.0", Replace: &debug.Module{Path: "example.com/new", Version: "v1.1.0"}},
		},
	},
}

var toolInfo = &debug.BuildInfo{Deps: []*debug.Module{
	{Path: "github.com/google/go-containerregistry", Version: "v0.22.1"}, {Path: roots.Module, Version: "v0.0.1"},
}}

func TestTheSBOMNamesEverythingInTheImage(t *testing.T) {
	var bom cdx.BOM
	if err := json.Unmarshal(sbom(t), &bom); err != nil {
		t.Fatal(err)
	}
	const operator = "pkg:golang/github.com/imagepullsecrets/operator@v1.2.3"
	want := []string{
		"pkg:golang/example.com/new@v1.1.0", "pkg:golang/github.com/azure/thing/v2@v2.0.0%2Bincompatible",
		"pkg:golang/" + roots.Module + "@v0.0.1", "pkg:golang/k8s.io/api@v0.37.2", "pkg:golang/std@1.26.8",
	}
	var got []string
	for _, component := range *bom.Components {
		got = append(got, component.PackageURL)
		if component.Name == "k8s.io/api" && (*component.Hashes)[0].Value != "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" {
			t.Errorf("the sum in go.sum became %v", *component.Hashes)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(&[]cdx.Dependency{{Ref: operator, Dependencies: &want}}, bom.Dependencies); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if sum := (*bom.Metadata.Component.Hashes)[0].Value; sum != "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" {
		t.Errorf("the binary's sum is %s", sum)
	}
	if bom.Metadata.Timestamp != "2026-11-20T10:00:00Z" || bom.SerialNumber != "" {
		t.Errorf("made at %q with the number %q", bom.Metadata.Timestamp, bom.SerialNumber)
	}
}

func TestTheSBOMIsCycloneDX(t *testing.T) {
	output, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/CycloneDX/cyclonedx-go").Output()
	if err != nil {
		t.Fatal(err)
	}
	directory := filepath.Join(strings.TrimSpace(string(output)), "schema")
	file := func(name string) gojsonschema.JSONLoader {
		return gojsonschema.NewReferenceLoader((&url.URL{Scheme: "file", Path: filepath.ToSlash(filepath.Join(directory, name))}).String())
	}
	// The schema refers to two others, by addresses that need not be asked.
	loader := gojsonschema.NewSchemaLoader()
	if err := loader.AddSchemas(file("spdx.schema.json"), file("jsf-0.82.schemax.json")); err != nil {
		t.Fatal(err)
	}
	schema, err := loader.Compile(file("bom-1.6.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	result, err := schema.Validate(gojsonschema.NewBytesLoader(sbom(t)))
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range result.Errors() {
		t.Error(problem)
	}
}

func TestAnImageOfUnknownAuthoritiesHasNoSBOM(t *testing.T) {
	if err := writeSBOM(&bytes.Buffer{}, described, &debug.BuildInfo{}, made); err == nil {
		t.Error("there is one")
	}
}

func TestEachBinaryHasAnSBOMBesideIt(t *testing.T) {
	directory := writeImage(t, standIns(t))
	for _, platform := range []string{"amd64", "arm64"} {
		path := filepath.Join(directory, "imagepullsecret-operator-1.2.3-linux-"+platform)
		var bom cdx.BOM
		if err := json.Unmarshal([]byte(read(t, path+".cdx.json")), &bom); err != nil {
			t.Fatal(err)
		}
		if got, want := (*bom.Metadata.Properties)[0].Value, "linux/"+platform; got != want {
			t.Errorf("for %s, want %s", got, want)
		}
		b, err := readBinary(path)
		if err != nil || b.platform.Architecture != platform {
			t.Errorf("%s is for %s: %v", path, b.platform, err)
		}
	}
}

func sbom(t *testing.T) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := writeSBOM(&out, described, toolInfo, made); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
