// Package ecrpublic gets the login for AWS's public gallery, which limits how
// much is pulled without one.
package ecrpublic

import (
	"context"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecrpublic"

	"github.com/imagepullsecrets/operator/internal/awsidentity"
	"github.com/imagepullsecrets/operator/internal/exchange"
	"github.com/imagepullsecrets/operator/providers"
)

// Name is the provider's name in status, metrics and documentation.
const Name = "ecrPublic"

const (
	// region is the one that serves tokens for the gallery, which is of
	// partition aws only (AWS General Reference, Amazon ECR Public).
	region = "us-east-1"
	// api is the host that an exchange connects to.
	api = "api.ecr-public.us-east-1.amazonaws.com"
)

// Config says as whom to pull from the gallery.
type Config struct {
	Identity awsidentity.Config
}

// String leaves out the access key, so that a Config may be printed by mistake.
func (c Config) String() string { return Name + " as " + c.Identity.String() }

// GoString hides the secret key under %#v too.
func (c Config) GoString() string { return c.String() }

// tokenAPI is what is used of ECR Public.
type tokenAPI interface {
	GetAuthorizationToken(context.Context, *ecrpublic.GetAuthorizationTokenInput, ...func(*ecrpublic.Options)) (*ecrpublic.GetAuthorizationTokenOutput, error)
}

// Provider exchanges an AWS identity for the gallery's login. Create it by
// New.
type Provider struct {
	identity *awsidentity.Identity

	newAPI func(ecrpublic.Options) tokenAPI
	now    func() time.Time
}

var _ providers.Provider = (*Provider)(nil)

// New checks a configuration, without any connection, and returns its
// Provider. The error is of class Invalid and names everything that is wrong.
//
// The client carries the exchanges; nil stands for one that is shared by the
// whole process. Whatever the client's own settings are, redirects aren't
// followed and bodies are limited.
func New(config Config, client *http.Client) (*Provider, error) {
	home, err := awsidentity.FindRegion(region, awsidentity.Variant{})
	if err != nil {
		return nil, providers.Errorf(providers.Invalid, "%v", err)
	}
	identity, err := awsidentity.New(config.Identity, home, client)
	if err != nil {
		return nil, err
	}
	return &Provider{
		identity: identity,
		newAPI:   func(options ecrpublic.Options) tokenAPI { return ecrpublic.New(options) },
		now:      time.Now,
	}, nil
}

// Name returns "ecrPublic".
func (p *Provider) Name() string { return Name }

// Key identifies the identity.
func (p *Provider) Key() string { return p.identity.Key(Name) }

// Endpoints returns the host of STS, if the exchange begins with assuming a
// role, and that of ECR Public.
func (p *Provider) Endpoints() []string { return p.identity.Hosts(api) }

// Registries returns the gallery's two names.
func (p *Provider) Registries() []string { return []string{"public.ecr.aws", "ecr-public.aws.com"} }

// String names the identity, so that a Provider may be printed by mistake.
func (p *Provider) String() string { return Name + " as " + p.identity.String() }

// GoString hides the secret key under %#v too.
func (p *Provider) GoString() string { return p.String() }

// Fetch becomes the identity, asks ECR Public for a token and returns the
// login in it.
func (p *Provider) Fetch(ctx context.Context, env providers.Env) (providers.Credential, error) {
	run := p.identity.Begin(env, p.now)
	credentials, err := run.Credentials(ctx)
	if err != nil {
		return providers.Credential{}, err
	}
	call := awsidentity.Call{
		Call: exchange.Call{Action: "ecr-public:GetAuthorizationToken", Host: api},
		// The second right is easily forgotten, and AWS's message names only
		// the one that it missed first.
		Denied: "grant ecr-public:GetAuthorizationToken and sts:GetServiceBearerToken on resource * to " + run.Who(),
	}
	output, err := p.newAPI(ecrpublic.Options{
		AppID:       awsidentity.ApplicationID,
		Region:      region,
		Credentials: credentials,
		HTTPClient:  run.HTTPClient(),
		Retryer:     awsidentity.NewRetryer(),
	}).GetAuthorizationToken(ctx, &ecrpublic.GetAuthorizationTokenInput{})
	if err != nil {
		return providers.Credential{}, run.Failure(ctx, call, err)
	}
	// An answer of {} is a success to the SDK.
	if output == nil || output.AuthorizationData == nil {
		return providers.Credential{}, call.Errorf(providers.Transient, "the answer holds no authorizationData")
	}
	return run.Login(call, output.AuthorizationData.AuthorizationToken, output.AuthorizationData.ExpiresAt)
}
