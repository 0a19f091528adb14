package credentials

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/imagepullsecrets/operator/providers"
)

// down makes an endpoint fail until the store takes it to be down.
func (w world) down(t *testing.T, endpoint string) {
	t.Helper()
	for i := range outageAfter {
		w.Lease(fakeProvider{key: fmt.Sprint("victim-", i), endpoint: endpoint, fetch: failing("", errors.New("boom")).fetch})
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
	enter := func() error {
		leave, err := e.enter(t.Context(), "h", func() time.Time { return now })
		if err == nil {
			leave()
		}
		return err
	}
	for range outageAfter {
		if err := enter(); err != nil {
			t.Fatalf("refused too early: %v", err)
		}
		e.failed("h", now, 0)
	}
	if enter() == nil {
		t.Error("let in while it is left alone")
	}
	now = now.Add(firstPause)
	if err := enter(); err != nil {
		t.Errorf("the probe is refused: %v", err)
	}
	if enter() == nil {
		t.Error("two probes at a time")
	}
	if until := e.failed("h", now, 0); until.Sub(now) != 2*firstPause {
		t.Errorf("the second pause is %s, want %s", until.Sub(now), 2*firstPause)
	}
	now = now.Add(2 * firstPause)
	if err := enter(); err != nil {
		t.Errorf("the second probe is refused: %v", err)
	}
	e.unclear("h")
	if err := enter(); err != nil {
		t.Errorf("a probe that told nothing keeps others away: %v", err)
	}
	if !e.answered("h") || enter() != nil || enter() != nil {
		t.Error("it is back, and still not open to everyone")
	}
}

func TestPausesAreBounded(t *testing.T) {
	e := newEndpoints()
	var until time.Time
	for range 100 {
		e.of("h").probing = true
		until = e.failed("h", start, 24*time.Hour)
	}
	if until.Sub(start) != longestPause {
		t.Errorf("left alone for %s, want %s", until.Sub(start), longestPause)
	}
}

// An exchange that fails because no token could be minted says nothing about
// the endpoint, nor does a refusal of the identity.
func TestNotEveryFailureIsAnOutage(t *testing.T) {
	cases := map[string]fakeProvider{
		"no token of the ServiceAccount": {minting: true},
		"a refused identity":             failing("", providers.Errorf(providers.Denied, "no")),
		"a wrong configuration":          failing("", providers.Errorf(providers.Invalid, "no")),
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
			var count int
			w.Lease(w.at("e", "k", &count))
			w.wait(t, "k")
			if count != 1 {
				t.Error("the endpoint is taken to be down")
			}
		})
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
