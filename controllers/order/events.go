package order

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// gatherOutcomes is how long changes of outcomes are gathered before they are
// told in a status.
const gatherOutcomes = 250 * time.Millisecond

// SecretChanged wakes the objects that use a source Secret.
func (c *Controller) SecretChanged(ref types.NamespacedName) {
	c.enqueue(0, c.Secrets.UsersOf(ref)...)
}

// AccountChanged wakes the objects that use a ServiceAccount's tokens.
func (c *Controller) AccountChanged(ref types.NamespacedName) {
	c.enqueue(0, c.Accounts.UsersOf(ref)...)
}

// LeaseChanged wakes the objects that use a lease, or all for the key "".
func (c *Controller) LeaseChanged(key string) {
	c.enqueue(0, c.memory.usersOf(key)...)
}

// OutcomeChanged wakes an object some of whose Secrets changed.
func (c *Controller) OutcomeChanged(name string) {
	c.enqueue(gatherOutcomes, name)
}

// Wake looks at orders again: what they ask for may have changed.
func (c *Controller) Wake(names ...string) { c.enqueue(0, names...) }

func (c *Controller) enqueue(after time.Duration, names ...string) {
	for _, name := range names {
		c.queue.Add(priorityqueue.AddOpts{After: after}, reconcile.Request{NamespacedName: types.NamespacedName{Name: name}})
	}
}

// Waiting returns how many requests wait for a worker.
func (c *Controller) Waiting() int { return c.queue.Waiting() }

// Start takes the controller's queue; it is a source of the controller.
func (c *Controller) Start(ctx context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	return c.queue.Start(ctx, queue)
}
