package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"path"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Everything in the image belongs to root and is as old as Unix, so that a
// layer depends on its files' content alone, and one that two versions share
// is stored and pulled once.
var beginning = time.Unix(0, 0).UTC()

// layer returns a layer that holds one file and the directories above it. name
// is relative to the root.
func layer(name string, mode int64, content []byte) (v1.Layer, error) {
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for _, directory := range above(name) {
		header := &tar.Header{Typeflag: tar.TypeDir, Name: directory + "/", Mode: 0o755, ModTime: beginning}
		if err := w.WriteHeader(header); err != nil {
			return nil, fmt.Errorf("packing %s: %w", directory, err)
		}
	}
	if err := addFile(w, name, mode, beginning, content); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(archive.Bytes())), nil }
	return tarball.LayerFromOpener(open, tarball.WithMediaType(types.OCILayer),
		tarball.WithCompressionLevel(gzip.BestCompression), tarball.WithCompressedCaching)
}

// above returns the directories above a relative path, the topmost first.
func above(name string) []string {
	var directories []string
	for directory := path.Dir(name); directory != "."; directory = path.Dir(directory) {
		directories = append(directories, directory)
	}
	slices.Reverse(directories)
	return directories
}

// addFile adds a file that belongs to root.
func addFile(w *tar.Writer, name string, mode int64, modified time.Time, content []byte) error {
	header := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(content)), ModTime: modified}
	if err := w.WriteHeader(header); err != nil {
		return fmt.Errorf("packing %s: %w", name, err)
	}
	if _, err := w.Write(content); err != nil {
		return fmt.Errorf("packing %s: %w", name, err)
	}
	return nil
}
