package kube

import (
	"context"
	"fmt"
	"time"

	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// syncDeadline bounds the wait for the first list of a watch.
const syncDeadline = 15 * time.Second

// Place is where objects are watched: a cache of one kind of them, in one
// namespace or, for "", in all.
type Place struct {
	Namespace string
	Cache     cache.Cache
}

// Objects are those of one kind that are watched; they must not be changed.
type Objects interface {
	GetByKey(key string) (object any, found bool, err error)
	ByIndex(index, value string) ([]any, error)
	List() []any
}

// Informers are the watches on one kind of objects, one for each Place.
type Informers []informer

var _ Objects = Informers(nil)

type informer struct {
	place    Place
	informer cache.Informer
	index    toolscache.Indexer
}

// indexed is an informer that lets its objects be looked at without copying
// them, as those of controller-runtime do.
type indexed interface{ GetIndexer() toolscache.Indexer }

// StartInformers runs caches of one kind of objects, which last as long as life,
// and returns once all of them are known, or with an error when ctx or a
// deadline ends. what names the objects for people.
func StartInformers(ctx, life context.Context, from []Place, kind client.Object, what string) (Informers, error) {
	all := make(Informers, len(from))
	for i, place := range from {
		go func() {
			if err := place.Cache.Start(life); err != nil {
				log.FromContext(life).Error(err, "watching "+what)
			}
		}()
		// The cache may not have started yet, and would then not wait by itself.
		made, err := place.Cache.GetInformer(ctx, kind, cache.BlockUntilSynced(false))
		if err != nil {
			return nil, err
		}
		known, ok := made.(indexed)
		if !ok {
			return nil, fmt.Errorf("the informer is a %T, which has no index", made)
		}
		all[i] = informer{place, made, known.GetIndexer()}
	}
	ctx, cancel := context.WithTimeout(ctx, syncDeadline)
	defer cancel()
	for _, one := range all {
		if !toolscache.WaitForCacheSync(ctx.Done(), one.informer.HasSynced) {
			return nil, fmt.Errorf("not all %s were known after %s", what, syncDeadline)
		}
	}
	return all, nil
}

// AddIndexers adds indexes to those that every informer has.
func (all Informers) AddIndexers(indexers toolscache.Indexers) error {
	for _, one := range all {
		if err := one.informer.AddIndexers(indexers); err != nil {
			return err
		}
	}
	return nil
}

// AddEventHandler has a handler told of everything.
func (all Informers) AddEventHandler(handler toolscache.ResourceEventHandler) error {
	for _, one := range all {
		if _, err := one.informer.AddEventHandler(handler); err != nil {
			return err
		}
	}
	return nil
}

// GetByKey returns the object of a key, <namespace>/<name>.
func (all Informers) GetByKey(key string) (object any, found bool, err error) {
	for _, one := range all {
		if object, found, err = one.index.GetByKey(key); found || err != nil {
			break
		}
	}
	return object, found, err
}

// ByIndex returns the objects that an index has under a value.
func (all Informers) ByIndex(index, value string) ([]any, error) {
	var found []any
	for _, one := range all {
		objects, err := one.index.ByIndex(index, value)
		if err != nil {
			return nil, err
		}
		found = append(found, objects...)
	}
	return found, nil
}

// List returns all objects.
func (all Informers) List() []any {
	var objects []any
	for _, one := range all {
		objects = append(objects, one.index.List()...)
	}
	return objects
}

// Refused returns the namespaces of which nothing is known, and why the API
// server does not let it be; only Patients are in one.
func (all Informers) Refused() map[string]error {
	refused := map[string]error{}
	for _, one := range all {
		if patient, ok := one.place.Cache.(*Patient); ok && patient.Refused() != nil {
			refused[one.place.Namespace] = patient.Refused()
		}
	}
	return refused
}
