package quay

import (
	"context"
	"encoding/base64"
	"net/http"
	"time"

	"github.com/imagepullsecrets/operator/internal/exchange"
	"github.com/imagepullsecrets/operator/providers"
)

// whose says in messages whose word or clock something is.
const whose = "Quay's"

func (p *Provider) call() exchange.Call {
	return exchange.Call{Action: "robot federation", Host: p.host()}
}

// exchange sends a ServiceAccount's token as the robot's password and returns
// the answer to it, unless that is a refusal.
func (p *Provider) exchange(ctx context.Context, token string) (exchange.Answer, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+p.config.Registry+"/oauth2/federation/robot/token", nil)
	if err != nil {
		return exchange.Answer{}, p.call().Errorf(providers.Invalid, "the request can't be made")
	}
	request.Header.Set("Accept", "application/json")
	basic := base64.StdEncoding.EncodeToString([]byte(p.config.Robot + ":" + token))
	request.Header.Set("Authorization", "Basic "+basic)
	answer, err := p.call().Do(p.client, request)
	switch {
	case answer.Status == http.StatusNotFound:
		// Quay's own page for it is HTML.
		return exchange.Answer{}, p.refused(answer, token, exchange.NewScrubber(token, basic))
	case err != nil:
		return exchange.Answer{}, p.unanswered(err)
	case !answer.OK():
		return exchange.Answer{}, p.refused(answer, token, exchange.NewScrubber(token, basic))
	}
	return answer, nil
}

// readToken takes the token out of an answer. When it expires stands in the
// token alone; the time is zero if it doesn't.
func (p *Provider) readToken(answer exchange.Answer) (string, time.Time, error) {
	var body struct {
		Token string `json:"token"`
	}
	if err := p.call().Decode(answer, &body); err != nil {
		return "", time.Time{}, err
	}
	if err := p.call().CheckToken(body.Token); err != nil {
		return "", time.Time{}, err
	}
	claims, err := exchange.ParseClaims(body.Token)
	if err != nil {
		return "", time.Time{}, p.call().Errorf(providers.Transient, "the answer's token can't be read: %s", err)
	}
	return body.Token, claims.ExpiresAt, nil
}
