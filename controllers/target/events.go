package target

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/imagepullsecrets/operator/internal/grant"
	"github.com/imagepullsecrets/operator/internal/selector"
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

// NamespaceEvents turns what happens to Namespaces into work. What is there at
// the start is not news: each grant looks at all namespaces by itself.
func (c *Controller) NamespaceEvents() handler.EventHandler {
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, _ queue) {
			if e.IsInInitialList {
				return
			}
			namespace := namespaceOf(e.Object)
			for _, g := range c.Book.All() {
				switch g.Selection.Namespace(namespace) {
				case selector.ByRule:
					c.arrivals.came(namespace.Name, c.Clock.Now())
					c.enqueueUrgently(keyOf(namespace.Name, g))
				case selector.NeedsPod: // whose event may have come before this one
					c.enqueueUrgently(keyOf(namespace.Name, g))
				case selector.Excluded, selector.NotSelected:
				}
			}
		},
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, _ queue) {
			before, after := namespaceOf(e.ObjectOld), namespaceOf(e.ObjectNew)
			ending := e.ObjectOld.GetDeletionTimestamp().IsZero() != e.ObjectNew.GetDeletionTimestamp().IsZero()
			for _, g := range c.Book.All() {
				if ending || g.Selection.Namespace(before) != g.Selection.Namespace(after) {
					c.enqueueUrgently(keyOf(after.Name, g))
				}
			}
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, _ queue) {
			for _, g := range c.Book.All() {
				c.enqueueUrgently(keyOf(e.Object.GetName(), g))
			}
		},
	}
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

// podEvents turns what happens to Pods into work; it is a handler of
// client-go, since Pods are watched only while a grant has rules for them.
type podEvents struct{ *Controller }

// OnAdd brings namespaces that a Pod makes selected.
func (p podEvents) OnAdd(object any, isInInitialList bool) {
	pod, ok := object.(*metav1.PartialObjectMetadata)
	if !ok || isInInitialList {
		return
	}
	for _, g := range p.Book.All() {
		if matches(g, pod) && !p.Board.Holds(g.Name, pod.Namespace) {
			p.enqueueUrgently(keyOf(pod.Namespace, g))
		}
	}
}

// OnUpdate brings namespaces for which a Pod's new labels and annotations make
// a difference.
func (p podEvents) OnUpdate(before, after any) {
	oldPod, ok := before.(*metav1.PartialObjectMetadata)
	newPod, ok2 := after.(*metav1.PartialObjectMetadata)
	if !ok || !ok2 {
		return
	}
	for _, g := range p.Book.All() {
		if matches(g, oldPod) != matches(g, newPod) {
			p.enqueueUrgently(keyOf(newPod.Namespace, g))
		}
	}
}

// OnDelete brings namespaces whose last matching Pod this may have been.
func (p podEvents) OnDelete(object any) {
	if tombstone, ok := object.(deletedUnseen); ok {
		object = tombstone.Obj
	}
	pod, ok := object.(*metav1.PartialObjectMetadata)
	if !ok {
		return
	}
	for _, g := range p.Book.All() {
		if matches(g, pod) {
			p.enqueueUrgently(keyOf(pod.Namespace, g))
		}
	}
}

func matches(g *grant.Grant, pod *metav1.PartialObjectMetadata) bool {
	return g.Selection.Pod(pod.Labels, pod.Annotations)
}

func keyOf(namespace string, g *grant.Grant) types.NamespacedName {
	return types.NamespacedName{Namespace: namespace, Name: g.SecretName}
}

func namespaceOf(object client.Object) selector.Namespace {
	return selector.Namespace{Name: object.GetName(), Labels: object.GetLabels(), Annotations: object.GetAnnotations()}
}

// Start takes the controller's queue; it is a source of the controller.
func (c *Controller) Start(ctx context.Context, q queue) error {
	return c.queue.Start(ctx, q)
}
