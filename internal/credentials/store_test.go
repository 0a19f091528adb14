package credentials

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/imagepullsecrets/operator/internal/dockerconfig"
	"github.com/imagepullsecrets/operator/internal/metrics"
	"github.com/imagepullsecrets/operator/providers"
)

var start = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// fakeProvider answers as its function says.
type fakeProvider struct {
	key       string
	endpoints []string
	fetch     func(context.Context) (providers.Credential, error)
	minting   bool // asks for a token first
}

func (p fakeProvider) Name() string         { return "fake" }
func (p fakeProvider) Key() string          { return p.key }
func (p fakeProvider) Endpoints() []string  { return p.endpoints }
func (p fakeProvider) Registries() []string { return []string{"r"} }
func (p fakeProvider) Fetch(ctx context.Context, env providers.Env) (providers.Credential, error) {
	if p.minting {
		if _, err := env.Token(ctx, providers.ServiceAccount{}, "audience"); err != nil {
			return providers.Credential{}, err
		}
	}
	return p.fetch(ctx)
}

// fakePersister keeps leases in memory.
type fakePersister struct {
	mu      sync.Mutex
	saved   map[string]SavedLease
	loadErr []error // one for each Load that fails
	saveErr error
	saves   chan string // keys, as they are saved
	forgot  chan string // keys, as they are forgotten
}

func (p *fakePersister) Load(context.Context) (Saved, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.loadErr) > 0 {
		err := p.loadErr[0]
		p.loadErr = p.loadErr[1:]
		return Saved{}, err
	}
	return Saved{HashKey: []byte("key"), Leases: p.saved}, nil
}

func (p *fakePersister) Save(_ context.Context, key string, lease SavedLease) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.saved == nil {
		p.saved = map[string]SavedLease{}
	}
	p.saved[key] = lease
	if p.saves != nil {
		p.saves <- key
	}
	return p.saveErr
}

func (p *fakePersister) Forget(_ context.Context, keys []string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, key := range keys {
		delete(p.saved, key)
		if p.forgot != nil {
			p.forgot <- key
		}
	}
	return nil
}

// world is a running store with everything around it.
type world struct {
	*Store
	clock     *clocktesting.FakeClock
	persister *fakePersister
	changes   chan string
}

func newWorld(t *testing.T, persister *fakePersister) world {
	t.Helper()
	w := world{clock: clocktesting.NewFakeClock(start), persister: persister, changes: make(chan string, 1000)}
	w.Store = NewStore(Options{
		Persister: persister, Clock: w.clock, Metrics: metrics.New(prometheus.NewRegistry()), Log: logr.Discard(),
		Env: providers.Env{Token: func(context.Context, providers.ServiceAccount, string) (string, error) {
			return "", errors.New("no right to mint")
		}},
		Schedule: DefaultSchedule, KeepValid: 24 * time.Hour,
		Changed: func(key string) { w.changes <- key },
	})
	w.random = func() float64 { return 0.5 } // no jitter
	return w
}

