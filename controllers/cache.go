package controllers

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/internal/grant"
	"github.com/imagepullsecrets/operator/internal/kube"
)

// CacheOptions is the shape of every informer that the manager's cache holds.
// Nothing else is cached: reading another kind is an error, not a new watch.
func CacheOptions() cache.Options {
	return cache.Options{
		ReaderFailOnMissingInformer: true,
		ByObject: map[client.Object]cache.ByObject{
			&v1alpha1.ImagePullSecret{}: {Transform: cache.TransformStripManagedFields()},
			kube.NamespaceMetadata():    {Transform: kube.TransformNamespace},
			// Only Secrets that are kept by this operator, without their data.
			kube.SecretMetadata(): {Label: ours(), Transform: kube.TransformTarget},
		},
	}
}

func ours() labels.Selector {
	// Exists takes no value, so this cannot fail.
	kept, _ := labels.NewRequirement(v1alpha1.LabelOwnerUID, "exists", nil)
	return labels.NewSelector().Add(*kept)
}

// targetCaches hold the metadata of target Secrets: each those of one name, also
// foreign ones, or for "" those of any that are kept, in one namespace or for ""
// in all. A right on just these is enough. Secrets that may ask for a login are
// always watched by their names.
type targetCaches map[types.NamespacedName]cache.Cache

// newTargetCaches returns caches for target Secrets of certain names, or of any
// if there are none, and for those that may ask; mgr runs them.
func newTargetCaches(mgr manager.Manager, config Config) (targetCaches, error) {
	caches, names := targetCaches{}, slices.Concat(config.TargetNames, config.AnnotatedSecrets.Names)
	if len(config.TargetNames) == 0 {
		names = append(names, "")
	}
	for _, name := range names {
		for _, namespace := range config.places() {
			key := types.NamespacedName{Namespace: namespace, Name: name}
			if caches[key] != nil {
				continue
			}
			made, err := newTargetCache(mgr, key)
			if err != nil {
				return nil, err
			}
			caches[key] = made
		}
	}
	return caches, nil
}

// newTargetCache returns the cache of a key of targetCaches.
func newTargetCache(mgr manager.Manager, key types.NamespacedName) (cache.Cache, error) {
	shape := cache.ByObject{Transform: kube.TransformTarget}
	switch {
	case key.Name != "":
		shape.Field = fields.OneTermEqualSelector(metav1.ObjectNameField, key.Name)
	case key.Namespace != "":
		shape.Label = ours()
	default:
		return mgr.GetCache(), nil // in which they have their place
	}
	made, err := newCacheOf(mgr, kube.SecretMetadata(), shape, key.Namespace)
	if err != nil {
		return nil, err
	}
	return made, mgr.Add(ahead{made})
}

// ahead has the manager start a cache with its own, whoever leads: it starts
// what is only a cache.Cache on the leader, and the others would never be ready.
type ahead struct{ cache.Cache }

// GetCache is what the manager knows such caches by.
func (a ahead) GetCache() cache.Cache { return a.Cache }

// unfinished are Pods that run, or have yet to.
const unfinished = "status.phase!=" + string(corev1.PodSucceeded) + ",status.phase!=" + string(corev1.PodFailed)

// newPodCache returns a cache of the metadata of Pods that are not finished, in a
// namespace or for "" in all. It is apart from the manager's, so that it can come
// and go, and fail, by itself.
func newPodCache(mgr manager.Manager, namespace string) (cache.Cache, error) {
	return newCacheOf(mgr, kube.PodMetadata(), cache.ByObject{
		Field: fields.ParseSelectorOrDie(unfinished), Transform: kube.TransformPod,
	}, namespace)
}

// newAccountCache returns a cache of ServiceAccounts, in a namespace or for "" in
// all, apart from the manager's for the same reasons.
func newAccountCache(mgr manager.Manager, namespace string) (cache.Cache, error) {
	return newCacheOf(mgr, &corev1.ServiceAccount{}, cache.ByObject{Transform: kube.TransformServiceAccount}, namespace)
}

// inPlaces returns what newCache makes for each of the config's places.
func (p *parts) inPlaces(newCache func(mgr manager.Manager, namespace string) (cache.Cache, error)) func() ([]kube.Place, error) {
	return func() ([]kube.Place, error) {
		var places []kube.Place
		for _, namespace := range p.config.places() {
			made, err := newCache(p.mgr, namespace)
			if err != nil {
				return nil, err
			}
			places = append(places, kube.Place{Namespace: namespace, Cache: made})
		}
		return places, nil
	}
}

