package podrecovery

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

const (
	// remembered is how long it is known what was done.
	remembered = 6 * time.Hour
	// mostRemembered bounds what is known of each kind.
	mostRemembered = 10_000
)

// recent remembers values for a time, and not more than a number of them. It
// is safe for concurrent use; the zero value is empty and ready.
type recent[K comparable, V any] struct {
	mu      sync.Mutex
	entries map[K]entry[V]
}

type entry[V any] struct {
	value V
	at    time.Time
}

// get returns what was put last for a key, the zero value if that is forgotten.
func (r *recent[K, V]) get(key K, now time.Time) (value V, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, found := r.entries[key]
	if !found || now.Sub(e.at) >= remembered {
		return value, false
	}
	return e.value, true
}

// put remembers a value from now on.
func (r *recent[K, V]) put(key K, value V, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.entries == nil {
		r.entries = map[K]entry[V]{}
	}
	r.entries[key] = entry[V]{value: value, at: now}
	if len(r.entries) > mostRemembered {
		r.shrink(now)
	}
}

// first remembers a value unless there is one, and tells whether it did.
func (r *recent[K, V]) first(key K, value V, now time.Time) bool {
	if _, known := r.get(key, now); known {
		return false
	}
	r.put(key, value, now)
	return true
}

func (r *recent[K, V]) forget(key K) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.entries, key)
}

// shrink drops what is to be forgotten, or else the oldest value.
func (r *recent[K, V]) shrink(now time.Time) {
	var oldest K
	at := now.Add(time.Second)
	for key, e := range r.entries {
		if now.Sub(e.at) >= remembered {
			delete(r.entries, key)
		}
		if e.at.Before(at) {
			oldest, at = key, e.at
		}
	}
	if len(r.entries) > mostRemembered {
		delete(r.entries, oldest)
	}
}

// attempts are what was tried with one Pod.
type attempts struct {
	UID types.UID
	// Gone: it was evicted.
	Gone bool
	// Failures, Waits and AccountWaits count evictions that failed, and looks
	// that found something missing.
	Failures, Waits, AccountWaits int
	// NotBefore is when to look at it again.
	NotBefore time.Time
}

// cause is a controller, by UID, and the name of a Secret that one of its Pods
// in a namespace was evicted for. A Pod names its controller itself, so that it
// may be that of another namespace's Pods.
type cause struct {
	namespace string
	owner     types.UID
	secret    string
}

// happening is something about an object, by UID, that is told once.
type happening struct {
	object types.UID
	what   string
}

// memory is what was done about Pods.
type memory struct {
	pods recent[types.NamespacedName, attempts]
	// queued are to be looked at for what their kubelets told.
	queued  recent[types.NamespacedName, struct{}]
	evicted recent[cause, time.Time]
	told    recent[happening, struct{}]
}

// longestWait is the longest time from one look at a Pod to the next; the
// kubelet tells of it as often by itself.
const longestWait = 5 * time.Minute

// growing returns the wait after a number of earlier ones, of which the first
// was given.
func growing(first time.Duration, earlier int) time.Duration {
	for ; earlier > 0 && first < longestWait; earlier-- {
		first *= 2
	}
	return min(first, longestWait)
}
