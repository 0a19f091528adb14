package annotatedsecret

import (
	"context"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// SecretEvents bring the orders of Secrets that are annotated, or were. It puts
// nothing into the queue of the controller that it is on.
func (d *Door) SecretEvents() handler.EventHandler {
	bring := func(secrets ...client.Object) {
		for _, secret := range secrets {
			if identityOf(secret) != "" {
				d.wake(nameOf(secret))
				return
			}
		}
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, _ queue) { bring(e.Object) },
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, _ queue) {
			if identityOf(e.ObjectOld) != identityOf(e.ObjectNew) || e.ObjectOld.GetUID() != e.ObjectNew.GetUID() {
				bring(e.ObjectOld, e.ObjectNew)
			}
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, _ queue) { bring(e.Object) },
	}
}
