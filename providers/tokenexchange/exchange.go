package tokenexchange

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/imagepullsecrets/operator/internal/exchange"
	"github.com/imagepullsecrets/operator/providers"
)

// run is one run of Fetch.
type run struct {
	*Provider
	scrub *exchange.Scrubber
	// started is when the request was sent, by this machine's clock.
	started time.Time
	// issued is when the cluster says that it made the ServiceAccount's
	// token, which is now by its clock; zero if it doesn't say.
	issued time.Time
}

// Fetch exchanges a new token of the ServiceAccount for a login.
func (p *Provider) Fetch(ctx context.Context, env providers.Env) (providers.Credential, error) {
	token, err := env.Token(ctx, p.config.ServiceAccount, p.config.TokenAudience)
	if err != nil {
		return providers.Credential{}, err
	}
	request, err := p.request(ctx, token)
	if err != nil {
		return providers.Credential{}, p.call.Errorf(providers.Invalid, "no request can be made of the endpoint's URL")
	}
	// A token that says nothing of its time is still worth an attempt.
	claims, _ := exchange.ParseClaims(token)
	this := run{
		Provider: p,
		scrub: exchange.NewScrubber(token, p.config.ClientSecret, url.QueryEscape(p.config.ClientSecret),
			strings.TrimPrefix(request.Header.Get("Authorization"), "Basic ")),
		started: p.now(),
		issued:  claims.IssuedAt,
	}
	answer, err := p.call.Do(p.client, request)
	if err != nil {
		addHint(err, answer.Status)
		return providers.Credential{}, err
	}
	return this.read(answer)
}

// addHint adds to the error of a request, which something else than the server
// may have answered, what this provider has against it. status is 0 if nothing
// answered.
func addHint(err error, status int) {
	var failure *providers.Error
	var untrusted *tls.CertificateVerificationError
	switch {
	case !errors.As(err, &failure):
	case errors.As(err, &untrusted):
		failure.Message += "; a private CA of the endpoint's own belongs into caBundle"
	case status == http.StatusNotFound, status == http.StatusMethodNotAllowed:
		failure.Message += " Or is the path of endpoint wrong?"
	}
}

// request returns the request for a ServiceAccount's token.
func (p *Provider) request(ctx context.Context, token string) (*http.Request, error) {
	request, err := p.unauthenticated(ctx, p.config.members(token))
	if err != nil {
		return nil, err
	}
	if p.config.ClientAuthentication == Basic {
		// Both are form-encoded first: RFC 6749, section 2.3.1.
		request.SetBasicAuth(url.QueryEscape(p.config.ClientID), url.QueryEscape(p.config.ClientSecret))
	}
	return request, nil
}

func (p *Provider) unauthenticated(ctx context.Context, members map[string]string) (*http.Request, error) {
	if p.config.Format == Form {
		form := make(url.Values, len(members))
		for name, value := range members {
			form.Set(name, value)
		}
		return exchange.NewForm(ctx, p.config.Endpoint, form)
	}
	body, err := json.Marshal(members)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.config.Endpoint, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json")
	return request, nil
}

// members are the request's members (RFC 8693, section 2.1). None of them is
// empty unless a parameter is.
func (c Config) members(token string) map[string]string {
	members := map[string]string{
		"grant_type":         c.GrantType,
		"subject_token":      token,
		"subject_token_type": c.SubjectTokenType,
	}
	optional := map[string]string{
		"requested_token_type": c.RequestedTokenType,
		"audience":             c.Audience,
		"resource":             c.Resource,
		"scope":                strings.Join(c.Scopes, " "),
	}
	if c.ClientAuthentication == Post {
		optional["client_id"], optional["client_secret"] = c.ClientID, c.ClientSecret
	}
	for name, value := range optional {
		if value != "" {
			members[name] = value
		}
	}
	for name, value := range c.Parameters {
		members[name] = value
	}
	return members
}
