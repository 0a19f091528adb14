// Command demo shows the ImagePullSecret operator at its main job, on an
// embedded Kubernetes cluster with fake clouds and private registries: from
// nothing to a printed story in which every number was measured.
//
// It ends by itself. Its exit code is 0 only if every step truly happened, 1
// if one did not, and 130 if it was interrupted.
package main

import (
	"context"
	"errors"
	"flag"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const exitInterrupted = 130

func main() {
	keep := flag.Bool("keep", false, "leave cluster, cloud and operator running after the story, until Ctrl-C")
	flag.Parse()
	os.Exit(run(*keep))
}

// run tells the story, cleans up and returns the exit code.
func run(keep bool) int {
	// SIGPIPE: when the reader of a pipe has gone, cleaning up is all that is left.
	ctx, release := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	defer release()
	context.AfterFunc(ctx, release) // a second Ctrl-C ends the process at once

	out := newPrinter(os.Stdout)
	environment := newEnvironment()
	tale := &story{printer: out, environment: environment, keep: keep, begin: time.Now()}
	err := tale.play(ctx)
	switch {
	case err == nil && keep:
		tale.hold(ctx)
	case err != nil && ctx.Err() == nil:
		tale.reportFailure(err)
	case err != nil:
		out.say("Interrupted. Ctrl-C again ends without cleaning up.")
	}

	stopped := out.during("stopping operator, cloud and cluster", func(func(string)) error { return environment.stop() })
	if stopped != nil {
		out.failed("stopping what ran", stopped)
	} else {
		out.say("Everything is stopped and its files are removed.")
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return exitInterrupted
	case errors.Join(err, stopped) != nil:
		return 1
	}
	return 0
}
