package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"k8s.io/client-go/kubernetes"
)

// Verdicts on figures.
const (
	ok     = "ok"
	missed = "missed"
	broken = "BROKEN"
	none   = "–"
)

// row is one figure.
type row struct {
	figure         string
	n              int
	what           string
	value, target  string
	verdict, notes string
}

// table gathers figures.
type table struct {
	begin      time.Time
	kubernetes string
	load       string // at the beginning
	rows       []row
}

// setVersions notes facts about where this runs, once.
func (t *table) setVersions(api kubernetes.Interface) error {
	version, err := api.Discovery().ServerVersion()
	if err != nil {
		return err
	}
	if t.kubernetes == "" {
		t.kubernetes, t.load = version.GitVersion, loadAverage()
	}
	return nil
}

// ratio adds a comparison of median times.
func (t *table) ratio(figure string, n int, what string, plain, operator []time.Duration, target float64) {
	of := times(operator, plain, .5)
	t.rows = append(t.rows, row{
		figure, n, what, fmt.Sprintf("%.2f×", of), fmt.Sprintf("≤ %.1f×", target), within(of, target),
		fmt.Sprintf("operator %s; plain client %s", list(operator), list(plain)),
	})
}

// latencies adds the rows of figure b. Every ratio is to the plain client
// while idle, by the same quantile.
func (t *table) latencies(n int, idle, busy samples, rate float64) {
	add := func(what string, measured, operator, plain []time.Duration, target float64, note string) {
		for _, q := range []struct {
			name string
			part float64
		}{{"p50", .5}, {"p99", .99}} {
			of := times(operator, idle.plain, q.part)
			t.rows = append(t.rows, row{
				"b", n, what + ", " + q.name, fmt.Sprintf("%.2f×", of), fmt.Sprintf("≤ %.1f×", target), within(of, target),
				fmt.Sprintf("operator %s; plain client %s seen, %s answered%s", short(quantile(operator, q.part)),
					short(quantile(plain, q.part)), short(quantile(measured, q.part)), note),
			})
		}
	}
	add("new namespace, idle", idle.answered, idle.operator, idle.plain, latencyTarget, "")
	add("new namespace, during rotation", busy.answered, busy.operator, busy.plain, rotatedLatencyGoal,
		fmt.Sprintf(", both during rotation; %.0f Secrets rotated a second", rate))
}

// compared adds latencies beside the plain client's, without a target.
func (t *table) compared(figure string, n int, what string, operator, plain []time.Duration, notes string) {
	t.info(figure, n, what, spread(operator), fmt.Sprintf("%d samples; plain client %s; ratio %.2f× (p50), %.2f× (p99)%s",
		len(operator), spread(plain), times(operator, plain, .5), times(operator, plain, .99), notes))
}

// times is how many times as long as the plain client the operator took.
func times(operator, plain []time.Duration, q float64) float64 {
	return float64(quantile(operator, q)) / float64(quantile(plain, q))
}

// spread writes the quantiles of latencies that count.
func spread(latencies []time.Duration) string {
	return fmt.Sprintf("p50 %s, p99 %s, max %s", short(quantile(latencies, .5)), short(quantile(latencies, .99)), short(quantile(latencies, 1)))
}

// below adds a number that has a limit.
func (t *table) below(figure string, n int, what string, value, target float64, unit, notes string) {
	t.rows = append(t.rows, row{
		figure, n, what, fmt.Sprintf("%.1f %s", value, unit), fmt.Sprintf("< %g %s", target, unit), within(value, target), notes,
	})
}

// atMost adds a count that has a limit.
func (t *table) atMost(figure string, n int, what string, value, target int) {
	t.rows = append(t.rows, row{
		figure, n, what, fmt.Sprint(value), fmt.Sprintf("≤ %d", target), within(float64(value), float64(target)), "",
	})
}

// exactly adds a promise: a number that must be what it is.
func (t *table) exactly(figure string, n int, what string, value, want int) {
	t.exactlyWith(figure, n, what, value, want, "")
}

// exactlyWith is exactly with a note. Of several rounds the worst is kept.
func (t *table) exactlyWith(figure string, n int, what string, value, want int, notes string) {
	verdict := ok
	if value != want {
		verdict = broken
	}
	same := slices.IndexFunc(t.rows, func(r row) bool { return r.figure == figure && r.n == n && r.what == what })
	made := row{figure, n, what, fmt.Sprint(value), fmt.Sprintf("= %d", want), verdict, notes}
	switch {
	case same < 0:
		t.rows = append(t.rows, made)
	case t.rows[same].verdict == ok:
		t.rows[same] = made
	}
}

// info adds a number without a target.
func (t *table) info(figure string, n int, what, value, notes string) {
	t.rows = append(t.rows, row{figure, n, what, value, none, none, notes})
}

// broken tells whether a promise is broken.
func (t *table) broken() bool {
	return slices.ContainsFunc(t.rows, func(r row) bool { return r.verdict == broken })
}

// print writes the table in Markdown.
func (t *table) print(out io.Writer) {
	if len(t.rows) == 0 {
		return
	}
	slices.SortStableFunc(t.rows, func(a, b row) int {
		if a.figure != b.figure {
			return strings.Compare(a.figure, b.figure)
		}
		return a.n - b.n
	})
	fmt.Fprintf(out, "\n%s/%s, %d cores, %s, Kubernetes %s; load average %s at the beginning, %s at the end; took %s.\n\n",
		runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version(), t.kubernetes, t.load, loadAverage(),
		time.Since(t.begin).Round(time.Second))
	fmt.Fprintln(out, "| | namespaces | figure | measured | target | | details |")
	fmt.Fprintln(out, "|---|---:|---|---:|---:|---|---|")
	for _, r := range t.rows {
		fmt.Fprintf(out, "| %s | %d | %s | %s | %s | %s | %s |\n", r.figure, r.n, r.what, r.value, r.target, r.verdict, r.notes)
	}
}

func within(value, target float64) string {
	if value <= target {
		return ok
	}
	return missed
}

// list writes times in the order in which they were measured.
func list(times []time.Duration) string {
	texts := make([]string, len(times))
	for i, one := range times {
		texts[i] = short(one)
	}
	return strings.Join(texts, " ")
}

// short writes a time with three digits or so.
func short(d time.Duration) string {
	switch {
	case d >= time.Second:
		return fmt.Sprintf("%.2f s", d.Seconds())
	case d >= 100*time.Millisecond:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	default:
		return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
	}
}

// loadAverage is the machine's load of the last minute, where that is known.
func loadAverage() string {
	content, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(content), " ")
	return first
}
