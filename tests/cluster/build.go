package cluster

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"time"
)

const (
	modulePath = "github.com/imagepullsecrets/operator/tests"

	buildProgressInterval = 3 * time.Second

	// buildStopGrace lets the go command remove its temporary files.
	buildStopGrace = 10 * time.Second
)

// software is something that is compiled from a module of its own in this
// package's directory, so that the modules behind it stay out of the tests'
// go.mod.
type software struct {
	name     string // as people call it
	module   string // the module's directory
	packages []string
	modFile  string // in that directory; go.mod if empty
	tags     string // of go build
	effort   string // of the first build
}

// modFiles returns the paths, below a directory, of what pins the modules.
func (s software) modFiles(dir string) (mod, sum string) {
	mod = filepath.Join(dir, cmp.Or(s.modFile, "go.mod"))
	return mod, strings.TrimSuffix(mod, ".mod") + ".sum"
}

var (
	kubernetesSoftware = software{name: "Kubernetes", module: "kubernetes", packages: []string{"."},
		effort: "about 2,800 packages, 6 minutes on two cores"}
	containerdSoftware = software{name: "containerd", module: "containerd", effort: "about a minute", packages: []string{
		"github.com/containerd/containerd/v2/cmd/containerd", "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2", "./pause"}}
	olmSoftware = software{name: "OLM", module: "olm", effort: "about five minutes on two cores", packages: []string{
		"github.com/operator-framework/operator-lifecycle-manager/cmd/olm", "github.com/operator-framework/operator-lifecycle-manager/cmd/catalog", "./crds"}}
)

// build is one way of compiling software.
type build struct {
	software
	goCommand string   // absolute path
	source    string   // the directory of the module
	goVersion string   // as in "go1.26.0"
	flags     []string // of go build
}

// cacheDir returns the directory, outside the source tree, that keeps built
// binaries and the records of running clusters.
func cacheDir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find a cache directory for the test cluster: %w; set HOME", err)
	}
	return filepath.Join(dir, "imagepullsecret-operator", "cluster"), nil
}

