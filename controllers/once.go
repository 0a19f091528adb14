package controllers

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// onceInterval is how often it is looked at whether everything is done.
const onceInterval = 250 * time.Millisecond

// quietFor is how many looks in a row have to find nothing under way: between
// two pieces of work there may be a moment without any.
const quietFor = 3

// addOnce tells when everything was done once, if anybody wants to know.
func (p *parts) addOnce() error {
	if p.config.Once == nil {
		return nil
	}
	return p.mgr.Add(manager.RunnableFunc(func(ctx context.Context) error {
		quiet := 0
		_ = wait.PollUntilContextCancel(ctx, onceInterval, false, func(ctx context.Context) (bool, error) {
			done, failures, err := p.orders.Done(ctx)
			if err != nil || !done || p.busy() {
				quiet = 0
				return false, nil //nolint:nilerr // it is looked at again
			}
			if quiet++; quiet < quietFor {
				return false, nil
			}
			p.config.Once(failures)
			return true, nil
		})
		return nil
	}))
}

// busy tells whether any work is under way, or waits for a worker.
func (p *parts) busy() bool {
	return p.watchdog.busy() || p.orders.Waiting() > 0 || p.targets.Waiting() > 0 || p.attachments.Waiting() > 0
}
