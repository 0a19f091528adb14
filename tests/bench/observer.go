package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
)

// patience bounds every wait for Secrets.
const patience = 5 * time.Minute

// observer follows all Secrets of one name by a watch on their metadata. It
// tells which content each holds by the annotation with its hash.
type observer struct {
	mu     sync.Mutex
	held   map[string]string // namespace → hash
	counts map[string]int    // hash → namespaces
	latest string            // the hash that was seen last
	waiter *waiter
}

// waiter is who waits for a state of an observer.
type waiter struct {
	reached func() bool // called with the lock held, after each event
	at      chan time.Time
}

// newObserver returns an observer that has seen what is there.
func newObserver(ctx context.Context, config *rest.Config, name string) (*observer, error) {
	c, err := metadata.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	o := &observer{held: map[string]string{}, counts: map[string]int{}}
	secrets := metadatainformer.NewFilteredMetadataInformer(c, corev1.SchemeGroupVersion.WithResource("secrets"),
		metav1.NamespaceAll, 0, cache.Indexers{}, func(options *metav1.ListOptions) {
			options.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, name).String()
		}).Informer()
	registration, err := secrets.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    o.stands,
		UpdateFunc: func(_, updated any) { o.stands(updated) },
		DeleteFunc: o.gone,
	})
	if err != nil {
		return nil, err
	}
	go secrets.RunWithContext(ctx)
	if !cache.WaitForCacheSync(ctx.Done(), registration.HasSynced) {
		return nil, fmt.Errorf("watching Secrets: %w", context.Cause(ctx))
	}
	return o, nil
}

func (o *observer) stands(object any) {
	secret, ok := object.(*metav1.PartialObjectMetadata)
	if !ok {
		return
	}
	hash := secret.Annotations[v1alpha1.AnnotationContentHash]
	o.change(func() {
		if before, known := o.held[secret.Namespace]; known {
			o.counts[before]--
		}
		o.held[secret.Namespace] = hash
		o.counts[hash]++
		o.latest = hash
	})
}

func (o *observer) gone(object any) {
	key, err := cache.DeletionHandlingObjectToName(object)
	if err != nil {
		return
	}
	o.change(func() {
		if before, known := o.held[key.Namespace]; known {
			o.counts[before]--
			delete(o.held, key.Namespace)
		}
	})
}

// change does something to the state and tells the waiter if it is reached.
func (o *observer) change(do func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	do()
	if o.waiter != nil && o.waiter.reached() {
		o.waiter.at <- time.Now()
		o.waiter = nil
	}
}

// all is the state in which n Secrets stand.
func (o *observer) all(n int) func() bool {
	return func() bool { return len(o.held) == n }
}

// rotated is the state in which n Secrets hold the same content, which is
// not that of the given hash.
func (o *observer) rotated(n int, from string) func() bool {
	return func() bool { return o.latest != from && o.counts[o.latest] >= n }
}

// await waits for a state and returns when it was reached.
func (o *observer) await(ctx context.Context, reached func() bool) (time.Time, error) {
	at := make(chan time.Time, 1)
	o.mu.Lock()
	if reached() {
		o.mu.Unlock()
		return time.Now(), nil
	}
	o.waiter = &waiter{reached: reached, at: at}
	o.mu.Unlock()
	select {
	case at := <-at:
		return at, nil
	case <-ctx.Done():
		return time.Time{}, ctx.Err()
	case <-time.After(patience):
		return time.Time{}, errors.New("waited in vain for Secrets: " + o.describe())
	}
}

func (o *observer) total() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.held)
}

// current returns the hash that was seen last and how many Secrets hold it.
func (o *observer) current() (string, int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.latest, o.counts[o.latest]
}

// describe says for a person how things stand.
func (o *observer) describe() string {
	_, same := o.current()
	return fmt.Sprintf("%d Secrets stand, %d with the newest content", o.total(), same)
}
