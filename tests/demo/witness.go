package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
)

// witness sees every change of every Secret, by a watch, and when.
type witness struct {
	events watch.Interface

	mu      sync.Mutex
	history []sighting    // only ever grows
	news    chan struct{} // closed and replaced at each event
	ended   bool
}

// sighting is one event of the watch.
type sighting struct {
	at     time.Time
	kind   watch.EventType
	secret *corev1.Secret
}

// watchSecrets returns a witness of all that happens from now on.
func watchSecrets(ctx context.Context, api client.WithWatch) (*witness, error) {
	events, err := api.Watch(ctx, &corev1.SecretList{})
	if err != nil {
		return nil, fmt.Errorf("watch Secrets: %w", err)
	}
	w := &witness{events: events, news: make(chan struct{})}
	go w.observe()
	return w, nil
}

func (w *witness) observe() {
	for event := range w.events.ResultChan() {
		if secret, ok := event.Object.(*corev1.Secret); ok {
			w.add(sighting{at: time.Now(), kind: event.Type, secret: secret})
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	close(w.news)
}

func (w *witness) add(s sighting) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.history = append(w.history, s)
	close(w.news)
	w.news = make(chan struct{})
}

func (w *witness) stop() { w.events.Stop() }

// now returns how much was seen so far, to wait for what comes after.
func (w *witness) now() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.history)
}

// seen returns everything from an earlier moment on.
func (w *witness) seen(since int) []sighting {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.history[since:len(w.history):len(w.history)]
}

// until calls check with all that was seen since a moment, now and after each
// event, until it is content or ctx ends.
func (w *witness) until(ctx context.Context, since int, check func([]sighting) bool) error {
	for {
		w.mu.Lock()
		history, news, ended := w.history[since:], w.news, w.ended
		w.mu.Unlock()
		switch {
		case check(history):
			return nil
		case ended:
			return errors.New("the watch of Secrets ended early; run the demo again")
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-news:
		}
	}
}

// first returns, for each namespace where there is one, the first sighting of
// the target Secret that matches.
func first(history []sighting, matches func(sighting) bool) map[string]sighting {
	found := map[string]sighting{}
	for _, s := range history {
		if _, known := found[s.secret.Namespace]; known || s.secret.Name != targetName || !matches(s) {
			continue
		}
		found[s.secret.Namespace] = s
	}
	return found
}

// latest describes the target Secret of a namespace as it was seen last.
func (w *witness) latest(namespace string) string {
	for _, s := range slices.Backward(w.seen(0)) {
		if s.secret.Namespace == namespace && s.secret.Name == targetName {
			hosts := slices.Sorted(maps.Keys(loginsOf(s.secret)))
			return fmt.Sprintf("Secret %s/%s %s %s ago, with logins for [%s]", namespace, targetName,
				strings.ToLower(string(s.kind)), inWords(time.Since(s.at)), strings.Join(hosts, ", "))
		}
	}
	return fmt.Sprintf("no Secret %s/%s", namespace, targetName)
}

const patience = 30 * time.Second

// awaitSecret waits for a sighting of one namespace's target Secret.
func (s *story) awaitSecret(ctx context.Context, since int, namespace, expected string, matches func(sighting) bool) (sighting, error) {
	found, err := s.awaitSecrets(ctx, since, []string{namespace}, expected, patience, matches)
	return found[namespace], err
}

// awaitSecrets waits for a sighting of each namespace's target Secret and
// shows how many are still missing.
func (s *story) awaitSecrets(ctx context.Context, since int, namespaces []string, expected string, patience time.Duration, matches func(sighting) bool) (map[string]sighting, error) {
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var found map[string]sighting
	missing := namespaces
	err := s.during("waiting for "+expected, func(note func(string)) error {
		return s.witness.until(limited, since, func(history []sighting) bool {
			found = first(history, matches)
			missing = without(namespaces, found)
			note(fmt.Sprintf("waiting for %s: %d of %d", expected, len(namespaces)-len(missing), len(namespaces)))
			return len(missing) == 0
		})
	})
	if err != nil && errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return found, unmet{
			expected: fmt.Sprintf("%s within %s in %s", expected, inWords(patience), inAll(len(namespaces))),
			seen:     fmt.Sprintf("it in %d; %s", len(namespaces)-len(missing), s.witness.latest(missing[0])),
		}
	}
	return found, err
}

func inAll(count int) string {
	if count == 1 {
		return namespaces(count)
	}
	return "all of " + namespaces(count)
}

func without(namespaces []string, found map[string]sighting) []string {
	var missing []string
	for _, namespace := range namespaces {
		if _, ok := found[namespace]; !ok {
			missing = append(missing, namespace)
		}
	}
	return missing
}

// complete tells whether a Secret stands and holds the logins of both sources.
func complete(s sighting) bool {
	hosts := slices.Sorted(maps.Keys(loginsOf(s.secret)))
	return s.kind != watch.Deleted && s.secret.Type == corev1.SecretTypeDockerConfigJson &&
		slices.Equal(hosts, []string{ecrHost, staticHost})
}

// gone tells whether a Secret was deleted.
func gone(s sighting) bool { return s.kind == watch.Deleted }

// kept tells whether a Secret is kept by the operator.
func kept(secret *corev1.Secret) bool { return secret.Labels[v1alpha1.LabelOwnerUID] != "" }
