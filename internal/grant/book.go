package grant

import (
	"maps"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// Book holds the grants that are in force now. It is safe for concurrent use;
// the zero value is empty and ready.
type Book struct {
	// Changed, if set before the first use, is called after each change, from
	// any goroutine and while no lock is held.
	Changed func()

	mu       sync.RWMutex
	byName   map[string]*Grant
	bySecret map[types.NamespacedName][]*Grant // in order of precedence
	byUID    map[types.UID][]*Grant
	byReach  map[string][]*Grant // by Grant.Namespace
	// recovering is how many grants recover Pods.
	recovering int
}

// Put puts g in force, in place of an earlier grant of the same name. The
// caller must not change g afterwards.
func (b *Book) Put(g *Grant) {
	b.put(g)
	b.tell()
}

func (b *Book) put(g *Grant) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.remove(g.Name)
	if b.byName == nil {
		b.byName, b.bySecret = map[string]*Grant{}, map[types.NamespacedName][]*Grant{}
		b.byUID, b.byReach = map[types.UID][]*Grant{}, map[string][]*Grant{}
	}
	b.byName[g.Name] = g
	add(b.byUID, g.UID, g)
	if g.Recovers() {
		b.recovering++
	}
	if g.SecretName == "" {
		return // of a withdrawn order, which wants nothing anywhere
	}
	add(b.bySecret, secretOf(g), g)
	slices.SortFunc(b.bySecret[secretOf(g)], precedence)
	add(b.byReach, g.Namespace, g)
}

// secretOf is where a grant's Secrets are found in the Book: those of a
// cluster-wide grant are in no namespace.
func secretOf(g *Grant) types.NamespacedName {
	return types.NamespacedName{Namespace: g.Namespace, Name: g.SecretName}
}

// Remove takes a grant out of force; an unknown name is ignored.
func (b *Book) Remove(name string) {
	b.mu.Lock()
	b.remove(name)
	b.mu.Unlock()
	b.tell()
}

func (b *Book) tell() {
	if b.Changed != nil {
		b.Changed()
	}
}

func (b *Book) remove(name string) {
	g, found := b.byName[name]
	if !found {
		return
	}
	delete(b.byName, name)
	drop(b.byUID, g.UID, g)
	if g.Recovers() {
		b.recovering--
	}
	drop(b.bySecret, secretOf(g), g)
	drop(b.byReach, g.Namespace, g)
}

// add and drop make new slices, so that readers of the old ones are not
// disturbed.
func add[K comparable](index map[K][]*Grant, key K, g *Grant) {
	index[key] = append(slices.Clip(slices.Clone(index[key])), g)
}

func drop[K comparable](index map[K][]*Grant, key K, g *Grant) {
	rest := slices.DeleteFunc(slices.Clone(index[key]), func(other *Grant) bool { return other == g })
	if len(rest) == 0 {
		delete(index, key)
		return
	}
	index[key] = rest
}

// Get returns the grant of a name, or nil.
func (b *Book) Get(name string) *Grant {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.byName[name]
}

// ForSecret returns the grants that ask for the Secret of a namespace and name,
// if they select the namespace, those that win first: cluster-wide ones go
// before those of the namespace itself, which tenants write. The caller must
// not change the slice.
func (b *Book) ForSecret(key types.NamespacedName) []*Grant {
	b.mu.RLock()
	defer b.mu.RUnlock()
	everywhere, here := b.bySecret[types.NamespacedName{Name: key.Name}], b.bySecret[key]
	switch {
	case len(here) == 0:
		return everywhere
	case len(everywhere) == 0:
		return here
	default:
		return slices.Concat(everywhere, here)
	}
}

// ByUID returns a grant of the object that has a UID, or nil.
func (b *Book) ByUID(uid types.UID) *Grant {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if grants := b.byUID[uid]; len(grants) > 0 {
		return grants[0]
	}
	return nil
}

// All returns every grant in force, in no order.
func (b *Book) All() []*Grant {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return slices.Collect(maps.Values(b.byName))
}

// Recovers tells whether any grant in force does.
func (b *Book) Recovers() bool {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.recovering > 0
}

// Reaching returns every grant that may select a namespace, in no order.
func (b *Book) Reaching(namespace string) []*Grant {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return slices.Concat(b.byReach[""], b.byReach[namespace])
}
