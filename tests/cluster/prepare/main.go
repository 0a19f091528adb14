// Command prepare builds what clusters for tests are made of, with its progress
// shown, so that no test has to wait for that. With -node it builds what runs on
// a node, too. It is done in a moment if nothing is to be built.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"

	"github.com/imagepullsecrets/operator/tests/cluster"
)

func main() {
	node := flag.Bool("node", false, "build containerd and OLM, too")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	if err := prepare(ctx, *node); err != nil {
		fmt.Fprintln(os.Stderr, "prepare:", err)
		os.Exit(1) //nolint:gocritic // cancel only frees what the process holds
	}
}

func prepare(ctx context.Context, node bool) error {
	if err := cluster.Prepare(ctx, os.Stderr); err != nil || !node {
		return err
	}
	if err := cluster.PrepareNode(ctx, os.Stderr); err != nil {
		return err
	}
	_, err := cluster.BuildOLM(ctx, os.Stderr)
	return err
}
