//go:build !linux

package cluster

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// childAttributes gives a child a process group of its own, so that Ctrl-C in
// a terminal reaches only the test. There is no signal on a parent's death
// here; the next Start stops what is left.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// startChild starts a command that has childAttributes.
func startChild(cmd *exec.Cmd) error { return cmd.Start() }

// processIDs lists the processes that can be seen.
func processIDs() ([]int, error) {
	out, err := exec.Command("ps", "-ax", "-o", "pid=").Output()
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var pids []int
	for field := range strings.FieldsSeq(string(out)) {
		if pid, err := strconv.Atoi(field); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// commandLine returns the arguments of a process, its name first, and nothing
// if it has ended. Arguments with spaces come apart, which belongsTo bears.
func commandLine(pid int) []string {
	out, err := exec.Command("ps", "-ww", "-o", "command=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return nil
	}
	return strings.Fields(string(out))
}
