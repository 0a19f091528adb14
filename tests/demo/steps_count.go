package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/imagepullsecrets/operator/tests/fakecloud"
)

// count is step 10.
func (s *story) count(ctx context.Context) error {
	metrics, err := s.operator.Metrics(ctx)
	if err != nil {
		return fmt.Errorf("read the operator's metrics: %w", err)
	}
	exchanges := total(metrics, "imagepullsecret_exchanges_total", `provider="ecr"`, `result="success"`)
	if asked := s.cloud.Calls(fakecloud.ECR); int(exchanges) != asked {
		return unmet{expected: fmt.Sprintf("the operator's metrics to tell of %d exchanges with AWS", asked), seen: fmt.Sprint(exchanges)}
	}
	s.noted("%.0f exchanges with AWS in all, as the cloud counted and the operator's metrics say", exchanges)

	applied := total(metrics, "imagepullsecret_target_writes_total", `operation="apply"`, `result="success"`)
	deleted := total(metrics, "imagepullsecret_target_writes_total", `operation="delete"`, `result="success"`)
	failed := total(metrics, "imagepullsecret_target_writes_total") - applied - deleted
	s.noted("the operator wrote Secrets %.0f times (the watch saw %d changes), deleted %.0f, was refused %.0f times",
		applied, s.changes(), deleted, failed)
	return s.checkSilence(metrics)
}

// changes counts the changes of target Secrets that left them complete: all
// but the tampering.
func (s *story) changes() int {
	var changes int
	for _, seen := range s.witness.seen(0) {
		if seen.secret.Name == targetName && complete(seen) {
			changes++
		}
	}
	return changes
}

// checkSilence looks for every secret of the story where none may be.
func (s *story) checkSilence(metrics string) error {
	log := s.operator.Log()
	secrets := append(s.cloud.IssuedTokens(), s.passwords...)
	for place, text := range map[string]string{"log": log, "metrics": metrics} {
		for i, secret := range secrets {
			if strings.Contains(text, secret) {
				return unmet{expected: "no password or token in the operator's " + place, seen: fmt.Sprintf("secret %d of %d in it", i+1, len(secrets))}
			}
		}
	}
	s.noted("none of %d passwords, keys and tokens is in its log (%d lines, level debug) or metrics", len(secrets), strings.Count(log, "\n"))
	return nil
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
