// Package tokenexchange gets registry logins from any server that exchanges a
// Kubernetes ServiceAccount's token for a token of its own, as RFC 8693
// describes it or in one of the dialects that grew around it: another format
// of the request, further members, answers with the token in another place.
package tokenexchange

import (
	"net/http"
	"slices"
	"time"

	"github.com/imagepullsecrets/operator/internal/exchange"
	"github.com/imagepullsecrets/operator/providers"
)

// Name is the provider's name in status, metrics and documentation.
const Name = "tokenExchange"

// Provider exchanges a ServiceAccount's token at one endpoint. Create it by
// New.
type Provider struct {
	config Config
	key    string
	call   exchange.Call

	client *http.Client
	now    func() time.Time
}

var _ providers.Provider = (*Provider)(nil)

// New checks a configuration, without any connection, and returns its
// Provider. The error is of class Invalid and names everything that is wrong.
//
// The client carries the exchanges; whoever gives one decides whom it trusts.
// Nil stands for the process's one that trusts the system's authorities and
// those of the CABundle. Redirects aren't followed and bodies are limited in any case.
func New(config Config, client *http.Client) (*Provider, error) {
	config = config.trimmed().withDefaults()
	host, trusting, err := config.check()
	if err != nil {
		return nil, err
	}
	if client == nil {
		client = trusting
	}
	return &Provider{
		config: config,
		key:    config.key(),
		call:   exchange.Call{Action: "token exchange", Host: host},
		client: client,
		now:    time.Now,
	}, nil
}

// Name returns "tokenExchange".
func (p *Provider) Name() string { return Name }

// Key identifies the ServiceAccount, the endpoint, and everything that is said
// and read there. The registries are no part of it: what an exchange gives
// does not depend on where it is used.
func (p *Provider) Key() string { return p.key }

// Endpoints returns the endpoint's host, with its port unless that is 443.
func (p *Provider) Endpoints() []string { return []string{p.call.Host} }

// Registries returns the configured registries.
func (p *Provider) Registries() []string { return slices.Clone(p.config.Registries) }

// String says where and as whom, so that a Provider may be printed by mistake.
func (p *Provider) String() string { return p.config.String() + " at " + p.call.Host }

// GoString hides the client's secret under %#v too.
func (p *Provider) GoString() string { return p.String() }
