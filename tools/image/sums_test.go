package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestSumsAreOfEveryFileButThemselves(t *testing.T) {
	directory := t.TempDir()
	for name, content := range map[string]string{"b": "abc", "a/deep": "", sumsFile: "of another time"} {
		path := filepath.Join(directory, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := run(t.Context(), []string{"sums", directory}, t.Output()); err != nil {
		t.Fatal(err)
	}
	want := "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  a/deep\n" +
		"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  b"
	if got := read(t, filepath.Join(directory, sumsFile)); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}
