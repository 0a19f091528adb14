// Command bench measures the built operator against a plain client on the same
// API server, in the same run: how fast Secrets reach many namespaces, how soon
// a new namespace has its own, what a rotation, an idle hour and a restart
// cost, and how much memory it takes. Absolute times depend on the machine;
// the ratios are what counts. It also measures what it takes to keep many
// short-lived logins from ever expiring, and to attach Secrets to many
// ServiceAccounts; how soon a Pod may pull, and what many Pods cost.
//
// It exits with 0 if it measured everything. A target that is missed does not
// fail it; a broken promise does, such as a Secret written twice.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// settings are what a person may set about a run.
type settings struct {
	namespaces []int
	only       map[string]bool
	rounds     int
	samples    int
	idle       time.Duration
	life       time.Duration
	pods       int
	huge       bool
	binary     string
}

// figures are the names that -only takes.
const figures = "abcdefghij"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code, err := execute(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
	os.Exit(code)
}

// execute runs the benchmark and returns the process's exit code.
func execute(ctx context.Context, arguments []string) (int, error) {
	s, err := parse(arguments)
	if errors.Is(err, flag.ErrHelp) {
		return 0, nil
	}
	if err != nil {
		return 2, err
	}
	results := &table{begin: time.Now()}
	err = measure(ctx, s, results)
	results.print(os.Stdout)
	switch {
	case err != nil:
		return 1, err
	case results.broken():
		return 1, errors.New("a promise is broken; see the table")
	default:
		return 0, nil
	}
}

// parse reads the command line.
func parse(arguments []string) (settings, error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	s := settings{only: map[string]bool{}}
	namespaces := flags.String("namespaces", "1000", "numbers of namespaces to measure with, as in 1000,5000")
	only := flags.String("only", "a,b,c,d,e,f,g,h,i,j", "what to measure: a first fan-out, b new namespaces, c rotation, d idling, e memory, f exchanges and restart, g many credentials, h ServiceAccounts, i Pods until they may pull, j memory beside many Pods")
	flags.IntVar(&s.rounds, "rounds", 3, "rounds of each comparison; the median counts")
	flags.IntVar(&s.samples, "samples", 200, "new namespaces, and Pods, of each kind whose latency is measured")
	flags.DurationVar(&s.idle, "idle", 2*time.Minute, "how long to watch the operator idle")
	flags.DurationVar(&s.life, "life", 2*time.Minute, "how long the logins of figure g live, and how long their renewals are counted")
	flags.IntVar(&s.pods, "pods", 50_000, "how many Pods there are for figure j")
	flags.StringVar(&s.binary, "binary", "", "measure this operator, such as one built to be profiled, instead of building one")
	flags.BoolVar(&s.huge, "huge", false, "measure memory beside 100,000 foreign Secrets too")
	if err := flags.Parse(arguments); err != nil {
		return s, err
	}
	for _, text := range strings.Split(*namespaces, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || n < 1 {
			return s, fmt.Errorf("-namespaces: %q is not a number of namespaces", text)
		}
		s.namespaces = append(s.namespaces, n)
	}
	for _, name := range strings.Split(*only, ",") {
		if name = strings.TrimSpace(name); len(name) != 1 || !strings.Contains(figures, name) {
			return s, fmt.Errorf("-only: %q is none of %s", name, strings.Join(strings.Split(figures, ""), ", "))
		}
		s.only[name] = true
	}
	if s.rounds < 1 || s.samples < 1 || s.pods < 1 || s.idle <= 0 {
		return s, errors.New("-rounds, -samples, -pods and -idle must be positive")
	}
	if s.life < minLife {
		return s, fmt.Errorf("-life must be %s at least: a renewal of all logins at once takes half of it", minLife)
	}
	return s, nil
}

// measure takes every figure that is asked for: those about speed once for
// each number of namespaces, each on a cluster of its own.
func measure(ctx context.Context, s settings, results *table) error {
	b, err := newBench(ctx, s, results)
	if err != nil {
		return err
	}
	defer b.close()
	for _, n := range s.namespaces {
		if err := b.measureSpeed(ctx, n); err != nil {
			return fmt.Errorf("with %d namespaces: %w", n, err)
		}
	}
	for _, figure := range []struct {
		name string
		take func(context.Context) error
	}{{"e", b.measureMemory}, {"g", b.measureCredentials}, {"j", b.measurePods}} {
		if !s.only[figure.name] {
			continue
		}
		if err := figure.take(ctx); err != nil {
			return fmt.Errorf("figure %s: %w", figure.name, err)
		}
	}
	return nil
}

// measureSpeed takes the figures a, b, c, d, f, h and i.
func (b *bench) measureSpeed(ctx context.Context, n int) (err error) {
	steps := []struct {
		name string
		run  func(context.Context, *world) error
	}{
		{"a", b.measureFanOut}, {"c", b.measureRotation}, {"b", b.measureLatency},
		{"d", b.measureIdle}, {"f", b.measureExchanges},
		{"h", b.measureAttaching}, {"i", b.measurePulling},
	}
	var w *world
	for _, step := range steps {
		if !b.settings.only[step.name] {
			continue
		}
		if w == nil {
			if w, err = b.newWorld(ctx, n); err != nil {
				return err
			}
			defer func() { err = errors.Join(err, w.close()) }()
		}
		if err := step.run(ctx, w); err != nil {
			return fmt.Errorf("figure %s: %w", step.name, err)
		}
	}
	return nil
}
