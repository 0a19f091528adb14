package credentials

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/imagepullsecrets/operator/providers"
)

// unreachable is the error of an exchange that did not get through to a host.
func unreachable(host string) error {
	return &providers.Error{Class: providers.Transient, Message: "no answer", Host: host, Down: true}
}

// down makes an endpoint fail until the store takes it to be down.
func (w world) down(t *testing.T, endpoint string) {
	t.Helper()
	for i := range outageAfter {
		w.Lease(fakeProvider{key: fmt.Sprint("victim-", i), endpoints: []string{endpoint}, fetch: failing("", unreachable(endpoint)).fetch})
	}
	for range outageAfter {
		<-w.changes
	}
}

// at returns a provider whose exchange succeeds, and counts.
func (w world) at(endpoint, key string, count *int) fakeProvider {
	p := w.giving(key, time.Hour, count)
	p.endpoints = []string{endpoint}
	return p
}

func TestAnEndpointThatIsDownIsLeftAloneAndOthersAreNot(t *testing.T) {
	w := newWorld(t, &fakePersister{}).run(t)
	w.down(t, "dead")
	var dead, alive int
	w.Lease(w.at("dead", "k", &dead))
	w.wait(t, "k")
	w.Lease(w.at("alive", "other", &alive))
	w.wait(t, "other")
	if lease := w.Lease(w.at("dead", "k", &dead)); dead != 0 || lease.Err == nil || lease.NextExchange.IsZero() {
		t.Errorf("%d exchanges with an endpoint that is down; its lease is %+v", dead, lease)
	}
	if alive != 1 {
		t.Error("another endpoint had to wait")
	}
}

// Nothing is said of a login that is valid because its endpoint is down, until
// its own renewal fails.
func TestALeaseThatWaitsForItsEndpointKeepsWhatIsKnownOfIt(t *testing.T) {
	w := newWorld(t, &fakePersister{}).run(t)
	var count int
	w.Lease(w.at("e", "k", &count))
	w.wait(t, "k")
	w.down(t, "e")
	w.clock.SetTime(w.renewal("k", start, time.Hour))
	// The pause is over by then; one of the victims probes.
	w.down(t, "e")
	w.Lease(w.at("e", "k", &count))
	w.wait(t, "k")
	if lease := w.Lease(w.at("e", "k", &count)); count != 1 || lease.Err != nil || !lease.RenewAt.Equal(w.renewal("k", start, time.Hour)) {
		t.Errorf("after %d exchanges the lease is %+v", count, lease)
	}
}

func TestALeaseThatWaitsNamesTheHostThatItWaitsFor(t *testing.T) {
	w := newWorld(t, &fakePersister{}).run(t)
	p := fakeProvider{key: "k", endpoints: []string{"first", "last"}}
	for _, host := range p.endpoints {
		w.down(t, host)
		w.Lease(p)
		w.wait(t, "k")
		lease := w.Lease(p)
		if !strings.HasPrefix(lease.Err.Error(), host+" could not be reached by others") {
			t.Errorf("waiting for %s, it says %q", host, lease.Err)
		}
		(&visit{all: w.endpoints}).foundUp(host)
		w.clock.SetTime(lease.NextExchange)
	}
}

func TestAnEndpointThatIsBackIsUsedByEveryoneAtOnce(t *testing.T) {
	w := newWorld(t, &fakePersister{}).run(t)
	w.down(t, "e")
	w.clock.Step(firstPause)
	var count int
	w.Lease(w.at("e", "probe", &count))
	// The probe's success wakes those that had failed.
	woken := map[string]bool{}
	for range outageAfter + 1 {
		woken[<-w.changes] = true
	}
	if !woken["probe"] || !woken["victim-0"] || !woken["victim-4"] {
		t.Errorf("woken are %v", woken)
	}
	w.clock.Step(resumeWithin)
	for i := range outageAfter {
		w.Lease(w.at("e", fmt.Sprint("victim-", i), &count))
		w.wait(t, fmt.Sprint("victim-", i))
	}
	if count != outageAfter+1 {
		t.Errorf("%d exchanges after the outage, want %d", count, outageAfter+1)
	}
}

// walk is the way of visitors to the hosts of one route.
type walk struct {
	*endpoints
	hosts []string
	now   time.Time
}

