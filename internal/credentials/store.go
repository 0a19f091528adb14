// Package credentials keeps leases: what providers returned, for as long as
// it is valid, shared by everyone who asks for the same key.
package credentials

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/utils/clock"

	"github.com/imagepullsecrets/operator/internal/metrics"
	"github.com/imagepullsecrets/operator/providers"
)

// exchangeDeadline bounds one exchange, its provider's own retries included.
const exchangeDeadline = 20 * time.Second

// keepUnused is how long an expired lease that nobody asks for is kept.
const keepUnused = time.Hour

// Persister keeps leases over restarts, where only the operator can read them.
type Persister interface {
	// Load returns every lease that was saved, and the key for hashing that
	// was made at the first Load ever.
	Load(ctx context.Context) (Saved, error)
	// Save keeps one key's lease, in place of an earlier one, and forgets
	// those of the keys in expired.
	Save(ctx context.Context, key string, lease SavedLease, expired []string) error
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
	endpoints *endpoints

	running context.Context // ends exchanges when the store stops; nil before Start
	mu      sync.Mutex
	loaded  bool
	loadErr error // of the last attempt, until one succeeds
	hashKey []byte
	entries map[string]*entry
}

// entry is one key's lease and the state of its exchange.
type entry struct {
	lease    Lease
	endpoint string
	inFlight bool
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
	// Changed is called, from any goroutine and with no lock held, after each
	// exchange with the provider's key, and with "" once leases are loaded or
	// could not be.
	Changed func(key string)
}

