package chainguard

import (
	"context"
	"net/url"
	"time"

	"github.com/imagepullsecrets/operator/internal/exchange"
	"github.com/imagepullsecrets/operator/providers"
)

// call is the one request of an exchange.
var call = exchange.Call{Action: "token exchange", Host: endpoint}

// whose says in messages whose word or clock something is.
const whose = "Chainguard's"

// exchange sends a ServiceAccount's token and returns the answer to it, unless
// that is a refusal. The service reads forms only, no JSON.
func (p *Provider) exchange(ctx context.Context, token string) (exchange.Answer, error) {
	request, err := exchange.NewForm(ctx, "https://"+endpoint+"/sts/exchange", url.Values{
		"aud":      {target},
		"identity": {p.config.Identity},
	})
	if err != nil {
		return exchange.Answer{}, call.Errorf(providers.Invalid, "the request can't be made")
	}
	request.Header.Set("Authorization", "Bearer "+token)
	answer, err := call.Do(p.client, request)
	if err != nil {
		return exchange.Answer{}, err
	}
	if !answer.OK() {
		return exchange.Answer{}, p.refused(answer, token)
	}
	return answer, nil
}

// readToken takes the token and its expiry out of an answer. The time is zero
// if neither the answer nor the token tells it.
func readToken(answer exchange.Answer) (string, time.Time, error) {
	var body struct {
		Token  string `json:"token"`
		Expiry string `json:"expiry"`
	}
	if err := call.Decode(answer, &body); err != nil {
		return "", time.Time{}, err
	}
	if err := call.CheckToken(body.Token); err != nil {
		return "", time.Time{}, err
	}
	if body.Expiry == "" {
		claims, _ := exchange.ParseClaims(body.Token) // what can't be read tells no time
		return body.Token, claims.ExpiresAt, nil
	}
	expiresAt, err := time.Parse(time.RFC3339, body.Expiry)
	if err != nil {
		return "", time.Time{}, call.Errorf(providers.Transient, "the answer's expiry is not a time by RFC 3339")
	}
	return body.Token, expiresAt.UTC(), nil
}
