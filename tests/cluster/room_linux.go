package cluster

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// room is a set of namespaces for processes, mounts and the network. All of it
// goes with its first process, whatever became of the rest: the kernel kills
// every process inside and drops the mounts, interfaces and packet filters.
// The first process ends with this one.
type room struct {
	first  *exec.Cmd
	open   io.Closer   // the first process ends when it is closed
	calls  chan func() // for the thread inside
	hidden []string    // directories that were made to be mounted on
}

// hiddenDirs are where programs of a node keep things that are nobody else's
// business; each is empty inside the room.
var hiddenDirs = []string{"/run", "/var/lib/cni", "/var/lib/kubelet", "/var/log/containers"}

// furnish is what the first process does. Then it only collects the processes
// whose parents have ended, until its input ends, as it does with this process.
// (A signal on the parent's death is no help: Go takes a parent in another
// process namespace for a dead one.)
const furnish = `set -eu
mount --make-rprivate /
mount -t proc proc /proc
for dir in "$@"; do mount -t tmpfs -o mode=0755 tmpfs "$dir"; done
ip link set lo up
echo 1 >/proc/sys/net/ipv4/ip_forward
echo ready
while read -r; do :; done`

// openRoom makes a room. What its first process complains about is added to
// the file log.
func openRoom(log string) (*room, error) {
	r := &room{calls: make(chan func())}
	if err := r.begin(log); err != nil {
		r.removeHiddenDirs()
		return nil, err
	}
	if err := r.enter(); err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

// begin starts the first process and waits until it has done its work.
func (r *room) begin(log string) error {
	if err := r.makeHiddenDirs(); err != nil {
		return err
	}
	complaints, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer complaints.Close()
	r.first = exec.Command("bash", append([]string{"-c", furnish, "room"}, hiddenDirs...)...)
	r.first.Env = componentEnvironment()
	r.first.Stderr = complaints
	r.first.SysProcAttr = &syscall.SysProcAttr{
		Setpgid:    true,
		Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWIPC,
	}
	if r.open, err = r.first.StdinPipe(); err != nil {
		return err
	}
	output, err := r.first.StdoutPipe()
	if err != nil {
		return err
	}
	if err := r.first.Start(); err != nil {
		return fmt.Errorf("make namespaces: %w", err)
	}
	if _, err := bufio.NewReader(output).ReadString('\n'); err != nil {
		_ = r.first.Wait()
		said, _ := os.ReadFile(log)
		return fmt.Errorf("make mounts and a network of its own: %w: %s", err, said)
	}
	return nil
}

func (r *room) makeHiddenDirs() error {
	for _, dir := range hiddenDirs {
		if exists(dir) {
			continue
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		r.hidden = append(r.hidden, dir)
	}
	return nil
}

func (r *room) removeHiddenDirs() {
	for _, dir := range r.hidden {
		_ = os.Remove(dir) // something else may use it by now
	}
}

// enter takes a thread into the room. It is a thread that ends with the room,
// and what it starts is inside.
func (r *room) enter() error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: nothing else may run on a thread that is elsewhere
		err := r.moveThread()
		result <- err
		if err != nil {
			return
		}
		for call := range r.calls {
			call()
		}
	}()
	return <-result
}

// moveThread takes the calling thread into the room, except that a thread
// itself cannot change its process namespace: only its children are inside.
func (r *room) moveThread() error {
	// The root and working directory of a thread belong to all of a process'
	// threads, unless it stops sharing them.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("unshare directories: %w", err)
	}
	namespaces := filepath.Join("/proc", strconv.Itoa(r.first.Process.Pid), "ns")
	// All are opened before any is entered: /proc is another inside.
	var files []*os.File
	for _, name := range []string{"pid", "ipc", "net", "mnt"} {
		file, err := os.Open(filepath.Join(namespaces, name))
		if err != nil {
			return fmt.Errorf("open a namespace: %w", err)
		}
		defer file.Close()
		files = append(files, file)
	}
	for _, file := range files {
		if err := unix.Setns(int(file.Fd()), 0); err != nil {
			return fmt.Errorf("enter %s: %w", file.Name(), err)
		}
	}
	return nil
}

// start starts a command in the room; otherwise it is exec.Cmd.Start.
func (r *room) start(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	result := make(chan error, 1)
	r.calls <- func() { result <- cmd.Start() }
	return <-result
}

// pid is the first process, which stands for the room.
func (r *room) pid() int { return r.first.Process.Pid }

// close ends everything in the room.
func (r *room) close() error {
	err := errors.Join(r.open.Close(), r.first.Process.Kill())
	_ = r.first.Wait() // always an error: it was killed
	close(r.calls)
	r.removeHiddenDirs()
	return err
}
