package registry

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// user is the one of distroless images, as a number, so that the kubelet can
// check runAsNonRoot.
const user = "65532:65532"

// ProgramImage returns an image for this machine's architecture that holds and
// runs one program: the static binary of this file, at the image's path.
func ProgramImage(file, path string) (v1.Image, error) {
	program, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("make an image: %w", err)
	}
	var archive bytes.Buffer
	writer := tar.NewWriter(&archive)
	header := &tar.Header{Name: strings.TrimPrefix(path, "/"), Mode: 0o755, Size: int64(len(program))}
	if err := writer.WriteHeader(header); err != nil {
		return nil, fmt.Errorf("make an image of %s: %w", file, err)
	}
	if _, err := writer.Write(program); err != nil {
		return nil, fmt.Errorf("make an image of %s: %w", file, err)
	}
	if err := writer.Close(); err != nil {
		return nil, fmt.Errorf("make an image of %s: %w", file, err)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(archive.Bytes())), nil
	})
	if err != nil {
		return nil, fmt.Errorf("make an image of %s: %w", file, err)
	}
	image, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return nil, fmt.Errorf("make an image of %s: %w", file, err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("make an image of %s: %w", file, err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", runtime.GOARCH
	config.Config = v1.Config{Entrypoint: []string{path}, User: user}
	return mutate.ConfigFile(image, config)
}
