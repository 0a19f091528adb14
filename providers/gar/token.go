package gar

import (
	"encoding/json"
	"time"

	"github.com/imagepullsecrets/operator/internal/exchange"
	"github.com/imagepullsecrets/operator/providers"
)

// accessToken is an OAuth 2.0 access token of Google's and the end of its life,
// zero if nobody said when that is.
type accessToken struct {
	value     string
	expiresAt time.Time
	// skew is as in providers.Credential.
	skew string
}

// whose says in messages whose word or clock something is.
const whose = "Google's"

// maxLife bounds what an answer may claim. No token of Google's is valid for
// more than half of it.
const maxLife = 24 * time.Hour

// readToken reads an answer of the token exchange or the metadata server
// (RFC 6749, section 5.1) to a request that was sent at asked.
func (f fetch) readToken(c exchange.Call, answer exchange.Answer, asked time.Time) (accessToken, error) {
	var body struct {
		AccessToken string  `json:"access_token"`
		ExpiresIn   float64 `json:"expires_in"`
	}
	if json.Unmarshal(answer.Body, &body) != nil {
		failure := c.Errorf(providers.Transient, "the answer is not a token in JSON; a proxy in between?")
		failure.Down = true
		return accessToken{}, failure
	}
	token := accessToken{value: body.AccessToken}
	// What is less than a second is over when it is read.
	if body.ExpiresIn >= 1 {
		token.expiresAt = asked.Add(time.Duration(min(body.ExpiresIn, maxLife.Seconds())) * time.Second)
	}
	return f.accept(c, answer, token)
}

// accept hides a token from all messages to come, and refuses one that is of
// no use.
func (f fetch) accept(c exchange.Call, answer exchange.Answer, token accessToken) (accessToken, error) {
	f.scrub.Add(token.value)
	if err := c.CheckToken(token.value); err != nil {
		return accessToken{}, err
	}
	if err := c.CheckExpiry(answer, token.expiresAt, f.now(), whose); err != nil {
		return accessToken{}, err
	}
	token.skew = exchange.Skew(answer.Header, f.now(), whose)
	return token, nil
}
