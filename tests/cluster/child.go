package cluster

import "os/exec"

// StartBound starts command in a process group of its own and, on Linux, has
// the kernel kill it when this process ends, however that comes about. The
// caller waits for it, as after exec.Cmd.Start, whose errors it returns.
func StartBound(command *exec.Cmd) error {
	command.SysProcAttr = childAttributes()
	return startChild(command)
}
