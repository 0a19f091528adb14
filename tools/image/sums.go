package main

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const sumsFile = "SHA256SUMS"

// writeSums writes the SHA-256 sum of every file in a directory and below into
// its SHA256SUMS, as `sha256sum -c` reads them.
func writeSums(directory string) error {
	var lines strings.Builder
	files := os.DirFS(directory)
	err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || name == sumsFile {
			return err
		}
		content, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		fmt.Fprintf(&lines, "%x  %s\n", sha256.Sum256(content), name)
		return nil
	})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(directory, sumsFile), []byte(lines.String()), 0o644) //nolint:gosec // everybody may read it
}
