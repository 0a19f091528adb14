// Package annotatedaccount is the door through which annotated ServiceAccounts
// come as orders: each asks for Secrets with logins of its own, in its own
// namespace, obtained as nobody but itself.
package annotatedaccount

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/controllers/order"
)

// prefix begins the names of orders: serviceaccounts/<namespace>/<name>/<index>.
const prefix = "serviceaccounts/"

// Accounts are the ServiceAccounts of the cluster, in a cache;
// serviceaccount.Controller says what each method does.
type Accounts interface {
	Watch(ctx context.Context) error
	Account(key types.NamespacedName) *corev1.ServiceAccount
	Accounts() (all []*corev1.ServiceAccount, known bool)
}

// Door makes orders of annotated ServiceAccounts and tells of them in events. It
// is safe for concurrent use.
type Door struct {
	accounts Accounts
	secrets  Secrets
	recorder events.EventRecorder
	wake     func(orders ...string)
	told     order.Told
}

var _ order.Door = (*Door)(nil)

// Secrets reads the metadata of target Secrets from a cache.
type Secrets interface {
	Get(ctx context.Context, key types.NamespacedName) (*metav1.PartialObjectMetadata, error)
}

// New returns a Door that reads ServiceAccounts from accounts and target Secrets
// from secrets, and calls wake with the orders that may have changed.
func New(accounts Accounts, secrets Secrets, recorder events.EventRecorder, wake func(orders ...string)) *Door {
	return &Door{accounts: accounts, secrets: secrets, recorder: recorder, wake: wake}
}

// Prefix begins the names of the door's orders.
func (d *Door) Prefix() string { return prefix }

// Orders returns those of all ServiceAccounts that are annotated.
func (d *Door) Orders(ctx context.Context) ([]*order.Order, error) {
	all, known := d.accounts.Accounts()
	if !known {
		return nil, order.ErrNotYet
	}
	var orders []*order.Order
	for _, account := range all {
		asks, _ := read(account)
		for i, one := range asks {
			orders = append(orders, d.orderOf(ctx, account, i, one))
		}
	}
	return orders, nil
}

// Order returns an order of a ServiceAccount. It is nil if the ServiceAccount is
// gone or asks for fewer Secrets, and withdrawn if it asks for none.
func (d *Door) Order(ctx context.Context, name string) (*order.Order, error) {
	key, index, err := parse(name)
	if err != nil {
		return nil, err
	}
	account := d.accounts.Account(key)
	if account == nil || !account.DeletionTimestamp.IsZero() {
		d.told.Forget(name)
		return nil, nil //nolint:nilnil // there being none is no failure
	}
	asks, _ := read(account)
	switch {
	case index < len(asks):
		return d.orderOf(ctx, account, index, asks[index]), nil
	case len(asks) == 0 && index == 0:
		d.end(account, name)
		return withdrawn(account, name), nil
	default:
		d.end(account, name)
		return nil, nil //nolint:nilnil // as above
	}
}

// watchRetry is the wait before ServiceAccounts are tried to be watched again.
const watchRetry = time.Minute

// Start sees to it that ServiceAccounts are watched. It returns at the end of ctx.
func (d *Door) Start(ctx context.Context) error {
	_ = wait.PollUntilContextCancel(ctx, watchRetry, true, func(ctx context.Context) (bool, error) {
		err := d.accounts.Watch(ctx)
		if err != nil {
			log.FromContext(ctx).Error(err, "annotated ServiceAccounts get nothing until they can be watched")
		}
		return err == nil, nil
	})
	<-ctx.Done()
	return nil
}

// nameOf is the name of the order of a ServiceAccount's principal.
func nameOf(account types.NamespacedName, index int) string {
	return prefix + account.String() + "/" + strconv.Itoa(index)
}

func parse(name string) (account types.NamespacedName, index int, err error) {
	parts := strings.Split(strings.TrimPrefix(name, prefix), "/")
	if len(parts) != 3 {
		return account, 0, fmt.Errorf("%q is not the name of a ServiceAccount's order", name)
	}
	index, err = strconv.Atoi(parts[2])
	return types.NamespacedName{Namespace: parts[0], Name: parts[1]}, index, err
}

