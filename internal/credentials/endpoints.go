package credentials

import (
	"context"
	"sync"
	"time"
)

const (
	// maxInFlight is how many exchanges one endpoint gets at a time.
	maxInFlight = 32
	// outageAfter so many keys in a row found an endpoint down, it is taken to
	// be down for everybody. Fewer retry by themselves.
	outageAfter = 5
	// firstPause and longestPause bound the doubling time for which an
	// endpoint that is down is left alone.
	firstPause   = 2 * time.Second
	longestPause = 30 * time.Second
	// resumeWithin is the time over which exchanges are spread that waited for
	// an endpoint.
	resumeWithin = 2 * time.Second
)

// endpoints limits what each host that exchanges go to is asked, and leaves
// alone, but for one exchange at a time, those that are down. So a dead
// endpoint costs little and delays nobody else. It is safe for concurrent use.
type endpoints struct {
	mu    sync.Mutex
	hosts map[string]*endpoint
}

type endpoint struct {
	slots   chan struct{}
	failed  map[string]bool // keys that found it down since it did its work last
	pauses  int             // since it went down
	until   time.Time       // nothing begins before, while it is down
	probing bool            // one exchange is under way to see whether it is back
}

func newEndpoints() *endpoints { return &endpoints{hosts: map[string]*endpoint{}} }

// of returns what is known of a host. The caller holds the lock.
func (e *endpoints) of(host string) *endpoint {
	if e.hosts[host] == nil {
		e.hosts[host] = &endpoint{slots: make(chan struct{}, maxInFlight), failed: map[string]bool{}}
	}
	return e.hosts[host]
}

func (e *endpoint) down() bool { return len(e.failed) >= outageAfter }

// visit is one exchange with an endpoint.
type visit struct {
	all   *endpoints
	host  string
	slots chan struct{}
	probe bool
}

// enter waits until a host has room for an exchange; the error is ctx's. If
// the host is down and has to be left alone, there is no visit, and the time
// when it may be tried is returned. The visitor tells what it found by one of
// foundDown, foundUp and foundNothing, and then leaves.
func (e *endpoints) enter(ctx context.Context, host string, now func() time.Time) (*visit, time.Time, error) {
	e.mu.Lock()
	slots := e.of(host).slots
	e.mu.Unlock()
	select {
	case slots <- struct{}{}:
	case <-ctx.Done():
		return nil, time.Time{}, ctx.Err()
	}
	probe, until := e.begin(host, now())
	if !until.IsZero() {
		<-slots
		return nil, until, nil
	}
	return &visit{all: e, host: host, slots: slots, probe: probe}, time.Time{}, nil
}

// begin tells whether an exchange that begins now is a probe, or until when it
// has to wait.
func (e *endpoints) begin(host string, now time.Time) (probe bool, until time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	known := e.of(host)
	switch {
	case !known.down():
		return false, time.Time{}
	case known.probing:
		return false, now.Add(firstPause)
	case now.Before(known.until):
		return false, known.until
	default:
		known.probing = true
		return true, time.Time{}
	}
}

// leave makes room for another visitor.
func (v *visit) leave() { <-v.slots }

// foundDown notes that the host did not do its work for a key, and tells until
// when it is left alone; zero if it is not, or if that is known already.
func (v *visit) foundDown(key string, now time.Time) time.Time {
	v.all.mu.Lock()
	defer v.all.mu.Unlock()
	known := v.all.of(v.host)
	if known.down() && !v.probe {
		return time.Time{} // it began before the host was known to be down
	}
	known.failed[key] = true
	known.probing = known.probing && !v.probe
	if !known.down() {
		return time.Time{}
	}
	pause := firstPause
	for range min(known.pauses, 10) {
		pause = min(2*pause, longestPause)
	}
	known.pauses++
	known.until = now.Add(pause)
	return known.until
}

// foundUp notes that the host did its work, and tells whether it was down.
func (v *visit) foundUp() (wasDown bool) {
	v.all.mu.Lock()
	defer v.all.mu.Unlock()
	known := v.all.of(v.host)
	wasDown = known.down()
	clear(known.failed)
	known.pauses, known.probing, known.until = 0, false, time.Time{}
	return wasDown
}

// foundNothing notes that the exchange ended without telling anything about
// the host.
func (v *visit) foundNothing() {
	v.all.mu.Lock()
	defer v.all.mu.Unlock()
	known := v.all.of(v.host)
	known.probing = known.probing && !v.probe
}
