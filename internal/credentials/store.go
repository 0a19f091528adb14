// Package credentials keeps leases: what providers returned, for as long as
// it is valid, shared by everyone who asks for the same key.
package credentials

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/utils/clock"

	"github.com/imagepullsecrets/operator/internal/metrics"
	"github.com/imagepullsecrets/operator/providers"
)

// exchangeDeadline bounds one exchange, its provider's own retries included.
const exchangeDeadline = 20 * time.Second

const (
	// keepUnused is for how long an expired lease is kept that nobody asks for.
	keepUnused = time.Hour

	sweepInterval = time.Minute
)

// Persister keeps leases over restarts, where only the operator can read them.
type Persister interface {
	// Load returns every lease that was saved, and the key for hashing that
	// was made at the first Load ever.
	Load(ctx context.Context) (Saved, error)
	// Save keeps one key's lease, in place of an earlier one, until it expires.
	// It may be called concurrently.
	Save(ctx context.Context, key string, lease SavedLease) error
	// Forget drops the leases of keys, as far as there are any. It may be
	// called concurrently.
	Forget(ctx context.Context, keys []string) error
}

// Saved is what a Persister gives back.
type Saved struct {
	// HashKey is a random key of 32 bytes that stays the same for the life
	// of the installation.
	HashKey []byte
	// Leases are by provider key.
	Leases map[string]SavedLease
}

// SavedLease is the part of a lease that outlives the process.
type SavedLease struct {
	Credential providers.Credential
	IssuedAt   time.Time
}

// Lease is what a Store knows of one provider's logins at one moment.
type Lease struct {
	// Credential is what the last exchange that succeeded returned, expired
	// or not; nil if none has yet.
	Credential *providers.Credential
	// IssuedAt is when Credential was obtained.
	IssuedAt time.Time
	// RenewAt is when Credential is, or was, to be renewed.
	RenewAt time.Time
	// NextExchange is when the next exchange is due, be it a renewal or a
	// retry; zero while one is under way.
	NextExchange time.Time
	// Err is why the last exchange failed; nil if it did not.
	Err error
	// AskedAt is when the key was asked for first.
	AskedAt time.Time
}

// Pending tells that there are no logins and no failure yet.
func (l Lease) Pending() bool { return l.Credential == nil && l.Err == nil }

// Store keeps leases by their providers' keys. It is safe for concurrent use,
// and holds no lock while it talks to a provider.
type Store struct {
	persister Persister
	clock     clock.Clock
	metrics   *metrics.Metrics
	log       logr.Logger
	random    func() float64
	changed   func(key string)
	env       providers.Env
	schedule  Schedule
	keepValid time.Duration
	endpoints *endpoints

	running context.Context // ends exchanges when the store stops; nil before Start
	mu      sync.Mutex
	loaded  bool
	loadErr error // of the last attempt, until one succeeds
	hashKey []byte
	entries map[string]*entry
	swept   time.Time
}

// entry is one key's lease and the state of its exchange.
type entry struct {
	lease    Lease
	hosts    []string // of its exchange
	inFlight bool
	waiting  bool // for one of its hosts to be back
	failures int
	lastUse  time.Time
}

// Options are what a Store needs. All are required.
type Options struct {
	Persister Persister
	Clock     clock.Clock
	Metrics   *metrics.Metrics
	Log       logr.Logger
	// Env is what providers are lent.
	Env providers.Env
	// Schedule says when logins are renewed.
	Schedule Schedule
	// KeepValid is for how long a valid lease is kept that nobody asks for;
	// longer than the time between two looks at whatever uses it.
	KeepValid time.Duration
	// Changed is called, from any goroutine and with no lock held, after each
	// exchange with the provider's key, and with "" once leases are loaded or
	// could not be.
	Changed func(key string)
}

// NewStore returns a Store that gives out nothing until it is started.
func NewStore(o Options) *Store {
	return &Store{
		persister: o.Persister, clock: o.Clock, metrics: o.Metrics, log: o.Log, changed: o.Changed,
		env: o.Env, schedule: o.Schedule, keepValid: o.KeepValid,
		random:    rand.Float64,
		endpoints: newEndpoints(),
		entries:   map[string]*entry{},
	}
}

// loadRetry is the wait between attempts to load what was persisted.
const loadRetry = 5 * time.Second

