package gar

import (
	"context"
	"errors"
	"net/url"
	"strings"

	"cloud.google.com/go/compute/metadata"

	"github.com/imagepullsecrets/operator/internal/exchange"
	"github.com/imagepullsecrets/operator/providers"
)

// metadataServer is the address that every machine of Google's, and every Pod
// in GKE, has it under. Google's client asks there without any proxy, or at
// GCE_METADATA_HOST.
const metadataServer = "169.254.169.254"

const (
	metadataEndpoint = metadataServer + ":80"

	ownTokenPath    = "instance/service-accounts/default/token?scopes="
	ownUniversePath = "universe/universe-domain"
)

// ownToken returns a token of the operator's own identity: that of its
// ServiceAccount in GKE, or of the machine.
func (f fetch) ownToken(ctx context.Context) (accessToken, error) {
	token, err := f.askMetadata(ctx)
	var failure *providers.Error
	if errors.As(err, &failure) {
		failure.Host = metadataEndpoint // messages have a name for it
	}
	return token, err
}

func (f fetch) askMetadata(ctx context.Context) (accessToken, error) {
	c := exchange.Call{Action: "asking for the operator's own token", Host: "the metadata server"}
	if err := f.checkOwnUniverse(ctx, c); err != nil {
		return accessToken{}, err
	}
	asked := f.now()
	answer, err := metadata.GetWithContext(ctx, ownTokenPath+url.QueryEscape(scope))
	if undefined(err) {
		return accessToken{}, c.Errorf(providers.Denied, "the operator has no Google identity: "+
			"bind its ServiceAccount to one (workload identity federation for GKE), or give the machine a service account")
	}
	if err != nil {
		return accessToken{}, f.noMetadata(ctx, c, err)
	}
	return f.readToken(c, exchange.Answer{Body: []byte(answer)}, asked)
}

// checkOwnUniverse keeps the operator's token at home: it is sent to hosts in
// the configured universe.
func (f fetch) checkOwnUniverse(ctx context.Context, c exchange.Call) error {
	own, err := metadata.GetWithContext(ctx, ownUniversePath)
	switch {
	case err != nil && !undefined(err):
		return f.noMetadata(ctx, c, err)
	case err != nil, strings.TrimSpace(own) == "": // by a server from before there were universes
		own = googleUniverse
	}
	if own = strings.TrimSpace(own); own != f.config.UniverseDomain {
		return c.Errorf(providers.Invalid, "the operator's own identity is of universe %q, not of universeDomain %q",
			f.scrub.Describe(own), f.config.UniverseDomain)
	}
	return nil
}

// undefined tells that the metadata server has nothing under a path.
func undefined(err error) bool {
	var nothing metadata.NotDefinedError
	return errors.As(err, &nothing)
}

// noMetadata turns an error of Google's client into one that may be shown.
func (f fetch) noMetadata(ctx context.Context, c exchange.Call, err error) error {
	var refused *metadata.Error
	if errors.As(err, &refused) {
		refusal := exchange.Refusal{Class: exchange.ClassOfStatus(refused.Code)}
		if !strings.HasPrefix(strings.TrimSpace(refused.Message), "<") { // a page for a browser
			refusal.Description = refused.Message
		}
		return c.Refused(exchange.Answer{Status: refused.Code}, refusal, f.scrub)
	}
	failure := c.Unanswered(ctx, err)
	failure.Message += "; the operator has an identity of its own only in Google Cloud, where it must reach " + metadataServer
	return failure
}
