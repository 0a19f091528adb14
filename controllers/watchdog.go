package controllers

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// stuckAfter is how long one piece of work may take before the process is held
// to be stuck. Everything that waits has a deadline far below.
const stuckAfter = 5 * time.Minute

// watchdog knows what every worker is at.
type watchdog struct {
	clock clock.PassiveClock

	mu      sync.Mutex
	next    uint64
	started map[uint64]work
}

type work struct {
	request reconcile.Request
	at      time.Time
}

func newWatchdog(c clock.PassiveClock) *watchdog {
	return &watchdog{clock: c, started: map[uint64]work{}}
}

// watch returns a reconciler that does what r does, watched.
func (w *watchdog) watch(r reconcile.Reconciler) reconcile.Reconciler {
	return reconcile.Func(func(ctx context.Context, request reconcile.Request) (ctrl.Result, error) {
		id := w.begin(request)
		defer w.end(id)
		return r.Reconcile(ctx, request)
	})
}

func (w *watchdog) begin(request reconcile.Request) uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.next++
	w.started[w.next] = work{request: request, at: w.clock.Now()}
	return w.next
}

func (w *watchdog) end(id uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.started, id)
}

// busy tells whether a worker is at anything.
func (w *watchdog) busy() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.started) > 0
}

// check fails while a worker is stuck; it is a healthz.Checker.
func (w *watchdog) check(*http.Request) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, work := range w.started {
		if took := w.clock.Since(work.at); took > stuckAfter {
			return fmt.Errorf("a worker has been at %s for %s", work.request, took.Round(time.Second))
		}
	}
	return nil
}
