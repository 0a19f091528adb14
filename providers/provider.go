// Package providers is the contract between the operator and whatever turns a
// configured source into registry logins. It knows neither Kubernetes clients
// nor any cloud: implementations live in packages of their own, and
// providers/registry is the one place that picks between them.
package providers

import (
	"context"
	"time"

	"github.com/imagepullsecrets/operator/internal/dockerconfig"
)

// Provider is one configured source of registry logins. A Provider is an
// immutable value: what its source says changes makes another Provider.
// Implementations are safe for concurrent use.
type Provider interface {
	// Name is the provider's name in status, metrics and documentation, such
	// as "ecr". It has few values, so that it may be a metric label.
	Name() string

	// Key identifies whose logins these are: two Providers with the same Key
	// may share one exchange, two with different Keys never do. It covers
	// every input that decides on the identity (principal, secret, role,
	// region, endpoint), hashed, so that it holds no secret and may stand in
	// a log.
	Key() string

	// Registries are the keys of the logins that Fetch will return, known
	// before any exchange, in the order in which they are written.
	Registries() []string

	// Fetch makes one exchange and returns its logins. It returns when ctx
	// ends. Errors are of this package's classes (see Error); their texts
	// hold no secret and no body of a foreign answer.
	Fetch(ctx context.Context) (Credential, error)
}

// Credential is what one exchange returned.
type Credential struct {
	// Logins are by registry key, as they stand in a dockerconfigjson.
	Logins dockerconfig.Logins
	// ExpiresAt is when the logins stop working, by the provider's word.
	ExpiresAt time.Time
}
