//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
)

// targets follows the Secrets of an ImagePullSecret by a watch, which sees each
// state that they ever have.
type targets struct {
	name string
	end  context.CancelFunc
	over chan struct{}
	news chan struct{} // has a value from when a Secret was seen until that is received

	mu     sync.Mutex
	secret map[string]*corev1.Secret // by the namespaces that are to have one
	wrong  error                     // the first that was seen
}

// followTargets follows the Secrets in namespaces until the test ends. From when
// one has been seen, it must not go away or lose the private registry's login.
func followTargets(t *testing.T, object *v1alpha1.ImagePullSecret, namespaces []string) *targets {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	f := &targets{name: object.Spec.Target.Secret.Name, end: cancel, over: make(chan struct{}), news: make(chan struct{}, 1),
		secret: map[string]*corev1.Secret{}}
	for _, namespace := range namespaces {
		f.secret[namespace] = nil
	}
	go func() {
		defer close(f.over)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			_ = f.follow(ctx) // an API server that is away tells nothing
			<-tick.C
		}
	}()
	t.Cleanup(func() { _ = f.stop() })
	return f
}

// stop returns what was wrong with a Secret in between.
func (f *targets) stop() error {
	f.end()
	<-f.over
	return f.wrong
}

// follow lists the Secrets, and watches them until the connection ends.
func (f *targets) follow(ctx context.Context) error {
	var all corev1.SecretList
	if err := shared.api.List(ctx, &all, client.MatchingFields{"metadata.name": f.name}); err != nil {
		return err
	}
	seen := map[string]bool{}
	for i := range all.Items {
		seen[all.Items[i].Namespace] = true
		f.see(&all.Items[i], watch.Modified)
	}
	f.mu.Lock()
	for namespace, secret := range f.secret {
		if secret != nil && !seen[namespace] {
			f.wrong = errors.Join(f.wrong, fmt.Errorf("the Secret in %s is gone", namespace))
		}
	}
	f.mu.Unlock()
	changes, err := shared.api.Watch(ctx, &corev1.SecretList{}, client.MatchingFields{"metadata.name": f.name},
		&client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: all.ResourceVersion}})
	if err != nil {
		return err
	}
	defer changes.Stop()
	for change := range changes.ResultChan() {
		if secret, ok := change.Object.(*corev1.Secret); ok {
			f.see(secret, change.Type)
		}
	}
	return nil
}

// see notes a Secret's state.
func (f *targets) see(secret *corev1.Secret, change watch.EventType) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, wanted := f.secret[secret.Namespace]; !wanted || f.wrong != nil {
		return
	}
	switch {
	case change == watch.Deleted:
		f.wrong = fmt.Errorf("the Secret in %s was deleted", secret.Namespace)
	case !holds(secret, shared.registry.Host()):
		f.wrong = fmt.Errorf("the Secret in %s has no login for the private registry", secret.Namespace)
	}
	f.secret[secret.Namespace] = secret
	select {
	case f.news <- struct{}{}:
	default: // there is news that nobody has received
	}
}

func holds(secret *corev1.Secret, registry string) bool {
	return secret != nil && strings.Contains(string(secret.Data[corev1.DockerConfigJsonKey]), registry)
}

// count is how many Secrets have a login for a registry.
func (f *targets) count(registry string) (count int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, secret := range f.secret {
		if holds(secret, registry) {
			count++
		}
	}
	return count
}

// awaitFirst waits until one Secret has a login for a registry.
func (f *targets) awaitFirst(t *testing.T, registry string) {
	t.Helper()
	for deadline := time.Now().Add(patience); f.count(registry) == 0; {
		select {
		case <-f.news:
		case <-time.After(time.Until(deadline)):
			t.Fatalf("no Secret has the login for %s after %s", registry, patience)
		}
	}
}

// await waits until all Secrets have a login for a registry.
func (f *targets) await(t *testing.T, registry string) {
	t.Helper()
	f.awaitCount(t, registry, len(f.secret))
}

func (f *targets) awaitCount(t *testing.T, registry string, want int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d Secrets have the login for %s", want, registry), func(context.Context) error {
		if got := f.count(registry); got < want {
			return fmt.Errorf("%d have", got)
		}
		return nil
	})
}

// versions are the resource versions of all Secrets, by namespace.
func (f *targets) versions() map[string]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := map[string]string{}
	for namespace, secret := range f.secret {
		all[namespace] = string(secret.UID) + " " + secret.ResourceVersion
	}
	return all
}