// run starts the store and waits until it has loaded.
func (w world) run(t *testing.T) world {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = w.Start(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	w.wait(t, "")
	return w
}

// wait waits for the news of a key.
func (w world) wait(t *testing.T, key string) {
	t.Helper()
	select {
	case got := <-w.changes:
		if got != key {
			t.Fatalf("news of %q, want %q", got, key)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("no news of %q", key)
	}
}

// giving returns a provider that gives a login for a time, and counts.
func (w world) giving(key string, life time.Duration, count *int) fakeProvider {
	return fakeProvider{key: key, fetch: func(context.Context) (providers.Credential, error) {
		*count++
		return providers.Credential{Login: dockerconfig.Login{Username: "u"}, ExpiresAt: w.clock.Now().Add(life)}, nil
	}}
}

// renewal is when a lease is to be renewed.
func (w world) renewal(key string, issued time.Time, life time.Duration) time.Time {
	return DefaultSchedule.renewAt(key, issued, issued.Add(life))
}

func failing(key string, err error) fakeProvider {
	return fakeProvider{key: key, fetch: func(context.Context) (providers.Credential, error) { return providers.Credential{}, err }}
}

func TestALeaseIsTakenOnceAndRenewedAtHalfItsLife(t *testing.T) {
	w := newWorld(t, &fakePersister{}).run(t)
	var fetches int
	provider := w.giving("k", time.Hour, &fetches)
	if lease := w.Lease(provider); !lease.Pending() || !lease.AskedAt.Equal(start) {
		t.Errorf("before the first answer: %+v", lease)
	}
	w.Lease(provider)
	w.wait(t, "k")
	lease := w.Lease(provider)
	if lease.Credential == nil || lease.Err != nil || !lease.NextExchange.Equal(w.renewal("k", start, time.Hour)) || !lease.IssuedAt.Equal(start) {
		t.Errorf("lease is %+v", lease)
	}
	w.clock.SetTime(w.renewal("k", start, time.Hour).Add(-time.Second))
	w.Lease(provider)
	if fetches != 1 {
		t.Errorf("%d exchanges before half its life", fetches)
	}
	w.clock.Step(time.Second)
	if lease := w.Lease(provider); lease.Credential == nil {
		t.Error("the old login is not served while a new one is fetched")
	}
	w.wait(t, "k")
	if w.Lease(provider); fetches != 2 {
		t.Errorf("%d exchanges, want 2", fetches)
	}
}

func TestAFailureLeavesAValidLoginAndIsRetried(t *testing.T) {
	w := newWorld(t, &fakePersister{}).run(t)
	var fetches int
	w.Lease(w.giving("k", time.Hour, &fetches))
	w.wait(t, "k")
	w.clock.SetTime(w.renewal("k", start, time.Hour))
	broken := failing("k", errors.New("boom"))
	w.Lease(broken)
	w.wait(t, "k")
	lease := w.Lease(broken)
	if lease.Credential == nil || lease.Err == nil || !lease.NextExchange.Equal(w.clock.Now().Add(time.Second)) {
		t.Errorf("lease is %+v", lease)
	}
	w.clock.Step(time.Second)
	w.Lease(w.giving("k", time.Hour, &fetches))
	w.wait(t, "k")
	if lease := w.Lease(broken); lease.Err != nil || fetches != 2 {
		t.Errorf("after it recovered: %+v", lease)
	}
}

func TestAFailureThatAPersonMendsIsTriedAgainOnDemand(t *testing.T) {
	cases := map[string]struct {
		err  error
		soon bool
	}{
		"a refused identity":                   {providers.Errorf(providers.Denied, "x"), true},
		"a wrong configuration":                {providers.Errorf(providers.Invalid, "x"), true},
		"a missing right":                      {providers.Errorf(providers.Forbidden, "x"), true},
		"but not what asks for time":           {&providers.Error{Class: providers.Throttled, RetryAfter: time.Minute}, false},
		"nor what is retried soon in any case": {errors.New("boom"), false},
		"nor a lease that is as it should be":  {nil, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, &fakePersister{}).run(t)
			var count int
			provider := w.giving("k", time.Hour, &count)
			if c.err != nil {
				provider = failing("k", c.err)
			}
			w.Lease(provider)
			w.wait(t, "k")
			w.Retry("k")
			w.Retry("unknown")
			soon := !w.clock.Now().Before(w.entries["k"].lease.NextExchange)
			if soon != c.soon {
				t.Errorf("tried at once: %t", soon)
			}
		})
	}
}

// Exchanges for different keys do not wait for one another.
func TestAnExchangeThatHangsDelaysNoOther(t *testing.T) {
	w := newWorld(t, &fakePersister{}).run(t)
	release := make(chan struct{})
	w.Lease(fakeProvider{key: "slow", fetch: func(context.Context) (providers.Credential, error) {
		<-release
		return providers.Credential{}, errors.New("too late")
	}})
	var fetches int
	w.Lease(w.giving("fast", time.Hour, &fetches))
	w.wait(t, "fast")
	close(release)
	w.wait(t, "slow")
}

