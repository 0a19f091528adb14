package credentials

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/imagepullsecrets/operator/providers"
)

// unreachable is the error of an exchange that did not get through to a host.
func unreachable(host string) error {
	return &providers.Error{Class: providers.Transient, Message: "no answer", Down: host}
}

// down makes an endpoint fail until the store takes it to be down.
func (w world) down(t *testing.T, endpoint string) {
	t.Helper()
	for i := range outageAfter {
		w.Lease(fakeProvider{key: fmt.Sprint("victim-", i), endpoint: endpoint, fetch: failing("", unreachable(endpoint)).fetch})
	}
	for range outageAfter {
		<-w.changes
	}
}

// at returns a provider whose exchange succeeds, and counts.
func (w world) at(endpoint, key string, count *int) fakeProvider {
	p := w.giving(key, time.Hour, count)
	p.endpoint = endpoint
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

// While a host is down, one exchange at a time looks whether it is back.
func TestOneExchangeProbes(t *testing.T) {
	e, now := newEndpoints(), start
	enter := func() *visit {
		v, until, err := e.enter(t.Context(), "h", func() time.Time { return now })
		if err != nil {
			t.Fatal(err)
		}
		if v == nil && !until.After(now) {
			t.Errorf("to wait until %s, which is past", until)
		}
		if v != nil {
			v.leave()
		}
		return v
	}
	early := enter()
	for i := range outageAfter {
		v := enter()
		if v == nil || v.probe {
			t.Fatalf("visit %d is %+v", i, v)
		}
		v.foundDown(fmt.Sprint(i), now)
	}
	if enter() != nil {
		t.Error("let in while it is left alone")
	}
	now = now.Add(firstPause)
	probe := enter()
	if probe == nil || !probe.probe {
		t.Fatalf("the probe is %+v", probe)
	}
	early.foundDown("early", now) // which began before all this
	if enter() != nil {
		t.Error("two probes at a time")
	}
	if until := probe.foundDown("probe", now); until.Sub(now) != 2*firstPause {
		t.Errorf("the second pause is %s, want %s", until.Sub(now), 2*firstPause)
	}
	now = now.Add(2 * firstPause)
	if probe = enter(); probe == nil {
		t.Fatal("the second probe is refused")
	}
	probe.foundNothing()
	if probe = enter(); probe == nil {
		t.Fatal("a probe that told nothing keeps others away")
	}
	if !probe.foundUp() || enter() == nil || enter() == nil {
		t.Error("it is back, and still not open to everyone")
	}
}

func TestPausesAreBounded(t *testing.T) {
	e := newEndpoints()
	v := &visit{all: e, host: "h", probe: true}
	var until time.Time
	for i := range 100 {
		until = v.foundDown(fmt.Sprint(i), start)
	}
	if until.Sub(start) != longestPause {
		t.Errorf("left alone for %s, want %s", until.Sub(start), longestPause)
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
			provider.endpoint = "e"
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
		provider := fakeProvider{key: "bad", endpoint: "e", fetch: failing("", unreachable("e")).fetch}
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
	throttled := fakeProvider{key: "throttled", endpoint: "e", fetch: failing("", &providers.Error{Class: providers.Throttled, RetryAfter: 4 * time.Minute}).fetch}
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

func TestAnEndpointHasRoomForSoMany(t *testing.T) {
	w := newWorld(t, &fakePersister{}).run(t)
	release, begun := make(chan struct{}), make(chan struct{}, 2*maxInFlight)
	for i := range maxInFlight + 1 {
		w.Lease(fakeProvider{key: fmt.Sprint(i), endpoint: "busy", fetch: func(context.Context) (providers.Credential, error) {
			begun <- struct{}{}
			<-release
			return providers.Credential{ExpiresAt: start.Add(time.Hour)}, nil
		}})
	}
	for range maxInFlight {
		<-begun
	}
	var count int
	w.Lease(w.at("idle", "k", &count))
	w.wait(t, "k") // another endpoint's exchange is through by now
	if len(begun) != 0 {
		t.Errorf("more than %d exchanges at a time", maxInFlight)
	}
	close(release)
	<-begun
	for range maxInFlight + 1 {
		<-w.changes
	}
}
