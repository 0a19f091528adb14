// Package gar gets logins for Google Artifact Registry and gcr.io: a
// ServiceAccount's token is exchanged at Google's Security Token Service for a
// federated access token (workload identity federation), which opens the
// registry itself or lets the operator act as a Google service account.
//
// No credential file is ever read: such a file may name addresses, files and
// programs. The operator's own Google identity is used only by a Config that
// says so, and comes from the metadata server alone.
package gar

import (
	"net/http"
	"slices"
	"time"

	"github.com/imagepullsecrets/operator/internal/exchange"
	"github.com/imagepullsecrets/operator/providers"
)

// Name is the provider's name in status, metrics and documentation.
const Name = "googleArtifactRegistry"

const (
	// username goes with an access token instead of a password.
	username = "oauth2accesstoken"
	// scope is the one that both the registry and the impersonation ask for;
	// what the token may do is IAM's business.
	scope = "https://www.googleapis.com/auth/cloud-platform"
	// staleTokenPause lets a clock that is a little ahead of Google's be
	// overtaken before the second attempt.
	staleTokenPause = 2 * time.Second
)

// Provider exchanges an identity for the login of Google's registries. Create
// it by New.
type Provider struct {
	config Config
	// pool is empty for the operator's own identity.
	pool pool
	key  string

	client *http.Client
	now    func() time.Time
	pause  time.Duration
}

var _ providers.Provider = (*Provider)(nil)

// New checks a configuration, without any connection, and returns its
// Provider. The error is of class Invalid and names everything that is wrong.
//
// The client carries the exchanges; nil stands for one that is shared by the
// whole process. The metadata server is never asked through it.
func New(config Config, client *http.Client) (*Provider, error) {
	config = config.normalised()
	trusted, err := config.validate()
	if err != nil {
		return nil, err
	}
	if client == nil {
		client = exchange.Shared()
	}
	return &Provider{
		config: config,
		pool:   trusted,
		key:    config.key(trusted),
		client: client,
		now:    time.Now,
		pause:  staleTokenPause,
	}, nil
}

// Name returns "googleArtifactRegistry".
func (p *Provider) Name() string { return Name }

// Key identifies the identity. The registries are no part of it: one token
// opens whatever its principal may read.
func (p *Provider) Key() string { return p.key }

// Endpoints returns the token exchange's host, or the metadata server, and that
// of the impersonation if there is one.
func (p *Provider) Endpoints() []string {
	hosts := []string{p.stsHost()}
	if p.config.Ambient {
		hosts[0] = metadataEndpoint
	}
	if p.config.GoogleServiceAccount != "" {
		hosts = append(hosts, p.iamHost())
	}
	return hosts
}

// Registries returns the configured hosts.
func (p *Provider) Registries() []string { return slices.Clone(p.config.Registries) }

func (p *Provider) stsHost() string { return "sts." + p.config.UniverseDomain }

func (p *Provider) iamHost() string { return "iamcredentials." + p.config.UniverseDomain }

// key hashes every input that decides on whose login this is. trusted is empty
// for the operator's own identity, and only for that.
func (c Config) key(trusted pool) string {
	fields := append([]string{Name}, c.ServiceAccount.Fields()...)
	fields = append(fields,
		c.UniverseDomain,
		trusted.request,
		trusted.audience,
		scope,
		c.GoogleServiceAccount,
	)
	// A list of any length can only stand last.
	return providers.HashKey(append(fields, c.Delegates...)...)
}
