package bundle

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// configuration is what of a scorecard's says which tests there are.
type configuration struct {
	Stages []struct {
		Tests []struct{ Entrypoint []string }
	}
}

// The tests of the scorecard, all that its configuration lists, without a
// cluster: scorecard-test is what their Pods run, and it reads /bundle. So each
// bundle is put there under a root of its own, as a Pod's file system is.
func TestScorecardPasses(t *testing.T) {
	eachBundle(t, func(t *testing.T, directory string) {
		listed := 0
		for _, stage := range read[configuration](t, directory+"/tests/scorecard/config.yaml").Stages {
			for _, test := range stage.Tests {
				listed++
				t.Run(test.Entrypoint[1], func(t *testing.T) { passesScorecard(t, directory, test.Entrypoint[1]) })
			}
		}
		if listed != 6 {
			t.Errorf("%d tests are configured, not the six that there are", listed)
		}
	})
}

// passesScorecard runs one of the scorecard's tests with a bundle.
func passesScorecard(t *testing.T, directory, test string) {
	t.Helper()
	root := t.TempDir()
	if err := os.CopyFS(root+"/bundle", os.DirFS(directory)); err != nil {
		t.Fatal(err)
	}
	copyProgram(t, tool(t, "scorecard-test"), root+"/scorecard-test")
	command := exec.CommandContext(t.Context(), "/scorecard-test", test)
	command.Dir = "/"
	command.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
	if os.Getuid() != 0 {
		command.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
		command.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		command.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	var complaints strings.Builder
	command.Stderr = &complaints
	out, err := command.Output()
	if err != nil && len(out) == 0 && command.ProcessState == nil {
		t.Skipf("a root of its own is not to be had here: %v", err)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, complaints.String())
	}
	var status struct {
		Results []struct {
			State       string
			Errors      []string
			Suggestions []string
		}
	}
	if err := json.Unmarshal(out, &status); err != nil || len(status.Results) == 0 {
		t.Fatalf("no results: %v in\n%s", err, out)
	}
	for _, result := range status.Results {
		for _, suggestion := range result.Suggestions {
			// The samples have none: it is the operator's to write.
			if !strings.Contains(suggestion, "does not have status spec") {
				t.Error(suggestion)
			}
		}
		if result.State != "pass" || len(result.Errors) > 0 {
			t.Errorf("%s: %q", result.State, result.Errors)
		}
	}
}

// copyProgram copies a program.
func copyProgram(t *testing.T, from, to string) {
	t.Helper()
	content, err := os.ReadFile(filepath.Clean(from))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, content, 0o700); err != nil {
		t.Fatal(err)
	}
}
