// Package acr gets logins for Azure Container Registry by the token of a
// ServiceAccount that a federated credential of an application, or of a
// managed identity, trusts.
package acr

import (
	"context"
	"net/http"
	"time"

	"github.com/imagepullsecrets/operator/internal/exchange"
	"github.com/imagepullsecrets/operator/providers"
)

const (
	// Name is the provider's name in status, metrics and documentation.
	Name = "azureContainerRegistry"

	// username is the one that registries demand beside a refresh token.
	username = "00000000-0000-0000-0000-000000000000"
)

// Provider exchanges a ServiceAccount's token for a directory's access token
// and that for a registry's refresh token. Create it by New.
type Provider struct {
	config Config
	cloud  cloud
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
	return &Provider{
		config: config,
		cloud:  clouds[config.Cloud],
		key:    config.key(),
		client: client,
		now:    time.Now,
	}, nil
}

// Name returns "azureContainerRegistry".
func (p *Provider) Name() string { return Name }

// Key identifies the application, whose tokens it trusts, and the registry,
// which is the only one that its login opens.
func (p *Provider) Key() string { return p.key }

func (c Config) key() string {
	fields := []string{Name, c.Cloud, c.Registry, c.TenantID, c.ClientID, c.Audience}
	return providers.HashKey(append(fields, c.ServiceAccount.Fields()...)...)
}

// Endpoints returns the hosts of the directory service and of the registry.
func (p *Provider) Endpoints() []string { return []string{p.cloud.authority, p.config.Registry} }

// Registries returns the registry.
func (p *Provider) Registries() []string { return []string{p.config.Registry} }

// String names the registry, so that a Provider may be printed by mistake.
func (p *Provider) String() string { return p.config.String() }

// GoString is String, under %#v too.
func (p *Provider) GoString() string { return p.String() }

// Fetch asks the directory for an access token by a new token of the
// ServiceAccount, and the registry for a refresh token by that.
func (p *Provider) Fetch(ctx context.Context, env providers.Env) (providers.Credential, error) {
	assertion, err := env.Token(ctx, p.config.ServiceAccount, p.config.Audience)
	if err != nil {
		return providers.Credential{}, err
	}
	run := run{Provider: p, scrub: exchange.NewScrubber(assertion)}
	access, err := run.accessToken(ctx, assertion)
	if err != nil {
		return providers.Credential{}, err
	}
	run.scrub.Add(access)
	return run.login(ctx, access)
}
