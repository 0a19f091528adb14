package main

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// sampleLabel is on the namespaces that samples are made with.
const sampleLabel = "bench.example.com/sample"

// pause between samples lets the controller manager finish with a namespace.
const pause = 25 * time.Millisecond

// inTurn takes samples, one of the plain client and one of the operator in turn.
func (w *world) inTurn(what string, sample func(plain bool) error) error {
	var done atomic.Int64
	count := w.settings.samples
	state := func() string { return fmt.Sprintf("%d of %d", done.Load(), count) }
	return w.progress.during(what, state, func() error {
		for ; int(done.Load()) < count; done.Add(1) {
			for _, plain := range []bool{true, false} {
				if err := sample(plain); err != nil {
					return err
				}
				time.Sleep(pause)
			}
		}
		return nil
	})
}

// nextSample names a namespace for a sample, and returns the labels that have it
// selected unless it is the plain client's.
func (w *world) nextSample(plain bool) (name string, labels map[string]string) {
	w.sampled++
	labels = map[string]string{sampleLabel: "yes", targetLabel: "yes"}
	if plain {
		labels[targetLabel] = "not"
	}
	return fmt.Sprintf("sample-%05d", w.sampled), labels
}

// cleanSamples deletes the namespaces of all samples and waits until they are gone.
func (w *world) cleanSamples(ctx context.Context) error {
	namespaces := w.admin.CoreV1().Namespaces()
	list, err := namespaces.List(ctx, metav1.ListOptions{LabelSelector: sampleLabel})
	if err != nil {
		return err
	}
	err = w.plain.filling(ctx, "deleting the samples", len(list.Items), func(i int) error {
		return namespaces.Delete(ctx, list.Items[i].Name, metav1.DeleteOptions{})
	})
	if err != nil {
		return err
	}
	if _, err = w.kept.await(ctx, w.kept.all(w.n)); err != nil {
		return err
	}
	return w.quiet(ctx)
}

// quantile returns the smallest value that a part q of all does not exceed.
func quantile(values []time.Duration, q float64) time.Duration {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}
