package kube

import (
	"context"
	"fmt"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Patient is a cache of one kind of objects in one namespace that nobody has to
// wait for: while the API server refuses the watch, as it does in a namespace
// that is not there, the cache is as ready as it gets, and says so to whoever
// reads from it. The watch goes on trying. It is safe for concurrent use.
type Patient struct {
	cache.Cache

	mu       sync.Mutex
	informer toolscache.SharedIndexInformer // nil until it is asked for
	refusal  error                          // the last one
}

// NewPatient returns a Patient of the cache that newCache makes, which must
// bring the errors of its watches to failed.
func NewPatient(newCache func(failed toolscache.WatchErrorHandlerWithContext) (cache.Cache, error)) (*Patient, error) {
	p := &Patient{}
	var err error
	p.Cache, err = newCache(p.failed)
	return p, err
}

// failed notes a refusal, and leaves every other error to client-go.
func (p *Patient) failed(ctx context.Context, r *toolscache.Reflector, err error) {
	if !apierrors.IsForbidden(err) {
		toolscache.DefaultWatchErrorHandler(ctx, r, err)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refusal = err
}

// Refused returns why nothing is known, if the API server does not let it be.
// What was known before a right was taken away still is.
func (p *Patient) Refused() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.informer == nil || p.informer.HasSynced() {
		return nil
	}
	return p.refusal
}

// late tells whether the watch was refused before it began.
func (p *Patient) late() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refusal != nil
}

// settled tells whether everything is known, or can't be.
func (p *Patient) settled() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.informer == nil || p.informer.HasSynced() || p.refusal != nil
}

// Get is that of the cache; the error is the refusal, if there is one.
func (p *Patient) Get(ctx context.Context, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
	if !p.settled() && !p.WaitForCacheSync(ctx) {
		return ctx.Err()
	}
	if err := p.Refused(); err != nil {
		return err
	}
	return p.Cache.Get(ctx, key, object, options...)
}

// List is that of the cache; it gives nothing while the watch is refused.
func (p *Patient) List(ctx context.Context, list client.ObjectList, options ...client.ListOption) error {
	if !p.settled() && !p.WaitForCacheSync(ctx) {
		return ctx.Err()
	}
	if !p.readable() {
		return nil
	}
	return p.Cache.List(ctx, list, options...)
}

func (p *Patient) readable() bool { return p.Refused() == nil }

// GetInformer returns the informer of the one kind, at once.
func (p *Patient) GetInformer(ctx context.Context, kind client.Object, _ ...cache.InformerGetOption) (cache.Informer, error) {
	made, err := p.Cache.GetInformer(ctx, kind, cache.BlockUntilSynced(false))
	if err != nil {
		return nil, err
	}
	informer, ok := made.(toolscache.SharedIndexInformer)
	if !ok {
		return nil, fmt.Errorf("the informer is a %T, which has no index", made)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.informer = informer
	return patientInformer{informer, p}, nil
}

// IndexField is that of the cache, and does not wait for its objects either.
func (p *Patient) IndexField(ctx context.Context, kind client.Object, field string, values client.IndexerFunc) error {
	if _, err := p.GetInformer(ctx, kind); err != nil {
		return err
	}
	return p.Cache.IndexField(ctx, kind, field, values)
}

// WaitForCacheSync waits until everything is known, or can't be; false if ctx
// ends before.
func (p *Patient) WaitForCacheSync(ctx context.Context) bool {
	return toolscache.WaitForCacheSync(ctx.Done(), p.settled)
}

// patientInformer is the informer of a Patient.
type patientInformer struct {
	toolscache.SharedIndexInformer
	patient *Patient
}

// HasSynced tells whether everything is known, or can't be.
func (i patientInformer) HasSynced() bool { return i.patient.settled() }

// AddEventHandler has a handler told of everything.
func (i patientInformer) AddEventHandler(handler toolscache.ResourceEventHandler) (toolscache.ResourceEventHandlerRegistration, error) {
	return i.AddEventHandlerWithOptions(handler, toolscache.HandlerOptions{})
}

// AddEventHandlerWithOptions has a handler told of everything.
func (i patientInformer) AddEventHandlerWithOptions(handler toolscache.ResourceEventHandler, options toolscache.HandlerOptions) (toolscache.ResourceEventHandlerRegistration, error) {
	made, err := i.SharedIndexInformer.AddEventHandlerWithOptions(news{handler, i.patient}, options)
	return patientHandler{made, i.patient}, err
}

// patientHandler is the registration of a handler.
type patientHandler struct {
	toolscache.ResourceEventHandlerRegistration
	patient *Patient
}

// HasSynced tells whether the handler was told of everything, or can't be.
func (h patientHandler) HasSynced() bool {
	return h.patient.Refused() != nil || h.ResourceEventHandlerRegistration.HasSynced()
}

// news makes news of what a watch finds that was refused at first: everyone has
// begun without it.
type news struct {
	toolscache.ResourceEventHandler
	patient *Patient
}

// OnAdd passes an object on.
func (n news) OnAdd(object any, isInInitialList bool) {
	n.ResourceEventHandler.OnAdd(object, isInInitialList && !n.patient.late())
}
