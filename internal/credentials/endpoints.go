package credentials

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// maxInFlight is how many exchanges one host gets at a time, and maxOnRoute
	// how many of them may be on one route, which is the hosts of an exchange
	// taken together: if they all wait for the last host, the first ones still
	// have room for others.
	maxInFlight = 64
	maxOnRoute  = 32
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
	rooms map[string]room // by host, and by route
}

type endpoint struct {
	failed  map[string]bool // keys that found it down since it did its work last
	pauses  int             // since it went down
	until   time.Time       // nothing begins before, while it is down
	probing bool            // one exchange is under way to see whether it is back
}

// room holds one item for each exchange that is in it.
type room chan struct{}

func newEndpoints() *endpoints {
	return &endpoints{hosts: map[string]*endpoint{}, rooms: map[string]room{}}
}

// of returns what is known of a host. The caller holds the lock.
func (e *endpoints) of(host string) *endpoint {
	if e.hosts[host] == nil {
		e.hosts[host] = &endpoint{failed: map[string]bool{}}
	}
	return e.hosts[host]
}

func (e *endpoint) down() bool { return len(e.failed) >= outageAfter }

// visit is one exchange with the hosts of a route, in the order of its calls.
type visit struct {
	all    *endpoints
	hosts  []string
	rooms  []room
	probes []string // hosts that are down, and looked at by this visit
}

// enter waits until there is room for an exchange with all hosts; the error is
// ctx's. If one of them is down and has to be left alone, there is no visit;
// who that is and when it may be tried is returned. The visitor leaves, and
// then tells of each host what it found.
func (e *endpoints) enter(ctx context.Context, hosts []string, now func() time.Time) (*visit, pause, error) {
	v := &visit{all: e, hosts: hosts}
	for _, room := range e.roomsFor(hosts) {
		select {
		case room <- struct{}{}:
			v.rooms = append(v.rooms, room)
		case <-ctx.Done():
			v.leave()
			return nil, pause{}, ctx.Err()
		}
	}
	if p := v.begin(now()); p.host != "" {
		v.leave()
		return nil, p, nil
	}
	return v, pause{}, nil
}

// roomsFor returns what an exchange has to enter: first its route, where those
// wait that nobody else should have to wait for, then the hosts, in one order
// for all, so that no two exchanges wait for each other.
func (e *endpoints) roomsFor(hosts []string) []room {
	e.mu.Lock()
	defer e.mu.Unlock()
	found := []room{e.room("route "+strings.Join(hosts, " "), maxOnRoute)}
	for _, host := range slices.Sorted(slices.Values(hosts)) {
		found = append(found, e.room(host, maxInFlight))
	}
	return found
}

func (e *endpoints) room(name string, size int) room {
	if e.rooms[name] == nil {
		e.rooms[name] = make(room, size)
	}
	return e.rooms[name]
}

// pause is until when a host has to be left alone.
type pause struct {
	host  string
	until time.Time
}

// begin returns the longest pause of the hosts. If there is none, the exchange
// begins, and is the probe of those that are down.
func (v *visit) begin(now time.Time) pause {
	v.all.mu.Lock()
	defer v.all.mu.Unlock()
	var longest pause
	var down []string
	for _, host := range v.hosts {
		known := v.all.of(host)
		if !known.down() {
			continue
		}
		down = append(down, host)
		until := known.until
		if known.probing {
			until = now.Add(firstPause)
		}
		if now.Before(until) && until.After(longest.until) {
			longest = pause{host, until}
		}
	}
	if longest.host != "" {
		return longest
	}
	for _, host := range down {
		v.all.of(host).probing = true
	}
	v.probes = down
	return pause{}
}

// leave makes room for other visitors.
func (v *visit) leave() {
	for _, room := range v.rooms {
		<-room
	}
	v.rooms = nil
}

// foundDown notes that a host did not do its work for a key, and tells until
// when it is left alone; zero if it is not, or if that is known already.
func (v *visit) foundDown(host, key string, now time.Time) time.Time {
	v.all.mu.Lock()
	defer v.all.mu.Unlock()
	known := v.all.of(host)
	if known.down() && !v.probed(host) {
		return time.Time{} // it began before the host was known to be down
	}
	known.failed[key] = true
	v.endProbe(host)
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

// foundUp notes that a host did its work, and tells whether it was down.
func (v *visit) foundUp(host string) (wasDown bool) {
	v.all.mu.Lock()
	defer v.all.mu.Unlock()
	known := v.all.of(host)
	wasDown = known.down()
	clear(known.failed)
	known.pauses, known.probing, known.until = 0, false, time.Time{}
	return wasDown
}

// foundNothing notes that the exchange ended without telling anything about a
// host.
func (v *visit) foundNothing(host string) {
	v.all.mu.Lock()
	defer v.all.mu.Unlock()
	v.endProbe(host)
}

func (v *visit) probed(host string) bool { return slices.Contains(v.probes, host) }

// endProbe lets another exchange probe a host that this one did. The caller
// holds the lock.
func (v *visit) endProbe(host string) {
	if v.probed(host) {
		v.all.of(host).probing = false
	}
}
