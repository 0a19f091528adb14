package cluster

import (
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

// build is one way of compiling the multi-call binary in kubernetes/.
type build struct {
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

// builtBinary returns the path of the multi-call binary for this source, and
// builds it if cache has none. Of several processes only one builds.
func builtBinary(ctx context.Context, cache string, progress *progress) (string, error) {
	b, err := newBuild(ctx)
	if err != nil {
		return "", err
	}
	key, err := b.key()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, key)
	binary := filepath.Join(dir, "kubernetes")
	if exists(binary) {
		return binary, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	lock, err := lockFile(ctx, filepath.Join(dir, "lock"), func() {
		progress.printf("waiting for another process, which builds Kubernetes (first run only, minutes)")
	})
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if exists(binary) {
		return binary, nil
	}
	// Built beside its place and renamed, so that an interrupted build leaves
	// nothing that looks finished; the fixed name is reused by the next one.
	partial := binary + ".partial"
	if err := b.run(ctx, partial, progress); err != nil {
		return "", err
	}
	return binary, os.Rename(partial, binary)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func newBuild(ctx context.Context) (*build, error) {
	goCommand, err := exec.LookPath("go")
	if err != nil {
		return nil, fmt.Errorf("the go command is needed: %w; install Go and put it on PATH, or point %s at a directory with etcd, kube-apiserver and kube-controller-manager", err, assetsVariable)
	}
	b := &build{goCommand: goCommand}
	if b.source, err = sourceDir(ctx, goCommand); err != nil {
		return nil, err
	}
	version, err := b.command(ctx, "env", "GOVERSION").Output()
	if err != nil {
		return nil, fmt.Errorf("go env: %w", withStderr(err))
	}
	b.goVersion = strings.TrimSpace(string(version))
	b.flags, err = buildFlags(filepath.Join(b.source, "go.mod"))
	return b, err
}

// sourceDir returns the directory of the binary's module. It is a module of
// its own, so that the hundreds of modules behind Kubernetes stay out of the
// tests' go.mod, and therefore cannot be asked for by its import path.
func sourceDir(ctx context.Context, goCommand string) (string, error) {
	_, file, _, _ := runtime.Caller(0)
	dir := filepath.Join(filepath.Dir(file), "kubernetes")
	if filepath.IsAbs(dir) && exists(filepath.Join(dir, "go.mod")) {
		return dir, nil
	}
	// Built with -trimpath or elsewhere: ask where the module lies.
	out, err := exec.CommandContext(ctx, goCommand, "list", "-m", "-f", "{{.Dir}}", modulePath).Output()
	if err != nil {
		return "", fmt.Errorf("find the source of module %s: %w; run from inside that module", modulePath, withStderr(err))
	}
	return filepath.Join(strings.TrimSpace(string(out)), "cluster", "kubernetes"), nil
}

var kubernetesVersion = regexp.MustCompile(`(?m)^(?:require)?\s*k8s\.io/kubernetes (v(\d+)\.(\d+)\.\S+)`)

// buildFlags returns the flags of go build. The components read their version
// from variables that the linker sets, here to what go.mod requires: without
// them the API server cannot tell which features are on.
func buildFlags(goMod string) ([]string, error) {
	content, err := os.ReadFile(goMod)
	if err != nil {
		return nil, err
	}
	version := kubernetesVersion.FindSubmatch(content)
	if version == nil {
		return nil, fmt.Errorf("%s does not require k8s.io/kubernetes", goMod)
	}
	const variable = " -X k8s.io/component-base/version."
	ldflags := fmt.Sprintf("-s -w"+variable+"gitVersion=%s"+variable+"gitMajor=%s"+variable+"gitMinor=%s", version[1], version[2], version[3])
	// -mod for whoever has GOFLAGS=-mod=vendor.
	return []string{"-mod=readonly", "-trimpath", "-ldflags", ldflags}, nil
}

// key identifies everything that the binary depends on.
func (b *build) key() (string, error) {
	files, err := filepath.Glob(filepath.Join(b.source, "*.go"))
	if err != nil {
		return "", err
	}
	files = append(files, filepath.Join(b.source, "go.mod"), filepath.Join(b.source, "go.sum"))
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

// run compiles the binary to path and shows how far it is.
func (b *build) run(ctx context.Context, path string, progress *progress) error {
	progress.printf("building Kubernetes from its Go module: about 2,500 packages, 5 minutes on two cores, only this once")
	progress.printf("an interrupted build goes on where it stopped; the result is kept in %s", filepath.Dir(path))
	begin := time.Now()
	output := &buildOutput{}
	args := append([]string{"build", "-v", "-o", path}, b.flags...)
	cmd := b.command(ctx, append(args, ".")...)
	cmd.Stdout, cmd.Stderr = output, output
	if err := startChild(cmd); err != nil {
		return err
	}
	stop := reportBuild(begin, output, progress)
	err := cmd.Wait()
	stop()
	if ctx.Err() != nil {
		return fmt.Errorf("interrupted after %s: %w", time.Since(begin).Round(time.Second), ctx.Err())
	}
	if err != nil {
		return fmt.Errorf("go build in %s: %w\n%s", b.source, err, output.messages())
	}
	progress.printf("built Kubernetes in %s", time.Since(begin).Round(time.Second))
	return nil
}

// reportBuild writes a line of progress every few seconds until the returned
// function is called, which waits for the last line.
func reportBuild(begin time.Time, output *buildOutput, progress *progress) (stop func()) {
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
				progress.printf("building Kubernetes: %s, %s", output.summary(), time.Since(begin).Round(time.Second))
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
