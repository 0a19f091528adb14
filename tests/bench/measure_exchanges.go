package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/imagepullsecrets/operator/tests/fakecloud"
)

const (
	awsAccount = "111122223333"
	awsRegion  = "eu-central-1"

	// shortLife of a first token makes its renewal due soon.
	shortLife = time.Minute
	longLife  = 12 * time.Hour

	// settled is how long after a restart nothing must have been written.
	settled = 5 * time.Second
)

// measureExchanges takes figure f: how often the operator asks AWS for a
// credential that all namespaces share, and what a restart costs.
func (b *bench) measureExchanges(ctx context.Context, w *world) error {
	if err := w.ungrant(ctx); err != nil {
		return err
	}
	if err := w.createECRSource(ctx); err != nil {
		return err
	}
	if err := w.measureRenewal(ctx); err != nil {
		return err
	}
	return w.measureRestart(ctx, "f", "1 credential")
}

func (w *world) createECRSource(ctx context.Context) error {
	key := w.cloud.AddAccessKey(awsAccount, "puller")
	w.cloud.GrantECR(key.UserARN, awsAccount)
	source := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: home, Name: ecrSource},
		Type:       "banzaicloud.io/aws-ecr-login-config",
		StringData: map[string]string{
			"accessKeyID": key.ID, "secretKey": key.Secret, "accountID": awsAccount, "region": awsRegion,
		},
	}
	_, err := w.admin.CoreV1().Secrets(home).Create(ctx, source, metav1.CreateOptions{})
	return err
}

// measureRenewal has a token obtained and, soon after, renewed.
func (w *world) measureRenewal(ctx context.Context) error {
	w.cloud.SetTokenLifetime(shortLife)
	calls := w.cloud.Calls(fakecloud.ECR)
	err := w.progress.during("the operator obtains a token and writes the Secrets", w.kept.describe, func() error {
		if err := w.grant(ctx, ecrSource, byNamespaceLabel); err != nil {
			return err
		}
		_, err := w.kept.await(ctx, w.kept.all(w.n))
		return err
	})
	if err != nil {
		return err
	}
	w.results.exactly("f", w.n, "AWS exchanges for the first fan-out", w.cloud.Calls(fakecloud.ECR)-calls, 1)
	w.cloud.SetTokenLifetime(longLife)
	calls = w.cloud.Calls(fakecloud.ECR)
	requests, err := w.serverRequests(ctx)
	if err != nil {
		return err
	}
	from, _ := w.kept.current()
	err = w.progress.during("waiting for the token's renewal, at half of its minute", w.kept.describe, func() error {
		_, err := w.kept.await(ctx, w.kept.rotated(w.n, from))
		return err
	})
	if err = errors.Join(err, w.quiet(ctx)); err != nil {
		return err
	}
	w.results.exactly("f", w.n, "AWS exchanges for a renewal", w.cloud.Calls(fakecloud.ECR)-calls, 1)
	after, err := w.serverRequests(ctx)
	if err != nil {
		return err
	}
	written := after.since(requests).sum(both(writes, of("secrets")))
	w.results.exactlyWith("f", w.n, "Secret writes for a renewal", written, w.n+1, "one of them keeps the token over restarts")
	return nil
}

// measureRestart restarts the operator when nothing is due, as a part of a
// figure; leases tells how many it has persisted.
func (w *world) measureRestart(ctx context.Context, figure, leases string) error {
	calls := w.awsCalls()
	requests, err := w.serverRequests(ctx)
	if err != nil {
		return err
	}
	err = w.progress.during("restarting the operator", nil, func() error {
		if err := w.operator.Stop(); err != nil {
			return err
		}
		if err := w.startOperator(ctx); err != nil {
			return err
		}
		time.Sleep(settled)
		return nil
	})
	if err = errors.Join(err, w.quiet(ctx)); err != nil {
		return err
	}
	after, err := w.serverRequests(ctx)
	if err != nil {
		return err
	}
	told, err := w.targetWrites(ctx)
	if err != nil {
		return err
	}
	added := after.since(requests)
	note := fmt.Sprintf("API server, all clients: %s", added.filter(of("secrets", "imagepullsecrets", "namespaces", "pods", "events")))
	r := w.results
	r.exactlyWith(figure, w.n, "AWS exchanges after a restart with nothing due", w.awsCalls()-calls, 0, leases)
	r.exactlyWith(figure, w.n, "Secret writes after a restart, by the API server", added.sum(both(writes, of("secrets"))), 0, note)
	r.exactly(figure, w.n, "Secret writes after a restart, by the operator's metric", told.sum(everything), 0)
	r.atMost(figure, w.n, "status writes after a restart", added.sum(both(writes, of("imagepullsecrets"))), 0)
	r.atMost(figure, w.n, "events written after a restart", added.sum(both(writes, of("events"))), 0)
	return nil
}

// awsCalls counts the requests that AWS has had.
func (w *world) awsCalls() int { return w.cloud.Calls(fakecloud.STS) + w.cloud.Calls(fakecloud.ECR) }
