package serviceaccount

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	toolscache "k8s.io/client-go/tools/cache"
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

// Waiting returns how many requests wait for a worker.
func (c *Controller) Waiting() int { return c.queue.Waiting() }

// Take takes the controller's queue; it is a source of the controller.
func (c *Controller) Take(ctx context.Context, q queue) error { return c.queue.Start(ctx, q) }

// accountEvents turns what happens to ServiceAccounts into work; it is a
// handler of client-go, since they are watched only once they are needed.
type accountEvents struct{ *Controller }

// OnAdd brings new ServiceAccounts, ahead of all that were there before.
func (e accountEvents) OnAdd(object any, isInInitialList bool) {
	account, ok := object.(*corev1.ServiceAccount)
	if !ok || !e.concerned(account) {
		return
	}
	priority := kube.Urgent
	if isInInitialList {
		priority = kube.Bulk
	}
	e.queue.AddKeys(priority, client.ObjectKeyFromObject(account))
}

// OnUpdate brings ServiceAccounts that are or were concerned. Our own writes come
// back here too; they are no news.
func (e accountEvents) OnUpdate(before, after any) {
	was, ok := before.(*corev1.ServiceAccount)
	is, ok2 := after.(*corev1.ServiceAccount)
	if !ok || !ok2 || was.ResourceVersion == is.ResourceVersion {
		return
	}
	key := client.ObjectKeyFromObject(is)
	if !e.memory.ours(key, is.ResourceVersion) && (e.concerned(was) || e.concerned(is)) {
		e.queue.AddKeys(0, key)
	}
}

// OnDelete brings ServiceAccounts that do not count any more.
func (e accountEvents) OnDelete(object any) {
	if tombstone, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
		object = tombstone.Obj
	}
	if account, ok := object.(*corev1.ServiceAccount); ok && e.concerned(account) {
		e.queue.AddKeys(0, client.ObjectKeyFromObject(account))
	}
}

// concerned tells whether there may be something to do for a ServiceAccount.
func (c *Controller) concerned(account *corev1.ServiceAccount) bool {
	return len(Recorded(account.Annotations)) > 0 ||
		slices.ContainsFunc(c.Book.Reaching(account.Namespace), func(g *grant.Grant) bool { return selects(g, account) })
}

// SelectionChanged looks at the ServiceAccounts of a namespace that a grant
// concerns, ahead of all bulk.
func (c *Controller) SelectionChanged(change scope.Change) {
	g := change.Grant
	c.queue.AddKeys(kube.Urgent, c.accounts.in(change.Namespace, func(account *corev1.ServiceAccount) bool {
		return selects(g, account) || records(account, g.SecretName)
	})...)
}

// SecretEvents looks at the ServiceAccounts that name a target Secret which is
// gone: if only that kept the name there, it goes too. It puts nothing into the
// queue of the controller that it is on.
func (c *Controller) SecretEvents() handler.EventHandler {
	return handler.Funcs{
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, _ queue) {
			secret := e.Object
			c.queue.AddKeys(0, c.accounts.in(secret.GetNamespace(), func(account *corev1.ServiceAccount) bool {
				return records(account, secret.GetName())
			})...)
		},
	}
}

func records(account *corev1.ServiceAccount, name string) bool {
	return slices.Contains(Recorded(account.Annotations), name)
}
