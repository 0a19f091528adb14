// Package kube is the operator's own way to the API server: watching source
// Secrets one by one, writing target Secrets, and keeping leases.
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
	"k8s.io/apimachinery/pkg/types"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/cache"
	ctrlcache "sigs.k8s.io/controller-runtime/pkg/cache"
)

// ErrNotWatchedYet is returned for a source Secret that is not known yet.
var ErrNotWatchedYet = errors.New("source Secret is not known yet")

// Sources watches source Secrets, each by its namespace and name, so that a
// right on those names is all that it takes. It is safe for concurrent use.
type Sources struct {
	client  corev1client.SecretsGetter
	changed func(types.NamespacedName)

	mu      sync.Mutex
	watches map[types.NamespacedName]*watch
	users   map[string][]types.NamespacedName
}

// watch is the watch on one Secret and its last error.
type watch struct {
	informer cache.SharedIndexInformer
	stop     context.CancelFunc
	users    int

	mu  sync.Mutex
	err error
}

// NewSources returns Sources that watch nothing yet. changed is called, from
// any goroutine, with each Secret that changed, came, went or can't be read.
func NewSources(client corev1client.SecretsGetter, changed func(types.NamespacedName)) *Sources {
	return &Sources{
		client: client, changed: changed,
		watches: map[types.NamespacedName]*watch{},
		users:   map[string][]types.NamespacedName{},
	}
}

// Use makes refs the Secrets that user needs, in place of those of an earlier
// call: watches start and end as needed. Empty refs release everything.
func (s *Sources) Use(user string, refs []types.NamespacedName) {
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
func (s *Sources) Start(ctx context.Context) error {
	<-ctx.Done()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.watches {
		w.stop()
	}
	return nil
}

// UsersOf returns who needs a Secret.
func (s *Sources) UsersOf(ref types.NamespacedName) []string {
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

// Get returns a Secret that is in use, which the caller must not change. The
// error is ErrNotWatchedYet, a NotFound or Forbidden of the API server, or
// what else keeps the watch from working.
func (s *Sources) Get(ref types.NamespacedName) (*corev1.Secret, error) {
	s.mu.Lock()
	w := s.watches[ref]
	s.mu.Unlock()
	if w == nil {
		return nil, ErrNotWatchedYet
	}
	object, _, err := w.informer.GetStore().GetByKey(ref.String())
	secret, found := object.(*corev1.Secret)
	switch {
	case err != nil:
		return nil, err
	case found:
		return secret, nil
	case w.lastError() != nil:
		return nil, w.lastError()
	case !w.informer.HasSynced():
		return nil, ErrNotWatchedYet
	default:
		return nil, apierrors.NewNotFound(corev1.Resource("secrets"), ref.Name)
	}
}

func (s *Sources) acquire(ref types.NamespacedName) {
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
			notify(nil) // also where there is no such Secret
		}
	}()
}

func (s *Sources) release(ref types.NamespacedName) {
	w := s.watches[ref]
	if w.users--; w.users == 0 {
		w.stop()
		delete(s.watches, ref)
	}
}

func (s *Sources) newInformer(ref types.NamespacedName) cache.SharedIndexInformer {
	secrets := s.client.Secrets(ref.Namespace)
	byName := fields.OneTermEqualSelector(metav1.ObjectNameField, ref.Name).String()
	informer := cache.NewSharedIndexInformer(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			options.FieldSelector = byName
			return secrets.List(ctx, options)
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (apiwatch.Interface, error) {
			options.FieldSelector = byName
			return secrets.Watch(ctx, options)
		},
	}, &corev1.Secret{}, 0, cache.Indexers{})
	// Cannot fail on an informer that has not been started.
	_ = informer.SetTransform(ctrlcache.TransformStripManagedFields())
	return informer
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
