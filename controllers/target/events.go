package target

import (
	"context"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/imagepullsecrets/operator/internal/grant"
	"github.com/imagepullsecrets/operator/internal/kube"
	"github.com/imagepullsecrets/operator/internal/scope"
)

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// Enqueue asks for Secrets to be looked at, after everything that is urgent.
func (c *Controller) Enqueue(keys ...types.NamespacedName) {
	c.queue.AddKeys(kube.Bulk, keys...)
}

func (c *Controller) enqueueUrgently(keys ...types.NamespacedName) {
	c.queue.AddKeys(kube.Urgent, keys...)
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

// Waiting returns how many requests wait for a worker.
func (c *Controller) Waiting() int { return c.queue.Waiting() }

// Start takes the controller's queue; it is a source of the controller.
func (c *Controller) Start(ctx context.Context, q queue) error {
	return c.queue.Start(ctx, q)
}
