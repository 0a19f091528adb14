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

// Provider is one configured source of a registry login. A Provider is an
// immutable value: what its source says changes makes another Provider.
// Implementations are safe for concurrent use.
type Provider interface {
	// Name is the provider's name in status, metrics and documentation, such
	// as "ecr". It has few values, so that it may be a metric label.
	Name() string

	// Key identifies whose login this is: two Providers with the same Key
	// share one exchange, two with different Keys never do. It covers every
	// input that decides on the identity and on what the login opens
	// (principal, secret, role, region, ServiceAccount's UID, audience,
	// scopes, endpoint), hashed by HashKey, so that it holds no secret and may
	// stand in a log.
	Key() string

	// Endpoints are the hosts that an exchange depends on, each once, in the
	// order in which it calls them, with the port if it is other than 443.
	// Exchanges with one host are limited together, and pause together while
	// it is down.
	Endpoints() []string

	// Registries are the keys under which the login stands in a
	// dockerconfigjson, known before any exchange, in the order in which they
	// are written. They are no part of the Key unless the login depends on them.
	Registries() []string

	// Fetch makes one exchange and returns its login. It returns when ctx
	// ends. Errors are of this package's classes (see Error); their texts
	// hold no secret and no body of a foreign answer.
	Fetch(ctx context.Context, env Env) (Credential, error)
}

// Env is what the operator lends to a Provider for one exchange.
type Env struct {
	// Token mints a token of a ServiceAccount for one audience, good for ten
	// minutes. It is for this exchange only: never kept, never used twice. The
	// error is an Error whose text says what to do.
	Token func(ctx context.Context, account ServiceAccount, audience string) (string, error)
}

// ServiceAccount is the Kubernetes identity that a Provider acts as.
type ServiceAccount struct {
	Namespace, Name string
	// UID tells a ServiceAccount from an earlier one of the same name. It is
	// part of every Key: what was given to one is not given to the other.
	UID string
}

// String returns <namespace>/<name>.
func (a ServiceAccount) String() string { return a.Namespace + "/" + a.Name }

// Subject is the claim sub of the account's tokens, which the other side has to
// trust: system:serviceaccount:<namespace>:<name>.
func (a ServiceAccount) Subject() string {
	return "system:serviceaccount:" + a.Namespace + ":" + a.Name
}

// Credential is what one exchange returned.
type Credential struct {
	// Login opens every one of the Provider's Registries.
	Login dockerconfig.Login
	// ExpiresAt is when the login stops working, by the provider's word.
	ExpiresAt time.Time
	// Skew says which clock to set right, such as "this machine's clock is 5m0s
	// behind AWS's"; "" while the clocks agree. It is true of the exchange, not
	// of the login.
	Skew string
}
