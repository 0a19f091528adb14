package order

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
)

// Told is what doors whose orders have no status of their own have told last. It
// is safe for concurrent use; the zero value is empty and ready.
type Told struct {
	mu     sync.Mutex
	orders map[string]telling
}

// telling is what was told of an order, by which object, and of which Secret.
type telling struct {
	status v1alpha1.ImagePullSecretStatus
	uid    types.UID
	secret string
}

// Last returns what was told last of an order, if that was about the Secret of
// a name, for the object of the same UID: one that was made anew was told nothing.
// known tells whether anything was told of the order.
func (t *Told) Last(order, secret string, uid types.UID) (status v1alpha1.ImagePullSecretStatus, known bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	last, known := t.orders[order]
	if known && last.secret == secret && last.uid == uid {
		status = *last.status.DeepCopy()
	}
	return status, known
}

// Note notes what is told of an order.
func (t *Told) Note(o *Order, status v1alpha1.ImagePullSecretStatus) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.orders == nil {
		t.orders = map[string]telling{}
	}
	t.orders[o.Name()] = telling{status: *status.DeepCopy(), uid: o.Object.UID, secret: o.Object.Spec.Target.Secret.Name}
}

// Forget forgets an order, and returns its Secret; "" if nothing was told.
func (t *Told) Forget(order string) (secret string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	secret = t.orders[order].secret
	delete(t.orders, order)
	return secret
}
