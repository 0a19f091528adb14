// Package imagepullsecret is the door through which ImagePullSecret objects come
// as orders.
package imagepullsecret

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/controllers/order"
)

// Door makes orders of ImagePullSecrets and tells of them in their status. It is
// safe for concurrent use.
type Door struct {
	client   client.Client
	recorder events.EventRecorder
	written  written
}

var _ order.Door = (*Door)(nil)

// New returns a Door that reads objects through c, from a cache, and writes
// their status.
func New(c client.Client, recorder events.EventRecorder) *Door {
	return &Door{client: c, recorder: recorder}
}

// Prefix says that the orders have the names of their objects.
func (d *Door) Prefix() string { return "" }

// Orders returns those of all objects that are not being deleted.
func (d *Door) Orders(ctx context.Context) ([]*order.Order, error) {
	var objects v1alpha1.ImagePullSecretList
	if err := d.client.List(ctx, &objects); err != nil {
		return nil, fmt.Errorf("listing ImagePullSecrets: %w", err)
	}
	var orders []*order.Order
	for i := range objects.Items {
		if object := &objects.Items[i]; object.DeletionTimestamp.IsZero() {
			orders = append(orders, orderOf(object))
		}
	}
	return orders, nil
}

// Order returns an object's order; nil if the object is gone or being deleted.
func (d *Door) Order(ctx context.Context, name string) (*order.Order, error) {
	object := &v1alpha1.ImagePullSecret{}
	err := d.client.Get(ctx, types.NamespacedName{Name: name}, object)
	if err != nil || !object.DeletionTimestamp.IsZero() {
		d.written.gone(name)
		return nil, client.IgnoreNotFound(err)
	}
	return orderOf(d.written.newest(object)), nil
}

func orderOf(object *v1alpha1.ImagePullSecret) *order.Order {
	return &order.Order{
		Object: object,
		Asker:  fmt.Sprintf("%s %q", v1alpha1.Kind, object.Name),
		Owner: &metav1.OwnerReference{
			APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.Kind, Name: object.Name, UID: object.UID,
		},
	}
}

// Report writes an object's status, and then events of what changed.
func (d *Door) Report(ctx context.Context, o *order.Order, status v1alpha1.ImagePullSecretStatus) error {
	before, object := o.Object, o.Object.DeepCopy()
	object.Status = status
	if err := d.client.Status().Patch(ctx, object, client.MergeFrom(before)); err != nil {
		return client.IgnoreNotFound(err)
	}
	d.written.wrote(object)
	for _, e := range order.Changes(before.Status, status) {
		d.recorder.Eventf(object, nil, e.Type, e.Reason, "Reconcile", "%s", e.Note)
	}
	return nil
}

// Respecified tells whether an object has another spec now, or is another
// object of the same name; what only its status tells is our own doing.
func Respecified(e event.UpdateEvent) bool {
	return e.ObjectOld.GetUID() != e.ObjectNew.GetUID() || e.ObjectOld.GetGeneration() != e.ObjectNew.GetGeneration()
}
