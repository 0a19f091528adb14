package order

import (
	"context"
	"encoding/json"
	"errors"
	"hash/fnv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
)

// Order is what somebody asks for, in whichever way. It is not changed once it
// has been handed over.
type Order struct {
	// Object says what is asked for: an ImagePullSecret as it was read, or one
	// that says the same as what was asked for otherwise. Its name is the
	// order's own among all orders; its status is what was told last.
	Object *v1alpha1.ImagePullSecret
	// Asker is what people call who asks, such as ImagePullSecret "corp".
	Asker string
	// Owner is the object that the Secrets go with; nil if none. The object's
	// UID labels them either way.
	Owner *metav1.OwnerReference
	// Namespace is the only one that the order reaches, whatever rules for
	// namespaces its object has; "" if these decide.
	Namespace string
	// Secret is the Secret that the object's sources name, where whoever made
	// the order has it in hand; nil if it is to be watched.
	Secret *corev1.Secret
	// Account is the ServiceAccount that the object's sources name, where
	// whoever made the order has it in hand; nil if it is to be watched.
	Account *corev1.ServiceAccount
	// Place is what people call the only source, in place of its place in an
	// ImagePullSecret; "" for that.
	Place string
	// Invalid says what is wrong with what is asked for, so that no login can
	// be obtained; "" if nothing is.
	Invalid string
	// Inherits are annotations by which Secrets of an earlier system are known
	// that are to be taken over; nil for none.
	Inherits map[string]string
	// InheritsEntries: an earlier system attached the Secret to the same
	// ServiceAccounts, and its entries are to be taken over with the Secret.
	InheritsEntries bool
	// InPlace: the logins go into a Secret that is somebody else's.
	InPlace bool
	// NameField is where the Secret's name is chosen; "" for
	// spec.target.secret.name.
	NameField string
	// ExpiryAnnotation is the annotation of the Secrets that tells when their
	// earliest login expires; "" for none.
	ExpiryAnnotation string
	// Withdrawn: nothing is asked for any more by an object that is still
	// there, so that what was written for it has to be taken away.
	Withdrawn bool
}

// Name is the order's own among all orders.
func (o *Order) Name() string { return o.Object.Name }

// Fingerprint stands in for the generation that some askers have not: equal specs
// have equal ones.
func Fingerprint(spec v1alpha1.ImagePullSecretSpec) int64 {
	hash := fnv.New64a()
	_ = json.NewEncoder(hash).Encode(spec) // plain data always can be
	return int64(hash.Sum64() >> 1)
}

// Door is a way of asking: it makes orders of what people write, and tells them
// what became of these.
type Door interface {
	// Prefix begins the names of the door's orders, and of no other door's;
	// "" for the one door whose names hold no slash.
	Prefix() string
	// Orders returns all orders that there are, as far as others must know of
	// them before they take anything over or away. Withdrawn ones may be left
	// out. The error is ErrNotYet while that can't be told; nobody has to wait.
	Orders(ctx context.Context) ([]*Order, error)
	// Order returns the order of a name; nil if there is none any more.
	Order(ctx context.Context, name string) (*Order, error)
	// Report tells what became of an order. It is called only if the status
	// differs from that of the order's object.
	Report(ctx context.Context, order *Order, status v1alpha1.ImagePullSecretStatus) error
}

// ErrNotYet is what a Door returns that does not know its orders yet.
var ErrNotYet = errors.New("the orders are not known yet")

// doorOf returns the door that an order of a name came through.
func (c *Controller) doorOf(name string) Door {
	var plain Door
	for _, door := range c.Doors {
		switch prefix := door.Prefix(); {
		case prefix == "":
			plain = door
		case strings.HasPrefix(name, prefix):
			return door
		}
	}
	return plain
}
