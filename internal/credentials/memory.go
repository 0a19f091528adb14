package credentials

import (
	"context"
	"crypto/rand"
)

// Memory is a Persister that keeps nothing: for a process that may not write
// anywhere, and of which a restart costs an exchange and a write.
type Memory struct{}

var _ Persister = Memory{}

// Load returns a new key, and no leases.
func (Memory) Load(context.Context) (Saved, error) {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	return Saved{HashKey: key, Leases: map[string]SavedLease{}}, nil
}

// Save keeps nothing.
func (Memory) Save(context.Context, string, SavedLease) error { return nil }

// Forget has nothing to drop.
func (Memory) Forget(context.Context, []string) error { return nil }
