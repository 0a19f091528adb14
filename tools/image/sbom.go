package main

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"

	"github.com/imagepullsecrets/operator/tools/image/roots"
)

// writeSBOM writes what one platform's image consists of, as CycloneDX 1.6: the
// modules that Go noted in the binary, its standard library and the
// certificate authorities, which are in no binary but this tool's own (tool).
// It holds no serial number and no time but the release's: the same binary
// gives the same bytes.
func writeSBOM(out io.Writer, b binary, tool *debug.BuildInfo, r release) error {
	operator, err := operatorComponent(b, r)
	if err != nil {
		return err
	}
	components, err := componentsOf(b, tool)
	if err != nil {
		return err
	}
	var references []string
	for _, component := range components {
		references = append(references, component.BOMRef)
	}
	bom := cdx.NewBOM()
	bom.Metadata = &cdx.Metadata{
		Timestamp: r.created.Format(time.RFC3339),
		Component: &operator,
		Properties: &[]cdx.Property{
			{Name: "platform", Value: b.platform.String()}, {Name: "revision", Value: r.revision},
		},
	}
	bom.Components = &components
	bom.Dependencies = &[]cdx.Dependency{{Ref: operator.BOMRef, Dependencies: &references}}
	return cdx.NewBOMEncoder(out, cdx.BOMFileFormatJSON).SetPretty(true).EncodeVersion(bom, cdx.SpecVersion1_6)
}

// operatorComponent is the binary itself, with the sum of its file.
func operatorComponent(b binary, r release) (cdx.Component, error) {
	if b.info.Main.Path == "" {
		return cdx.Component{}, fmt.Errorf("the binary for %s names no module", b.platform)
	}
	sum := sha256.Sum256(b.content)
	component := golang(cdx.ComponentTypeApplication, b.info.Main.Path, r.version)
	component.Hashes = &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: hex.EncodeToString(sum[:])}}
	component.Licenses = &cdx.Licenses{{License: &cdx.License{ID: "Apache-2.0"}}}
	return component, nil
}

// componentsOf lists what is in the image beside the operator's own code, in
// the order of names.
func componentsOf(b binary, tool *debug.BuildInfo) ([]cdx.Component, error) {
	// As in "go1.26.8 X:someexperiment".
	version, _, _ := strings.Cut(strings.TrimPrefix(b.info.GoVersion, "go"), " ")
	components := []cdx.Component{golang(cdx.ComponentTypeLibrary, "std", version)}
	modules := slices.Clone(b.info.Deps)
	authorities := slices.IndexFunc(tool.Deps, func(m *debug.Module) bool { return m.Path == roots.Module })
	if authorities < 0 {
		return nil, fmt.Errorf("this program does not know its version of %s", roots.Module)
	}
	modules = append(modules, tool.Deps[authorities])
	for _, module := range modules {
		if module.Replace != nil {
			module = module.Replace
		}
		component, err := moduleComponent(module)
		if err != nil {
			return nil, err
		}
		components = append(components, component)
	}
	slices.SortFunc(components, func(x, y cdx.Component) int { return cmp.Compare(x.BOMRef, y.BOMRef) })
	return components, nil
}

// moduleComponent is a module, with its sum in go.sum (h1:, SHA-256 in base64).
func moduleComponent(module *debug.Module) (cdx.Component, error) {
	component := golang(cdx.ComponentTypeLibrary, module.Path, module.Version)
	encoded, found := strings.CutPrefix(module.Sum, "h1:")
	if !found {
		return component, nil
	}
	sum, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return cdx.Component{}, fmt.Errorf("the sum of %s: %w", module.Path, err)
	}
	component.Hashes = &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: hex.EncodeToString(sum)}}
	return component, nil
}

// golang is a component by its package URL, which is in lower case
// (package-url's type golang) and has no plain +, as in +incompatible.
func golang(kind cdx.ComponentType, path, version string) cdx.Component {
	url := "pkg:golang/" + strings.ToLower(path) + "@" + strings.ReplaceAll(version, "+", "%2B")
	return cdx.Component{BOMRef: url, Type: kind, Name: path, Version: version, PackageURL: url}
}
