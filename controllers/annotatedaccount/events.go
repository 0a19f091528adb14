package annotatedaccount

import (
	"context"
	"maps"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
)

var _ toolscache.ResourceEventHandler = (*Door)(nil)

// OnAdd brings the orders of a ServiceAccount that is annotated.
func (d *Door) OnAdd(object any, _ bool) {
	if account, ok := object.(*corev1.ServiceAccount); ok {
		d.changed(account, 0)
	}
}

// OnUpdate brings the orders that a ServiceAccount has or had, if its
// annotations changed.
func (d *Door) OnUpdate(before, after any) {
	old, ok := before.(*corev1.ServiceAccount)
	account, ok2 := after.(*corev1.ServiceAccount)
	if !ok || !ok2 || (old.UID == account.UID && maps.Equal(old.Annotations, account.Annotations)) {
		return
	}
	asked, _ := read(old)
	d.changed(account, len(asked))
}

// OnDelete brings the orders that a ServiceAccount had.
func (d *Door) OnDelete(object any) {
	if tombstone, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
		object = tombstone.Obj
	}
	if account, ok := object.(*corev1.ServiceAccount); ok {
		d.changed(account, 0)
	}
}

// changed brings the orders of a ServiceAccount that had some number of them,
// and tells what nothing can be made of.
func (d *Door) changed(account *corev1.ServiceAccount, had int) {
	asks, problem := read(account)
	if problem != "" && account.DeletionTimestamp.IsZero() {
		d.tell(account, "", false, v1alpha1.ReasonProvisioningFailed, problem)
	}
	for i := range max(had, len(asks)) {
		d.wake(nameOf(client.ObjectKeyFromObject(account), i))
	}
}

// SecretEvents bring what was written for ServiceAccounts, at the start: they may
// have ceased to ask while nobody was there to see it. It puts nothing into the
// queue of the controller that it is on.
func (d *Door) SecretEvents() handler.EventHandler {
	return handler.Funcs{CreateFunc: func(_ context.Context, e event.CreateEvent, _ workqueue.TypedRateLimitingInterface[reconcile.Request]) {
		if !e.IsInInitialList {
			return
		}
		if owner := metav1.GetControllerOfNoCopy(e.Object); owner != nil && owner.Kind == "ServiceAccount" {
			d.wake(nameOf(types.NamespacedName{Namespace: e.Object.GetNamespace(), Name: owner.Name}, 0))
		}
	}}
}
