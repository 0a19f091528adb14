package main

import (
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/imagepullsecrets/operator/tools/image/roots"
)

// The same stands in the Dockerfile, and a test compares.
const (
	binaryPath = "imagepullsecret-operator"
	rootsPath  = "etc/ssl/certs/ca-certificates.crt"
	user       = "65532:65532"
	command    = "manager"
)

// release is what an image says of its origin.
type release struct {
	version  string
	revision string    // the commit
	created  time.Time // the commit's date
}

// labels are the labels and annotations of the image, by the names that the
// OCI's image specification gives them.
func (r release) labels() map[string]string {
	const prefix = "org.opencontainers.image."
	return map[string]string{
		prefix + "title":       "imagepullsecret-operator",
		prefix + "description": "Keeps registry logins as image pull Secrets in every selected namespace.",
		prefix + "source":      "https://github.com/imagepullsecrets/operator",
		prefix + "licenses":    "Apache-2.0",
		prefix + "version":     r.version,
		prefix + "revision":    r.revision,
		prefix + "created":     r.created.Format(time.RFC3339),
	}
}

// operatorIndex returns the multi-arch image of the binaries. The same
// arguments give the same digest.
func operatorIndex(binaries []binary, r release) (v1.ImageIndex, error) {
	certificates, err := roots.PEM()
	if err != nil {
		return nil, err
	}
	trusted, err := layer(rootsPath, 0o444, certificates)
	if err != nil {
		return nil, err
	}
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, b := range binaries {
		image, err := operatorImage(trusted, b, r)
		if err != nil {
			return nil, err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: image, Descriptor: v1.Descriptor{Platform: &b.platform},
		})
	}
	return annotated(index, r), nil
}

// operatorImage returns the image of one binary: the authorities that it
// trusts, which seldom change, under the binary itself.
func operatorImage(trusted v1.Layer, b binary, r release) (v1.Image, error) {
	program, err := layer(binaryPath, 0o555, b.content)
	if err != nil {
		return nil, err
	}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	base, err = mutate.ConfigFile(base, &v1.ConfigFile{
		OS: b.platform.OS, Architecture: b.platform.Architecture,
		Created: v1.Time{Time: r.created},
		RootFS:  v1.RootFS{Type: "layers"},
		Config: v1.Config{
			Entrypoint: []string{"/" + binaryPath}, Cmd: []string{command},
			User: user, WorkingDir: "/", Labels: r.labels(),
		},
	})
	if err != nil {
		return nil, err
	}
	history := func(what string) v1.History {
		return v1.History{Created: v1.Time{Time: r.created}, CreatedBy: "make image", Comment: what}
	}
	image, err := mutate.Append(base,
		mutate.Addendum{Layer: trusted, History: history("the authorities that it trusts")},
		mutate.Addendum{Layer: program, History: history("the operator")})
	if err != nil {
		return nil, err
	}
	return annotated(image, r), nil
}

// annotated returns an image or an index with the release's annotations.
func annotated[T partial.WithRawManifest](of T, r release) T {
	return mutate.Annotations(of, r.labels()).(T) //nolint:forcetypeassert // it returns what it was given
}
