package target

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/imagepullsecrets/operator/internal/grant"
	"github.com/imagepullsecrets/operator/internal/kube"
	"github.com/imagepullsecrets/operator/internal/rights"
	"github.com/imagepullsecrets/operator/internal/selector"
)

type deletedUnseen = toolscache.DeletedFinalStateUnknown

// podSyncDeadline bounds the wait for the first list of Pods.
const podSyncDeadline = 15 * time.Second

// Selected returns the namespaces that a grant selects now, those that are
// terminating left out. Pods must be watched if the grant has rules for them.
func (c *Controller) Selected(ctx context.Context, g *grant.Grant) ([]string, error) {
	namespaces := &metav1.PartialObjectMetadataList{}
	namespaces.SetGroupVersionKind(kube.ListKind(kube.NamespaceMetadata()))
	// The list is only looked at, so copies would be waste.
	if err := c.Cache.List(ctx, namespaces, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing namespaces: %w", err)
	}
	var selected []string
	for i := range namespaces.Items {
		namespace := &namespaces.Items[i]
		if !namespace.DeletionTimestamp.IsZero() {
			continue
		}
		yes, err := c.selects(g, namespace)
		if err != nil {
			return nil, err
		}
		if yes {
			selected = append(selected, namespace.Name)
		}
	}
	return selected, nil
}

// selects tells whether a grant selects a namespace, by its Pods if need be.
func (c *Controller) selects(g *grant.Grant, namespace *metav1.PartialObjectMetadata) (bool, error) {
	switch g.Selection.Namespace(namespaceOf(namespace)) {
	case selector.ByRule:
		return true, nil
	case selector.NeedsPod:
		return c.podSelected(g.Selection, namespace.Name)
	default:
		return false, nil
	}
}

// podSelected tells whether a namespace holds a Pod that a selection matches.
func (c *Controller) podSelected(selection selector.Selection, namespace string) (bool, error) {
	pods, err := c.podWatch.in(namespace)
	if err != nil {
		return false, err
	}
	for _, object := range pods {
		pod, ok := object.(*metav1.PartialObjectMetadata)
		if ok && selection.Pod(pod.Labels, pod.Annotations) {
			return true, nil
		}
	}
	return false, nil
}

// podWatch is the state of the watch on Pods.
type podWatch struct {
	starting sync.Mutex // held while the watch starts, which takes time

	mu    sync.RWMutex
	users map[string]bool
	index toolscache.Indexer // nil while Pods are not watched
	stop  context.CancelFunc // ends the watch
}

// want notes whether a grant needs Pods to be watched, ends a watch that nobody
// needs any more, and tells whether one is to be started.
func (w *podWatch) want(grant string, wanted bool) (start bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if wanted {
		if w.users == nil {
			w.users = map[string]bool{}
		}
		w.users[grant] = true
		return w.index == nil
	}
	delete(w.users, grant)
	if len(w.users) == 0 && w.index != nil {
		w.stop()
		w.index, w.stop = nil, nil
	}
	return false
}

// started notes a watch, and ends it if nobody needs it any more.
func (w *podWatch) started(index toolscache.Indexer, stop context.CancelFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.users) == 0 {
		stop()
		return
	}
	w.index, w.stop = index, stop
}

// indexed is an informer that lets its objects be looked at without copying
// them, as those of controller-runtime do.
type indexed interface{ GetIndexer() toolscache.Indexer }

// in returns the Pods in a namespace, which the caller must not change.
func (w *podWatch) in(namespace string) ([]any, error) {
	w.mu.RLock()
	index := w.index
	w.mu.RUnlock()
	if index == nil {
		return nil, errors.New("there is no watch on Pods")
	}
	return index.ByIndex(toolscache.NamespaceIndex, namespace)
}

// WatchPods notes whether a grant needs Pods to be watched; they are only while
// one does, for there are many. When it returns nil with wanted set, all Pods
// are known.
func (c *Controller) WatchPods(ctx context.Context, grant string, wanted bool) error {
	if !c.podWatch.want(grant, wanted) {
		return nil
	}
	c.podWatch.starting.Lock()
	defer c.podWatch.starting.Unlock()
	if !c.podWatch.want(grant, true) {
		return nil // someone else started it meanwhile
	}
	// The watch outlives this call.
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	index, err := c.startPods(ctx, life)
	if err != nil {
		stop()
		return fmt.Errorf("watching Pods: %w; the operator needs the rule %s", err, rights.ForPods)
	}
	c.podWatch.started(index, stop)
	return nil
}

// startPods starts a watch on Pods that lasts as long as life, and returns once
// all of them are known or ctx or the deadline ends.
func (c *Controller) startPods(ctx, life context.Context) (toolscache.Indexer, error) {
	pods, err := c.NewPods()
	if err != nil {
		return nil, err
	}
	go func() {
		if err := pods.Start(life); err != nil {
			log.FromContext(life).Error(err, "watching Pods")
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, podSyncDeadline)
	defer cancel()
	// The cache may not have started yet, and would then not wait by itself.
	informer, err := pods.GetInformer(ctx, kube.PodMetadata(), cache.BlockUntilSynced(false))
	if err != nil {
		return nil, err
	}
	if !toolscache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		return nil, fmt.Errorf("not all Pods were known after %s", podSyncDeadline)
	}
	known, ok := informer.(indexed)
	if !ok {
		return nil, fmt.Errorf("the informer is a %T, which has no index", informer)
	}
	_, err = informer.AddEventHandler(podEvents{c})
	return known.GetIndexer(), err
}
