package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	eventsv1 "k8s.io/api/events/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/tests/fakecloud"
)

// count is step 11.
func (s *story) count(ctx context.Context) error {
	metrics, err := s.operator.Metrics(ctx)
	if err != nil {
		return fmt.Errorf("read the operator's metrics: %w", err)
	}
	exchanges, err := s.checkMetrics(metrics)
	if err != nil {
		return err
	}
	s.noted("%d exchanges with the clouds in all, as these counted and the operator's metrics say", exchanges)

	applied := total(metrics, "imagepullsecret_target_writes_total", `operation="apply"`, `result="success"`)
	deleted := total(metrics, "imagepullsecret_target_writes_total", `operation="delete"`, `result="success"`)
	failed := total(metrics, "imagepullsecret_target_writes_total") - applied - deleted
	s.noted("the operator wrote Secrets %.0f times (the watch saw %d changes), deleted %.0f, was refused %.0f times",
		applied, s.changes(), deleted, failed)
	return s.checkSilence(ctx, metrics)
}

// checkMetrics compares the exchanges in the operator's metrics with what the
// services that see each of them once have counted, and returns their number.
func (s *story) checkMetrics(metrics string) (exchanges int, err error) {
	const name = "imagepullsecret_exchanges_total"
	for provider, services := range map[string][]fakecloud.Service{
		"ecr": {fakecloud.ECR}, "ecrPublic": {fakecloud.ECRPublic}, "googleArtifactRegistry": {fakecloud.GoogleSTS},
		"chainguard": {fakecloud.Chainguard}, "azureContainerRegistry": {fakecloud.ACR}, "quay": {fakecloud.Quay},
		"tokenExchange": {fakecloud.TokenExchange, fakecloud.JFrog, fakecloud.DockerHub},
	} {
		var asked int
		for _, service := range services {
			asked += s.cloud.Calls(service)
		}
		if told := int(total(metrics, name, fmt.Sprintf("provider=%q", provider), `result="success"`)); told != asked {
			return 0, unmet{expected: fmt.Sprintf("the operator's metrics to tell of %d exchanges by %s", asked, provider), seen: fmt.Sprint(told)}
		}
		exchanges += asked
	}
	if all := int(total(metrics, name)); all != exchanges {
		return 0, unmet{expected: fmt.Sprintf("no exchange beside %d", exchanges), seen: fmt.Sprintf("%d in the operator's metrics", all)}
	}
	return exchanges, nil
}

// changes counts the changes of target Secrets that left them complete: all
// but the tampering.
func (s *story) changes() int {
	var changes int
	for _, seen := range s.witness.seen(0) {
		if seen.secret.Name == targetName && complete(seen) || isFederated(seen) {
			changes++
		}
	}
	return changes
}

// checkSilence looks for every secret of the story where none may be.
func (s *story) checkSilence(ctx context.Context, metrics string) error {
	log := s.operator.Log()
	status, err := s.listed(ctx, &v1alpha1.ImagePullSecretList{})
	if err != nil {
		return err
	}
	events, err := s.listed(ctx, &eventsv1.EventList{})
	if err != nil {
		return err
	}
	secrets := s.cloud.Secrets()
	secrets.Add(s.passwords...)
	for place, text := range map[string]string{"log": log, "metrics": metrics, "status": status, "events": events} {
		if strings.Contains(text, tokenStart) {
			return unmet{expected: "no token of a ServiceAccount in the operator's " + place, seen: "the start of one"}
		}
		if leaks := secrets.In(text); len(leaks) > 0 {
			return unmet{expected: "no password or token in the operator's " + place, seen: fmt.Sprintf("%d parts of them in it", len(leaks))}
		}
	}
	s.noted("none of %d passwords, keys and tokens is in its log (%d lines, level debug) or metrics", secrets.Len(), strings.Count(log, "\n"))
	s.noted("nor in an event or an object's status; and no token of a ServiceAccount is in any of these")
	return nil
}

// tokenStart is how every token of a ServiceAccount starts: {"alg":
const tokenStart = "eyJhbGciOi"

// listed writes all objects of a kind as JSON.
func (s *story) listed(ctx context.Context, list client.ObjectList) (string, error) {
	if err := s.api.List(ctx, list); err != nil {
		return "", fmt.Errorf("list %T: %w", list, err)
	}
	text, err := json.Marshal(list)
	return string(text), err
}

// total adds up the samples of a metric in Prometheus's text format that have
// all of some labels.
func total(metrics, name string, labels ...string) float64 {
	var sum float64
	for line := range strings.Lines(metrics) {
		sample, isSample := strings.CutPrefix(line, name+"{")
		if !isSample {
			continue
		}
		ofSeries, value, found := strings.Cut(strings.TrimSpace(sample), "} ")
		number, err := strconv.ParseFloat(value, 64)
		if !found || err != nil || !hasAll(ofSeries, labels) {
			continue
		}
		sum += number
	}
	return sum
}

func hasAll(series string, labels []string) bool {
	for _, label := range labels {
		if !strings.Contains(series, label) {
			return false
		}
	}
	return true
}