// try enters and leaves; nil if the hosts are left alone.
func (w *walk) try(t *testing.T) *visit {
	t.Helper()
	v, pause, err := w.enter(t.Context(), w.hosts, func() time.Time { return w.now })
	if err != nil {
		t.Fatal(err)
	}
	if v == nil && !pause.until.After(w.now) {
		t.Errorf("to wait until %s, which is past", pause.until)
	}
	if v != nil {
		v.leave()
	}
	return v
}

// fail has as many keys as it takes find a host down.
func (w *walk) fail(t *testing.T, host string) {
	t.Helper()
	for i := range outageAfter {
		v := w.try(t)
		if v == nil || len(v.probes) > 0 {
			t.Fatalf("visit %d is %+v", i, v)
		}
		v.foundDown(host, fmt.Sprint(i), w.now)
	}
}

// While a host is down, one exchange at a time looks whether it is back.
func TestOneExchangeProbes(t *testing.T) {
	w := &walk{newEndpoints(), []string{"h"}, start}
	early := w.try(t)
	w.fail(t, "h")
	if w.try(t) != nil {
		t.Error("let in while it is left alone")
	}
	w.now = w.now.Add(firstPause)
	probe := w.try(t)
	if probe == nil || !probe.probed("h") {
		t.Fatalf("the probe is %+v", probe)
	}
	early.foundDown("h", "early", w.now) // which began before all this
	if w.try(t) != nil {
		t.Error("two probes at a time")
	}
	if until := probe.foundDown("h", "probe", w.now); until.Sub(w.now) != 2*firstPause {
		t.Errorf("the second pause is %s, want %s", until.Sub(w.now), 2*firstPause)
	}
	w.now = w.now.Add(2 * firstPause)
	if probe = w.try(t); probe == nil {
		t.Fatal("the second probe is refused")
	}
	probe.foundNothing("h")
	if probe = w.try(t); probe == nil {
		t.Fatal("a probe that told nothing keeps others away")
	}
	if !probe.foundUp("h") || w.try(t) == nil || w.try(t) == nil {
		t.Error("it is back, and still not open to everyone")
	}
}

// A route is as good as the worst of its hosts, and its first hosts are there
// for others.
func TestAHostBehindAnotherHasAnOutageOfItsOwn(t *testing.T) {
	all := newEndpoints()
	broken := &walk{all, []string{"shared", "broken"}, start}
	well := &walk{all, []string{"shared", "well"}, start}
	broken.fail(t, "broken")
	if broken.try(t) != nil || well.try(t) == nil {
		t.Error("the outage of a host behind another counts for both, or for none")
	}
	broken.now = start.Add(firstPause)
	probe := broken.try(t)
	if probe == nil || !probe.probed("broken") || probe.probed("shared") || broken.try(t) != nil {
		t.Fatalf("the probe is %+v", probe)
	}
	if probe.foundUp("shared") || !probe.foundUp("broken") || broken.try(t) == nil {
		t.Error("it is back, and still not open to everyone")
	}
}

func TestPausesAreBounded(t *testing.T) {
	e := newEndpoints()
	v := &visit{all: e, hosts: []string{"h"}, probes: []string{"h"}}
	var until time.Time
	for i := range 100 {
		until = v.foundDown("h", fmt.Sprint(i), start)
	}
	if until.Sub(start) != longestPause {
		t.Errorf("left alone for %s, want %s", until.Sub(start), longestPause)
	}
}

// What an exchange meets tells of the hosts up to the one where it ends.
func TestWhatIsLearntOfHosts(t *testing.T) {
	refusal := func(host string) error { return &providers.Error{Class: providers.Denied, Host: host} }
	cases := map[string]struct {
		err    error
		closed map[string]bool // of the two hosts, both of which were down before
	}{
		"both do their work":           {nil, map[string]bool{"first": false, "last": false}},
		"the first refuses":            {refusal("first"), map[string]bool{"first": false, "last": true}},
		"the last refuses":             {refusal("last"), map[string]bool{"first": false, "last": false}},
		"the first is down":            {unreachable("first"), map[string]bool{"first": true, "last": true}},
		"the last is down":             {unreachable("last"), map[string]bool{"first": false, "last": true}},
		"nobody knows what happened":   {errors.New("boom"), map[string]bool{"first": true, "last": true}},
		"nobody was asked of anything": {refusal(""), map[string]bool{"first": true, "last": true}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, &fakePersister{})
			hosts := []string{"first", "last"}
			v := &visit{all: w.endpoints, hosts: hosts}
			for i := range outageAfter {
				v.foundDown("first", fmt.Sprint(i), start)
				v.foundDown("last", fmt.Sprint(i), start)
			}
			v.probes = hosts
			w.judge(v, "k", c.err)
			for host, want := range c.closed {
				if got := w.endpoints.of(host); got.down() != want || got.probing {
					t.Errorf("%s is taken to be down: %t, and probed: %t", host, got.down(), got.probing)
				}
			}
		})
	}
}

