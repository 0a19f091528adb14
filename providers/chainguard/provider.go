// Package chainguard gets logins for Chainguard's registry, cgr.dev, by the
// token of a ServiceAccount that a Chainguard identity trusts.
package chainguard

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/imagepullsecrets/operator/internal/dockerconfig"
	"github.com/imagepullsecrets/operator/internal/exchange"
	"github.com/imagepullsecrets/operator/providers"
)

const (
	// Name is the provider's name in status, metrics and documentation.
	Name = "chainguard"

	// endpoint is Chainguard's token service.
	endpoint = "issuer.enforce.dev"
	// target is what the token is for. It opens the subdomains as well.
	target = "cgr.dev"
	// username is the one that the registry demands beside a token.
	username = "_token"
)

// Provider exchanges a ServiceAccount's token for one of a Chainguard
// identity. Create it by New.
type Provider struct {
	config Config
	key    string
	client *http.Client
	now    func() time.Time
}

var _ providers.Provider = (*Provider)(nil)

// New checks a configuration, without any connection, and returns its
// Provider. The error is of class Invalid and names everything that is wrong.
// The client carries the exchanges; nil stands for the process's shared one.
func New(config Config, client *http.Client) (*Provider, error) {
	config = config.complete()
	if err := config.validate(); err != nil {
		return nil, err
	}
	if client == nil {
		client = exchange.Shared()
	}
	return &Provider{config: config, key: config.key(), client: client, now: time.Now}, nil
}

// Name returns "chainguard".
func (p *Provider) Name() string { return Name }

// Key identifies the identity and whose tokens it trusts. The registries are
// no part of it: one token opens them all.
func (p *Provider) Key() string { return p.key }

func (c Config) key() string {
	fields := []string{Name, c.Identity, c.Audience}
	return providers.HashKey(append(fields, c.ServiceAccount.Fields()...)...)
}

// Endpoints returns the host of Chainguard's token service.
func (p *Provider) Endpoints() []string { return []string{endpoint} }

// Registries returns the hosts as configured.
func (p *Provider) Registries() []string { return slices.Clone(p.config.Registries) }

// String names the identity, so that a Provider may be printed by mistake.
func (p *Provider) String() string { return p.config.String() }

// GoString is String, under %#v too.
func (p *Provider) GoString() string { return p.String() }

// Fetch assumes the identity by a new token of the ServiceAccount.
func (p *Provider) Fetch(ctx context.Context, env providers.Env) (providers.Credential, error) {
	token, err := env.Token(ctx, p.config.ServiceAccount, p.config.Audience)
	if err != nil {
		return providers.Credential{}, err
	}
	answer, err := p.exchange(ctx, token)
	if err != nil {
		return providers.Credential{}, err
	}
	password, expiresAt, err := readToken(answer)
	if err != nil {
		return providers.Credential{}, err
	}
	login := dockerconfig.Login{Username: username, Password: password}
	return call.Credential(answer, login, expiresAt, p.now(), whose)
}
