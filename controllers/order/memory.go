package order

import (
	"maps"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/internal/grant"
)

// memory is what is remembered of each object from one look at it to the next.
// All of it can be lost: it saves work, and logins whose source fails.
type memory struct {
	mu      sync.Mutex
	objects map[string]*remembered
}

type remembered struct {
	credentials map[string]credential // by source.ID
	leaseKeys   []string
	state       state
	broughtOut  time.Time
	settled     bool
	generation  int64 // looked at last
	// concluded is the verdict of the last look, nil while something is under
	// way.
	concluded *verdict
}

// state is what a grant's Secrets depend on.
type state struct {
	uid        types.UID
	generation int64
	hash       string
	unsure     bool
}

func stateOf(object *v1alpha1.ImagePullSecret, g *grant.Grant) state {
	s := state{uid: object.UID, generation: object.Generation, unsure: g.Unsure}
	if g.Content != nil {
		s.hash = g.Content.Hash
	}
	return s
}

func (m *memory) of(name string) *remembered {
	if m.objects == nil {
		m.objects = map[string]*remembered{}
	}
	if m.objects[name] == nil {
		m.objects[name] = &remembered{}
	}
	return m.objects[name]
}

// last returns what was remembered of a source, logins that it gave earlier
// included, and whether anything was.
func (m *memory) last(name, source string) (last credential, known bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	last, known = m.of(name).credentials[source]
	return last, known && !last.Waiting
}

// remember notes what an object's sources give, and the keys of its leases.
func (m *memory) remember(name string, all []credential, leaseKeys []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.of(name)
	r.leaseKeys = leaseKeys
	r.credentials = make(map[string]credential, len(all))
	for _, c := range all {
		r.credentials[c.Source.ID] = c
	}
}

// respecified tells, once, whether an object has a spec that is not in its
// status and was not looked at before.
func (m *memory) respecified(object *v1alpha1.ImagePullSecret) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.of(object.Name)
	is := object.Generation != r.generation && object.Generation != object.Status.ObservedGeneration
	r.generation = object.Generation
	return is
}

// use notes that an object uses a lease, before its exchange can end: whoever is
// told of it then must know whom to wake.
func (m *memory) use(name, leaseKey string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.of(name); !slices.Contains(r.leaseKeys, leaseKey) {
		r.leaseKeys = append(slices.Clone(r.leaseKeys), leaseKey)
	}
}

// usersOf returns the objects that use a lease; all objects for the key "".
func (m *memory) usersOf(leaseKey string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if leaseKey == "" {
		return slices.Collect(maps.Keys(m.objects))
	}
	var users []string
	for name, r := range m.objects {
		if slices.Contains(r.leaseKeys, leaseKey) {
			users = append(users, name)
		}
	}
	return users
}

// isOut tells whether a state of an object was brought to its namespaces after
// a time.
func (m *memory) isOut(name string, s state, after time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.of(name)
	return r.state == s && r.broughtOut.After(after)
}

// bringOut notes that a state of an object was brought to its namespaces.
func (m *memory) bringOut(name string, s state, at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.of(name)
	r.state, r.broughtOut = s, at
}

// settle tells whether an object's state was known fully once since the
// process began; working tells whether it is not known fully now.
func (m *memory) settle(name string, working bool) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.of(name)
	r.settled = r.settled || !working
	return r.settled
}

// conclude notes the verdict on an order; nil while something is under way.
func (m *memory) conclude(name string, v *verdict) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.of(name).concluded = v
}

// conclusion is the verdict that was noted last; nil if none was.
func (m *memory) conclusion(name string) *verdict {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.objects[name]; r != nil {
		return r.concluded
	}
	return nil
}

func (m *memory) forget(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.objects, name)
}
