package fakecloud

import (
	"slices"
	"sync"
	"time"

	"github.com/distribution/distribution/v3/registry/auth"
)

// hostLogins are the logins that a service issued for registries with names of
// their own, and these registries.
type hostLogins struct {
	*issued[hostLogin]
	asks func(host string) challenge

	mu    sync.Mutex
	hosts map[string]bool
}

// hostLogin is what a password stands for.
type hostLogin struct {
	userName string
	hosts    []string
}

func newHostLogins(clock func() time.Time, ledger *ledger, asks func(host string) challenge) *hostLogins {
	return &hostLogins{issued: newIssued[hostLogin](clock, ledger), asks: asks, hosts: map[string]bool{}}
}

// addHosts makes registries. Each has content of its own.
func (l *hostLogins) addHosts(hosts []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, host := range hosts {
		l.hosts[host] = true
	}
}

func (l *hostLogins) content(host string) (string, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return host, l.hosts[host]
}

// admits wants a password that was issued for that user and host.
func (l *hostLogins) admits(host, userName, password string, access []auth.Access) bool {
	login, ok := l.find(password)
	return ok && onlyPulls(access) && login.userName == userName && slices.Contains(login.hosts, host)
}

func (l *hostLogins) challenge(host string) challenge { return l.asks(host) }

// hostKeys brings host names into the form that backends compare.
func hostKeys(hosts []string) []string {
	keys := make([]string, 0, len(hosts))
	for _, host := range hosts {
		keys = append(keys, hostKey(host))
	}
	return keys
}
