package main

import (
	"archive/tar"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
)

// writeLayout writes an OCI image layout into a directory, which is made anew:
// one entry, under the name that it is to be known by (registry/repository:tag).
func writeLayout(directory string, index v1.ImageIndex, reference string) error {
	if err := os.RemoveAll(directory); err != nil {
		return err
	}
	written, err := layout.Write(directory, empty.Index)
	if err != nil {
		return fmt.Errorf("writing the image: %w", err)
	}
	name := map[string]string{
		"org.opencontainers.image.ref.name": reference, // skopeo, podman
		"io.containerd.image.name":          reference, // containerd, docker
	}
	if err := written.AppendIndex(index, layout.WithAnnotations(name)); err != nil {
		return fmt.Errorf("writing the image: %w", err)
	}
	return nil
}

// readLayout returns the image that writeLayout wrote.
func readLayout(directory string) (v1.ImageIndex, error) {
	entries, err := layout.ImageIndexFromPath(directory)
	if err != nil {
		return nil, err
	}
	manifest, err := entries.IndexManifest()
	if err != nil {
		return nil, err
	}
	if len(manifest.Manifests) != 1 {
		return nil, fmt.Errorf("%d entries in %s, want 1", len(manifest.Manifests), directory)
	}
	return entries.ImageIndex(manifest.Manifests[0].Digest)
}

// archive writes everything in a directory as a tar archive to path: in the
// order of names, and with one time and one mode, so that the same files give
// the same archive.
func archive(directory, path string, modified time.Time) (err error) {
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() {
		if closing := out.Close(); err == nil {
			err = closing
		}
	}()
	return writeTar(out, os.DirFS(directory), modified)
}

func writeTar(out io.Writer, files fs.FS, modified time.Time) error {
	w := tar.NewWriter(out)
	err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		return addFile(w, name, 0o644, modified, content)
	})
	if err != nil {
		return err
	}
	return w.Close()
}