// newCacheOf returns a cache of one kind of objects, in a namespace or for "" in
// all, which nobody runs yet. That of a namespace is patient: the namespace may
// not be there, and others may.
func newCacheOf(mgr manager.Manager, kind client.Object, shape cache.ByObject, namespace string) (cache.Cache, error) {
	options := cache.Options{
		HTTPClient: mgr.GetHTTPClient(), Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper(),
		ReaderFailOnMissingInformer: true,
	}
	if namespace == "" {
		options.ByObject = map[client.Object]cache.ByObject{kind: shape}
		return cache.New(rest.CopyConfig(mgr.GetConfig()), options)
	}
	// By this selector too the cache asks for the namespace alone, and its
	// informers have an index, which those for ByObject's Namespaces have not.
	here := fields.OneTermEqualSelector("metadata.namespace", namespace)
	if shape.Field != nil {
		here = fields.AndSelectors(shape.Field, here)
	}
	shape.Field = here
	options.ByObject = map[client.Object]cache.ByObject{kind: shape}
	return kube.NewPatient(func(failed toolscache.WatchErrorHandlerWithContext) (cache.Cache, error) {
		options.DefaultWatchErrorHandler = failed
		return cache.New(rest.CopyConfig(mgr.GetConfig()), options)
	})
}

// each returns the caches in a stable order.
func (t targetCaches) each() []cache.Cache {
	return t.those(func(string) bool { return true })
}

// named returns the caches of Secrets of names that are watched by their name.
func (t targetCaches) named(names []string) []cache.Cache {
	return t.those(func(name string) bool { return slices.Contains(names, name) })
}

// those returns the caches of the names for which is holds, in a stable order.
func (t targetCaches) those(is func(name string) bool) []cache.Cache {
	var caches []cache.Cache
	for _, key := range slices.SortedFunc(maps.Keys(t), func(a, b types.NamespacedName) int { return strings.Compare(a.String(), b.String()) }) {
		if is(key.Name) {
			caches = append(caches, t[key])
		}
	}
	return caches
}

// of returns the cache that a Secret is in; nil if it is in none.
func (t targetCaches) of(secret types.NamespacedName) cache.Cache {
	for _, key := range []types.NamespacedName{secret, {Name: secret.Name}, {Namespace: secret.Namespace}, {}} {
		if from := t[key]; from != nil {
			return from
		}
	}
	return nil
}

// Named returns the metadata of all Secrets of names that are watched by their
// name.
func (t targetCaches) Named(ctx context.Context, names []string) ([]metav1.PartialObjectMetadata, error) {
	var all []metav1.PartialObjectMetadata
	for _, from := range t.named(names) {
		list := &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(kube.ListKind(kube.SecretMetadata()))
		if err := from.List(ctx, list); err != nil {
			return nil, err
		}
		all = append(all, list.Items...)
	}
	return all, nil
}

// Get returns a target Secret's metadata, or NotFound.
func (t targetCaches) Get(ctx context.Context, key types.NamespacedName) (*metav1.PartialObjectMetadata, error) {
	from := t.of(key)
	if from == nil {
		return nil, apierrors.NewNotFound(corev1.Resource("secrets"), key.Name)
	}
	secret := kube.SecretMetadata()
	return secret, from.Get(ctx, key, secret)
}

// Stands tells whether a grant's Secret stands in a namespace.
func (t targetCaches) Stands(ctx context.Context, g *grant.Grant, namespace string) bool {
	secret, err := t.Get(ctx, types.NamespacedName{Namespace: namespace, Name: g.SecretName})
	return err == nil && secret.Labels[v1alpha1.LabelOwnerUID] == string(g.UID)
}

// byOwner indexes target Secrets by the UID of the object that they are kept
// for. It costs 0.4 to 0.7 kB for each Secret: controller-runtime notes it in its
// namespace and in all of them, and most where few have the same owner.
const byOwner = "owner"

func ownersOf(secret client.Object) []string {
	if uid := secret.GetLabels()[v1alpha1.LabelOwnerUID]; uid != "" {
		return []string{uid}
	}
	return nil // a foreign one, watched for its name
}

// Index gives the caches the index that OwnedBy needs; it is a source, which
// brings nothing, of the controller that calls that. It waits for no Secrets.
// Indexing earlier would have replicas watch Secrets that are not the leader.
func (t targetCaches) Index(ctx context.Context, _ workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	for _, from := range t.each() {
		if err := from.IndexField(ctx, kube.SecretMetadata(), byOwner, ownersOf); err != nil {
			return fmt.Errorf("indexing target Secrets: %w", err)
		}
	}
	return nil
}

// OwnedBy returns the Secrets that are kept for the object of a UID. The caches
// must be indexed.
func (t targetCaches) OwnedBy(ctx context.Context, uid types.UID) ([]types.NamespacedName, error) {
	var owned []types.NamespacedName
	for _, from := range t.each() {
		list := &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(kube.ListKind(kube.SecretMetadata()))
		err := from.List(ctx, list, client.MatchingFields{byOwner: string(uid)}, client.UnsafeDisableDeepCopy)
		if err != nil {
			return nil, err
		}
		for i := range list.Items {
			owned = append(owned, client.ObjectKeyFromObject(&list.Items[i]))
		}
	}
	return owned, nil
}

// inSync returns a check that fails until all caches are in sync.
func inSync(caches []cache.Cache) healthz.Checker {
	return func(request *http.Request) error {
		ctx, cancel := context.WithTimeout(request.Context(), time.Second)
		defer cancel()
		for _, one := range caches {
			if !one.WaitForCacheSync(ctx) {
				return errors.New("the caches are not in sync yet")
			}
		}
		return nil
	}
}
