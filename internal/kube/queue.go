package kube

import (
	"context"
	"fmt"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// Priorities of work, so that what is new does not wait for a change of
// everything else.
const (
	// Urgent is for namespaces, Pods and ServiceAccounts that came, and for
	// drift.
	Urgent = 10
	// Bulk is for what a change of a grant means wherever it applies.
	Bulk = -10
)

// Queue gives those who are no watch a way into a controller's queue. It may
// be used before the controller runs: what is asked for then waits. The zero
// value is ready; it is safe for concurrent use.
type Queue struct {
	mu      sync.Mutex
	queue   priorityqueue.PriorityQueue[reconcile.Request]
	waiting []func()
}

// Add asks for requests to be reconciled.
func (q *Queue) Add(options priorityqueue.AddOpts, requests ...reconcile.Request) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.queue == nil {
		q.waiting = append(q.waiting, func() { q.queue.AddWithOpts(options, requests...) })
		return
	}
	q.queue.AddWithOpts(options, requests...)
}

// AddKeys asks for what is called by keys to be reconciled, with a priority.
func (q *Queue) AddKeys(priority int, keys ...types.NamespacedName) {
	if len(keys) == 0 {
		return
	}
	requests := make([]reconcile.Request, len(keys))
	for i, key := range keys {
		requests[i] = reconcile.Request{NamespacedName: key}
	}
	q.Add(priorityqueue.AddOpts{Priority: &priority}, requests...)
}

// Waiting returns how many requests wait for a worker; those that are to wait
// for a time to come are not among them.
func (q *Queue) Waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.queue == nil {
		return len(q.waiting)
	}
	return q.queue.Len()
}

// Start takes the queue of the controller that q is a source of; it is a
// controller-runtime source.Func.
func (q *Queue) Start(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	prioritised, ok := queue.(priorityqueue.PriorityQueue[reconcile.Request])
	if !ok {
		return fmt.Errorf("the controller's queue is a %T, which knows no priorities", queue)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.queue = prioritised
	for _, add := range q.waiting {
		add()
	}
	q.waiting = nil
	return nil
}