func TestLeasesOutliveARestart(t *testing.T) {
	persister := &fakePersister{saves: make(chan string, 10)}
	w := newWorld(t, persister)
	var fetches int
	if w.Lease(w.giving("k", time.Hour, &fetches)); w.HashKey() != nil {
		t.Error("there is a key for hashing before it is loaded")
	}
	w.run(t)
	w.Lease(w.giving("k", time.Hour, &fetches))
	w.wait(t, "k")
	<-persister.saves

	again := newWorld(t, persister)
	again.clock.SetTime(start.Add(time.Minute))
	again.run(t)
	lease := again.Lease(again.giving("k", time.Hour, &fetches))
	if lease.Credential == nil || fetches != 1 || !lease.NextExchange.Equal(again.renewal("k", start, time.Hour)) || string(again.HashKey()) != "key" {
		t.Errorf("after the restart: %+v after %d exchanges", lease, fetches)
	}
}

func TestLeasesThatCannotBeLoadedAreTriedAgain(t *testing.T) {
	w := newWorld(t, &fakePersister{loadErr: []error{errors.New("no right")}})
	go func() {
		for !w.clock.HasWaiters() {
			time.Sleep(time.Millisecond) //nolint:forbidigo // nothing tells when a fake clock is waited for
		}
		w.clock.Step(loadRetry)
	}()
	w.run(t) // told of the failure
	w.wait(t, "")
	if err := w.LoadError(); err != nil || w.HashKey() == nil {
		t.Errorf("once they are loaded there is still %v", err)
	}
}

func TestALeaseThatCannotBeSavedIsServed(t *testing.T) {
	w := newWorld(t, &fakePersister{saveErr: errors.New("no right")}).run(t)
	var fetches int
	w.Lease(w.giving("k", time.Hour, &fetches))
	w.wait(t, "k")
	if lease := w.Lease(w.giving("k", time.Hour, &fetches)); lease.Credential == nil {
		t.Error("the login is lost")
	}
}

func TestValidLeasesAreKeptForAsLongAsTheyMayBeInUse(t *testing.T) {
	w := newWorld(t, &fakePersister{}).run(t)
	var fetches int
	const week = 7 * 24 * time.Hour
	for _, key := range []string{"asked for", "not asked for"} {
		w.Lease(w.giving(key, week, &fetches))
		w.wait(t, key)
	}
	w.clock.Step(24 * time.Hour)
	w.Lease(w.giving("other", week, &fetches))
	w.wait(t, "other")
	if len(w.entries) != 3 {
		t.Errorf("%d leases are kept, want 3", len(w.entries))
	}
	w.clock.Step(time.Hour)
	// It is asked for late, and by that itself the one that has others go.
	if lease := w.Lease(w.giving("asked for", week, &fetches)); lease.Pending() || len(w.entries) != 2 {
		t.Errorf("%d leases are kept, and of the one in use is known %+v", len(w.entries), lease)
	}
}

func TestExpiredLeasesThatNobodyUsesGo(t *testing.T) {
	persister := &fakePersister{saves: make(chan string, 10), forgot: make(chan string, 10)}
	w := newWorld(t, persister).run(t)
	var fetches int
	w.Lease(w.giving("old", time.Hour, &fetches))
	w.wait(t, "old")
	if saved := <-persister.saves; saved != "old" {
		t.Fatalf("%q is saved", saved)
	}
	w.Lease(failing("never had one", errors.New("boom")))
	w.wait(t, "never had one")
	w.clock.Step(keepUnused + time.Hour)
	w.Lease(w.giving("new", time.Hour, &fetches))
	w.wait(t, "new")
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, found := w.entries["old"]; found || len(w.entries) != 1 {
		t.Errorf("%d leases are kept", len(w.entries))
	}
	if forgotten := <-persister.forgot; forgotten != "old" {
		t.Errorf("%q is forgotten over restarts", forgotten)
	}
}
