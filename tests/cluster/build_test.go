package cluster

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestBuildOutput(t *testing.T) {
	output := &buildOutput{}
	for _, piece := range []string{"go: downloading k8s.io/api v0.37.1\ngo: down", "loading k8s.io/kubernetes v1.37.1\n"} {
		must[int](t)(output.Write([]byte(piece)))
	}
	if got, want := output.summary(), "2 modules downloaded"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	must[int](t)(output.Write([]byte("internal/abi\nk8s.io/api/core/v1\n# k8s.io/api/core/v1\n./types.go:1:2: syntax error\nunfinished")))
	if got, want := output.summary(), "2 packages compiled"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := output.messages(), "# k8s.io/api/core/v1\n./types.go:1:2: syntax error\nunfinished"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestBuildFlagsTakeTheVersionFromGoMod(t *testing.T) {
	tests := map[string]string{
		"on a line of its own": "module m\n\nrequire k8s.io/kubernetes v1.37.1\n",
		"in a block":           "require (\n\tk8s.io/api v0.37.1\n\tk8s.io/kubernetes v1.37.1\n)\n",
	}
	for name, content := range tests {
		t.Run(name, func(t *testing.T) {
			flags := must[[]string](t)(software{}.buildFlags(goModDir(t, content)))
			want := "-s -w -X k8s.io/component-base/version.gitVersion=v1.37.1" +
				" -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=37"
			if !slices.Contains(flags, want) {
				t.Errorf("got %q, want %q among them", flags, want)
			}
		})
	}
	if flags := must[[]string](t)(software{}.buildFlags(goModDir(t, "module m\n"))); !slices.Contains(flags, "-s -w") {
		t.Errorf("without Kubernetes: got %q, want no version among them", flags)
	}
}

// goModDir makes a directory with a go.mod.
func goModDir(t *testing.T, content string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestBuildKeyFollowsTheSource(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b := &build{source: dir, goVersion: "go1.26.0", flags: []string{"-trimpath"}}
	seen := map[string]string{}
	check := func(change string) {
		t.Helper()
		key := must[string](t)(b.key())
		if other, found := seen[key]; found {
			t.Errorf("%s and %s have the same key", change, other)
		}
		seen[key] = change
	}
	write("go.mod", "a")
	write("go.sum", "b")
	write("main.go", "c")
	check("the first source")
	write("go.mod", "ab")
	write("go.sum", "")
	check("text moved between files")
	write("main.go", "d")
	check("another main.go")
	b.goVersion = "go1.26.1"
	check("another Go version")
	b.flags = append(b.flags, "-race")
	check("another flag")
	b.modFile = "older.mod"
	write("older.mod", "a")
	write("older.sum", "b")
	check("another module file")
	write("older.sum", "c")
	check("another version in its sums")
}

func TestAnInterruptedBuildEndsAndLeavesNoBinary(t *testing.T) {
	// A go command that never ends by itself and has a child, as the real one.
	bin, cache := t.TempDir(), t.TempDir()
	started := filepath.Join(cache, "started")
	script := "#!/bin/sh\ncase $1 in env) echo go1.26.0;; build) touch " + started + "; sleep 600;; esac\n"
	if err := os.WriteFile(filepath.Join(bin, "go"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
	ctx, cancel := contextThatEndsWhen(t, func() bool { return exists(started) })
	defer cancel()
	path, err := built(ctx, cache, kubernetesSoftware, newProgress(testLog{t}))
	if err == nil || !strings.Contains(err.Error(), "interrupted after") {
		t.Fatalf("got %q, %v; want an interrupted build", path, err)
	}
	if left := must[[]string](t)(filepath.Glob(filepath.Join(cache, "*", "bin"))); len(left) != 0 {
		t.Errorf("got %v, want no binary", left)
	}
}
