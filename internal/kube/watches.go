// Package kube is the operator's own way to the API server: watching what
// credentials come from one by one, minting tokens, writing target Secrets, and
// keeping leases.
package kube

import (
	"context"
	"errors"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/cache"
	ctrlcache "sigs.k8s.io/controller-runtime/pkg/cache"
)

// ErrNotWatchedYet is returned for an object that is not known yet.
var ErrNotWatchedYet = errors.New("the object is not known yet")

// Watches watches objects of one kind, each by its namespace and name, so that
// a right on those names is all that it takes. It is safe for concurrent use.
type Watches[T runtime.Object] struct {
	resource    schema.GroupResource
	newInformer func(types.NamespacedName) cache.SharedIndexInformer
	changed     func(types.NamespacedName)

	mu      sync.Mutex
	watches map[types.NamespacedName]*watch
	users   map[string][]types.NamespacedName
}

// watch is the watch on one object and its last error.
type watch struct {
	informer cache.SharedIndexInformer
	stop     context.CancelFunc
	users    int

	mu  sync.Mutex
	err error
}

// NewSecretWatches returns Watches of Secrets that watch nothing yet. changed is
// called, from any goroutine, with each object that changed, came, went or
// can't be read.
func NewSecretWatches(client corev1client.SecretsGetter, changed func(types.NamespacedName)) *Watches[*corev1.Secret] {
	return newWatches[*corev1.Secret]("secrets", changed, func(ref types.NamespacedName) cache.SharedIndexInformer {
		secrets := client.Secrets(ref.Namespace)
		return newInformer(ref.Name, &corev1.Secret{}, ctrlcache.TransformStripManagedFields(),
			func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return secrets.List(ctx, o) },
			secrets.Watch)
	})
}

// NewServiceAccountWatches returns Watches of ServiceAccounts, of which nothing
// is kept but name and UID. For changed see NewSecretWatches.
func NewServiceAccountWatches(client corev1client.ServiceAccountsGetter, changed func(types.NamespacedName)) *Watches[*corev1.ServiceAccount] {
	return newWatches[*corev1.ServiceAccount]("serviceaccounts", changed, func(ref types.NamespacedName) cache.SharedIndexInformer {
		accounts := client.ServiceAccounts(ref.Namespace)
		return newInformer(ref.Name, &corev1.ServiceAccount{}, onlyIdentity,
			func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return accounts.List(ctx, o) },
			accounts.Watch)
	})
}

func newWatches[T runtime.Object](resource string, changed func(types.NamespacedName), newInformer func(types.NamespacedName) cache.SharedIndexInformer) *Watches[T] {
	return &Watches[T]{
		resource: corev1.Resource(resource), newInformer: newInformer, changed: changed,
		watches: map[types.NamespacedName]*watch{},
		users:   map[string][]types.NamespacedName{},
	}
}

// onlyIdentity drops what is not needed of a ServiceAccount.
func onlyIdentity(object any) (any, error) {
	if account, ok := object.(*corev1.ServiceAccount); ok {
		return &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{
			Name: account.Name, Namespace: account.Namespace, UID: account.UID, ResourceVersion: account.ResourceVersion,
		}}, nil
	}
	return object, nil
}

// newInformer returns an informer of the one object that has a name.
func newInformer(
	name string, object runtime.Object, transform cache.TransformFunc,
	list cache.ListWithContextFunc, watch cache.WatchFuncWithContext,
) cache.SharedIndexInformer {
	byName := fields.OneTermEqualSelector(metav1.ObjectNameField, name).String()
	informer := cache.NewSharedIndexInformer(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			options.FieldSelector = byName
			return list(ctx, options)
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (apiwatch.Interface, error) {
			options.FieldSelector = byName
			return watch(ctx, options)
		},
	}, object, 0, cache.Indexers{})
	// Cannot fail on an informer that has not been started.
	_ = informer.SetTransform(transform)
	return informer
}

// Use makes refs the objects that user needs, in place of those of an earlier
// call: watches start and end as needed. Empty refs release everything.
func (s *Watches[T]) Use(user string, refs []types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.users[user]
	for _, ref := range refs {
		s.acquire(ref)
	}
	for _, ref := range before {
		s.release(ref)
	}
	if len(refs) == 0 {
		delete(s.users, user)
		return
	}
	s.users[user] = refs
}

// Start waits for the end of ctx and then ends all watches.
func (s *Watches[T]) Start(ctx context.Context) error {
	<-ctx.Done()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.watches {
		w.stop()
	}
	return nil
}

// UsersOf returns who needs an object.
func (s *Watches[T]) UsersOf(ref types.NamespacedName) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var users []string
	for user, refs := range s.users {
		for _, used := range refs {
			if used == ref {
				users = append(users, user)
				break
			}
		}
	}
	return users
}

// Get returns an object that is in use, which the caller must not change. The
// error is ErrNotWatchedYet, a NotFound or Forbidden of the API server, or
// what else keeps the watch from working.
func (s *Watches[T]) Get(ref types.NamespacedName) (found T, err error) {
	s.mu.Lock()
	w := s.watches[ref]
	s.mu.Unlock()
	if w == nil {
		return found, ErrNotWatchedYet
	}
	object, _, err := w.informer.GetStore().GetByKey(ref.String())
	if err != nil {
		return found, err
	}
	found, is := object.(T)
	switch {
	case is:
		return found, nil
	case w.lastError() != nil:
		return found, w.lastError()
	case !w.informer.HasSynced():
		return found, ErrNotWatchedYet
	default:
		return found, apierrors.NewNotFound(s.resource, ref.Name)
	}
}

func (s *Watches[T]) acquire(ref types.NamespacedName) {
	if w := s.watches[ref]; w != nil {
		w.users++
		return
	}
	w := &watch{informer: s.newInformer(ref), users: 1}
	s.watches[ref] = w
	notify := func(any) { w.setError(nil); s.changed(ref) }
	// Neither call can fail on an informer that has not been started.
	_, _ = w.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: notify, DeleteFunc: notify,
		UpdateFunc: func(_, updated any) { notify(updated) },
	})
	_ = w.informer.SetWatchErrorHandlerWithContext(func(ctx context.Context, r *cache.Reflector, err error) {
		if !apierrors.IsForbidden(err) {
			cache.DefaultWatchErrorHandler(ctx, r, err)
			return
		}
		// Only this one lasts, and it is told in a status.
		w.setError(err)
		s.changed(ref)
	})
	var ctx context.Context
	ctx, w.stop = context.WithCancel(context.Background())
	go w.informer.RunWithContext(ctx)
	go func() {
		if cache.WaitForCacheSync(ctx.Done(), w.informer.HasSynced) {
			notify(nil) // also where there is no such object
		}
	}()
}

func (s *Watches[T]) release(ref types.NamespacedName) {
	w := s.watches[ref]
	if w.users--; w.users == 0 {
		w.stop()
		delete(s.watches, ref)
	}
}

func (w *watch) lastError() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

func (w *watch) setError(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = err
}
