package awsidentity

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/imagepullsecrets/operator/internal/exchange"
	"github.com/imagepullsecrets/operator/providers"
)

// signer is whose credentials sign a call.
type signer int

const (
	// accessKey: those of the configuration.
	accessKey signer = iota
	// session: those of a role that was assumed.
	session
	// own: the operator's.
	own
)

// Exchange is one run of a provider's Fetch: Credentials first, then the call
// to the service. It is not safe for concurrent use.
type Exchange struct {
	identity *Identity
	env      providers.Env
	now      func() time.Time
	scrub    *exchange.Scrubber
	// http is the client of the latest call.
	http *recorder
	// signer is who signs the next call; who names it in messages.
	signer signer
	who    string
	// forget drops the operator's own credentials from the SDK's cache.
	forget func()
}

// Credentials returns what the call to the service is signed with. Every role
// of the chain is assumed anew: an exchange is hours from the next one.
func (e *Exchange) Credentials(ctx context.Context) (aws.CredentialsProvider, error) {
	found, err := e.first(ctx)
	if err != nil {
		return nil, err
	}
	for _, role := range e.identity.chain {
		if found, err = e.assumeRole(ctx, found, role); err != nil {
			return nil, err
		}
	}
	return credentials.StaticCredentialsProvider{Value: found}, nil
}

// first returns the credentials at the beginning of the chain.
func (e *Exchange) first(ctx context.Context) (aws.Credentials, error) {
	config := e.identity.config
	switch {
	case config.Ambient:
		return e.operatorsOwn(ctx)
	case config.hasServiceAccount():
		return e.assumeRoleWithWebIdentity(ctx)
	default:
		e.signer, e.who = accessKey, "the access key's user"
		return aws.Credentials{AccessKeyID: config.AccessKeyID, SecretAccessKey: config.SecretAccessKey}, nil
	}
}

// Who names the owner of the Credentials, for a hint on which rights it needs.
func (e *Exchange) Who() string { return e.who }

// HTTPClient returns the client for one call. Failure and Login look at what
// the latest one met.
func (e *Exchange) HTTPClient() aws.HTTPClient {
	e.http = &recorder{client: e.identity.client}
	return e.http
}
