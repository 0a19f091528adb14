package scope

import (
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// lingering remembers which namespaces are selected only by Pods that have
// left, and for how long they still are. A Job's Pod that comes every few
// minutes then finds the Secret there, and the API server is spared the writes.
type lingering struct {
	mu      sync.Mutex
	entries map[place]linger
}

// place is a grant, by name, in a namespace.
type place struct{ grant, namespace string }

type linger struct {
	until time.Time
	timer clock.Timer
}

// left notes that a place's last Pod has left, and tells whether the grace
// period since then lasts. The first call for a place begins it; ended is called
// at its end.
func (l *lingering) left(p place, grace time.Duration, c clock.WithDelayedExecution, ended func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if entry, known := l.entries[p]; known {
		return c.Now().Before(entry.until)
	}
	if grace <= 0 {
		return false
	}
	if l.entries == nil {
		l.entries = map[place]linger{}
	}
	l.entries[p] = linger{until: c.Now().Add(grace), timer: c.AfterFunc(grace, ended)}
	return true
}

// end forgets a place: a Pod is there again, or the Secret is gone.
func (l *lingering) end(p place) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.remove(p)
}

// endAll forgets all places for which is holds.
func (l *lingering) endAll(is func(place) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for p := range l.entries {
		if is(p) {
			l.remove(p)
		}
	}
}

func (l *lingering) remove(p place) {
	if entry, known := l.entries[p]; known {
		entry.timer.Stop()
		delete(l.entries, p)
	}
}
