// Package cleanup takes away what the operator made in a cluster before it is
// uninstalled: the ImagePullSecrets, their Secrets and those that annotated
// ServiceAccounts asked for, the entries in ServiceAccounts, and its own leases.
package cleanup

import (
	"context"
	"fmt"
	"slices"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/controllers/serviceaccount"
	"github.com/imagepullsecrets/operator/internal/kube"
)

// Deps are what a Cleaner needs. All are required but TargetNames and
// Namespaces.
type Deps struct {
	// API reads from the API server itself and not from a cache. Its scheme has
	// the kinds of core/v1 and coordination/v1.
	API      client.Client
	Accounts *kube.ServiceAccounts
	Clock    clock.PassiveClock
	// Namespace is the operator's own. Deployment is what runs it there, and
	// Election the Lease by which its processes choose the one that works.
	Namespace, Deployment, Election string
	// TargetNames are the only names of Secrets that are looked for, and Namespaces
	// the only namespaces where anything is, so that rights on these are enough;
	// empty for any.
	TargetNames, Namespaces []string
}

// Cleaner takes away what the operator made.
type Cleaner struct {
	Deps
	// told are the ImagePullSecrets that were told to go; retained the names of
	// Secrets that stay, by namespace.
	told     map[types.UID]bool
	retained map[string]map[string]bool
	// free is how often in a row nobody was seen to hold the Lease.
	free int
}

// New returns a Cleaner.
func New(d Deps) *Cleaner { return &Cleaner{Deps: d, told: map[types.UID]bool{}} }

// step is a part of the work, which is done again until nothing is left.
type step struct {
	name string
	// once does what can be done now. left says what is there still, and why.
	once func(ctx context.Context) (left []string, err error)
}

const (
	// pollInterval is the time between two looks at what is left.
	pollInterval = time.Second
	// lastRefusal is how often in a row the API server refuses before it is
	// believed: the rights are as new as the Pod that has them.
	lastRefusal = 3
	// lastFree is how often in a row nobody holds the Lease until that is
	// believed: a second process tries to take it every two seconds or so.
	lastFree = 4
)

// Clean returns once nothing is left but what is to stay, which is logged. The
// error says what is left when ctx ends, or what the API server refuses.
//
// The operator is stopped on the way, so that it writes nothing again of what is
// taken away.
func (c *Cleaner) Clean(ctx context.Context) error {
	for _, s := range []step{
		{"ImagePullSecrets", c.deleteObjects},
		{"the operator's process", c.stopOperator},
		{"ImagePullSecrets that came meanwhile", c.deleteObjects},
		{"Secrets", c.deleteSecrets},
		{"entries in ServiceAccounts", c.detach},
		{"the operator's own leases", c.deleteLeases},
	} {
		if err := c.finish(ctx, s); err != nil {
			return err
		}
	}
	for namespace, names := range c.retained {
		for name := range names {
			log.FromContext(ctx).Info("a Secret stays, as the deletionPolicy Retain of its ImagePullSecret said", "namespace", namespace, "name", name)
		}
	}
	return nil
}

// finish does a step until nothing is left. What the API server refuses by its
// rules is not tried for long.
func (c *Cleaner) finish(ctx context.Context, s step) error {
	var left []string
	var failed error
	before, refused := -1, 0
	err := wait.PollUntilContextCancel(ctx, pollInterval, true, func(ctx context.Context) (bool, error) {
		now, err := s.once(ctx)
		if refused++; !apierrors.IsForbidden(err) {
			refused = 0
		}
		switch {
		case refused == lastRefusal:
			return false, err
		case err != nil:
			if failed = err; ctx.Err() == nil {
				log.FromContext(ctx).Error(err, "tried again", "step", s.name)
			}
			return false, nil
		}
		if left, failed = now, nil; len(left) != before {
			log.FromContext(ctx).Info("cleaning up", "step", s.name, "left", len(left))
			before = len(left)
		}
		return len(left) == 0, nil
	})
	switch {
	case err == nil:
		return nil
	case ctx.Err() == nil:
		return fmt.Errorf("%s: %w", s.name, err)
	default:
		return unfinished(s.name, left, failed, context.Cause(ctx))
	}
}

// unfinished says what a step has left undone at its end, of which cause tells.
// failed is what went wrong last, if anything did.
func unfinished(step string, left []string, failed, cause error) error {
	text := ""
	if len(left) > 0 {
		text = fmt.Sprintf(", and %d are left: %s", len(left), listing(left))
	}
	if failed != nil {
		return fmt.Errorf("%s: %w%s; the last failure: %w", step, cause, text, failed)
	}
	return fmt.Errorf("%s: %w%s", step, cause, text)
}

