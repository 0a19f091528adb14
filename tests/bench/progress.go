package main

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"
)

// progressInterval is the longest silence during a long piece of work.
const progressInterval = 2 * time.Second

// progress tells a person what is being done.
type progress struct {
	mu    sync.Mutex
	out   io.Writer
	begin time.Time
}

func newProgress(out io.Writer) *progress { return &progress{out: out, begin: time.Now()} }

func (p *progress) printf(format string, arguments ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.out, "bench %4.0fs: %s\n", time.Since(p.begin).Seconds(), fmt.Sprintf(format, arguments...))
}

// during does work, tells at once what it is and again while it lasts, with
// what state returns; state may be nil.
func (p *progress) during(what string, state func() string, work func() error) error {
	p.printf("%s", what)
	done := make(chan struct{})
	var reporter sync.WaitGroup
	reporter.Go(func() {
		ticker := time.NewTicker(progressInterval)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				if state == nil {
					p.printf("… %s", what)
				} else {
					p.printf("… %s: %s", what, state())
				}
			}
		}
	})
	err := work()
	close(done)
	reporter.Wait()
	return err
}

// wait lets a time pass, and tells how much of it is left.
func (p *progress) wait(ctx context.Context, what string, long time.Duration) error {
	end := time.Now().Add(long)
	left := func() string { return time.Until(end).Round(time.Second).String() + " left" }
	return p.during(what, left, func() error {
		select {
		case <-time.After(time.Until(end)):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
}
