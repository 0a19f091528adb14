package fakecloud

import (
	"crypto/subtle"
	"fmt"
	"sync"

	"github.com/distribution/distribution/v3/registry/auth"
)

// staticLogins keeps the registries whose logins never change.
type staticLogins struct {
	mu     sync.Mutex
	byHost map[string]map[string]string // host to user name to password
}

func newStaticLogins() *staticLogins {
	return &staticLogins{byHost: map[string]map[string]string{}}
}

// AddStaticLogin makes host, such as registry.example.com or example.com:5000, a
// private registry, and userName with password a login that may pull from and push
// to it. A host may have several logins. It panics on a host that the cloud has
// for something else.
func (c *Cloud) AddStaticLogin(host, userName, password string) {
	host = hostKey(host)
	owner := c.backendFor(host)
	c.static.mu.Lock()
	defer c.static.mu.Unlock()
	if c.static.byHost[host] == nil {
		if owner != nil {
			panic(fmt.Sprintf("fakecloud: the host %q belongs to %s already", host, owner.service()))
		}
		c.static.byHost[host] = map[string]string{}
	}
	c.static.byHost[host][userName] = password
}

func (s *staticLogins) content(host string) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.byHost[host]
	return host, ok
}

func (s *staticLogins) admits(host, userName, password string, _ []auth.Access) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	expected, ok := s.byHost[host][userName]
	return ok && subtle.ConstantTimeCompare([]byte(expected), []byte(password)) == 1
}

func (*staticLogins) challenge(host string) challenge { return challenge{realm: host} }
