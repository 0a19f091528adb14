package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/metadata"
)

// measureLatency takes figure b: from the creation of a namespace until its
// Secret is seen by a watch, while nothing else happens and while all other
// Secrets are being rotated. Samples of the plain client, which creates the
// namespace and then the Secret, come in between.
func (b *bench) measureLatency(ctx context.Context, w *world) error {
	if err := w.ensureGranted(ctx); err != nil {
		return err
	}
	s, err := newSampler(w)
	if err != nil {
		return err
	}
	idle, err := s.take(ctx, "idle")
	if err != nil {
		return err
	}
	if err := w.cleanSamples(ctx); err != nil {
		return err
	}
	told, err := w.targetWrites(ctx)
	if err != nil {
		return err
	}
	begin := time.Now()
	stop := w.rotateAlways(ctx)
	busy, err := s.take(ctx, "during rotation")
	if err = errors.Join(err, stop()); err != nil {
		return err
	}
	after, err := w.targetWrites(ctx)
	if err != nil {
		return err
	}
	rate := float64(after.since(told).sum(everything)) / time.Since(begin).Seconds()
	w.results.latencies(w.n, idle, busy, rate)
	return w.cleanSamples(ctx)
}

// sampler makes namespaces and waits for their Secrets.
type sampler struct {
	*world
	metadata metadata.Interface
}

func newSampler(w *world) (*sampler, error) {
	c, err := metadata.NewForConfig(w.cluster.Config())
	return &sampler{world: w, metadata: c}, err
}

// samples are latencies: of the plain client until its answer and until seen
// by a watch, and of the operator until seen.
type samples struct {
	answered, plain, operator []time.Duration
}

// take takes samples, one of the plain client and one of the operator in turn.
func (s *sampler) take(ctx context.Context, when string) (samples, error) {
	var taken samples
	err := s.inTurn("new namespaces, "+when, func(plain bool) error {
		answered, seen, err := s.sample(ctx, plain)
		if plain {
			taken.answered, taken.plain = append(taken.answered, answered), append(taken.plain, seen)
		} else {
			taken.operator = append(taken.operator, seen)
		}
		return err
	})
	s.progress.printf("new namespaces, %s: plain client p50 %s p99 %s, operator p50 %s p99 %s", when,
		short(quantile(taken.plain, .5)), short(quantile(taken.plain, .99)), short(quantile(taken.operator, .5)), short(quantile(taken.operator, .99)))
	return taken, err
}

// sample makes one namespace and waits for its Secret, which the plain client
// writes or else the operator. answered is when the last request had its
// answer, seen is when a watch told of the Secret.
func (s *sampler) sample(ctx context.Context, plain bool) (answered, seen time.Duration, err error) {
	name, labels := s.nextSample(plain)
	// A watch on the one namespace, which may precede it, costs least.
	secrets, err := s.metadata.Resource(corev1.SchemeGroupVersion.WithResource("secrets")).Namespace(name).
		Watch(ctx, metav1.ListOptions{ResourceVersion: "0"})
	if err != nil {
		return 0, 0, err
	}
	defer secrets.Stop()
	added := make(chan time.Time, 1)
	go stampFirst(secrets, added)

	begin := time.Now()
	if err := s.world.plain.createNamespace(ctx, name, labels); err != nil {
		return 0, 0, err
	}
	if plain {
		if err := s.world.plain.apply(ctx, name, 0); err != nil {
			return 0, 0, err
		}
	}
	answered = time.Since(begin)
	select {
	case at := <-added:
		return answered, at.Sub(begin), nil
	case <-ctx.Done():
		return 0, 0, ctx.Err()
	case <-time.After(patience):
		return 0, 0, fmt.Errorf("namespace %s has no Secret", name)
	}
}

// stampFirst tells when the first object was added.
func stampFirst(events watch.Interface, added chan<- time.Time) {
	for event := range events.ResultChan() {
		if event.Type == watch.Added {
			added <- time.Now()
			return
		}
	}
}

// rotateAlways keeps the operator rotating all of its Secrets until stop is
// called: the source changes again before the last change is everywhere.
func (w *world) rotateAlways(ctx context.Context) (stop func() error) {
	ctx, cancel := context.WithCancel(ctx)
	var rotating sync.WaitGroup
	var failure error
	rotating.Go(func() {
		from := ""
		for ctx.Err() == nil {
			if now, same := w.kept.current(); now != from && same >= w.n*8/10 {
				from = now
				if err := w.changeSource(ctx); err != nil && ctx.Err() == nil {
					failure = err
					return
				}
			}
			time.Sleep(5 * time.Millisecond)
		}
	})
	return func() error {
		cancel()
		rotating.Wait()
		return failure
	}
}
