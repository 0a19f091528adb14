package acr

import (
	"context"
	"net/url"
	"time"

	"github.com/imagepullsecrets/operator/internal/dockerconfig"
	"github.com/imagepullsecrets/operator/internal/exchange"
	"github.com/imagepullsecrets/operator/providers"
)

// whose says in messages whose word or clock something is.
const whose = "Azure's"

// scope is of the access token that registries take, in all clouds.
const scope = "https://containerregistry.azure.net/.default"

// run is one run of Fetch.
type run struct {
	*Provider
	scrub *exchange.Scrubber
}

func (p *Provider) directoryCall() exchange.Call {
	return exchange.Call{Action: "sign-in", Host: p.cloud.authority}
}

func (p *Provider) registryCall() exchange.Call {
	return exchange.Call{Action: "token exchange", Host: p.config.Registry}
}

// accessToken signs in to the directory by a ServiceAccount's token.
func (r run) accessToken(ctx context.Context, assertion string) (string, error) {
	answer, err := r.post(ctx, r.directoryCall(), "/"+r.config.TenantID+"/oauth2/v2.0/token", url.Values{
		"grant_type":            {"client_credentials"},
		"client_id":             {r.config.ClientID},
		"scope":                 {scope},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		"client_assertion":      {assertion},
	})
	if err != nil {
		return "", err
	}
	if !answer.OK() {
		return "", r.directoryRefused(answer, assertion)
	}
	return readAccessToken(r.directoryCall(), answer)
}

func readAccessToken(call exchange.Call, answer exchange.Answer) (string, error) {
	var body struct {
		AccessToken string `json:"access_token"`
	}
	if err := call.Decode(answer, &body); err != nil {
		return "", err
	}
	return body.AccessToken, call.CheckToken(body.AccessToken)
}

// login gets the registry's refresh token for an access token of the directory.
func (r run) login(ctx context.Context, access string) (providers.Credential, error) {
	call := r.registryCall()
	answer, err := r.post(ctx, call, "/oauth2/exchange?api-version=2021-07-01", url.Values{
		"grant_type":   {"access_token"},
		"service":      {r.config.Registry},
		"tenant":       {r.config.TenantID},
		"access_token": {access},
	})
	if err != nil {
		return providers.Credential{}, err
	}
	if !answer.OK() {
		return providers.Credential{}, r.registryRefused(answer)
	}
	token, expiresAt, err := readRefreshToken(call, answer)
	if err != nil {
		return providers.Credential{}, err
	}
	return call.Credential(answer, dockerconfig.Login{Username: username, Password: token}, expiresAt, r.now(), whose)
}

// readRefreshToken takes the token out of an answer. When it expires stands in
// the token alone; the time is zero if it doesn't.
func readRefreshToken(call exchange.Call, answer exchange.Answer) (string, time.Time, error) {
	var body struct {
		RefreshToken string `json:"refresh_token"`
	}
	if err := call.Decode(answer, &body); err != nil {
		return "", time.Time{}, err
	}
	if err := call.CheckToken(body.RefreshToken); err != nil {
		return "", time.Time{}, err
	}
	claims, err := exchange.ParseClaims(body.RefreshToken)
	if err != nil {
		return "", time.Time{}, call.Errorf(providers.Transient, "the answer's token can't be read: %s", err)
	}
	return body.RefreshToken, claims.ExpiresAt, nil
}

// post sends a form to a call's host.
func (r run) post(ctx context.Context, call exchange.Call, path string, form url.Values) (exchange.Answer, error) {
	request, err := exchange.NewForm(ctx, "https://"+call.Host+path, form)
	if err != nil {
		return exchange.Answer{}, call.Errorf(providers.Invalid, "the request can't be made")
	}
	return call.Do(r.client, request)
}
