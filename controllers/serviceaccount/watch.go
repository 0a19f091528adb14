package serviceaccount

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/internal/grant"
	"github.com/imagepullsecrets/operator/internal/kube"
	"github.com/imagepullsecrets/operator/internal/rights"
)

// accounts are the ServiceAccounts of the cluster, once they are watched. What
// it returns must not be changed.
type accounts struct {
	starting sync.Mutex // held while the watch starts, which takes time

	mu    sync.RWMutex
	index kube.Objects // nil until they are watched
}

// byRecord indexes ServiceAccounts by the names that are recorded in them.
const byRecord = "attached"

func indexByRecord(object any) ([]string, error) {
	if account, ok := object.(*corev1.ServiceAccount); ok {
		return Recorded(account.Annotations), nil
	}
	return nil, nil
}

func (a *accounts) watched() kube.Objects {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.index
}

// get returns a ServiceAccount; nil if there is none, or none is watched.
func (a *accounts) get(key types.NamespacedName) *corev1.ServiceAccount {
	index := a.watched()
	if index == nil {
		return nil
	}
	object, _, _ := index.GetByKey(key.String())
	account, _ := object.(*corev1.ServiceAccount)
	return account
}

// find returns the ServiceAccounts that an index has under a value, if is holds
// for them.
func (a *accounts) find(index, value string, is func(*corev1.ServiceAccount) bool) []types.NamespacedName {
	watched := a.watched()
	if watched == nil {
		return nil
	}
	objects, err := watched.ByIndex(index, value)
	if err != nil {
		return nil // not reached: both indexes are there from the begin
	}
	var found []types.NamespacedName
	for _, object := range objects {
		if account, ok := object.(*corev1.ServiceAccount); ok && is(account) {
			found = append(found, client.ObjectKeyFromObject(account))
		}
	}
	return found
}

// in returns the ServiceAccounts of a namespace for which is holds.
func (a *accounts) in(namespace string, is func(*corev1.ServiceAccount) bool) []types.NamespacedName {
	return a.find(toolscache.NamespaceIndex, namespace, is)
}

// recording returns the ServiceAccounts in which a name is recorded.
func (a *accounts) recording(name string) []types.NamespacedName {
	return a.find(byRecord, name, func(*corev1.ServiceAccount) bool { return true })
}

// Watch sees to it that ServiceAccounts are watched, from now until the process
// ends. When it returns nil all of them are known, but for those that Refused
// tells of. A missing right is an error for which rights.Missing holds.
func (c *Controller) Watch(ctx context.Context) error {
	c.accounts.starting.Lock()
	defer c.accounts.starting.Unlock()
	if c.accounts.watched() != nil {
		return nil
	}
	// The watch would try for long what is refused at once; that of a single
	// namespace does not.
	if len(c.Within) == 0 {
		if _, err := c.list(ctx, metav1.NamespaceAll, 1, ""); err != nil {
			return watchError(err)
		}
	}
	if err := c.startWatch(ctx); err != nil {
		return watchError(err)
	}
	return nil
}

func watchError(err error) error {
	return fmt.Errorf("watching ServiceAccounts: %w; the operator needs the rule %s", err, rights.ForAttaching)
}

// Refused says in which of the namespaces that a grant selects ServiceAccounts
// may not be watched, if there is one: an error for which rights.Missing holds.
func (c *Controller) Refused(ctx context.Context, g *grant.Grant) error {
	watched, ok := c.accounts.watched().(kube.Informers)
	if !ok {
		return nil
	}
	refused := watched.Refused()
	for _, name := range slices.Sorted(maps.Keys(refused)) {
		namespace, err := c.Scope.Namespace(ctx, name)
		if err != nil {
			return err
		}
		if namespace == nil {
			continue
		}
		// What can't be decided may be selected.
		if selected, err := c.Scope.Selects(ctx, g, namespace); selected || err != nil {
			return fmt.Errorf("watching ServiceAccounts: %w; the operator needs, in %s, the rule %s",
				refused[name], c.Rights.Role(name), rights.ForAttaching)
		}
	}
	return nil
}

func (c *Controller) startWatch(ctx context.Context) (err error) {
	from, err := c.NewAccounts()
	if err != nil {
		return err
	}
	// The watch outlives this call, unless it fails.
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer func() {
		if err != nil {
			stop()
		}
	}()
	informers, err := kube.StartInformers(ctx, life, from, &corev1.ServiceAccount{}, "ServiceAccounts")
	if err != nil {
		return err
	}
	if err := informers.AddIndexers(toolscache.Indexers{byRecord: indexByRecord}); err != nil {
		return err
	}
	c.accounts.mu.Lock()
	defer c.accounts.mu.Unlock()
	for _, handler := range append([]toolscache.ResourceEventHandler{accountEvents{c}}, c.Handlers...) {
		if err = informers.AddEventHandler(handler); err != nil {
			return err
		}
	}
	c.accounts.index = informers
	return nil
}

// Account returns a ServiceAccount, which must not be changed; nil if there is
// none, or none is watched.
func (c *Controller) Account(key types.NamespacedName) *corev1.ServiceAccount {
	return c.accounts.get(key)
}

// Accounts returns all ServiceAccounts, which must not be changed. known tells
// whether they are watched.
func (c *Controller) Accounts() (all []*corev1.ServiceAccount, known bool) {
	index := c.accounts.watched()
	if index == nil {
		return nil, false
	}
	for _, object := range index.List() {
		if account, ok := object.(*corev1.ServiceAccount); ok {
			all = append(all, account)
		}
	}
	return all, true
}

// pageSize is how many ServiceAccounts are listed at a time.
const pageSize = 500

// Start watches ServiceAccounts if a name is recorded in any of them: its grant
// may have gone while nobody was there to see it.
func (c *Controller) Start(ctx context.Context) error {
	found, err := c.anyRecorded(ctx)
	if err == nil && found {
		err = c.Watch(ctx)
	}
	if err != nil {
		// Whoever needs ServiceAccounts to be watched tries again, and tells people.
		log.FromContext(ctx).Info("entries of imagePullSecrets that nobody wants any more may stay", "why", err.Error())
	}
	<-ctx.Done()
	return nil
}

// anyRecorded tells whether there is a ServiceAccount in which a name is
// recorded.
func (c *Controller) anyRecorded(ctx context.Context) (bool, error) {
	if len(c.Within) == 0 {
		return c.anyRecordedIn(ctx, metav1.NamespaceAll)
	}
	for _, namespace := range c.Within {
		// One that is not there may not be listed in.
		if found, err := c.anyRecordedIn(ctx, namespace); found || (err != nil && !rights.Missing(err)) {
			return found, err
		}
	}
	return false, nil
}

// anyRecordedIn is anyRecorded for one namespace, or for all.
func (c *Controller) anyRecordedIn(ctx context.Context, namespace string) (bool, error) {
	for page := ""; ; {
		list, err := c.list(ctx, namespace, pageSize, page)
		if err != nil {
			return false, watchError(err)
		}
		for i := range list.Items {
			if list.Items[i].Annotations[v1alpha1.AnnotationAttached] != "" {
				return true, nil
			}
		}
		if page = list.Continue; page == "" {
			return false, nil
		}
	}
}

// list reads one page of the metadata of a namespace's ServiceAccounts, or of all,
// from the API server.
func (c *Controller) list(ctx context.Context, namespace string, limit int64, page string) (*metav1.PartialObjectMetadataList, error) {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(kube.ListKind(kube.ServiceAccountMetadata()))
	return list, c.Live.List(ctx, list, client.InNamespace(namespace), client.Limit(limit), client.Continue(page))
}
