package cluster

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
)

// dieWithParent is false only in the test that needs a leftover.
var dieWithParent = true

// childAttributes gives a child a process group of its own, so that Ctrl-C in
// a terminal reaches only the test, and has the kernel kill it when the thread
// that started it ends, which is when this process does (see parentThread).
func childAttributes() *syscall.SysProcAttr {
	attributes := &syscall.SysProcAttr{Setpgid: true}
	if dieWithParent {
		attributes.Pdeathsig = syscall.SIGKILL
	}
	return attributes
}

// parentThread runs functions on one operating system thread that lives as
// long as the process. Pdeathsig needs it: the kernel sends that signal when
// the thread that forked ends, and Go ends threads as it likes, and for
// certain when a goroutine locked to one returns.
var parentThread = sync.OnceValue(func() chan<- func() {
	calls := make(chan func())
	go func() {
		runtime.LockOSThread() // never unlocked: nothing else may end this thread
		for call := range calls {
			call()
		}
	}()
	return calls
})

// startChild starts a command that has childAttributes.
func startChild(cmd *exec.Cmd) error {
	result := make(chan error, 1)
	parentThread() <- func() { result <- cmd.Start() }
	return <-result
}

// processIDs lists the processes that can be seen.
func processIDs() ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var pids []int
	for _, entry := range entries {
		if pid, err := strconv.Atoi(entry.Name()); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// commandLine returns the arguments of a process, its name first, and nothing
// if it has ended, a zombie included.
func commandLine(pid int) []string {
	raw, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
	if err != nil {
		return nil
	}
	var args []string
	for arg := range bytes.SplitSeq(bytes.TrimSuffix(raw, []byte{0}), []byte{0}) {
		args = append(args, string(arg))
	}
	return args
}
