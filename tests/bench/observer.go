package main

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
)

// observer follows all Secrets of one name by a watch on their metadata. It
// tells which content each holds by the annotation with its hash.
type observer struct {
	view
	held   map[string]string // namespace → hash
	counts map[string]int    // hash → namespaces
	latest string            // the hash that was seen last
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
	o.state = o.describe
	return o, follow(ctx, secrets, "Secrets", o.stands, o.gone)
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

// all is the state in which n Secrets stand.
func (o *observer) all(n int) func() bool {
	return func() bool { return len(o.held) == n }
}

// rotated is the state in which n Secrets hold the same content, which is
// not that of the given hash.
func (o *observer) rotated(n int, from string) func() bool {
	return func() bool { return o.latest != from && o.counts[o.latest] >= n }
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
