package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	// terminateGrace is how long a component may take to end after SIGTERM.
	terminateGrace = 3 * time.Second

	// killGrace is how long the kernel may take to end it after SIGKILL.
	killGrace = 10 * time.Second

	logTailBytes = 8 << 10
	logTailLines = 25
)

// errAddressInUse marks the failure that new ports can mend.
var errAddressInUse = errors.New("a chosen port is in use")

// component is a running child process.
type component struct {
	name    string
	start   func(*exec.Cmd) error
	command []string
	dir     string
	logPath string
	cmd     *exec.Cmd
	done    chan struct{} // closed when the process has ended
	waitErr error         // how it ended; read only after done
}

// startComponent runs command in dir, by start, which does what exec.Cmd.Start
// does. Its output is added to dir/logs/<name>.log.
func startComponent(start func(*exec.Cmd) error, name string, command []string, dir string) (*component, error) {
	c := &component{
		name: name, start: start, command: command, dir: dir,
		logPath: filepath.Join(dir, "logs", name+".log"), done: make(chan struct{}),
	}
	log, err := os.OpenFile(c.logPath, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("make the log of %s: %w", name, err)
	}
	defer log.Close()
	c.cmd = exec.Command(command[0], command[1:]...)
	c.cmd.Dir = dir
	c.cmd.Env = componentEnvironment()
	c.cmd.Stdout, c.cmd.Stderr = log, log
	c.cmd.SysProcAttr = childAttributes()
	if err := start(c.cmd); err != nil {
		return nil, fmt.Errorf("run %s: %w", name, err)
	}
	go func() {
		c.waitErr = c.cmd.Wait()
		close(c.done)
	}()
	return c, nil
}

// startAgain runs the command of a component that has ended. The log goes on.
func (c *component) startAgain() (*component, error) {
	return startComponent(c.start, c.name, c.command, c.dir)
}

// componentEnvironment keeps a test's own variables away from the components:
// etcd reads flags from ETCD_*, and the proxy that leads the operator to fake
// clouds is not for the API server.
func componentEnvironment() []string {
	var env []string
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "TZ"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// stop ends the process if it still runs and returns when it has ended. Only
// the process itself is signalled, never its group by number: the components
// have no children, and a number may be another's by then.
func (c *component) stop() error {
	if c.name != etcd { // nobody needs etcd's data, so it gets no time to save it
		_ = c.cmd.Process.Signal(syscall.SIGTERM) // fails only if it has ended
		if c.endsWithin(terminateGrace) {
			return nil
		}
	}
	_ = c.cmd.Process.Kill()
	if !c.endsWithin(killGrace) {
		return fmt.Errorf("%s (pid %d) has not ended %s after SIGKILL; look at it with ps", c.name, c.cmd.Process.Pid, killGrace)
	}
	return nil
}

func (c *component) endsWithin(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-c.done:
		return true
	case <-timer.C:
		return false
	}
}

// exitError describes how a component ended by itself.
func (c *component) exitError() error {
	state := "exit status 0"
	if c.waitErr != nil {
		state = c.waitErr.Error()
	}
	tail := c.logTail()
	if strings.Contains(tail, "address already in use") {
		return fmt.Errorf("%s ended (%s): %w\n%s", c.name, state, errAddressInUse, tail)
	}
	return fmt.Errorf("%s ended by itself (%s)\n%s", c.name, state, tail)
}

// logTail returns the last lines of the component's log under a heading.
func (c *component) logTail() string {
	log, err := os.ReadFile(c.logPath)
	if err != nil {
		return fmt.Sprintf("(its log cannot be read: %v)", err)
	}
	lines := bytes.Split(bytes.TrimSpace(log[max(0, len(log)-logTailBytes):]), []byte("\n"))
	lines = lines[max(0, len(lines)-logTailLines):]
	return fmt.Sprintf("last lines of %s's log:\n%s", c.name, bytes.Join(lines, []byte("\n")))
}
