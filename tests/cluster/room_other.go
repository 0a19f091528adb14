//go:build !linux

package cluster

import (
	"errors"
	"os/exec"
)

var errNoRoom = errors.New("a node needs Linux")

// room is what Linux has: namespaces that a node runs in.
type room struct{}

func openRoom(string) (*room, error) { return nil, errNoRoom }
func (*room) start(*exec.Cmd) error  { return errNoRoom }
func (*room) pid() int               { return 0 }
func (*room) close() error           { return errNoRoom }
