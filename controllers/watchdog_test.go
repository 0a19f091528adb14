package controllers

import (
	"context"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

func TestAStuckWorkerFailsTheCheckUntilItIsDone(t *testing.T) {
	clock := clocktesting.NewFakePassiveClock(time.Unix(0, 0))
	dog := newWatchdog(clock)
	entered, release, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	worker := dog.watch(reconcile.Func(func(context.Context, reconcile.Request) (ctrl.Result, error) {
		close(entered)
		<-release
		return ctrl.Result{}, nil
	}))
	go func() {
		defer close(done)
		_, _ = worker.Reconcile(t.Context(), reconcile.Request{})
	}()
	<-entered
	clock.SetTime(time.Unix(0, 0).Add(stuckAfter))
	if err := dog.check(nil); err != nil {
		t.Errorf("at the limit: %v", err)
	}
	clock.SetTime(time.Unix(1, 0).Add(stuckAfter))
	if err := dog.check(nil); err == nil {
		t.Error("past the limit the check passes")
	}
	close(release)
	<-done
	if err := dog.check(nil); err != nil {
		t.Errorf("after the work: %v", err)
	}
}