// One tenant's trouble must not close a host for all others.
func TestNotEveryFailureIsAnOutage(t *testing.T) {
	cases := map[string]fakeProvider{
		"no token of the ServiceAccount":        {minting: true},
		"a refused identity":                    failing("", providers.Errorf(providers.Denied, "no")),
		"a wrong configuration":                 failing("", providers.Errorf(providers.Invalid, "no")),
		"a tenant that asks too much":           failing("", providers.Errorf(providers.Throttled, "no")),
		"a tenant's own identity provider":      failing("", providers.Errorf(providers.Transient, "its issuer can't be reached")),
		"another host that comes later":         failing("", unreachable("registry.example.com")),
		"an error that nobody knows more about": failing("", errors.New("boom")),
	}
	for name, provider := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, &fakePersister{}).run(t)
			provider.endpoints = []string{"e"}
			for i := range 2 * outageAfter {
				provider.key = fmt.Sprint(i)
				w.Lease(provider)
				w.wait(t, provider.key)
			}
			w.expectUp(t, "e")
		})
	}
	t.Run("one key that fails over and over", func(t *testing.T) {
		w := newWorld(t, &fakePersister{}).run(t)
		provider := fakeProvider{key: "bad", endpoints: []string{"e"}, fetch: failing("", unreachable("e")).fetch}
		for range 2 * outageAfter {
			w.Lease(provider)
			w.wait(t, "bad")
			w.clock.Step(2 * urgentRetry)
		}
		w.expectUp(t, "e")
	})
}

// expectUp expects that an endpoint is open to everyone.
func (w world) expectUp(t *testing.T, endpoint string) {
	t.Helper()
	var count int
	w.Lease(w.at(endpoint, "well", &count))
	w.wait(t, "well")
	if count != 1 {
		t.Error("the endpoint is taken to be down")
	}
}

// What asked for time is not woken before it.
func TestAnEndpointThatIsBackDoesNotWakeWhoeverWasThrottled(t *testing.T) {
	w := newWorld(t, &fakePersister{}).run(t)
	throttled := fakeProvider{key: "throttled", endpoints: []string{"e"}, fetch: failing("", &providers.Error{Class: providers.Throttled, RetryAfter: 4 * time.Minute}).fetch}
	w.Lease(throttled)
	w.wait(t, "throttled")
	before := w.Lease(throttled).NextExchange
	w.down(t, "e")
	w.clock.Step(firstPause)
	var count int
	w.Lease(w.at("e", "probe", &count))
	for range outageAfter + 1 {
		if key := <-w.changes; key == "throttled" {
			t.Error("it is woken")
		}
	}
	if after := w.Lease(throttled).NextExchange; !after.Equal(before) {
		t.Errorf("it is tried at %s, not at %s", after, before)
	}
}

