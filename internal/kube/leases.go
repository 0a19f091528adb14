package kube

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/internal/credentials"
	"github.com/imagepullsecrets/operator/internal/dockerconfig"
	"github.com/imagepullsecrets/operator/providers"
)

const (
	// leaseSecretPrefix and a number below leaseSecretCount make the names of
	// the Secrets that hold leases. There are so many, for tokens of up to 12
	// KiB by the hundred, and their number is fixed, so that a Role can name
	// them all.
	leaseSecretPrefix = "imagepullsecret-operator-leases-"
	leaseSecretCount  = 32

	// leaseSecretType tells these Secrets from all others.
	leaseSecretType corev1.SecretType = "images.banzaicloud.io/leases"

	// hashKeyField holds the installation's key for hashing, in the first of
	// the Secrets.
	hashKeyField = "hash-key"

	// maxLeaseRecord is the longest record that is kept: one login must not
	// fill a Secret that others are in.
	maxLeaseRecord = 64 << 10

	// leaseWriteDeadline bounds one write of a Secret.
	leaseWriteDeadline = 20 * time.Second
)

// Leases keeps leases in Secrets of the operator's own namespace. It is safe
// for concurrent use; one process at a time may use it.
type Leases struct {
	client corev1client.SecretInterface
	now    func() time.Time
	shards [leaseSecretCount]leaseShard
}

// leaseShard is one of the Secrets. Whoever wants to save a record puts it in
// and then writes the Secret, unless somebody else has done so meanwhile: a
// hundred renewals at a time make two writes.
type leaseShard struct {
	mu      sync.Mutex
	records map[string]leaseRecord
	hashKey []byte
	changes int // made so far

	writing sync.Mutex // held during a write
	written int        // changes that are in the Secret; guarded by writing
}

var _ credentials.Persister = (*Leases)(nil)

// NewLeases returns Leases that are kept through client, which is bound to
// the operator's namespace.
func NewLeases(client corev1client.SecretInterface) *Leases {
	l := &Leases{client: client, now: time.Now}
	for i := range l.shards {
		l.shards[i].records = map[string]leaseRecord{}
	}
	return l
}

// leaseRecord is a lease as it is stored.
type leaseRecord struct {
	Username  string    `json:"username"`
	Password  string    `json:"password"`
	IssuedAt  time.Time `json:"issuedAt"`
	ExpiresAt time.Time `json:"expiresAt"`
}

// Load reads all leases and makes the key for hashing if there is none. A
// record that can't be read is left out: its lease is obtained anew.
func (l *Leases) Load(ctx context.Context) (credentials.Saved, error) {
	saved := credentials.Saved{Leases: map[string]credentials.SavedLease{}}
	for i := range l.shards {
		if err := l.read(ctx, i); err != nil {
			return credentials.Saved{}, err
		}
		for key, record := range l.shards[i].records {
			saved.Leases[key] = credentials.SavedLease{
				Credential: providers.Credential{
					Login:     dockerconfig.Login{Username: record.Username, Password: record.Password},
					ExpiresAt: record.ExpiresAt,
				},
				IssuedAt: record.IssuedAt,
			}
		}
	}
	hashKey, err := l.hashKey(ctx)
	saved.HashKey = hashKey
	return saved, err
}

// read reads one of the Secrets.
func (l *Leases) read(ctx context.Context, number int) error {
	name, shard := leaseSecretName(number), &l.shards[number]
	secret, err := l.client.Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading Secret %s: %w", name, err)
	}
	if secret.Type != leaseSecretType {
		return nil
	}
	shard.mu.Lock()
	defer shard.mu.Unlock()
	for key, data := range secret.Data {
		var record leaseRecord
		switch {
		case key == hashKeyField:
			shard.hashKey = data
		case shardOf(key) == number && json.Unmarshal(data, &record) == nil && record.Password != "":
			shard.records[key] = record
		}
	}
	return nil
}

