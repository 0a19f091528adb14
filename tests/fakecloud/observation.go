package fakecloud

import (
	"bytes"
	"encoding/base64"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// ledger remembers what the cloud was asked and what it handed out.
type ledger struct {
	mu      sync.Mutex
	calls   map[Service]int
	asked   map[string]int // by host name, but for registries
	unknown map[string]bool
	issued  []string
	shown   map[string]bool
	longest time.Duration // that anything handed out may live; 0 for no limit
}

func newLedger() *ledger {
	return &ledger{calls: map[Service]int{}, asked: map[string]int{}, unknown: map[string]bool{}, shown: map[string]bool{}}
}

func (l *ledger) count(s Service) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls[s]++
}

func (l *ledger) countHost(host string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked[host]++
}

func (l *ledger) countUnknown(host string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls[Unknown]++
	l.asked[host]++
	l.unknown[host] = true
}

func (l *ledger) issue(secrets ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.issued = append(l.issued, secrets...)
}

// jwtPattern finds tokens wherever a request has them: a token needs no escaping
// in a header, a form or a JSON text.
var jwtPattern = regexp.MustCompile(`eyJ[\w-]+\.[\w-]+\.[\w-]+`)

// show remembers the tokens in a request's header and in its body, which it leaves
// to be read again.
func (l *ledger) show(r *http.Request) {
	authorization := r.Header.Get("Authorization")
	_, basic, _ := strings.Cut(authorization, " ")
	login, _ := base64.StdEncoding.DecodeString(basic) // what is none holds no token either
	body, _ := io.ReadAll(io.LimitReader(r.Body, requestLimit))
	r.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(body), r.Body), r.Body}
	for _, text := range [][]byte{[]byte(authorization), login, body} {
		for _, token := range jwtPattern.FindAll(text, -1) {
			l.mu.Lock()
			l.shown[string(token)] = true
			l.mu.Unlock()
		}
	}
}

// limited returns how long something lives that would live for d.
func (l *ledger) limited(d time.Duration) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.longest > 0 {
		return min(d, l.longest)
	}
	return d
}

// LimitLifetime caps the lifetime of every credential that the cloud issues from
// now on, whatever the service; 0 takes the limit away. Sessions of AWS roles,
// which serve one exchange only, are left as they are.
func (c *Cloud) LimitLifetime(longest time.Duration) {
	c.ledger.mu.Lock()
	defer c.ledger.mu.Unlock()
	c.ledger.longest = longest
}

// Calls returns how many requests reached a service, those answered by a fault
// included. A request counts before it is answered, so a client that has its
// answer finds itself counted.
func (c *Cloud) Calls(service Service) int {
	c.ledger.mu.Lock()
	defer c.ledger.mu.Unlock()
	return c.ledger.calls[service]
}

// CallsByHost returns how many requests each host name got, those that no service
// owns included. Requests to registries, which are pulls, do not count; those to a
// service that shares a registry's host do.
func (c *Cloud) CallsByHost() map[string]int {
	c.ledger.mu.Lock()
	defer c.ledger.mu.Unlock()
	return maps.Clone(c.ledger.asked)
}

// UnknownHosts returns the host names that were asked for and that no service
// owns, sorted, each once.
func (c *Cloud) UnknownHosts() []string {
	c.ledger.mu.Lock()
	defer c.ledger.mu.Unlock()
	return slices.Sorted(maps.Keys(c.ledger.unknown))
}

// IssuedTokens returns every secret value that the cloud handed out, in order:
// secrets of access keys, secrets and tokens of sessions, ECR credentials both as
// the token of the API and as the password within it, and every token that another
// service issued. None of them belongs in a log, an event or a status.
func (c *Cloud) IssuedTokens() []string {
	c.ledger.mu.Lock()
	defer c.ledger.mu.Unlock()
	return slices.Clone(c.ledger.issued)
}

// ShownTokens returns every token in the form of a JWT that requests to the services
// held, whatever became of them: those of ServiceAccounts among them. None of them
// belongs in a log, an event or a status either.
func (c *Cloud) ShownTokens() []string {
	c.ledger.mu.Lock()
	defer c.ledger.mu.Unlock()
	return slices.Collect(maps.Keys(c.ledger.shown))
}
