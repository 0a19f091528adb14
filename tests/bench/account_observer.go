package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// accountObserver follows by a watch which ServiceAccounts have a name in their
// imagePullSecrets.
type accountObserver struct {
	name string

	mu     sync.Mutex
	having map[string]bool // namespace/name
	want   int
	at     chan time.Time // takes the time when want is reached; nil if nobody waits
}

// observeAccounts returns an observer that has seen what is there.
func observeAccounts(ctx context.Context, api kubernetes.Interface, name string) (*accountObserver, error) {
	o := &accountObserver{name: name, having: map[string]bool{}}
	accounts := informers.NewSharedInformerFactory(api, 0).Core().V1().ServiceAccounts().Informer()
	registration, err := accounts.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    o.see,
		UpdateFunc: func(_, updated any) { o.see(updated) },
	})
	if err != nil {
		return nil, err
	}
	go accounts.RunWithContext(ctx)
	if !cache.WaitForCacheSync(ctx.Done(), registration.HasSynced) {
		return nil, fmt.Errorf("watching ServiceAccounts: %w", context.Cause(ctx))
	}
	return o, nil
}

func (o *accountObserver) see(object any) {
	account, ok := object.(*corev1.ServiceAccount)
	if !ok {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	key := account.Namespace + "/" + account.Name
	if slices.Contains(account.ImagePullSecrets, corev1.LocalObjectReference{Name: o.name}) {
		o.having[key] = true
	} else {
		delete(o.having, key)
	}
	if o.at != nil && len(o.having) == o.want {
		o.at <- time.Now()
		o.at = nil
	}
}

// await waits until just want ServiceAccounts have the name, and returns when
// that was so.
func (o *accountObserver) await(ctx context.Context, want int) (time.Time, error) {
	at := make(chan time.Time, 1)
	o.mu.Lock()
	if len(o.having) == want {
		o.mu.Unlock()
		return time.Now(), nil
	}
	o.want, o.at = want, at
	o.mu.Unlock()
	select {
	case at := <-at:
		return at, nil
	case <-ctx.Done():
		return time.Time{}, ctx.Err()
	case <-time.After(patience):
		return time.Time{}, errors.New("waited in vain for ServiceAccounts: " + o.describe())
	}
}

// describe says for a person how things stand.
func (o *accountObserver) describe() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return fmt.Sprintf("%d ServiceAccounts have %q", len(o.having), o.name)
}