// orderOf returns the order of the one principal that has an index.
func (d *Door) orderOf(ctx context.Context, account *corev1.ServiceAccount, index int, one ask) *order.Order {
	key := types.NamespacedName{Namespace: account.Namespace, Name: account.Name}
	object := &v1alpha1.ImagePullSecret{ObjectMeta: metav1.ObjectMeta{
		Name: nameOf(key, index), UID: account.UID, CreationTimestamp: account.CreationTimestamp,
	}}
	object.Spec.Registry.Credentials = []v1alpha1.CredentialSource{one.Entry}
	object.Spec.Target = v1alpha1.TargetConfig{
		Secret: v1alpha1.TargetSecretConfig{
			Name:        one.SecretName,
			Labels:      map[string]v1alpha1.LabelValue{v1alpha1.LabelServiceAccount: v1alpha1.LabelValue(labelValue(account.Name))},
			Annotations: map[string]v1alpha1.AnnotationValue{v1alpha1.AnnotationPrincipal: v1alpha1.AnnotationValue(one.Principal)},
		},
		ServiceAccounts: v1alpha1.ServiceAccountSelector{Names: []string{account.Name}},
		Pods:            v1alpha1.PodsNone,
		ConflictPolicy:  v1alpha1.ConflictFail,
	}
	object.Generation = order.Fingerprint(object.Spec)
	object.Status = d.toldOf(ctx, object, account.Namespace)
	return &order.Order{
		Object: object, Asker: asker(account), Namespace: account.Namespace, Account: account,
		Owner: &metav1.OwnerReference{
			APIVersion: "v1", Kind: "ServiceAccount", Name: account.Name, UID: account.UID, Controller: ptr.To(true),
		},
		Place: asker(account), Invalid: one.Invalid, InheritsEntries: true,
		NameField: "annotation " + v1alpha1.AnnotationAccountSecretName, ExpiryAnnotation: v1alpha1.AnnotationExpiresAt,
	}
}

func withdrawn(account *corev1.ServiceAccount, name string) *order.Order {
	return &order.Order{
		Object: &v1alpha1.ImagePullSecret{ObjectMeta: metav1.ObjectMeta{Name: name, UID: account.UID}},
		Asker:  asker(account), Namespace: account.Namespace, Withdrawn: true,
	}
}

func asker(account *corev1.ServiceAccount) string {
	return fmt.Sprintf("ServiceAccount %s/%s", account.Namespace, account.Name)
}

// toldOf is what was told last of an order, if that was about the same Secret.
// By an earlier process nothing was told but what its Secret tells: that it
// stands, and until when its login is good.
func (d *Door) toldOf(ctx context.Context, object *v1alpha1.ImagePullSecret, namespace string) v1alpha1.ImagePullSecretStatus {
	name := object.Spec.Target.Secret.Name
	status, known := d.told.Last(object.Name, name, object.UID)
	if known {
		return status
	}
	secret, err := d.secrets.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name})
	if err != nil || secret.Labels[v1alpha1.LabelOwnerUID] != string(object.UID) {
		return status
	}
	status.ObservedGeneration = object.Generation
	meta.SetStatusCondition(&status.Conditions, metav1.Condition{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonReady})
	if expiry, err := time.Parse(time.RFC3339, secret.Annotations[v1alpha1.AnnotationExpiresAt]); err == nil {
		status.ExpiresAt = &metav1.Time{Time: expiry}
	}
	return status
}

// end tells that a Secret is not asked for any more, once.
func (d *Door) end(account *corev1.ServiceAccount, name string) {
	if secret := d.told.Forget(name); secret != "" {
		d.tell(account, secret, true, v1alpha1.ReasonDecommissioned, fmt.Sprintf("Secret %s is not asked for any more and goes", secret))
	}
}

// Report tells of an order in events on its ServiceAccount: of each login that
// is new, and of what fails.
func (d *Door) Report(_ context.Context, o *order.Order, status v1alpha1.ImagePullSecretStatus) error {
	before, secret := o.Object.Status, o.Object.Spec.Target.Secret.Name
	d.told.Note(o, status)
	ready, was := conditionOf(status), conditionOf(before)
	switch {
	case ready.Status == metav1.ConditionTrue && (was.Status != metav1.ConditionTrue || !before.ExpiresAt.Equal(status.ExpiresAt)):
		d.tell(o.Account, secret, true, v1alpha1.ReasonProvisioned, fmt.Sprintf("Secret %s stands, with a login %s", secret, validity(status)))
	case ready.Status == metav1.ConditionFalse && (was.Status != metav1.ConditionFalse || was.Message != ready.Message):
		d.tell(o.Account, secret, false, v1alpha1.ReasonProvisioningFailed, fmt.Sprintf("Secret %s: %s", secret, ready.Message))
	}
	return nil
}

func conditionOf(status v1alpha1.ImagePullSecretStatus) metav1.Condition {
	if ready := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionReady); ready != nil {
		return *ready
	}
	return metav1.Condition{}
}

func validity(status v1alpha1.ImagePullSecretStatus) string {
	if status.ExpiresAt == nil {
		return "that does not expire"
	}
	return "until " + status.ExpiresAt.UTC().Format(time.RFC3339)
}

// tell makes an event about a ServiceAccount and one of its Secrets; "" for none.
func (d *Door) tell(account *corev1.ServiceAccount, secret string, normal bool, reason, note string) {
	e := order.Announce(normal, reason, note)
	var related runtime.Object
	if secret != "" {
		// Events of one reason about the same objects are made one.
		related = &corev1.ObjectReference{APIVersion: "v1", Kind: "Secret", Namespace: account.Namespace, Name: secret}
	}
	d.recorder.Eventf(&corev1.ObjectReference{
		APIVersion: "v1", Kind: "ServiceAccount", Namespace: account.Namespace, Name: account.Name, UID: account.UID,
	}, related, e.Type, e.Reason, "Reconcile", "%s", e.Note)
}
