package witness

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// commandLimit is how long one call of a command may take.
const commandLimit = time.Minute

// command is a program of the machine's package sources.
type command struct{ path string }

// installed returns a program, and skips the test where it is not installed.
func installed(t *testing.T, name, debianPackage string) command {
	t.Helper()
	hint := fmt.Sprintf("install it with `make witness-tools`, or `apt-get install -y --no-install-recommends %s` as root", debianPackage)
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed: %s", name, hint)
	}
	if output, err := exec.CommandContext(t.Context(), path, "--version").CombinedOutput(); err != nil {
		t.Skipf("%s --version fails (%v: %s): %s", name, err, output, hint)
	}
	return command{path}
}

// run runs the command against the cloud, with a home directory of its own and
// an environment that is empty otherwise. It returns what it printed to
// standard output and, with an error, to standard error.
func (c command) run(t *testing.T, env []string, arguments ...string) (output string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), commandLimit)
	defer cancel()
	var stdout, stderr bytes.Buffer
	process := exec.CommandContext(ctx, c.path, arguments...)
	process.WaitDelay = time.Second // for what it may have started
	process.Env = append(append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}, shared.cloud.Env()...), env...)
	process.Stdout, process.Stderr = &stdout, &stderr
	if err := process.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", c.path, strings.Join(arguments[:2], " "), err, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSpace(stdout.String()), nil
}