// built returns the directory of what software's packages compile to, and
// builds it if cache has none. Of several processes only one builds.
func built(ctx context.Context, cache string, s software, progress *progress) (string, error) {
	b, err := newBuild(ctx, s)
	if err != nil {
		return "", err
	}
	key, err := b.key()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, key)
	binaries := filepath.Join(dir, "bin")
	if exists(binaries) {
		return binaries, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	lock, err := lockFile(ctx, filepath.Join(dir, "lock"), func() {
		progress.printf("waiting for another process, which builds %s (first run only, minutes)", s.name)
	})
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if exists(binaries) {
		return binaries, nil
	}
	// Built beside its place and renamed, so that an interrupted build leaves
	// nothing that looks finished; the fixed name is reused by the next one.
	partial := binaries + ".partial"
	if err := os.MkdirAll(partial, 0o700); err != nil {
		return "", err
	}
	if err := b.run(ctx, partial, progress); err != nil {
		return "", err
	}
	return binaries, os.Rename(partial, binaries)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func newBuild(ctx context.Context, s software) (*build, error) {
	goCommand, err := exec.LookPath("go")
	if err != nil {
		return nil, fmt.Errorf("the go command is needed: %w; install Go and put it on PATH, or point %s at a directory with etcd, kube-apiserver and kube-controller-manager", err, assetsVariable)
	}
	b := &build{software: s, goCommand: goCommand}
	if b.source, err = sourceDir(ctx, goCommand, s.module); err != nil {
		return nil, err
	}
	version, err := b.command(ctx, "env", "GOVERSION").Output()
	if err != nil {
		return nil, fmt.Errorf("go env: %w", withStderr(err))
	}
	b.goVersion = strings.TrimSpace(string(version))
	b.flags, err = s.buildFlags(b.source)
	return b, err
}

// sourceDir returns the directory of a module, which cannot be asked for by its
// import path.
func sourceDir(ctx context.Context, goCommand, module string) (string, error) {
	_, file, _, _ := runtime.Caller(0)
	dir := filepath.Join(filepath.Dir(file), module)
	if filepath.IsAbs(dir) && exists(filepath.Join(dir, "go.mod")) {
		return dir, nil
	}
	// Built with -trimpath or elsewhere: ask where the module lies.
	out, err := exec.CommandContext(ctx, goCommand, "list", "-m", "-f", "{{.Dir}}", modulePath).Output()
	if err != nil {
		return "", fmt.Errorf("find the source of module %s: %w; run from inside that module", modulePath, withStderr(err))
	}
	return filepath.Join(strings.TrimSpace(string(out)), "cluster", module), nil
}

var kubernetesVersion = regexp.MustCompile(`(?m)^(?:require)?\s*k8s\.io/kubernetes (v(\d+)\.(\d+)\.\S+)`)

// buildFlags returns the flags of go build in a directory. Kubernetes'
// components read their version from variables that the linker sets, here to
// what go.mod requires: without them the API server cannot tell which features
// are on.
func (s software) buildFlags(dir string) ([]string, error) {
	mod, _ := s.modFiles(dir)
	content, err := os.ReadFile(mod)
	if err != nil {
		return nil, err
	}
	version := kubernetesVersion.FindSubmatch(content)
	ldflags := "-s -w"
	if version != nil {
		const variable = " -X k8s.io/component-base/version."
		ldflags += fmt.Sprintf(variable+"gitVersion=%s"+variable+"gitMajor=%s"+variable+"gitMinor=%s", version[1], version[2], version[3])
	}
	// -mod for whoever has GOFLAGS=-mod=vendor.
	flags := []string{"-mod=readonly", "-trimpath", "-ldflags", ldflags}
	if s.modFile != "" {
		flags = append(flags, "-modfile="+s.modFile)
	}
	if s.tags != "" {
		flags = append(flags, "-tags="+s.tags)
	}
	return flags, nil
}

// key identifies everything that the binary depends on.
func (b *build) key() (string, error) {
	files, err := filepath.Glob(filepath.Join(b.source, "*.go"))
	if err != nil {
		return "", err
	}
	commands, err := filepath.Glob(filepath.Join(b.source, "*", "*.go"))
	if err != nil {
		return "", err
	}
	files = append(files, commands...)
	mod, sum := b.modFiles(b.source)
	files = append(files, mod, sum)
	hash := sha256.New()
	for _, file := range files { // Glob sorts
		content, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(hash, "%s %d\n%s", filepath.Base(file), len(content), content)
	}
	fmt.Fprintf(hash, "%q %s %s %s", b.flags, b.goVersion, runtime.GOOS, runtime.GOARCH)
	return hex.EncodeToString(hash.Sum(nil))[:16], nil
}

// run compiles the packages into dir and shows how far it is.
func (b *build) run(ctx context.Context, dir string, progress *progress) error {
	progress.printf("building %s from its Go module: %s, only this once", b.name, b.effort)
	progress.printf("an interrupted build goes on where it stopped; the result is kept in %s", filepath.Dir(dir))
	begin := time.Now()
	output := &buildOutput{}
	args := append([]string{"build", "-v", "-o", dir + string(filepath.Separator)}, b.flags...)
	cmd := b.command(ctx, append(args, b.packages...)...)
	cmd.Stdout, cmd.Stderr = output, output
	if err := startChild(cmd); err != nil {
		return err
	}
	stop := b.report(begin, output, progress)
	err := cmd.Wait()
	stop()
	if ctx.Err() != nil {
		return fmt.Errorf("interrupted after %s: %w", time.Since(begin).Round(time.Second), ctx.Err())
	}
	if err != nil {
		return fmt.Errorf("go build in %s: %w\n%s", b.source, err, output.messages())
	}
	progress.printf("built %s in %s", b.name, time.Since(begin).Round(time.Second))
	return nil
}

// report writes a line of progress every few seconds until the returned
// function is called, which waits for the last line.
func (b *build) report(begin time.Time, output *buildOutput, progress *progress) (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(buildProgressInterval)
		defer ticker.Stop()
		for {
			select {
			case <-quit:
				return
			case <-ticker.C:
				progress.printf("building %s: %s, %s", b.name, output.summary(), time.Since(begin).Round(time.Second))
			}
		}
	}()
	return func() {
		close(quit)
		<-done
	}
}

// command returns a go command in the module's directory that builds for this
// machine, whatever the environment asks for otherwise.
func (b *build) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, b.goCommand, args...)
	cmd.Dir = b.source
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOOS="+runtime.GOOS, "GOARCH="+runtime.GOARCH)
	cmd.SysProcAttr = childAttributes()
	// The compilers are the go command's children, hence the whole group.
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	cmd.WaitDelay = buildStopGrace
	return cmd
}

// withStderr adds what a failed command wrote to its error.
func withStderr(err error) error {
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && len(exit.Stderr) > 0 {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(exit.Stderr)))
	}
	return err
}
