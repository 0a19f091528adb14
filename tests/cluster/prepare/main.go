// Command prepare builds what clusters for tests are made of, with its progress
// shown, so that no test has to wait for that. It is done in a moment if
// nothing is to be built.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"github.com/imagepullsecrets/operator/tests/cluster"
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	if err := cluster.Prepare(ctx, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "prepare:", err)
		os.Exit(1) //nolint:gocritic // cancel only frees what the process holds
	}
}
