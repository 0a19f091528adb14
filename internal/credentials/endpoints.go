package credentials

import (
	"context"
	"sync"
	"time"

	"github.com/imagepullsecrets/operator/providers"
)

const (
	// maxInFlight is how many exchanges one endpoint gets at a time.
	maxInFlight = 32
	// outageAfter failures in a row, an endpoint is taken to be down.
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
	slots    chan struct{}
	failures int       // in a row
	pauses   int       // since the host went down
	until    time.Time // nothing begins before, while the host is down
	probing  bool      // one exchange is under way to see whether it is back
}

func newEndpoints() *endpoints { return &endpoints{hosts: map[string]*endpoint{}} }

// of returns what is known of a host. The caller holds the lock.
func (e *endpoints) of(host string) *endpoint {
	if e.hosts[host] == nil {
		e.hosts[host] = &endpoint{slots: make(chan struct{}, maxInFlight)}
	}
	return e.hosts[host]
}

func (e *endpoint) down() bool { return e.failures >= outageAfter }

// enter waits until a host has room for an exchange, at whose end the
// caller calls leave, and one of failed, answered and unclear. The error is
// ctx's, or says that the host is down.
func (e *endpoints) enter(ctx context.Context, host string, now func() time.Time) (leave func(), err error) {
	e.mu.Lock()
	slots := e.of(host).slots
	e.mu.Unlock()
	select {
	case slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err := e.begin(host, now()); err != nil {
		<-slots
		return nil, err
	}
	return func() { <-slots }, nil
}

func (e *endpoints) begin(host string, now time.Time) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	known := e.of(host)
	switch {
	case !known.down():
		return nil
	case known.probing || now.Before(known.until):
		return providers.Errorf(providers.Transient, "%s failed several times in a row and is tried by one exchange at a time until it is back", host)
	default:
		known.probing = true
		return nil
	}
}

// failed notes that a host did not do its work, and tells until when it is
// left alone; zero if it is not, or if that is known already. asked is how
// long it asked to wait.
func (e *endpoints) failed(host string, now time.Time, asked time.Duration) time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	known := e.of(host)
	if known.down() && !known.probing {
		return time.Time{} // it began before the host was known to be down
	}
	known.failures++
	known.probing = false
	if !known.down() {
		return time.Time{}
	}
	pause := firstPause
	for range min(known.pauses, 10) {
		pause = min(2*pause, longestPause)
	}
	known.pauses++
	known.until = now.Add(min(max(pause, asked), longestPause))
	return known.until
}

// answered notes that a host did its work, and tells whether it was down.
func (e *endpoints) answered(host string) (wasDown bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	known := e.of(host)
	wasDown = known.down()
	known.failures, known.pauses, known.probing, known.until = 0, 0, false, time.Time{}
	return wasDown
}

// unclear notes that an exchange ended without telling anything about a host.
func (e *endpoints) unclear(host string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.of(host).probing = false
}

// isOutage tells whether a failure is the endpoint's rather than the identity's.
func isOutage(err error) bool {
	if err == nil {
		return false
	}
	class := providers.ClassOf(err)
	return class == providers.Transient || class == providers.Throttled
}
