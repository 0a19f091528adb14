// Package annotatedsecret is the door through which annotated Secrets come as
// orders: their owners want a login to Chainguard's registry kept in them.
package annotatedsecret

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/controllers/order"
)

// prefix begins the names of orders: secrets/<namespace>/<name>.
const prefix = "secrets/"

// Config is what a person decides about annotated Secrets.
type Config struct {
	// Names are the only names of Secrets that may ask; empty for none.
	Names []string
	// Allowed are the identities that may be used, and from where. Whoever may
	// annotate a Secret elsewhere gets nothing.
	Allowed []Pair
	// Account is the ServiceAccount that the identities trust.
	Account v1alpha1.ServiceAccountReference
	// Audience is that of its tokens; the provider's own if empty.
	Audience string
}

// Pair lets the Secrets of a namespace use an identity. Any stands for every one.
type Pair struct{ Namespace, Identity string }

// Any is the namespace, or the identity, that stands for every one.
const Any = "*"

func (c Config) allows(namespace, identity string) bool {
	for _, pair := range c.Allowed {
		if (pair.Namespace == Any || pair.Namespace == namespace) && (pair.Identity == Any || pair.Identity == identity) {
			return true
		}
	}
	return false
}

// Secrets reads the metadata of Secrets of the names that are watched, from
// caches.
type Secrets interface {
	Get(ctx context.Context, key types.NamespacedName) (*metav1.PartialObjectMetadata, error)
	// Named returns all Secrets of names that are watched by their name.
	Named(ctx context.Context, names []string) ([]metav1.PartialObjectMetadata, error)
}

// Door makes orders of annotated Secrets and tells of them in events. It is safe
// for concurrent use.
type Door struct {
	config   Config
	secrets  Secrets
	recorder events.EventRecorder
	wake     func(orders ...string)
	told     order.Told
}

var _ order.Door = (*Door)(nil)

// New returns a Door that reads Secrets from secrets and calls wake with the
// orders that may have changed.
func New(config Config, secrets Secrets, recorder events.EventRecorder, wake func(orders ...string)) *Door {
	return &Door{config: config, secrets: secrets, recorder: recorder, wake: wake}
}

// Prefix begins the names of the door's orders.
func (d *Door) Prefix() string { return prefix }

// Orders returns those of all Secrets that are annotated.
func (d *Door) Orders(ctx context.Context) ([]*order.Order, error) {
	secrets, err := d.secrets.Named(ctx, d.config.Names)
	if err != nil {
		return nil, fmt.Errorf("listing annotated Secrets: %w", err)
	}
	var orders []*order.Order
	for i := range secrets {
		if asks(&secrets[i]) {
			orders = append(orders, d.orderOf(&secrets[i]))
		}
	}
	return orders, nil
}

// Order returns a Secret's order; nil if the Secret is gone or not annotated.
func (d *Door) Order(ctx context.Context, name string) (*order.Order, error) {
	namespace, secretName, _ := strings.Cut(strings.TrimPrefix(name, prefix), "/")
	secret, err := d.secrets.Get(ctx, types.NamespacedName{Namespace: namespace, Name: secretName})
	if apierrors.IsNotFound(err) || (err == nil && !asks(secret)) {
		d.told.Forget(name)
		return nil, nil //nolint:nilnil // there being none is no failure
	}
	if err != nil {
		return nil, err
	}
	return d.orderOf(secret), nil
}

func nameOf(secret metav1.Object) string {
	return prefix + secret.GetNamespace() + "/" + secret.GetName()
}

// identityOf is the identity that a Secret names; "" if none.
func identityOf(secret metav1.Object) string {
	return strings.TrimSpace(secret.GetAnnotations()[v1alpha1.AnnotationChainguardUpdater])
}

func asks(secret metav1.Object) bool {
	return identityOf(secret) != "" && secret.GetDeletionTimestamp().IsZero()
}

func (d *Door) orderOf(secret *metav1.PartialObjectMetadata) *order.Order {
	identity := identityOf(secret)
	object := &v1alpha1.ImagePullSecret{ObjectMeta: metav1.ObjectMeta{
		Name: nameOf(secret), UID: secret.UID, CreationTimestamp: secret.CreationTimestamp,
	}}
	object.Spec.Registry.Credentials = []v1alpha1.CredentialSource{{Chainguard: &v1alpha1.ChainguardSource{
		Identity: identity, ServiceAccount: d.config.Account, Audience: v1alpha1.Audience(d.config.Audience),
	}}}
	object.Spec.Target = v1alpha1.TargetConfig{
		Secret: v1alpha1.TargetSecretConfig{Name: secret.Name},
		Pods:   v1alpha1.PodsNone, PodRecovery: v1alpha1.RecoveryNone,
	}
	object.Generation = order.Fingerprint(object.Spec)
	object.Status = d.toldOf(object, secret)
	o := &order.Order{
		Object: object, Asker: fmt.Sprintf("Secret %s/%s", secret.Namespace, secret.Name), Namespace: secret.Namespace,
		InPlace: true, Place: "annotation " + v1alpha1.AnnotationChainguardUpdater, NameField: "metadata.name",
	}
	if !d.config.allows(secret.Namespace, identity) {
		o.Invalid = fmt.Sprintf("the identity %.128q may not be used in namespace %s: allow it with --chainguard-allow=%s=<identity> (chart: annotatedSecrets.allow)",
			identity, secret.Namespace, secret.Namespace)
	}
	return o
}

// toldOf is what was told last of a Secret. By an earlier process nothing was
// told but what the Secret tells: that it holds a login.
func (d *Door) toldOf(object *v1alpha1.ImagePullSecret, secret *metav1.PartialObjectMetadata) v1alpha1.ImagePullSecretStatus {
	status, known := d.told.Last(object.Name, secret.Name, object.UID)
	if !known && secret.Annotations[v1alpha1.AnnotationContentHash] != "" {
		status.ObservedGeneration = object.Generation
		meta.SetStatusCondition(&status.Conditions, metav1.Condition{
			Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonReady,
		})
	}
	return status
}

// Report tells of what changed in events on the Secret.
func (d *Door) Report(_ context.Context, o *order.Order, status v1alpha1.ImagePullSecretStatus) error {
	d.told.Note(o, status)
	secret := &corev1.ObjectReference{
		APIVersion: "v1", Kind: "Secret", Namespace: o.Namespace, Name: o.Object.Spec.Target.Secret.Name, UID: o.Object.UID,
	}
	for _, e := range order.Changes(o.Object.Status, status) {
		d.recorder.Eventf(secret, nil, e.Type, e.Reason, "Reconcile", "%s", e.Note)
	}
	return nil
}
