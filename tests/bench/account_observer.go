package main

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
)

// accountObserver follows by a watch which ServiceAccounts have a name in their
// imagePullSecrets.
type accountObserver struct {
	view
	name   string
	having map[types.NamespacedName]bool
}

// observeAccounts returns an observer that has seen what is there.
func observeAccounts(ctx context.Context, api kubernetes.Interface, name string) (*accountObserver, error) {
	o := &accountObserver{name: name, having: map[types.NamespacedName]bool{}}
	accounts := informers.NewSharedInformerFactory(api, 0).Core().V1().ServiceAccounts().Informer()
	o.state = o.describe
	return o, follow(ctx, accounts, "ServiceAccounts", o.see, nil)
}

func (o *accountObserver) see(object any) {
	account, ok := object.(*corev1.ServiceAccount)
	if !ok {
		return
	}
	key := types.NamespacedName{Namespace: account.Namespace, Name: account.Name}
	o.change(func() {
		if slices.Contains(account.ImagePullSecrets, corev1.LocalObjectReference{Name: o.name}) {
			o.having[key] = true
		} else {
			delete(o.having, key)
		}
	})
}

// all is the state in which just n ServiceAccounts have the name.
func (o *accountObserver) all(n int) func() bool {
	return func() bool { return len(o.having) == n }
}

// has is the state in which a ServiceAccount has the name.
func (o *accountObserver) has(namespace, account string) func() bool {
	return func() bool { return o.having[types.NamespacedName{Namespace: namespace, Name: account}] }
}

// describe says for a person how things stand.
func (o *accountObserver) describe() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return fmt.Sprintf("%d ServiceAccounts have %q", len(o.having), o.name)
}