// hashKey returns the key for hashing, which it makes if there is none.
func (l *Leases) hashKey(ctx context.Context) ([]byte, error) {
	shard := &l.shards[0]
	if len(shard.hashKey) > 0 {
		// An earlier attempt may have made it and failed to write it.
		return shard.hashKey, l.flush(ctx, 0, shard.changes)
	}
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return nil, fmt.Errorf("making a key for hashing: %w", err)
	}
	shard.mu.Lock()
	shard.hashKey = key
	shard.changes++
	change := shard.changes
	shard.mu.Unlock()
	return key, l.flush(ctx, 0, change)
}

// Save keeps a lease; see credentials.Persister.
func (l *Leases) Save(ctx context.Context, key string, lease credentials.SavedLease) error {
	record := leaseRecord{
		Username: lease.Credential.Login.Username, Password: lease.Credential.Login.Password,
		IssuedAt: lease.IssuedAt, ExpiresAt: lease.Credential.ExpiresAt,
	}
	if size := len(record.Username) + len(record.Password); size > maxLeaseRecord {
		return fmt.Errorf("a login of %d bytes is too long to be kept", size)
	}
	number := shardOf(key)
	shard := &l.shards[number]
	shard.mu.Lock()
	shard.records[key] = record
	shard.changes++
	change := shard.changes
	shard.mu.Unlock()
	err := l.flush(ctx, number, change)
	if apierrors.IsInvalid(err) || apierrors.IsRequestEntityTooLargeError(err) {
		// It must not keep the others from being saved.
		shard.mu.Lock()
		defer shard.mu.Unlock()
		if shard.records[key] == record {
			delete(shard.records, key)
		}
	}
	return err
}

// Forget drops leases; see credentials.Persister.
func (l *Leases) Forget(ctx context.Context, keys []string) error {
	changed := map[int]int{}
	for _, key := range keys {
		number := shardOf(key)
		shard := &l.shards[number]
		shard.mu.Lock()
		if _, found := shard.records[key]; found {
			delete(shard.records, key)
			shard.changes++
			changed[number] = shard.changes
		}
		shard.mu.Unlock()
	}
	var failed []error
	for number, change := range changed {
		failed = append(failed, l.flush(ctx, number, change))
	}
	return errors.Join(failed...)
}

// flush sees to it that a change of a Secret is written.
func (l *Leases) flush(ctx context.Context, number, change int) error {
	shard := &l.shards[number]
	shard.writing.Lock()
	defer shard.writing.Unlock()
	if shard.written >= change {
		return nil
	}
	data, changes, err := shard.content(l.now())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, leaseWriteDeadline)
	defer cancel()
	if err := l.write(ctx, leaseSecretName(number), data); err != nil {
		return err
	}
	shard.written = changes
	return nil
}

// content returns what a Secret is to hold, without what has expired, and how
// many changes are in it.
func (s *leaseShard) content(now time.Time) (data map[string][]byte, changes int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	data = make(map[string][]byte, len(s.records)+1)
	if s.hashKey != nil {
		data[hashKeyField] = s.hashKey
	}
	for key, record := range s.records {
		if !now.Before(record.ExpiresAt) {
			delete(s.records, key)
			continue
		}
		if data[key], err = json.Marshal(record); err != nil { //nolint:gosec // to keep passwords over restarts is what it is for
			return nil, 0, fmt.Errorf("encoding a lease: %w", err)
		}
	}
	return data, s.changes, nil
}

// write applies one Secret as a whole; what is not in it any more is removed.
func (l *Leases) write(ctx context.Context, name string, data map[string][]byte) error {
	secret := corev1ac.Secret(name, "").WithType(leaseSecretType).WithData(data)
	secret.Namespace = nil // the client is bound to one
	_, err := l.client.Apply(ctx, secret, metav1.ApplyOptions{FieldManager: v1alpha1.FieldManager, Force: true})
	if err != nil {
		return fmt.Errorf("writing Secret %s: %w", name, err)
	}
	return nil
}

// LeaseSecrets returns the names of all Secrets that hold leases.
func LeaseSecrets() []string {
	names := make([]string, leaseSecretCount)
	for i := range names {
		names[i] = leaseSecretName(i)
	}
	return names
}

func leaseSecretName(number int) string { return fmt.Sprintf("%s%d", leaseSecretPrefix, number) }

// shardOf spreads keys over the Secrets.
func shardOf(key string) int {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(key)) // a hash takes everything
	return int(hash.Sum32() % leaseSecretCount)
}
