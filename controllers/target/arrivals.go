package target

import (
	"sync"
	"time"
)

// arrivals remembers when namespaces came to be known that wait for their
// Secret.
type arrivals struct {
	mu    sync.Mutex
	times map[string]time.Time
}

func (a *arrivals) came(namespace string, at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.times == nil {
		a.times = map[string]time.Time{}
	}
	a.times[namespace] = at
}

// take returns when a namespace came, once; the zero time if it is not known.
func (a *arrivals) take(namespace string) time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	at := a.times[namespace]
	delete(a.times, namespace)
	return at
}
