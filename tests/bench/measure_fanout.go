package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Targets of the design, as ratios to the plain client.
const (
	bulkTarget         = 1.3
	latencyTarget      = 1.3
	rotatedLatencyGoal = 5
)

// measureFanOut takes figure a: from the creation of an ImagePullSecret until
// its Secret stands in all namespaces, beside the plain client's time for the
// same. Both times end with what the watch shows. It leaves the Secrets
// standing.
func (b *bench) measureFanOut(ctx context.Context, w *world) error {
	if err := w.ungrant(ctx); err != nil { // whatever stands
		return err
	}
	if _, err := w.plainFanOut(ctx); err != nil { // warms the API server up
		return err
	}
	var plain, operator []time.Duration
	for round := range b.settings.rounds {
		took, err := w.plainFanOut(ctx)
		if err != nil {
			return err
		}
		plain = append(plain, took)
		if took, err = w.operatorFanOut(ctx); err != nil {
			return err
		}
		operator = append(operator, took)
		b.progress.printf("first fan-out, round %d: plain client %s, operator %s", round+1, short(plain[round]), short(took))
		if round+1 < b.settings.rounds {
			if err := w.ungrant(ctx); err != nil {
				return err
			}
		}
	}
	b.results.ratio("a", w.n, "first fan-out to all namespaces", plain, operator, bulkTarget)
	return nil
}

// plainFanOut has the plain client write all Secrets, and deletes them again.
func (w *world) plainFanOut(ctx context.Context) (time.Duration, error) {
	var took time.Duration
	err := w.progress.during("the plain client writes the Secrets", w.made.describe, func() error {
		begin := time.Now()
		if err := w.plain.applyAll(ctx, w.n, 0); err != nil {
			return err
		}
		end, err := w.made.await(ctx, w.made.all(w.n))
		took = end.Sub(begin)
		return err
	})
	if err != nil {
		return took, err
	}
	err = w.progress.during("deleting them", w.made.describe, func() error {
		if err := w.plain.deleteAll(ctx, w.n); err != nil {
			return err
		}
		_, err := w.made.await(ctx, w.made.all(0))
		return err
	})
	return took, errors.Join(err, w.quiet(ctx))
}

// operatorFanOut creates the ImagePullSecret and waits for its Secrets.
func (w *world) operatorFanOut(ctx context.Context) (time.Duration, error) {
	requests, err := w.serverRequests(ctx)
	if err != nil {
		return 0, err
	}
	cpu := w.operatorCPU(ctx)
	var took time.Duration
	err = w.progress.during("the operator writes the Secrets", w.kept.describe, func() error {
		begin := time.Now()
		if err := w.grant(ctx, staticSource, byNamespaceLabel); err != nil {
			return err
		}
		end, err := w.kept.await(ctx, w.kept.all(w.n))
		took = end.Sub(begin)
		return err
	})
	if err = errors.Join(err, w.quiet(ctx)); err != nil {
		return took, err
	}
	after, err := w.serverRequests(ctx)
	if err != nil {
		return took, err
	}
	added := after.since(requests)
	w.progress.printf("the operator used %s of processor time; requests: %s",
		short(w.operatorCPU(ctx)-cpu), added.filter(of("secrets", "imagepullsecrets", "namespaces", "events")))
	w.results.exactly("a", w.n, "Secret writes of the first fan-out", added.sum(both(writes, of("secrets"))), w.n)
	return took, w.checkContent(ctx)
}

// checkContent makes sure that the plain client and the operator write the
// same.
func (w *world) checkContent(ctx context.Context) error {
	secret, err := w.admin.CoreV1().Secrets(namespaceName(0)).Get(ctx, targetSecret, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if want := document(w.passwords); !bytes.Equal(secret.Data[corev1.DockerConfigJsonKey], want) {
		return fmt.Errorf("the operator's Secret holds %d bytes, not the plain client's %d",
			len(secret.Data[corev1.DockerConfigJsonKey]), len(want))
	}
	return nil
}
