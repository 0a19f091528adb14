package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestACommandLineThatMeansNothingIsAnsweredWithTheUsage(t *testing.T) {
	cases := map[string][]string{
		"no command":             nil,
		"an unknown command":     {"wrap"},
		"no binary to write":     {"write"},
		"a binary to check":      {"check", "operator"},
		"no place to push to":    {"push"},
		"no file to archive to":  {"archive", "a"},
		"two directories to sum": {"sums", "a", "b"},
	}
	for name, args := range cases {
		t.Run(name, func(t *testing.T) {
			if err := run(t.Context(), args, t.Output()); err == nil || !strings.Contains(err.Error(), "image sums DIR") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestAnArchiveIsTheSameEachTime(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	var archives [2]string
	for i := range archives {
		// Written anew, and in the other order: neither tells in the archive.
		for _, name := range [][]string{{"a", "b"}, {"b", "a"}}[i] {
			if err := os.MkdirAll(filepath.Join(from, "sub"), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(from, "sub", name), []byte(name), 0o600); err != nil {
				t.Fatal(err)
			}
			when := time.Now().Add(time.Duration(i) * time.Hour)
			if err := os.Chtimes(filepath.Join(from, "sub", name), when, when); err != nil {
				t.Fatal(err)
			}
		}
		file := filepath.Join(to, "archive.tar")
		if err := run(t.Context(), []string{"archive", "-created", "2026-01-02T03:04:05Z", from, file}, t.Output()); err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		archives[i] = string(content)
		if err := os.RemoveAll(filepath.Join(from, "sub")); err != nil {
			t.Fatal(err)
		}
	}
	if archives[0] != archives[1] {
		t.Error("the archives differ")
	}
	if !strings.Contains(archives[0], "sub/a") || !strings.Contains(archives[0], "sub/b") {
		t.Error("a file is missing")
	}
}