// Start loads what was persisted and lets exchanges run until ctx ends. It
// retries while leases can't be loaded: to go on without them would mean new
// exchanges and new writes for everything.
func (s *Store) Start(ctx context.Context) error {
	for {
		saved, err := s.persister.Load(ctx)
		if err == nil {
			s.load(ctx, saved)
			s.changed("")
			break
		}
		s.log.Error(err, "loading persisted leases; no credential is obtained until that works", "retryIn", loadRetry)
		s.failLoad(err)
		select {
		case <-ctx.Done():
			return nil
		case <-s.clock.After(loadRetry):
		}
	}
	<-ctx.Done()
	return nil
}

// failLoad notes why leases could not be loaded, and tells of it.
func (s *Store) failLoad(err error) {
	s.mu.Lock()
	s.loadErr = err
	s.mu.Unlock()
	s.changed("")
}

// LoadError returns why leases could not be loaded; nil once they are, and
// before it was tried.
func (s *Store) LoadError() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.loadErr
}

// NeedLeaderElection makes the manager start the Store on the leader only.
func (s *Store) NeedLeaderElection() bool { return true }

func (s *Store) load(ctx context.Context, saved Saved) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock.Now()
	for key, lease := range saved.Leases {
		renewAt := s.schedule.renewAt(key, lease.IssuedAt, lease.Credential.ExpiresAt)
		s.entries[key] = &entry{
			lease: Lease{
				Credential: &lease.Credential, IssuedAt: lease.IssuedAt, AskedAt: now,
				RenewAt: renewAt, NextExchange: renewAt,
			},
			lastUse: now,
		}
	}
	s.running, s.hashKey, s.loaded, s.loadErr = ctx, saved.HashKey, true, nil
}

// HashKey returns the installation's key for hashing, or nil before it is
// loaded.
func (s *Store) HashKey() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hashKey
}

// Lease returns what is known of p's logins, at once, and starts an exchange
// if one is due and none for the same key is under way. Options.Changed is
// called when it has ended.
func (s *Store) Lease(p providers.Provider) Lease {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, key := s.clock.Now(), p.Key()
	e, known := s.entries[key]
	if !known {
		e = &entry{lease: Lease{AskedAt: now}}
		s.entries[key] = e
	}
	e.lastUse, e.hosts = now, p.Endpoints()
	s.sweep(now)
	if s.loaded && !e.inFlight && !now.Before(e.lease.NextExchange) {
		e.inFlight = true
		e.lease.NextExchange = time.Time{}
		go s.exchange(p)
	}
	return e.lease
}

// Retry has a lease that a person had to mend something for, here or in the
// cloud, be obtained when it is asked for next, instead of at the next probe.
func (s *Store) Retry(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[key]
	if e == nil || e.inFlight {
		return
	}
	switch providers.ClassOf(e.lease.Err) {
	case providers.Invalid, providers.Denied, providers.Forbidden, providers.ClockSkew:
		e.lease.NextExchange = s.clock.Now()
	case providers.Throttled, providers.Transient:
	}
}

// sweep drops leases that nobody asks for any more, now and then.
func (s *Store) sweep(now time.Time) {
	if now.Sub(s.swept) < sweepInterval {
		return
	}
	s.swept = now
	var dropped []string
	for key, e := range s.entries {
		unused := now.Sub(e.lastUse)
		if !e.inFlight && (unused > s.keepValid || unused > keepUnused && !e.validAt(now)) {
			delete(s.entries, key)
			if e.lease.Credential != nil {
				dropped = append(dropped, key)
			}
		}
	}
	if len(dropped) > 0 {
		go s.forget(dropped)
	}
}

// forget drops leases from where they outlive the process. What a failure
// leaves there goes with the next lease that is saved beside it.
func (s *Store) forget(keys []string) {
	if err := s.persister.Forget(s.running, keys); err != nil && s.running.Err() == nil {
		s.log.Error(err, "removing leases that nobody uses any more")
	}
}

func (e *entry) validAt(now time.Time) bool {
	return e.lease.Credential != nil && now.Before(e.lease.Credential.ExpiresAt)
}

// exchange asks p once, when its endpoints have room, and files the answer.
func (s *Store) exchange(p providers.Provider) {
	visit, pause, err := s.endpoints.enter(s.running, p.Endpoints(), s.clock.Now)
	switch {
	case err != nil:
		return // the process is stopping; this says nothing about the provider
	case visit == nil:
		s.putOff(p, pause)
		s.changed(p.Key())
		return
	}
	started := s.clock.Now()
	credential, err := s.fetch(p)
	visit.leave()
	if s.running.Err() != nil {
		return
	}
	s.metrics.ExchangeDone(p.Name(), resultOf(err), s.clock.Since(started))
	if err == nil {
		s.succeed(p.Key(), credential, started)
	} else {
		s.fail(p.Key(), err)
	}
	s.judge(visit, p.Key(), err)
	s.changed(p.Key())
	if err == nil {
		s.persist(p.Key(), SavedLease{Credential: credential, IssuedAt: started})
	}
}

