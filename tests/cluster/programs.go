package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// BuildOLM returns the directory of the Operator Lifecycle Manager's programs:
// olm, catalog, and crds, which writes the CustomResourceDefinitions that the
// two need, as YAML. The first call on a machine compiles them; progress is as
// in Options.
func BuildOLM(ctx context.Context, progress io.Writer) (string, error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	binaries, err := built(ctx, cache, olmSoftware, newProgress(progress))
	if err != nil {
		return "", fmt.Errorf("build OLM: %w", err)
	}
	return binaries, nil
}

// Program is a program that a test runs on the node.
type Program struct{ running *component }

// StartOnNode runs a program of this machine on the node, beside the kubelet: it
// reads this machine's files, but /run is the node's, and so is the network:
// loopback addresses and all ports. In its environment are PATH, HOME, TMPDIR,
// TZ and env ("NAME=value"). It logs to logs/<name>.log in Dir, where programs
// of one name follow each other, and it ends with Program.Stop or Stop at the
// latest. The error is exec.Cmd.Start's, or that there is no node.
func (c *Cluster) StartOnNode(name string, command []string, env ...string) (*Program, error) {
	if c.node == nil {
		return nil, errors.New("the cluster has no node to run " + name + " on")
	}
	running, err := startComponent(c.node.room.withEnv(env), name, command, c.dir)
	if err != nil {
		return nil, err
	}
	return &Program{running: running}, nil
}

// Stop ends the program and returns when it has ended. The error tells, with the
// last lines of its log, that it had ended before, or that it can't be stopped.
func (p *Program) Stop() error {
	select {
	case <-p.running.done:
		return p.running.exitError()
	default:
		return p.running.stop()
	}
}
