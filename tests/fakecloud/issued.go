package fakecloud

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"sync"
	"time"
)

// issued remembers the secrets that a service handed out, what each stands for
// and until when.
type issued[T any] struct {
	clock  func() time.Time
	ledger *ledger

	mu     sync.Mutex
	byHash map[[sha256.Size]byte]issuedSecret[T] // a lookup by hash leaks no timing of secrets
}

type issuedSecret[T any] struct {
	meaning T
	expires time.Time
}

func newIssued[T any](clock func() time.Time, ledger *ledger) *issued[T] {
	return &issued[T]{clock: clock, ledger: ledger, byHash: map[[sha256.Size]byte]issuedSecret[T]{}}
}

// expiry returns when what is issued now for a lifetime expires: whole seconds, as
// precise as answers and claims state it.
func (i *issued[T]) expiry(lifetime time.Duration) time.Time {
	return i.clock().Add(i.lifetime(lifetime)).Truncate(time.Second)
}

// lifetime returns how long something lives that is issued now for a lifetime.
func (i *issued[T]) lifetime(lifetime time.Duration) time.Duration { return i.ledger.limited(lifetime) }

// add remembers a secret as handed out.
func (i *issued[T]) add(secret string, meaning T, expires time.Time) {
	i.mu.Lock()
	i.byHash[sha256.Sum256([]byte(secret))] = issuedSecret[T]{meaning: meaning, expires: expires}
	i.mu.Unlock()
	i.ledger.issue(secret)
}

// find returns what a secret stands for, if it was handed out and has not expired.
func (i *issued[T]) find(secret string) (T, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	known, ok := i.byHash[sha256.Sum256([]byte(secret))]
	if !ok || !i.clock().Before(known.expires) {
		var none T
		return none, false
	}
	return known.meaning, true
}

// newJWT returns a new token in the form of a JWT with these claims and a random
// ID. The signature is random, too: clients can read the token and not check it,
// the service knows it again.
func newJWT(claims map[string]any) string {
	claims["jti"] = newRequestID()
	payload, err := json.Marshal(claims)
	if err != nil {
		panic(fmt.Sprintf("fakecloud: claims that are no JSON: %v", err))
	}
	encode := base64.RawURLEncoding.EncodeToString
	header := `{"alg":"RS256","kid":"fakecloud","typ":"JWT"}`
	return encode([]byte(header)) + "." + encode(payload) + "." + encode(randomBytes(256))
}
