package kube

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
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
	// leaseSecretPrefix and a digit below leaseSecretCount make the names of
	// the Secrets that hold leases. Their number is fixed so that a Role can
	// name them all.
	leaseSecretPrefix = "imagepullsecret-operator-leases-"
	leaseSecretCount  = 8

	// leaseSecretType tells these Secrets from all others.
	leaseSecretType corev1.SecretType = "images.banzaicloud.io/leases"

	// hashKeyField holds the installation's key for hashing, in the first of
	// the Secrets.
	hashKeyField = "hash-key"
)

// Leases keeps leases in Secrets of the operator's own namespace. It is safe
// for concurrent use; one process at a time may use it.
type Leases struct {
	client corev1client.SecretInterface

	mu     sync.Mutex
	shards [leaseSecretCount]map[string][]byte
}

var _ credentials.Persister = (*Leases)(nil)

// NewLeases returns Leases that are kept through client, which is bound to
// the operator's namespace.
func NewLeases(client corev1client.SecretInterface) *Leases { return &Leases{client: client} }

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
	l.mu.Lock()
	defer l.mu.Unlock()
	saved := credentials.Saved{Leases: map[string]credentials.SavedLease{}}
	for shard := range l.shards {
		secret, err := l.client.Get(ctx, leaseSecretName(shard), metav1.GetOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return credentials.Saved{}, fmt.Errorf("reading Secret %s: %w", leaseSecretName(shard), err)
		}
		l.shards[shard] = map[string][]byte{}
		if err == nil && secret.Type == leaseSecretType {
			maps.Copy(l.shards[shard], secret.Data)
		}
		for key, data := range l.shards[shard] {
			var record leaseRecord
			if key == hashKeyField || json.Unmarshal(data, &record) != nil || record.Password == "" {
				continue
			}
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

// hashKey returns the key for hashing, which it makes if there is none.
func (l *Leases) hashKey(ctx context.Context) ([]byte, error) {
	if key := l.shards[0][hashKeyField]; len(key) > 0 {
		return key, nil
	}
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return nil, fmt.Errorf("making a key for hashing: %w", err)
	}
	l.shards[0][hashKeyField] = key
	return key, l.write(ctx, 0)
}

// Save keeps a lease; see credentials.Persister.
func (l *Leases) Save(ctx context.Context, key string, lease credentials.SavedLease, expired []string) error {
	record, err := json.Marshal(leaseRecord{ //nolint:gosec // to keep passwords over restarts is what a lease record is for
		Username: lease.Credential.Login.Username, Password: lease.Credential.Login.Password,
		IssuedAt: lease.IssuedAt, ExpiresAt: lease.Credential.ExpiresAt,
	})
	if err != nil {
		return fmt.Errorf("encoding a lease: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	shard := shardOf(key)
	for _, old := range expired {
		// The others go with the next lease of their own Secret.
		delete(l.shards[shardOf(old)], old)
	}
	l.shards[shard][key] = record
	return l.write(ctx, shard)
}

// write applies one Secret as a whole; what is not in it any more is removed.
func (l *Leases) write(ctx context.Context, shard int) error {
	name := leaseSecretName(shard)
	secret := corev1ac.Secret(name, "").WithType(leaseSecretType).WithData(l.shards[shard])
	secret.Namespace = nil // the client is bound to one
	_, err := l.client.Apply(ctx, secret, metav1.ApplyOptions{FieldManager: v1alpha1.FieldManager, Force: true})
	if err != nil {
		return fmt.Errorf("writing Secret %s: %w", name, err)
	}
	return nil
}

func leaseSecretName(shard int) string { return fmt.Sprintf("%s%d", leaseSecretPrefix, shard) }

// shardOf spreads keys, which are hashes in hexadecimal, over the Secrets.
func shardOf(key string) int {
	if key == "" {
		return 0
	}
	return int(key[0]) % leaseSecretCount
}
