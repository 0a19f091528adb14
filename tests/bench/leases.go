package main

import (
	"context"
	"hash/maphash"
	"maps"
	"slices"
	"time"

	"github.com/imagepullsecrets/operator/internal/credentials"
	"github.com/imagepullsecrets/operator/internal/kube"
	"github.com/imagepullsecrets/operator/tests/operator"
)

// fingerprint stands for a password, of which there are many and long ones.
type fingerprint uint64

var fingerprintSeed = maphash.MakeSeed()

func fingerprintOf(password string) fingerprint {
	return fingerprint(maphash.String(fingerprintSeed, password))
}

// lease is what is known of a login.
type lease struct{ issued, expires time.Time }

func (l lease) life() time.Duration { return l.expires.Sub(l.issued) }

// leaseBook knows every login that it was there to see.
type leaseBook map[fingerprint]lease

// read adds the logins that the operator has persisted. It keeps the latest one
// of each source only, so it is to be read more often than they are renewed.
func (b leaseBook) read(ctx context.Context, w *world) error {
	saved, err := w.persisted().Load(ctx)
	for _, one := range saved.Leases {
		b[fingerprintOf(one.Credential.Login.Password)] = lease{one.IssuedAt, one.Credential.ExpiresAt}
	}
	return err
}

// between counts the logins that were obtained in a window.
func (b leaseBook) between(begin, end time.Time) (count int) {
	for _, known := range b {
		if !known.issued.Before(begin) && known.issued.Before(end) {
			count++
		}
	}
	return count
}

// age gives every login that is persisted another lease, of which lease i of n
// decides, and adds it. The operator must not run.
func (b leaseBook) age(ctx context.Context, w *world, decide func(i, n int) lease) error {
	persisted := w.persisted()
	saved, err := persisted.Load(ctx)
	if err != nil {
		return err
	}
	keys := slices.Sorted(maps.Keys(saved.Leases))
	err = w.plain.each(ctx, len(keys), nil, func(i int) error {
		aged, made := saved.Leases[keys[i]], decide(i, len(keys))
		aged.IssuedAt, aged.Credential.ExpiresAt = made.issued, made.expires
		return persisted.Save(ctx, keys[i], aged)
	})
	if err != nil {
		return err
	}
	return b.read(ctx, w)
}

// persisted are the leases that outlive the operator's process, read and written
// by its own code.
func (w *world) persisted() credentials.Persister {
	return kube.NewLeases(w.admin.CoreV1().Secrets(operator.Namespace))
}
