package gar

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"github.com/imagepullsecrets/operator/internal/exchange"
	"github.com/imagepullsecrets/operator/providers"
)

// staleTexts are how Google says that a token was issued at the wrong time for
// its clock: it takes none from the future and none that is old.
var staleTexts = []string{"stale to sign-in", "expired", "in the future", "not yet valid"}

// federate exchanges a token of the ServiceAccount for a federated access
// token. A token that Google finds stale is minted anew once.
func (f fetch) federate(ctx context.Context) (accessToken, error) {
	token, err := f.federateOnce(ctx)
	var failure *providers.Error
	if errors.As(err, &failure) && failure.Class == providers.ClockSkew && sleep(ctx, f.pause) {
		return f.federateOnce(ctx)
	}
	return token, err
}

// federateOnce makes one exchange (RFC 8693, section 2.1).
func (f fetch) federateOnce(ctx context.Context) (accessToken, error) {
	c := exchange.Call{Action: "token exchange", Host: f.stsHost()}
	minted, err := f.env.Token(ctx, f.config.ServiceAccount, f.pool.audience)
	if err != nil {
		return accessToken{}, err
	}
	f.scrub.Add(minted)
	request, err := exchange.NewForm(ctx, "https://"+f.stsHost()+"/v1/token", url.Values{
		"grant_type":           {"urn:ietf:params:oauth:grant-type:token-exchange"},
		"requested_token_type": {"urn:ietf:params:oauth:token-type:access_token"},
		"subject_token_type":   {"urn:ietf:params:oauth:token-type:jwt"},
		"subject_token":        {minted},
		"audience":             {f.pool.request},
		"scope":                {scope},
	})
	if err != nil {
		return accessToken{}, c.Unanswered(ctx, err)
	}
	asked := f.now()
	answer, err := c.Do(f.client, request)
	if err != nil {
		return accessToken{}, err
	}
	if !answer.OK() {
		return accessToken{}, f.notFederated(c, answer, minted)
	}
	return f.readToken(c, answer, asked)
}

// notFederated is the error for a refusal by the token exchange.
func (f fetch) notFederated(c exchange.Call, answer exchange.Answer, minted string) error {
	said := readRefusal(answer.Body)
	if answer.Status != http.StatusBadRequest || said.code != "invalid_grant" || !exchange.Mentions(said.description, staleTexts) {
		// The API server's tokens are JWTs. Of any other nothing is known.
		claims, _ := exchange.ParseClaims(minted)
		return f.refused(c, answer, f.exchangeVerdicts(claims.Issuer))
	}
	return c.Refused(answer, exchange.Refusal{
		Class: providers.ClockSkew, Code: said.code, Description: said.description,
		Hint: exchange.ClusterClock(answer.Header, minted, whose),
	}, f.scrub)
}