// NewStore returns a Store that gives out nothing until it is started.
func NewStore(o Options) *Store {
	return &Store{
		persister: o.Persister, clock: o.Clock, metrics: o.Metrics, log: o.Log, changed: o.Changed,
		env: o.Env, schedule: o.Schedule,
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
		s.entries[key] = &entry{
			lease: Lease{
				Credential:   &lease.Credential,
				IssuedAt:     lease.IssuedAt,
				NextExchange: s.schedule.renewAt(key, lease.IssuedAt, lease.Credential.ExpiresAt),
				AskedAt:      now,
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
	s.sweep(now)
	e, known := s.entries[key]
	if !known {
		e = &entry{lease: Lease{AskedAt: now}}
		s.entries[key] = e
	}
	e.lastUse, e.endpoint = now, p.Endpoint()
	if s.loaded && !e.inFlight && !now.Before(e.lease.NextExchange) {
		e.inFlight = true
		e.lease.NextExchange = time.Time{}
		go s.exchange(p)
	}
	return e.lease
}

// sweep drops expired leases that nobody asks for any more.
func (s *Store) sweep(now time.Time) {
	for key, e := range s.entries {
		if !e.inFlight && now.Sub(e.lastUse) > keepUnused && !e.validAt(now) {
			delete(s.entries, key)
		}
	}
}

func (e *entry) validAt(now time.Time) bool {
	return e.lease.Credential != nil && now.Before(e.lease.Credential.ExpiresAt)
}

// exchange asks p once, when its endpoint has room, and files the answer.
func (s *Store) exchange(p providers.Provider) {
	leave, err := s.endpoints.enter(s.running, p.Endpoint(), s.clock.Now)
	switch {
	case s.running.Err() != nil:
		return // the process is stopping; this says nothing about the provider
	case err != nil:
		s.putOff(p.Key(), err)
		s.changed(p.Key())
		return
	}
	started := s.clock.Now()
	credential, minted, err := s.fetch(p)
	leave()
	if s.running.Err() != nil {
		return
	}
	s.metrics.ExchangeDone(p.Name(), resultOf(err), s.clock.Since(started))
	if err == nil {
		expired := s.succeed(p.Key(), credential, started)
		s.persist(p.Key(), SavedLease{Credential: credential, IssuedAt: started}, expired)
	} else {
		s.fail(p.Key(), err)
	}
	s.judgeEndpoint(p.Endpoint(), err, minted)
	s.changed(p.Key())
}

// fetch makes one exchange. minted tells that no token of a ServiceAccount was
// missing for it; if one was, the failure is not the endpoint's.
func (s *Store) fetch(p providers.Provider) (credential providers.Credential, minted bool, err error) {
	ctx, cancel := context.WithTimeout(s.running, exchangeDeadline)
	defer cancel()
	minted = true
	credential, err = p.Fetch(ctx, providers.Env{
		Token: func(ctx context.Context, account providers.ServiceAccount, audience string) (string, error) {
			token, err := s.env.Token(ctx, account, audience)
			minted = minted && err == nil
			return token, err
		},
	})
	return credential, minted, err
}

// judgeEndpoint notes what an exchange tells about its endpoint. If that is
// back after an outage, everything that waits for it is tried soon.
func (s *Store) judgeEndpoint(endpoint string, err error, minted bool) {
	if !minted {
		s.endpoints.unclear(endpoint)
		return
	}
	now := s.clock.Now()
	if isOutage(err) {
		if until := s.endpoints.failed(endpoint, now, providers.RetryAfter(err)); until.After(now) {
			s.log.Info("endpoint is left alone for a moment", "endpoint", endpoint, "until", until)
		}
		return
	}
	if s.endpoints.answered(endpoint) {
		s.log.Info("endpoint is back", "endpoint", endpoint)
		for _, key := range s.resume(endpoint, now) {
			s.changed(key)
		}
	}
}

// resume lets every exchange that waits for an endpoint take place within two
// seconds, and returns their keys.
func (s *Store) resume(endpoint string, now time.Time) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var keys []string
	for key, e := range s.entries {
		if e.endpoint == endpoint && !e.inFlight && isOutage(e.lease.Err) {
			e.failures = 0
			e.lease.NextExchange = now.Add(time.Duration(s.random() * float64(resumeWithin)))
			keys = append(keys, key)
		}
	}
	return keys
}

// succeed files a new credential and returns the keys of expired leases.
func (s *Store) succeed(key string, credential providers.Credential, issuedAt time.Time) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, e := s.clock.Now(), s.entries[key]
	e.inFlight, e.failures = false, 0
	e.lease.Credential, e.lease.IssuedAt, e.lease.Err = &credential, issuedAt, nil
	e.lease.NextExchange = s.schedule.renewAt(key, issuedAt, credential.ExpiresAt)
	var expired []string
	for key, other := range s.entries {
		if other.lease.Credential != nil && !other.validAt(now) {
			expired = append(expired, key)
		}
	}
	return expired
}

// fail files a failure; a credential that is still there stays in use.
func (s *Store) fail(key string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entries[key].lease.Err = err
	s.retryLater(key, err)
}

// putOff files that there was no exchange, since the endpoint is down. What an
// earlier one met is more telling and stays.
func (s *Store) putOff(key string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[key]; !isOutage(e.lease.Err) {
		e.lease.Err = err
	}
	s.retryLater(key, err)
}

// retryLater plans the next exchange. The caller holds the lock.
func (s *Store) retryLater(key string, err error) {
	now, e := s.clock.Now(), s.entries[key]
	e.inFlight = false
	e.failures++
	var remaining time.Duration
	if e.lease.Credential != nil {
		remaining = e.lease.Credential.ExpiresAt.Sub(now)
	}
	e.lease.NextExchange = now.Add(retryAfter(err, e.failures, remaining, s.random()))
}

// persist saves a lease. A failure costs an exchange after the next restart
// and nothing now, so it is logged and counted, not returned.
func (s *Store) persist(key string, lease SavedLease, expired []string) {
	ctx, cancel := context.WithTimeout(s.running, exchangeDeadline)
	defer cancel()
	if err := s.persister.Save(ctx, key, lease, expired); err != nil {
		s.metrics.LeaseNotSaved()
		s.log.Error(err, "saving a lease; it will be obtained anew after a restart", "key", key)
	}
}

// resultOf names an exchange's outcome for metrics.
func resultOf(err error) string {
	if err == nil {
		return "success"
	}
	return providers.ClassOf(err).String()
}
