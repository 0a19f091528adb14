package cluster

import (
	"fmt"
	"io"
	"sync"
)

// progress writes whole lines for a person, from any goroutine.
type progress struct {
	mu  sync.Mutex
	out io.Writer
}

func newProgress(out io.Writer) *progress {
	if out == nil {
		out = io.Discard
	}
	return &progress{out: out}
}

// printf writes one line. A reader who has gone is no reason to fail.
func (p *progress) printf(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, _ = fmt.Fprintf(p.out, "test cluster: "+format+"\n", args...)
}
