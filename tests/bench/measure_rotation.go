package main

import (
	"context"
	"errors"
	"time"
)

// measureRotation takes figure c: from the change of a source Secret until all
// Secrets hold it, beside the plain client's time to rewrite as many, and how
// many writes that took.
func (b *bench) measureRotation(ctx context.Context, w *world) error {
	if err := w.ensureGranted(ctx); err != nil {
		return err
	}
	if err := w.plain.applyAll(ctx, w.n, 0); err != nil {
		return err
	}
	var plain, operator []time.Duration
	for round := range b.settings.rounds {
		took, err := w.plainRotation(ctx, round+1)
		if err != nil {
			return err
		}
		plain = append(plain, took)
		if took, err = w.operatorRotation(ctx); err != nil {
			return err
		}
		operator = append(operator, took)
		b.progress.printf("rotation, round %d: plain client %s, operator %s", round+1, short(plain[round]), short(took))
	}
	b.results.ratio("c", w.n, "rotation of one source", plain, operator, bulkTarget)
	err := w.plain.deleteAll(ctx, w.n)
	return errors.Join(err, w.quiet(ctx))
}

// plainRotation has the plain client write all of its Secrets anew.
func (w *world) plainRotation(ctx context.Context, version int) (took time.Duration, err error) {
	if err := w.quiet(ctx); err != nil {
		return 0, err
	}
	from, _ := w.made.current()
	return took, w.progress.during("the plain client rewrites its Secrets", w.made.describe, func() error {
		begin := time.Now()
		if err := w.plain.applyAll(ctx, w.n, version); err != nil {
			return err
		}
		end, err := w.made.await(ctx, w.made.rotated(w.n, from))
		took = end.Sub(begin)
		return err
	})
}

// operatorRotation changes the source, waits for all Secrets to follow and
// checks that each was written once.
func (w *world) operatorRotation(ctx context.Context) (took time.Duration, err error) {
	if err := w.quiet(ctx); err != nil {
		return 0, err
	}
	requests, err := w.serverRequests(ctx)
	if err != nil {
		return 0, err
	}
	told, err := w.targetWrites(ctx)
	if err != nil {
		return 0, err
	}
	from, _ := w.kept.current()
	err = w.progress.during("the operator rotates its Secrets", w.kept.describe, func() error {
		begin := time.Now()
		if err := w.changeSource(ctx); err != nil {
			return err
		}
		end, err := w.kept.await(ctx, w.kept.rotated(w.n, from))
		took = end.Sub(begin)
		return err
	})
	if err = errors.Join(err, w.quiet(ctx)); err != nil {
		return took, err
	}
	return took, w.checkWrites(ctx, requests, told)
}

// checkWrites makes sure that since earlier counts each Secret was written
// once; the API server saw the change of the source too.
func (w *world) checkWrites(ctx context.Context, requests, told counts) error {
	requestsNow, err := w.serverRequests(ctx)
	if err != nil {
		return err
	}
	toldNow, err := w.targetWrites(ctx)
	if err != nil {
		return err
	}
	added := requestsNow.since(requests)
	w.progress.printf("requests: %s", added.filter(of("secrets", "imagepullsecrets", "namespaces", "events")))
	w.results.exactly("c", w.n, "Secret writes of a rotation, by the API server", added.sum(both(writes, of("secrets")))-1, w.n)
	w.results.exactly("c", w.n, "Secret writes of a rotation, by the operator's metric", toldNow.since(told).sum(everything), w.n)
	return nil
}