// deleteObjects deletes every ImagePullSecret.
func (c *Cleaner) deleteObjects(ctx context.Context) ([]string, error) {
	objects, err := c.list(ctx, v1alpha1.GroupVersion.WithKind(v1alpha1.Kind))
	if meta.IsNoMatchError(err) {
		return nil, nil // the CRD is gone, and with it every object
	}
	var left []string
	for i := range objects {
		object := &objects[i]
		left = append(left, waitingObject(object.ObjectMeta))
		if c.told[object.UID] || !object.DeletionTimestamp.IsZero() {
			continue
		}
		if err := c.delete(ctx, object); err != nil {
			return left, fmt.Errorf("deleting %s %s: %w", v1alpha1.Kind, object.Name, err)
		}
		c.told[object.UID] = true
	}
	return left, err
}

// stopOperator has the Deployment run no process, and waits until none is at
// work.
func (c *Cleaner) stopOperator(ctx context.Context) ([]string, error) {
	deployment := &unstructured.Unstructured{}
	deployment.SetGroupVersionKind(schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"})
	deployment.SetNamespace(c.Namespace)
	deployment.SetName(c.Deployment)
	err := c.API.SubResource("scale").Patch(ctx, deployment, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"replicas":0}}`)))
	if client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("scaling Deployment %s/%s to none: %w", c.Namespace, c.Deployment, err)
	}
	lease := &coordinationv1.Lease{}
	err = c.API.Get(ctx, types.NamespacedName{Namespace: c.Namespace, Name: c.Election}, lease)
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, err
	case !held(lease, c.Clock.Now()):
		if c.free++; c.free < lastFree {
			return []string{"one that may take over yet"}, nil
		}
		return nil, nil
	}
	c.free = 0
	return []string{fmt.Sprintf("%s, which is at work and holds Lease %s/%s", *lease.Spec.HolderIdentity, c.Namespace, c.Election)}, nil
}

// held tells whether a process holds a Lease. One that ends well gives it up.
func held(lease *coordinationv1.Lease, now time.Time) bool {
	s := lease.Spec
	if ptr.Deref(s.HolderIdentity, "") == "" || s.RenewTime == nil {
		return false
	}
	return now.Before(s.RenewTime.Add(time.Duration(ptr.Deref(s.LeaseDurationSeconds, 0)) * time.Second))
}

// deleteSecrets deletes the Secrets that annotated ServiceAccounts asked for, and
// waits for those that go by themselves.
func (c *Cleaner) deleteSecrets(ctx context.Context) ([]string, error) {
	secrets, err := c.ownSecrets(ctx)
	if err != nil {
		return nil, err
	}
	var left []string
	c.retained = map[string]map[string]bool{}
	for i := range secrets {
		secret := &secrets[i]
		switch fateOf(secret.ObjectMeta) {
		case retained:
			if c.retained[secret.Namespace] == nil {
				c.retained[secret.Namespace] = map[string]bool{}
			}
			c.retained[secret.Namespace][secret.Name] = true
		case deleted:
			left = append(left, fmt.Sprintf("Secret %s/%s, which was deleted just now", secret.Namespace, secret.Name))
			if err := c.delete(ctx, secret); err != nil {
				return left, fmt.Errorf("deleting Secret %s/%s, which an annotated ServiceAccount asked for: %w; "+
					"delete it, or allow it (chart: annotatedServiceAccounts)", secret.Namespace, secret.Name, err)
			}
		default:
			left = append(left, fmt.Sprintf("Secret %s/%s, which waits for the garbage collector", secret.Namespace, secret.Name))
		}
	}
	return left, nil
}

// ownSecrets returns the Secrets that are labelled as the operator's.
func (c *Cleaner) ownSecrets(ctx context.Context) ([]metav1.PartialObjectMetadata, error) {
	kind := corev1.SchemeGroupVersion.WithKind("Secret")
	labelled := client.HasLabels{v1alpha1.LabelOwnerUID}
	if len(c.TargetNames) == 0 {
		return c.listTargets(ctx, kind, labelled)
	}
	var all []metav1.PartialObjectMetadata
	for _, name := range c.TargetNames {
		some, err := c.listTargets(ctx, kind, labelled, client.MatchingFields{"metadata.name": name})
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	return all, nil
}

// detach takes the operator's names out of ServiceAccounts.
func (c *Cleaner) detach(ctx context.Context) ([]string, error) {
	accounts, err := c.listTargets(ctx, corev1.SchemeGroupVersion.WithKind("ServiceAccount"))
	if err != nil {
		return nil, err
	}
	var left []string
	for i := range accounts {
		key, recorded := client.ObjectKeyFromObject(&accounts[i]), serviceaccount.Recorded(accounts[i].Annotations)
		stays := map[string]bool{}
		for _, name := range recorded {
			stays[name] = c.retained[key.Namespace][name] || c.isOfOthers(name)
		}
		names := slices.DeleteFunc(recorded, func(name string) bool { return stays[name] })
		if len(names) == 0 {
			continue
		}
		left = append(left, fmt.Sprintf("%v in ServiceAccount %s", names, key))
		if err := c.detachFrom(ctx, key, stays); err != nil {
			return left, fmt.Errorf("taking %v out of ServiceAccount %s: %w", names, key, err)
		}
	}
	return left, nil
}

// isOfOthers tells whether a name on record is another operator's, as that one
// would leave ours.
func (c *Cleaner) isOfOthers(name string) bool {
	return len(c.TargetNames) > 0 && !slices.Contains(c.TargetNames, name)
}

// detachFrom does it for one. That another writer was faster is no error.
func (c *Cleaner) detachFrom(ctx context.Context, key types.NamespacedName, stays map[string]bool) error {
	account, err := c.Accounts.Get(ctx, key)
	if err != nil {
		return client.IgnoreNotFound(err)
	}
	secrets, attached, change := serviceaccount.Detached(account, stays)
	if !change {
		return nil
	}
	_, err = c.Accounts.Attach(ctx, key, account.ResourceVersion, secrets, attached)
	if apierrors.IsConflict(err) {
		return nil // looked at again
	}
	return client.IgnoreNotFound(err)
}

// deleteLeases deletes what the operator keeps for itself.
func (c *Cleaner) deleteLeases(ctx context.Context) ([]string, error) {
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: c.Election}}
	objects := []client.Object{lease}
	for _, name := range kube.LeaseSecrets() {
		objects = append(objects, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: name}})
	}
	for _, object := range objects {
		if err := client.IgnoreNotFound(c.API.Delete(ctx, object)); err != nil {
			return nil, fmt.Errorf("deleting %s/%s: %w", c.Namespace, object.GetName(), err)
		}
	}
	return nil, nil
}

// delete deletes the object that was read and no other one of its name. That it
// is gone already is no error.
func (c *Cleaner) delete(ctx context.Context, object *metav1.PartialObjectMetadata) error {
	err := c.API.Delete(ctx, object, client.Preconditions{UID: &object.UID}, client.PropagationPolicy(metav1.DeletePropagationBackground))
	if apierrors.IsConflict(err) {
		return nil // another one stands there by now, which is looked at next
	}
	return client.IgnoreNotFound(err)
}

// listTargets returns the metadata of the objects of a kind where the operator
// may work.
func (c *Cleaner) listTargets(ctx context.Context, kind schema.GroupVersionKind, options ...client.ListOption) ([]metav1.PartialObjectMetadata, error) {
	if len(c.Namespaces) == 0 {
		return c.list(ctx, kind, options...)
	}
	var all []metav1.PartialObjectMetadata
	for _, namespace := range c.Namespaces {
		some, err := c.list(ctx, kind, append([]client.ListOption{client.InNamespace(namespace)}, options...)...)
		if err != nil {
			return nil, fmt.Errorf("in namespace %s: %w", namespace, err)
		}
		all = append(all, some...)
	}
	return all, nil
}

// pageSize is how many objects are read at a time.
const pageSize = 500

// list returns the metadata of all objects of a kind.
func (c *Cleaner) list(ctx context.Context, kind schema.GroupVersionKind, options ...client.ListOption) ([]metav1.PartialObjectMetadata, error) {
	var all []metav1.PartialObjectMetadata
	page := &metav1.PartialObjectMetadataList{}
	page.SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
	for {
		if err := c.API.List(ctx, page, append(options, client.Limit(pageSize), client.Continue(page.Continue))...); err != nil {
			return nil, fmt.Errorf("listing %ss: %w", kind.Kind, err)
		}
		for _, item := range page.Items {
			item.ManagedFields = nil // most of what an object's metadata takes
			all = append(all, item)
		}
		if page.Continue == "" {
			return all, nil
		}
	}
}
