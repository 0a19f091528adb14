// Package quay gets logins for Red Hat Quay, quay.io or one's own, by the token
// of a ServiceAccount that a robot account's federation trusts.
package quay

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/imagepullsecrets/operator/internal/dockerconfig"
	"github.com/imagepullsecrets/operator/providers"
)

// Name is the provider's name in status, metrics and documentation.
const Name = "quay"

// Provider exchanges a ServiceAccount's token for one of a robot account.
// Create it by New.
type Provider struct {
	config Config
	key    string
	client *http.Client
	now    func() time.Time
}

var _ providers.Provider = (*Provider)(nil)

// New checks a configuration, without any connection, and returns its
// Provider. The error is of class Invalid and names everything that is wrong.
//
// The client carries the exchanges, and it trusts whom it trusts; nil stands
// for the process's one that trusts the CABundle too.
func New(config Config, client *http.Client) (*Provider, error) {
	config = config.complete()
	trusting, err := config.validate()
	if err != nil {
		return nil, err
	}
	if client == nil {
		client = trusting
	}
	return &Provider{config: config, key: config.key(), client: client, now: time.Now}, nil
}

// Name returns "quay".
func (p *Provider) Name() string { return Name }

// Key identifies the robot, whose tokens it trusts, and the CABundle: that
// decides who may pose as the registry, so that a login which somebody got by
// trusting another authority is never given to those who don't.
func (p *Provider) Key() string { return p.key }

func (c Config) key() string {
	fields := []string{Name, c.Registry, c.Robot, c.Audience, c.CABundle}
	return providers.HashKey(append(fields, c.ServiceAccount.Fields()...)...)
}

// Endpoints returns the registry, which is its own token service.
func (p *Provider) Endpoints() []string { return []string{p.host()} }

func (p *Provider) host() string { return strings.TrimSuffix(p.config.Registry, ":443") }

// Registries returns the registry as it stands in the images' names.
func (p *Provider) Registries() []string { return []string{p.config.Registry} }

// String names the robot, so that a Provider may be printed by mistake.
func (p *Provider) String() string { return p.config.String() }

// GoString is String, under %#v too.
func (p *Provider) GoString() string { return p.String() }

// Fetch asks for the robot's token by a new token of the ServiceAccount.
func (p *Provider) Fetch(ctx context.Context, env providers.Env) (providers.Credential, error) {
	token, err := env.Token(ctx, p.config.ServiceAccount, p.config.Audience)
	if err != nil {
		return providers.Credential{}, err
	}
	answer, err := p.exchange(ctx, token)
	if err != nil {
		return providers.Credential{}, err
	}
	password, expiresAt, err := p.readToken(answer)
	if err != nil {
		return providers.Credential{}, err
	}
	login := dockerconfig.Login{Username: p.config.Robot, Password: password}
	return p.call().Credential(answer, login, expiresAt, p.now(), whose)
}
