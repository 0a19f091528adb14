package grant

import (
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// Book holds the grants that are in force now. It is safe for concurrent use;
// the zero value is empty and ready.
type Book struct {
	mu       sync.RWMutex
	byName   map[string]*Grant
	bySecret map[string][]*Grant // in order of precedence
}

// Put puts g in force, in place of an earlier grant of the same name. The
// caller must not change g afterwards.
func (b *Book) Put(g *Grant) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.remove(g.Name)
	if b.byName == nil {
		b.byName, b.bySecret = map[string]*Grant{}, map[string][]*Grant{}
	}
	b.byName[g.Name] = g
	// A new slice, so that readers of the old one are not disturbed.
	claimants := append(slices.Clone(b.bySecret[g.SecretName]), g)
	slices.SortFunc(claimants, precedence)
	b.bySecret[g.SecretName] = claimants
}

// Remove takes a grant out of force; an unknown name is ignored.
func (b *Book) Remove(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.remove(name)
}

func (b *Book) remove(name string) {
	g, found := b.byName[name]
	if !found {
		return
	}
	delete(b.byName, name)
	rest := slices.DeleteFunc(slices.Clone(b.bySecret[g.SecretName]), func(other *Grant) bool { return other == g })
	if len(rest) == 0 {
		delete(b.bySecret, g.SecretName)
		return
	}
	b.bySecret[g.SecretName] = rest
}

// Get returns the grant of a name, or nil.
func (b *Book) Get(name string) *Grant {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.byName[name]
}

// ForSecret returns the grants that ask for Secrets of a name, those that win
// first. The caller must not change the slice.
func (b *Book) ForSecret(secretName string) []*Grant {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.bySecret[secretName]
}

// ByUID returns the grant whose object has a UID, or nil.
func (b *Book) ByUID(uid types.UID) *Grant {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for _, g := range b.byName {
		if g.UID == uid {
			return g
		}
	}
	return nil
}

// All returns every grant in force, in no order.
func (b *Book) All() []*Grant {
	b.mu.RLock()
	defer b.mu.RUnlock()
	all := make([]*Grant, 0, len(b.byName))
	for _, g := range b.byName {
		all = append(all, g)
	}
	return all
}
