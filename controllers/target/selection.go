package target

import (
	"context"
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
		yes, err := c.selects(ctx, g, namespace)
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
func (c *Controller) selects(ctx context.Context, g *grant.Grant, namespace *metav1.PartialObjectMetadata) (bool, error) {
	switch g.Selection.Namespace(namespaceOf(namespace)) {
	case selector.ByRule:
		return true, nil
	case selector.NeedsPod:
		return c.podSelected(ctx, g.Selection, namespace.Name)
	default:
		return false, nil
	}
}

// podSelected tells whether a namespace holds a Pod that a selection matches.
func (c *Controller) podSelected(ctx context.Context, selection selector.Selection, namespace string) (bool, error) {
	pods := &metav1.PartialObjectMetadataList{}
	pods.SetGroupVersionKind(kube.ListKind(kube.PodMetadata()))
	if err := c.Cache.List(ctx, pods, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
		return false, fmt.Errorf("listing Pods: %w", err)
	}
	for i := range pods.Items {
		if selection.Pod(pods.Items[i].Labels, pods.Items[i].Annotations) {
			return true, nil
		}
	}
	return false, nil
}

// podWatch is the state of the watch on Pods.
type podWatch struct {
	mu sync.Mutex
	on bool
}

// WatchPods starts or ends the watch on Pods; they are watched only while a
// grant has rules for them, for there are many. When it returns nil with
// needed set, the cache holds all Pods.
func (c *Controller) WatchPods(ctx context.Context, needed bool) error {
	c.podWatch.mu.Lock()
	defer c.podWatch.mu.Unlock()
	if c.podWatch.on == needed {
		return nil
	}
	if !needed {
		c.podWatch.on = false
		return c.Cache.RemoveInformer(ctx, kube.PodMetadata())
	}
	ctx, cancel := context.WithTimeout(ctx, podSyncDeadline)
	defer cancel()
	informer, err := c.Cache.GetInformer(ctx, kube.PodMetadata(), cache.BlockUntilSynced(true))
	if err != nil {
		return fmt.Errorf("watching Pods: %w; the operator needs the rule %s", err, rights.ForPods)
	}
	if _, err := informer.AddEventHandler(podEvents{c}); err != nil {
		return fmt.Errorf("watching Pods: %w", err)
	}
	c.podWatch.on = true
	return nil
}
