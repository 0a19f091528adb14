package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"k8s.io/client-go/tools/cache"
)

// patience bounds every wait for what a watch is to show.
const patience = 5 * time.Minute

// view guards what an observer has seen by its watches, and lets one at a time
// wait for a state of it.
type view struct {
	state func() string // says for a person how things stand

	mu      sync.Mutex
	reached func() bool // called with the lock held, after each change; nil if nobody waits
	at      chan time.Time
}

// change does something to what was seen and tells who waits if that is it.
func (v *view) change(do func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	do()
	if v.reached != nil && v.reached() {
		v.at <- time.Now()
		v.reached = nil
	}
}

// await waits for a state and returns when it was reached.
func (v *view) await(ctx context.Context, reached func() bool) (time.Time, error) {
	at := make(chan time.Time, 1)
	v.mu.Lock()
	if reached() {
		v.mu.Unlock()
		return time.Now(), nil
	}
	v.reached, v.at = reached, at
	v.mu.Unlock()
	select {
	case at := <-at:
		return at, nil
	case <-ctx.Done():
		return time.Time{}, ctx.Err()
	case <-time.After(patience):
		return time.Time{}, fmt.Errorf("waited in vain: %s", v.state())
	}
}

// follow runs an informer until ctx ends, and returns once stands was called
// with all that is there. stands is called with what comes and what changes,
// gone with what goes; gone may be nil.
func follow(ctx context.Context, informer cache.SharedIndexInformer, what string, stands, gone func(object any)) error {
	registration, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    stands,
		UpdateFunc: func(_, updated any) { stands(updated) },
		DeleteFunc: gone,
	})
	if err != nil {
		return err
	}
	go informer.RunWithContext(ctx)
	if !cache.WaitForCacheSync(ctx.Done(), registration.HasSynced) {
		return fmt.Errorf("watching %s: %w", what, context.Cause(ctx))
	}
	return nil
}
