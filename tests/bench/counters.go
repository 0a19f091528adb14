package main

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// series is one line of Prometheus's text format.
type series struct {
	name   string
	labels map[string]string
	value  float64
}

// parseMetrics reads the series of one name. Values of labels must not hold
// commas or quotes, which those that are read here never do.
func parseMetrics(text, name string) []series {
	var found []series
	lines := bufio.NewScanner(strings.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		rest, ok := strings.CutPrefix(lines.Text(), name)
		if !ok || rest == "" || (rest[0] != '{' && rest[0] != ' ') {
			continue
		}
		one := series{name: name, labels: map[string]string{}}
		if labels, after, ok := strings.Cut(strings.TrimPrefix(rest, "{"), "} "); ok {
			rest = after
			for _, label := range strings.Split(labels, ",") {
				key, value, _ := strings.Cut(label, "=")
				one.labels[key] = strings.Trim(value, `"`)
			}
		}
		if value, err := strconv.ParseFloat(strings.TrimSpace(rest), 64); err == nil {
			one.value = value
			found = append(found, one)
		}
	}
	return found
}

// counts are counters by what they count.
type counts map[string]int

// since returns what was added since an earlier look, without zeroes.
func (c counts) since(before counts) counts {
	added := counts{}
	for key, value := range c {
		if value != before[key] {
			added[key] = value - before[key]
		}
	}
	return added
}

// sum adds up the counters that a filter picks.
func (c counts) sum(pick func(key string) bool) int {
	total := 0
	for key, value := range c {
		if pick(key) {
			total += value
		}
	}
	return total
}

// filter returns the counters that a filter picks.
func (c counts) filter(pick func(key string) bool) counts {
	picked := counts{}
	for key, value := range c {
		if pick(key) {
			picked[key] = value
		}
	}
	return picked
}

// String lists the counters for a person.
func (c counts) String() string {
	if len(c) == 0 {
		return "none"
	}
	var texts []string
	for _, key := range slices.Sorted(maps.Keys(c)) {
		texts = append(texts, fmt.Sprintf("%s %d", key, c[key]))
	}
	return strings.Join(texts, ", ")
}

// serverRequests returns how many requests the API server has answered, by
// "VERB resource". Watches count when they end.
func (w *world) serverRequests(ctx context.Context) (counts, error) {
	text, err := w.admin.Discovery().RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the API server's metrics: %w", err)
	}
	requests := counts{}
	for _, one := range parseMetrics(string(text), "apiserver_request_total") {
		resource := one.labels["resource"]
		if sub := one.labels["subresource"]; sub != "" {
			resource += "/" + sub
		}
		requests[one.labels["verb"]+" "+resource] += int(one.value)
	}
	return requests, nil
}

// of picks requests for some resources, subresources included.
func of(resources ...string) func(string) bool {
	return func(key string) bool {
		_, resource, _ := strings.Cut(key, " ")
		resource, _, _ = strings.Cut(resource, "/")
		return slices.Contains(resources, resource)
	}
}

// writes picks requests that change something.
func writes(key string) bool {
	verb, _, _ := strings.Cut(key, " ")
	return slices.Contains([]string{"POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION"}, verb)
}

// lists picks requests for lists.
func lists(key string) bool { return strings.HasPrefix(key, "LIST ") }

// everything picks everything.
func everything(string) bool { return true }

// both picks what two filters pick.
func both(one, other func(string) bool) func(string) bool {
	return func(key string) bool { return one(key) && other(key) }
}

// operatorCounts returns the operator's counters of one name by a label.
func (w *world) operatorCounts(ctx context.Context, name string, labels ...string) (counts, error) {
	text, err := w.operator.Metrics(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the operator's metrics: %w", err)
	}
	found := counts{}
	for _, one := range parseMetrics(text, name) {
		var values []string
		for _, label := range labels {
			values = append(values, one.labels[label])
		}
		found[strings.Join(values, " ")] += int(one.value)
	}
	return found, nil
}

// targetWrites returns how many Secrets the operator says that it wrote.
func (w *world) targetWrites(ctx context.Context) (counts, error) {
	return w.operatorCounts(ctx, "imagepullsecret_target_writes_total", "operation", "result")
}

// operatorCPU returns the processor time that the operator has used.
func (w *world) operatorCPU(ctx context.Context) time.Duration {
	text, err := w.operator.Metrics(ctx)
	if found := parseMetrics(text, "process_cpu_seconds_total"); err == nil && len(found) == 1 {
		return time.Duration(found[0].value * float64(time.Second))
	}
	return 0
}

// quietSeconds in a row without a write make a quiet API server.
const quietSeconds = 2

// quiet waits until nobody has written anything for a while: until the
// controller manager is done with new and ending namespaces, and the operator
// with its status.
func (w *world) quiet(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var last atomic.Value // of string, what the last second saw
	last.Store("none")
	state := func() string { return "writes of the last second: " + last.Load().(string) }
	return w.progress.during("waiting until the API server is quiet", state, func() error {
		before, err := w.serverRequests(ctx)
		for silent := 0; err == nil && silent < quietSeconds; silent++ {
			select {
			case <-ctx.Done():
				return fmt.Errorf("the API server was never quiet: %w", ctx.Err())
			case <-time.After(time.Second):
			}
			var now counts
			if now, err = w.serverRequests(ctx); err != nil {
				return err
			}
			written := now.since(before).filter(func(key string) bool { return writes(key) && !of("leases", "events")(key) })
			if len(written) > 0 {
				silent = -1
			}
			last.Store(written.String())
			before = now
		}
		return err
	})
}