// fetch makes one exchange.
func (s *Store) fetch(p providers.Provider) (providers.Credential, error) {
	ctx, cancel := context.WithTimeout(s.running, exchangeDeadline)
	defer cancel()
	return p.Fetch(ctx, s.env)
}

// judge notes what an exchange tells about its hosts. Those that were asked
// before the one that failed did their work, and so did one that refused; of
// those behind it, and of all if no token of a ServiceAccount was to be had,
// nothing is known.
func (s *Store) judge(v *visit, key string, err error) {
	now, failed := s.clock.Now(), slices.Index(v.hosts, providers.HostOf(err))
	refused := err != nil && providers.ClassOf(err) != providers.Transient
	for i, host := range v.hosts {
		switch {
		case err == nil, i < failed, i == failed && refused:
			if v.foundUp(host) {
				s.resume(host, now)
			}
		case i == failed && providers.DownHost(err) != "":
			if until := v.foundDown(host, key, now); until.After(now) {
				s.log.Info("endpoint is left alone for a moment", "endpoint", host, "until", until)
			}
		default:
			v.foundNothing(host)
		}
	}
}

// resume lets every exchange that waits for a host which is back take place
// within two seconds, and tells of it.
func (s *Store) resume(host string, now time.Time) {
	s.log.Info("endpoint is back", "endpoint", host)
	for _, key := range s.waitingFor(host, now) {
		s.changed(key)
	}
}

// waitingFor returns the keys that wait for a host, and no longer have to.
func (s *Store) waitingFor(host string, now time.Time) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var keys []string
	for key, e := range s.entries {
		waits := e.waiting || providers.DownHost(e.lease.Err) == host
		if waits && slices.Contains(e.hosts, host) && !e.inFlight {
			e.lease.NextExchange = now.Add(time.Duration(s.random() * float64(resumeWithin)))
			keys = append(keys, key)
		}
	}
	return keys
}

// succeed files a new credential.
func (s *Store) succeed(key string, credential providers.Credential, issuedAt time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[key]
	e.inFlight, e.waiting, e.failures = false, false, 0
	e.lease = Lease{
		Credential: &credential, IssuedAt: issuedAt, AskedAt: e.lease.AskedAt,
		RenewAt: s.schedule.renewAt(key, issuedAt, credential.ExpiresAt),
	}
	e.lease.NextExchange = e.lease.RenewAt
}

// fail files a failure; a credential that is still there stays in use.
func (s *Store) fail(key string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, e := s.clock.Now(), s.entries[key]
	e.inFlight, e.waiting = false, false
	e.failures++
	e.lease.Err = err
	var remaining time.Duration
	if e.lease.Credential != nil {
		remaining = e.lease.Credential.ExpiresAt.Sub(now)
	}
	e.lease.NextExchange = now.Add(retryAfter(err, e.failures, remaining, s.random()))
}

// putOff files that there was no exchange, since a host is left alone for a
// time. That is a failure only where no login is valid, and what an earlier
// exchange met is more telling and stays.
func (s *Store) putOff(p providers.Provider, left pause) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[p.Key()]
	e.inFlight, e.waiting = false, true
	if e.failures == 0 && !e.validAt(s.clock.Now()) {
		e.lease.Err = providers.Errorf(providers.Transient,
			"%s could not be reached by others and is tried by one exchange at a time until it is back", left.host)
	}
	e.lease.NextExchange = left.until.Add(time.Duration(s.random() * float64(firstPause)))
}

// persist saves a lease. A failure costs an exchange after the next restart
// and nothing now, so it is logged and counted, not returned.
func (s *Store) persist(key string, lease SavedLease) {
	if err := s.persister.Save(s.running, key, lease); err != nil && s.running.Err() == nil {
		s.metrics.LeaseNotSaved()
		s.log.Error(err, "saving a lease; it will be obtained anew after a restart")
	}
}

// resultOf names an exchange's outcome for metrics.
func resultOf(err error) string {
	if err == nil {
		return "success"
	}
	return providers.ClassOf(err).String()
}
