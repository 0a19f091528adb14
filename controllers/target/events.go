package target

import (
	"context"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/imagepullsecrets/operator/internal/grant"
	"github.com/imagepullsecrets/operator/internal/scope"
)

// Priorities of work, so that a new namespace does not wait for a rotation of
// all others.
const (
	// urgent is for namespaces and Pods that came, and for drift.
	urgent = 10
	// bulk is for what a change of a grant means for all its namespaces.
	bulk = -10
)

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// Enqueue asks for Secrets to be looked at, after everything that is urgent.
func (c *Controller) Enqueue(keys ...types.NamespacedName) {
	c.queue.Add(priorityqueue.AddOpts{Priority: new(bulk)}, requests(keys)...)
}

func (c *Controller) enqueueUrgently(keys ...types.NamespacedName) {
	c.queue.Add(priorityqueue.AddOpts{Priority: new(urgent)}, requests(keys)...)
}

func requests(keys []types.NamespacedName) []reconcile.Request {
	requests := make([]reconcile.Request, len(keys))
	for i, key := range keys {
		requests[i] = reconcile.Request{NamespacedName: key}
	}
	return requests
}

// SelectionChanged looks at a grant's Secret in a namespace ahead of all bulk.
func (c *Controller) SelectionChanged(change scope.Change) {
	if change.Arrived {
		c.arrivals.came(change.Namespace, c.Clock.Now())
	}
	c.enqueueUrgently(keyOf(change.Namespace, change.Grant))
}

// SecretEvents turns what happens to target Secrets into work. Our own writes
// come back as events too; they are no news.
func (c *Controller) SecretEvents() handler.EventHandler {
	changed := func(secret client.Object) {
		key := client.ObjectKeyFromObject(secret)
		if !c.written.saw(key, secret.GetResourceVersion()) {
			c.enqueueUrgently(key)
		}
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, _ queue) {
			if !e.IsInInitialList {
				changed(e.Object)
			}
		},
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, _ queue) {
			if e.ObjectOld.GetResourceVersion() != e.ObjectNew.GetResourceVersion() {
				changed(e.ObjectNew)
			}
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, _ queue) {
			key := client.ObjectKeyFromObject(e.Object)
			c.written.gone(key)
			c.enqueueUrgently(key)
		},
	}
}

func keyOf(namespace string, g *grant.Grant) types.NamespacedName {
	return types.NamespacedName{Namespace: namespace, Name: g.SecretName}
}

// Start takes the controller's queue; it is a source of the controller.
func (c *Controller) Start(ctx context.Context, q queue) error {
	return c.queue.Start(ctx, q)
}
