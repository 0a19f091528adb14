package target

import (
	"strconv"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// trustWrites is how long our own write is believed that the cache has not
// shown yet. A watch is behind for milliseconds, rarely for seconds.
const trustWrites = 10 * time.Second

// writeLog remembers what was written and not seen in the cache yet, so that
// nothing is written twice in the meantime.
type writeLog struct {
	mu      sync.Mutex
	entries map[types.NamespacedName]write
}

type write struct {
	hash    string
	version uint64
	at      time.Time
}

// wrote notes a write of content with a hash; version is the resource version
// that it made.
func (l *writeLog) wrote(key types.NamespacedName, hash, version string, at time.Time) {
	number, err := strconv.ParseUint(version, 10, 64)
	if err != nil {
		return // not comparable, so it could never be seen
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.entries == nil {
		l.entries = map[types.NamespacedName]write{}
	}
	l.entries[key] = write{hash: hash, version: number, at: at}
}

// saw notes that the cache shows a Secret at a resource version. It tells
// whether that is just what we wrote, which is then no news.
func (l *writeLog) saw(key types.NamespacedName, version string) (ours bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w, found := l.entries[key]
	if !found {
		return false
	}
	// Resource versions are comparable numbers: KEP-5504.
	number, err := strconv.ParseUint(version, 10, 64)
	if err != nil || number >= w.version {
		delete(l.entries, key)
	}
	return err == nil && number == w.version
}

// gone notes that the cache saw a Secret being deleted.
func (l *writeLog) gone(key types.NamespacedName) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.entries, key)
}

// ahead tells whether content with a hash was written and the cache has yet
// to show it.
func (l *writeLog) ahead(key types.NamespacedName, hash string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	w, found := l.entries[key]
	return found && w.hash == hash && now.Sub(w.at) < trustWrites
}
