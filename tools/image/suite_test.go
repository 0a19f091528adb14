package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// made is what the tests' images say of their origin.
var made = release{
	version: "v1.2.3", revision: "5f3c0d1e2b4a69788796a5b4c3d2e1f001122334",
	created: time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC),
}

// standIn builds a program for a platform that prints a line and returns its
// path.
func standIn(t *testing.T, goos, goarch, says string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "operator")
	command := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false",
		"-ldflags", "-s -w -X 'main.says="+says+"'", "-o", path, "./testdata/operator")
	command.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+goos, "GOARCH="+goarch)
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("building a stand-in: %v\n%s", err, output)
	}
	return path
}

// standIns are programs for both architectures that tell the release.
func standIns(t *testing.T) []string {
	t.Helper()
	return []string{standIn(t, "linux", "amd64", made.described()), standIn(t, "linux", "arm64", made.described())}
}

// flags are the arguments of a command that writes or checks the image of made
// in a directory.
func flags(command, directory string) []string {
	return []string{
		command, "-out", directory, "-version", made.version, "-revision", made.revision,
		"-created", made.created.Format(time.RFC3339),
	}
}

const reference = "registry.example.com/operator:v1.2.3"

// write writes the image of programs into a new directory and returns it.
func writeImage(t *testing.T, programs []string) string {
	t.Helper()
	directory := t.TempDir()
	args := append(flags("write", directory), "-name", reference)
	if err := run(t.Context(), append(args, programs...), t.Output()); err != nil {
		t.Fatal(err)
	}
	return directory
}

// own reports whether a platform's binaries run on this machine.
func own(goos, goarch string) bool { return goos == runtime.GOOS && goarch == runtime.GOARCH }
