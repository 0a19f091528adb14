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

	"github.com/imagepullsecrets/operator/internal/grant"
	"github.com/imagepullsecrets/operator/internal/kube"
	"github.com/imagepullsecrets/operator/internal/rights"
	"github.com/imagepullsecrets/operator/internal/selector"
)

type deletedUnseen = toolscache.DeletedFinalStateUnknown

// podSyncDeadline bounds the wait for the first list of Pods.
const podSyncDeadline = 30 * time.Second

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
	mu    sync.RWMutex
	index toolscache.Indexer // nil while Pods are not watched
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

// WatchPods starts or ends the watch on Pods; they are watched only while a
// grant has rules for them, for there are many. When it returns nil with
// needed set, the cache holds all Pods.
func (c *Controller) WatchPods(ctx context.Context, needed bool) error {
	c.podWatch.mu.Lock()
	defer c.podWatch.mu.Unlock()
	if (c.podWatch.index != nil) == needed {
		return nil
	}
	if !needed {
		c.podWatch.index = nil
		return c.Cache.RemoveInformer(ctx, kube.PodMetadata())
	}
	ctx, cancel := context.WithTimeout(ctx, podSyncDeadline)
	defer cancel()
	informer, err := c.Cache.GetInformer(ctx, kube.PodMetadata(), cache.BlockUntilSynced(true))
	if err != nil {
		return fmt.Errorf("watching Pods: %w; the operator needs the rule %s", err, rights.ForPods)
	}
	pods, ok := informer.(indexed)
	if !ok {
		return fmt.Errorf("watching Pods: the informer is a %T, which has no index", informer)
	}
	if _, err := informer.AddEventHandler(podEvents{c}); err != nil {
		return fmt.Errorf("watching Pods: %w", err)
	}
	c.podWatch.index = pods.GetIndexer()
	return nil
}
