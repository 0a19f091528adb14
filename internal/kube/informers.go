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

// indexed is an informer that lets its objects be looked at without copying
// them, as those of controller-runtime do.
type indexed interface{ GetIndexer() toolscache.Indexer }

// StartInformer runs a cache of one kind of objects, which lasts as long as
// life, and returns once all of them are known, or with an error when ctx or a
// deadline ends. what names the objects for people. The objects of the index
// must not be changed.
func StartInformer(ctx, life context.Context, from cache.Cache, kind client.Object, what string) (cache.Informer, toolscache.Indexer, error) {
	go func() {
		if err := from.Start(life); err != nil {
			log.FromContext(life).Error(err, "watching "+what)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, syncDeadline)
	defer cancel()
	// The cache may not have started yet, and would then not wait by itself.
	informer, err := from.GetInformer(ctx, kind, cache.BlockUntilSynced(false))
	if err != nil {
		return nil, nil, err
	}
	if !toolscache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		return nil, nil, fmt.Errorf("not all %s were known after %s", what, syncDeadline)
	}
	known, ok := informer.(indexed)
	if !ok {
		return nil, nil, fmt.Errorf("the informer is a %T, which has no index", informer)
	}
	return informer, known.GetIndexer(), nil
}
