package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/imagepullsecrets/operator/internal/metrics"
)

// writeMetrics lists the operator's own metrics. Each is given a value first:
// a metric without one is not told of.
func writeMetrics(out io.Writer) error {
	registry := prometheus.NewRegistry()
	m := metrics.New(registry)
	m.SetTargets("", 0, 0, 0)
	m.SetCredentials("", []metrics.Credential{{}})
	m.ExchangeDone("", "", time.Second)
	m.Wrote("", "")
	m.Attached("")
	m.Propagated(time.Second)
	m.LeaseNotSaved()
	m.Evicted("")
	families, err := registry.Gather()
	if err != nil {
		return err
	}
	fmt.Fprint(out, "# Metrics\n\nServed at `/metrics` beside those of controller-runtime. No label's values grow with the number of namespaces:\n"+
		"only ImagePullSecrets have series of their own, annotated ServiceAccounts and Secrets have not.\n\n")
	fmt.Fprint(out, "| metric | type | labels | meaning |\n| --- | --- | --- | --- |\n")
	for _, family := range families {
		var labels []string
		for _, label := range family.GetMetric()[0].GetLabel() {
			labels = append(labels, "`"+label.GetName()+"`")
		}
		fmt.Fprintf(out, "| `%s` | %s | %s | %s |\n", family.GetName(), strings.ToLower(family.GetType().String()),
			strings.Join(labels, ", "), family.GetHelp())
	}
	return nil
}
