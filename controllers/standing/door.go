// Package standing is the door of one order that stands for as long as the
// process runs, given on its command line instead of in the cluster.
package standing

import (
	"context"

	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/controllers/order"
)

// Door hands the order over and tells of it in the log. It is safe for
// concurrent use if its source is.
type Door struct {
	// source returns the order as it is now.
	source func() *order.Order
	told   order.Told
}

var _ order.Door = (*Door)(nil)

// New returns a Door for the order that source returns, always under the same
// name and without a status. Whoever changes it wakes the controller of orders.
func New(source func() *order.Order) *Door { return &Door{source: source} }

// Prefix is that of all orders: there is no other door beside this one.
func (d *Door) Prefix() string { return "" }

// Orders returns the one order.
func (d *Door) Orders(ctx context.Context) ([]*order.Order, error) {
	o, err := d.Order(ctx, "")
	return []*order.Order{o}, err
}

// Order returns the one order, whatever it is called.
func (d *Door) Order(context.Context, string) (*order.Order, error) {
	o := d.source()
	o.Object.Generation = order.Fingerprint(o.Object.Spec)
	o.Object.Status, _ = d.told.Last(o.Name(), o.Object.Spec.Target.Secret.Name, o.Object.UID)
	return o, nil
}

// Report logs what changed.
func (d *Door) Report(ctx context.Context, o *order.Order, status v1alpha1.ImagePullSecretStatus) error {
	d.told.Note(o, status)
	for _, e := range order.Changes(o.Object.Status, status) {
		log.FromContext(ctx).Info(e.Note, "reason", e.Reason, "type", e.Type)
	}
	for _, failing := range status.Failing {
		log.FromContext(ctx).Info(failing.Message, "reason", failing.Reason, "namespace", failing.Namespace, "serviceAccount", failing.ServiceAccount)
	}
	return nil
}