// Logins of 20 minutes, and a service that is away for 30.
func TestHalfAnHourOfOutageIsSurvived(t *testing.T) {
	const (
		identities = 10
		life       = 20 * time.Minute
		outage     = 30 * time.Minute
	)
	w := newWorld(t, &fakePersister{}).run(t)
	away, asked := false, 0
	leases := make([]Lease, identities)
	// look asks for every lease, as the controllers do, once a second.
	look := func() (valid int) {
		for i := range leases {
			p := fakeProvider{key: fmt.Sprint(i), endpoints: []string{"e"}, fetch: func(context.Context) (providers.Credential, error) {
				if asked++; away {
					return providers.Credential{}, unreachable("e")
				}
				return providers.Credential{ExpiresAt: w.clock.Now().Add(life)}, nil
			}}
			if lease := w.Lease(p); lease.NextExchange.IsZero() {
				for key := ""; key != p.key; { // those that are woken come in between
					key = <-w.changes
				}
			}
			if leases[i] = w.Lease(p); leases[i].Credential != nil && w.clock.Now().Before(leases[i].Credential.ExpiresAt) {
				valid++
			}
		}
		w.clock.Step(time.Second)
		return valid
	}
	if valid := look(); valid != identities {
		t.Fatalf("%d logins at the beginning", valid)
	}
	away, asked = true, 0
	for began := w.clock.Now(); w.clock.Since(began) < outage; {
		if valid := look(); valid < identities && w.clock.Since(start) < life {
			t.Fatalf("%d logins after %s", valid, w.clock.Since(start))
		}
	}
	// Five find the host down; after that it is looked at twice a minute.
	if most := outageAfter + int(outage/longestPause) + 5; asked > most || asked < most/3 {
		t.Errorf("%d exchanges during the outage, want at most %d, and at least a third of them", asked, most)
	}
	for i, lease := range leases {
		if lease.Err == nil || w.clock.Now().Before(lease.Credential.ExpiresAt) {
			t.Errorf("lease %d is %+v at the end of the outage", i, lease)
		}
	}
	away, asked = false, 0
	for back := w.clock.Now(); look() < identities; {
		if w.clock.Since(back) > longestPause+firstPause+resumeWithin {
			t.Fatalf("not all have a login %s after the outage", w.clock.Since(back))
		}
	}
	if asked != identities {
		t.Errorf("%d exchanges to get %d logins after the outage", asked, identities)
	}
}

// held are exchanges that hang.
type held struct {
	hosts   []string
	begun   chan struct{} // one item for each that has begun beyond the expected ones
	release chan struct{}
}

// hang starts exchanges that hang, and waits until as many as there is room
// for have begun.
func (w world) hang(exchanges, room int, hosts ...string) held {
	h := held{hosts, make(chan struct{}, exchanges), make(chan struct{})}
	for i := range exchanges {
		w.Lease(fakeProvider{key: fmt.Sprint(hosts, i), endpoints: hosts, fetch: func(context.Context) (providers.Credential, error) {
			h.begun <- struct{}{}
			<-h.release
			return providers.Credential{ExpiresAt: start.Add(time.Hour)}, nil
		}})
	}
	for range room {
		<-h.begun
	}
	return h
}

// expectRoomFor expects that a provider is answered although others hang, and
// then lets them end. It is the last to begin, so all of them had their chance.
func (w world) expectRoomFor(t *testing.T, hosts []string, hanging ...held) {
	t.Helper()
	var count int
	p := w.giving("k", time.Hour, &count)
	p.endpoints = hosts
	w.Lease(p)
	w.wait(t, "k")
	ends := 0
	for _, h := range hanging {
		if len(h.begun) != 0 {
			t.Errorf("%d more exchanges with %s than there is room for", len(h.begun), h.hosts)
		}
		ends += cap(h.begun)
	}
	for _, h := range hanging {
		close(h.release)
	}
	for range ends {
		<-w.changes
	}
}

func TestARouteHasRoomForSoMany(t *testing.T) {
	w := newWorld(t, &fakePersister{}).run(t)
	w.expectRoomFor(t, []string{"idle"}, w.hang(maxOnRoute+1, maxOnRoute, "busy"))
}

// One registry that hangs leaves the directory in front of it to the others.
func TestAHostThatHangsLeavesRoomAtTheHostBeforeIt(t *testing.T) {
	w := newWorld(t, &fakePersister{}).run(t)
	w.expectRoomFor(t, []string{"shared", "well"}, w.hang(3*maxInFlight, maxOnRoute, "shared", "hanging"))
}

func TestAHostHasRoomForSoMany(t *testing.T) {
	w := newWorld(t, &fakePersister{}).run(t)
	w.expectRoomFor(t, []string{"idle"},
		w.hang(maxOnRoute, maxOnRoute, "shared", "one"),
		w.hang(maxOnRoute, maxInFlight-maxOnRoute, "shared", "another"),
		w.hang(1, 0, "shared", "yet another"))
}
