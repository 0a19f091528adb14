// Package ecr gets logins for AWS Elastic Container Registry.
package ecr

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"github.com/imagepullsecrets/operator/internal/awsidentity"
	"github.com/imagepullsecrets/operator/internal/exchange"
	"github.com/imagepullsecrets/operator/providers"
)

// Name is the provider's name in status, metrics and documentation.
const Name = "ecr"

// tokenAPI is what is used of ECR.
type tokenAPI interface {
	GetAuthorizationToken(context.Context, *ecr.GetAuthorizationTokenInput, ...func(*ecr.Options)) (*ecr.GetAuthorizationTokenOutput, error)
}

// Provider exchanges an AWS identity for the login of registries in one
// region. Create it by New.
type Provider struct {
	identity   *awsidentity.Identity
	region     awsidentity.Region
	api        string
	registries []string

	newAPI func(ecr.Options) tokenAPI
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
	return newProvider(config, client, sdkHost)
}

func newProvider(config Config, client *http.Client, host hostOf) (*Provider, error) {
	config = config.trimmed()
	var problems exchange.Problems
	region, found, regionErr := config.find(host)
	if regionErr != nil {
		problems.Notef("%v", regionErr)
	}
	identity, err := awsidentity.New(config.Identity, region, client)
	if err != nil {
		problems.Notef("%v", err)
	}
	config.checkAccount(&problems)
	for _, registry := range config.Registries {
		// In an unknown region, nobody knows how its registries are called.
		if regionErr == nil {
			checkRegistry(&problems, registry, found)
		}
	}
	if err := problems.Err(); err != nil {
		return nil, err
	}
	return &Provider{
		identity:   identity,
		region:     region,
		api:        found.api,
		registries: withoutDuplicates(slices.Concat(found.registries(config.AccountID), config.Registries)),
		newAPI:     func(options ecr.Options) tokenAPI { return ecr.New(options) },
		now:        time.Now,
	}, nil
}

// find looks the region up; the Region is zero if it is unknown.
func (c Config) find(host hostOf) (awsidentity.Region, endpoints, error) {
	region, err := awsidentity.FindRegion(c.Region, awsidentity.Variant{FIPS: c.UseFIPS, DualStack: c.UseDualStack})
	if err != nil {
		return awsidentity.Region{}, endpoints{}, err
	}
	found, err := findEndpoints(host, region)
	return region, found, err
}

func withoutDuplicates(hosts []string) []string {
	var once []string
	for _, host := range hosts {
		if !slices.Contains(once, host) {
			once = append(once, host)
		}
	}
	return once
}

// Name returns "ecr".
func (p *Provider) Name() string { return Name }

// Key identifies the identity and the region. The registries, and with them
// the account, are no part of it: a token opens all that its principal may
// read in the region.
func (p *Provider) Key() string { return p.identity.Key(Name) }

// Endpoints returns the host of STS, if the exchange begins with assuming a
// role, and that of ECR.
func (p *Provider) Endpoints() []string { return p.identity.Hosts(p.api) }

// Registries returns the account's registry hosts, the standard one first,
// then those of FIPS and dual-stack and the further registries as configured.
func (p *Provider) Registries() []string { return slices.Clone(p.registries) }

// String names the registry, so that a Provider may be printed by mistake.
func (p *Provider) String() string { return Name + " " + p.registries[0] }

// GoString hides the secret key under %#v too.
func (p *Provider) GoString() string { return p.String() }

// Fetch becomes the identity, asks ECR for a token and returns the login in
// it. The request names no registry: the token opens every one that the
// identity may read. Nor is the answer's proxyEndpoint looked at: it names the
// caller's own account, not the configured one.
func (p *Provider) Fetch(ctx context.Context, env providers.Env) (providers.Credential, error) {
	run := p.identity.Begin(env, p.now)
	credentials, err := run.Credentials(ctx)
	if err != nil {
		return providers.Credential{}, err
	}
	call := awsidentity.Call{
		Call:   exchange.Call{Action: "ecr:GetAuthorizationToken", Host: p.api},
		Denied: "grant ecr:GetAuthorizationToken on resource * to " + run.Who(),
	}
	output, err := p.newAPI(ecr.Options{
		AppID:       awsidentity.ApplicationID,
		Region:      p.region.Name,
		Credentials: credentials,
		EndpointOptions: ecr.EndpointResolverOptions{
			UseFIPSEndpoint:      p.region.Variant.FIPSState(),
			UseDualStackEndpoint: p.region.Variant.DualStackState(),
		},
		HTTPClient: run.HTTPClient(),
		Retryer:    awsidentity.NewRetryer(),
	}).GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		return providers.Credential{}, run.Failure(ctx, call, err)
	}
	// An answer of {} is a success to the SDK.
	if output == nil || len(output.AuthorizationData) == 0 {
		return providers.Credential{}, call.Errorf(providers.Transient, "the answer holds no authorizationData")
	}
	data := output.AuthorizationData[0]
	return run.Login(call, data.AuthorizationToken, data.ExpiresAt)
}
