package gar

import (
	"context"
	"time"

	"github.com/imagepullsecrets/operator/internal/dockerconfig"
	"github.com/imagepullsecrets/operator/internal/exchange"
	"github.com/imagepullsecrets/operator/providers"
)

// fetch is one run of Fetch.
type fetch struct {
	*Provider
	env   providers.Env
	scrub *exchange.Scrubber
}

// Fetch gets an access token of the identity, exchanges it for one of the
// Google service account if there is one to impersonate, and returns it as the
// login. Whether the login may read a registry is first seen at a pull.
func (p *Provider) Fetch(ctx context.Context, env providers.Env) (providers.Credential, error) {
	run := fetch{Provider: p, env: env, scrub: exchange.NewScrubber()}
	token, err := run.identity(ctx)
	if err == nil && p.config.GoogleServiceAccount != "" {
		token, err = run.impersonate(ctx, token.value)
	}
	if err != nil {
		return providers.Credential{}, err
	}
	return providers.Credential{
		Login:     dockerconfig.Login{Username: username, Password: token.value},
		ExpiresAt: token.expiresAt,
		Skew:      token.skew,
	}, nil
}

// identity returns a token of whoever the Config says.
func (f fetch) identity(ctx context.Context) (accessToken, error) {
	if f.config.Ambient {
		return f.ownToken(ctx)
	}
	return f.federate(ctx)
}

// sleep waits unless ctx ends before; it tells whether it did wait.
func sleep(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
