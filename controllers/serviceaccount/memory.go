package serviceaccount

import (
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
)

// Someone may take away what we add, again and again. The first time a name is
// put back at once, then after waits that double, until it has stood for a
// quiet time.
const (
	firstWait   = 10 * time.Second
	longestWait = time.Hour
	quietTime   = time.Hour
)

// memory is what is remembered of ServiceAccounts that were written. All of it
// can be lost: then a name is put back sooner.
type memory struct {
	mu       sync.Mutex
	accounts map[types.NamespacedName]*remembered
	swept    time.Time
}

// remembered is what is known of one ServiceAccount.
type remembered struct {
	uid     types.UID
	version string // of our last write
	names   map[string]*addition
}

// addition is a name that was added to a ServiceAccount.
type addition struct {
	times   int
	last    time.Time
	missing time.Time // since when it is seen to be gone again; zero while it stands
}

// wait is how long the name is to be missing before it is put back.
func (a *addition) wait() time.Duration {
	if a.times < 2 {
		return 0
	}
	wait := firstWait
	for i := 2; i < a.times && wait < longestWait; i++ {
		wait *= 2
	}
	return min(wait, longestWait)
}

// wrote notes that names were added to and removed from the ServiceAccount of a
// UID, and the resource version that it has since.
func (m *memory) wrote(key types.NamespacedName, uid types.UID, version string, p plan, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sweep(now)
	if m.accounts == nil {
		m.accounts = map[types.NamespacedName]*remembered{}
	}
	r := m.accounts[key]
	if r == nil || r.uid != uid {
		r = &remembered{uid: uid, names: map[string]*addition{}}
		m.accounts[key] = r
	}
	r.version = version
	for _, name := range p.Removed {
		delete(r.names, name)
	}
	for _, name := range p.Added {
		a := r.names[name]
		if a == nil {
			a = &addition{}
			r.names[name] = a
		}
		a.times, a.last, a.missing = a.times+1, now, time.Time{}
	}
}

// ahead tells whether a ServiceAccount was written since it was at version, as
// a cache may show it that is behind.
func (m *memory) ahead(key types.NamespacedName, version string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.accounts[key]
	if r == nil {
		return false
	}
	order, err := resourceversion.CompareResourceVersion(version, r.version)
	return err == nil && order < 0
}

// ours tells whether a version of a ServiceAccount is just what we wrote last.
func (m *memory) ours(key types.NamespacedName, version string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.accounts[key]
	return r != nil && r.version == version
}

// look notes which of the names that are wanted in the ServiceAccount of a UID
// are missing there. It returns those that are not to be put back yet and until when, and
// which of these were not missing when it was asked last.
func (m *memory) look(key types.NamespacedName, uid types.UID, wanted, missing []string, now time.Time) (held map[string]time.Time, news []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.accounts[key]
	if r == nil || r.uid != uid {
		return nil, nil // a new one of that name is nobody's doing
	}
	held = map[string]time.Time{}
	for name, a := range r.names {
		switch {
		case !slices.Contains(wanted, name):
			delete(r.names, name)
			continue
		case !slices.Contains(missing, name):
			a.missing = time.Time{}
			continue
		}
		first := a.missing.IsZero()
		if first {
			a.missing = now
			if now.Sub(a.last) >= quietTime {
				a.times = 0
			}
		}
		if until := a.missing.Add(a.wait()); now.Before(until) {
			held[name] = until
			if first {
				news = append(news, name)
			}
		}
	}
	slices.Sort(news)
	return held, news
}

// forget drops a ServiceAccount that is gone.
func (m *memory) forget(key types.NamespacedName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.accounts, key)
}

// sweep drops, now and then, what has been quiet.
func (m *memory) sweep(now time.Time) {
	if now.Sub(m.swept) < quietTime {
		return
	}
	m.swept = now
	for key, r := range m.accounts {
		for name, a := range r.names {
			if a.missing.IsZero() && now.Sub(a.last) >= quietTime {
				delete(r.names, name)
			}
		}
		if len(r.names) == 0 {
			delete(m.accounts, key)
		}
	}
}
