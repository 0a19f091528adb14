package main

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// check fails unless the layout holds the operator's image as it is to be: sums
// that are right, images with nothing in them but the operator and the
// authorities, and, for this machine's own architecture, a binary that runs and
// tells the release. It reports each image to out.
func check(ctx context.Context, directory string, r release, out io.Writer) error {
	index, err := readLayout(directory)
	if err != nil {
		return err
	}
	if err := validate.Index(index); err != nil {
		return fmt.Errorf("%s: %w", directory, err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return err
	}
	for _, entry := range manifest.Manifests {
		image, err := index.Image(entry.Digest)
		if err != nil {
			return err
		}
		if err := checkImage(ctx, image, r, out); err != nil {
			return fmt.Errorf("the image for %s: %w", entry.Platform, err)
		}
	}
	return nil
}

func checkImage(ctx context.Context, image v1.Image, r release, out io.Writer) error {
	files, err := extract(image)
	if err != nil {
		return err
	}
	if names, want := sortedNames(files), []string{rootsPath, binaryPath}; !slices.Equal(names, want) {
		return fmt.Errorf("it holds %v, want %v", names, want)
	}
	config, err := image.ConfigFile()
	if err != nil {
		return err
	}
	told := "not run: of another architecture"
	if config.OS == runtime.GOOS && config.Architecture == runtime.GOARCH {
		if told, err = versionOf(ctx, files[binaryPath]); err != nil {
			return err
		}
		if want := r.described(); told != want {
			return fmt.Errorf("its binary says %q, want %q", told, want)
		}
	}
	manifest, err := image.Manifest()
	if err != nil {
		return err
	}
	pulled, unpacked := manifest.Config.Size, 0
	for _, layer := range manifest.Layers {
		pulled += layer.Size
	}
	for _, content := range files {
		unpacked += len(content)
	}
	fmt.Fprintf(out, "%s/%s: %.1f MB to pull, %.1f MB unpacked; %s\n", config.OS, config.Architecture,
		float64(pulled)/1e6, float64(unpacked)/1e6, told)
	return nil
}

// described is what the operator's --version says of the release.
func (r release) described() string {
	return fmt.Sprintf("%s version %s (commit %s, %s)", binaryPath, r.version, r.revision, r.created.Format(time.RFC3339))
}

// extract returns the files of an image by their paths. Directories apart, it
// refuses whatever is no plain file.
func extract(image v1.Image) (map[string][]byte, error) {
	stream := mutate.Extract(image)
	defer func() { _ = stream.Close() }()
	files := map[string][]byte{}
	for archive := tar.NewReader(stream); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, err
		}
		switch header.Typeflag {
		case tar.TypeDir:
		case tar.TypeReg:
			if files[header.Name], err = io.ReadAll(archive); err != nil {
				return nil, err
			}
		default:
			return nil, fmt.Errorf("%s is neither a file nor a directory", header.Name)
		}
	}
}

func sortedNames(files map[string][]byte) []string {
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// versionOf runs a binary with --version and returns the line that it prints.
func versionOf(ctx context.Context, content []byte) (string, error) {
	directory, err := os.MkdirTemp("", "image-check-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(directory) }()
	path := filepath.Join(directory, binaryPath)
	if err := os.WriteFile(path, content, 0o700); err != nil { //nolint:gosec // it is to be run
		return "", err
	}
	output, err := exec.CommandContext(ctx, path, "--version").CombinedOutput() //nolint:gosec // it is what was just built
	if err != nil {
		return "", fmt.Errorf("running its binary: %w: %s", err, output)
	}
	return strings.TrimSpace(string(output)), nil
}
