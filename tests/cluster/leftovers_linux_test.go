package cluster

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const (
	// helperVariable makes the test binary start a cluster and wait, instead
	// of running tests. Its value says whether the cluster dies with it.
	helperVariable = "CLUSTER_TEST_HELPER"
	helperRecords  = "CLUSTER_TEST_RECORDS"

	helperPlain  = "plain"
	helperOrphan = "orphan" // as on a system without Pdeathsig
)

func TestMain(m *testing.M) {
	if os.Getenv(helperVariable) != "" {
		os.Exit(runHelper())
	}
	os.Exit(m.Run())
}

// runHelper starts a cluster, writes its directory to standard output and
// waits for standard input to end.
func runHelper() int {
	dieWithParent = os.Getenv(helperVariable) != helperOrphan
	cache, err := cacheDir()
	if err == nil {
		var c *Cluster
		if c, err = startWith(context.Background(), Options{}, cache, records{dir: os.Getenv(helperRecords)}); err == nil {
			fmt.Println(c.Dir())
			_, _ = io.Copy(io.Discard, os.Stdin) // ends also if the test is killed
			err = c.Stop()
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// killedCluster has a process of its own start a cluster and kills that
// process. It returns the cluster's directory.
func killedCluster(t *testing.T, mode string, running records) string {
	t.Helper()
	cmd := exec.Command(must[string](t)(os.Executable()))
	cmd.Env = append(os.Environ(), helperVariable+"="+mode, helperRecords+"="+running.dir)
	cmd.Stderr = testLog{t}
	stdin := must[io.WriteCloser](t)(cmd.StdinPipe())
	stdout := must[io.ReadCloser](t)(cmd.StdoutPipe())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, readErr := bufio.NewReader(stdout).ReadString('\n')
	dir := strings.TrimSpace(line)
	if readErr == nil && len(must[[]int](t)(processesOf(dir))) != 3 {
		t.Errorf("the helper's cluster in %q has not three processes", dir)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // says that it was killed
	_ = stdin.Close()
	if readErr != nil {
		t.Fatalf("the helper started no cluster: %v", readErr)
	}
	return dir
}

func TestComponentsDieWithAKilledProcess(t *testing.T) {
	running := records{dir: t.TempDir()}
	dir := killedCluster(t, helperPlain, running)
	eventually(t, "the components have ended", func() bool { return len(must[[]int](t)(processesOf(dir))) == 0 })
	if !exists(dir) {
		t.Fatal("the directory is gone: it shows nothing that the next start removes it")
	}
	startAndStop(t, running)
	if exists(dir) {
		t.Errorf("%s is still there after the next start", dir)
	}
}

func TestNextStartStopsLeftovers(t *testing.T) {
	running := records{dir: t.TempDir()}
	dir := killedCluster(t, helperOrphan, running)
	if pids := must[[]int](t)(processesOf(dir)); len(pids) != 3 {
		t.Fatalf("before: got processes %v, want three", pids)
	}
	neighbour := must[*Cluster](t)(startWith(t.Context(), progressOf(t), must[string](t)(cacheDir()), running))
	if pids := must[[]int](t)(processesOf(dir)); len(pids) != 0 || exists(dir) {
		t.Errorf("after: got processes %v, directory there: %t; want neither", pids, exists(dir))
	}

	// One whose owner lives is no leftover.
	startAndStop(t, running)
	if pids := must[[]int](t)(processesOf(neighbour.Dir())); len(pids) != 3 {
		t.Errorf("of the living cluster: got processes %v, want three", pids)
	}
	if err := neighbour.Stop(); err != nil {
		t.Error(err)
	}
	if left := must[[]string](t)(filepath.Glob(filepath.Join(running.dir, "*"+recordSuffix))); len(left) != 0 {
		t.Errorf("got records %v, want none", left)
	}
}

func startAndStop(t *testing.T, running records) {
	t.Helper()
	c := must[*Cluster](t)(startWith(t.Context(), progressOf(t), must[string](t)(cacheDir()), running))
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
}
