package fakecloud

import (
	"maps"
	"slices"
	"sync"
)

// ledger remembers what the cloud was asked and what it handed out.
type ledger struct {
	mu      sync.Mutex
	calls   map[Service]int
	unknown map[string]bool
	issued  []string
}

func newLedger() *ledger {
	return &ledger{calls: map[Service]int{}, unknown: map[string]bool{}}
}

func (l *ledger) count(s Service) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls[s]++
}

func (l *ledger) countUnknown(host string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls[Unknown]++
	l.unknown[host] = true
}

func (l *ledger) issue(secrets ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.issued = append(l.issued, secrets...)
}

// Calls returns how many requests reached a service, those answered by a fault
// included. A request counts before it is answered, so a client that has its
// answer finds itself counted.
func (c *Cloud) Calls(service Service) int {
	c.ledger.mu.Lock()
	defer c.ledger.mu.Unlock()
	return c.ledger.calls[service]
}

// UnknownHosts returns the host names that were asked for and that no service
// owns, sorted, each once.
func (c *Cloud) UnknownHosts() []string {
	c.ledger.mu.Lock()
	defer c.ledger.mu.Unlock()
	return slices.Sorted(maps.Keys(c.ledger.unknown))
}

// IssuedTokens returns every secret value that the cloud handed out, in order:
// secrets of access keys, secrets and tokens of sessions, and ECR credentials both
// as the token of the API and as the password within it. None of them belongs in
// a log, an event or a status.
func (c *Cloud) IssuedTokens() []string {
	c.ledger.mu.Lock()
	defer c.ledger.mu.Unlock()
	return slices.Clone(c.ledger.issued)
}
