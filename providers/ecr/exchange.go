package ecr

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/imagepullsecrets/operator/internal/dockerconfig"
	"github.com/imagepullsecrets/operator/providers"
)

const (
	// applicationID tells AWS's logs who is calling.
	applicationID = "imagepullsecret-operator"
	// roleSessionName stands in CloudTrail and in the ARN that AWS names in
	// its refusals.
	roleSessionName = "imagepullsecret-operator"
	// roleDuration is the shortest that AWS grants. The session makes one
	// call; the token that it gets has a life of its own.
	roleDuration = 15 * time.Minute
	// maxAttempts bounds the SDK's own retries of one call.
	maxAttempts = 3
)

// tokenAPI is what is used of ECR.
type tokenAPI interface {
	GetAuthorizationToken(context.Context, *ecr.GetAuthorizationTokenInput, ...func(*ecr.Options)) (*ecr.GetAuthorizationTokenOutput, error)
}

// calls make what an exchange needs of the SDK. Nil stands for the real thing.
type calls struct {
	newECR     func(ecr.Options) tokenAPI
	newSTS     func(sts.Options) stscreds.AssumeRoleAPIClient
	newRetryer func() aws.Retryer
}

func (c calls) ecr(options ecr.Options) tokenAPI {
	if c.newECR != nil {
		return c.newECR(options)
	}
	return ecr.New(options)
}

func (c calls) sts(options sts.Options) stscreds.AssumeRoleAPIClient {
	if c.newSTS != nil {
		return c.newSTS(options)
	}
	return sts.New(options)
}

func (c calls) retryer() aws.Retryer {
	if c.newRetryer != nil {
		return c.newRetryer()
	}
	return retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts = maxAttempts })
}

// exchange is one run of Fetch.
type exchange struct {
	*Provider
	http  *recorder
	scrub *scrubber
}

// Fetch assumes the role if there is one, asks ECR for a token and returns it
// as the login for each of the registry's hosts.
func (p *Provider) Fetch(ctx context.Context) (providers.Credential, error) {
	run := exchange{
		Provider: p,
		http:     &recorder{client: p.client},
		scrub:    newScrubber(p.config.SecretAccessKey, p.config.AccessKeyID),
	}
	identity, err := run.identity(ctx)
	if err != nil {
		return providers.Credential{}, err
	}
	output, err := run.token(ctx, identity)
	if err != nil {
		return providers.Credential{}, err
	}
	login, expiresAt, err := run.read(output)
	if err != nil {
		return providers.Credential{}, err
	}
	logins := make(dockerconfig.Logins, len(p.registries))
	for _, registry := range p.registries {
		logins[registry] = login
	}
	return providers.Credential{Logins: logins, ExpiresAt: expiresAt}, nil
}

// identity returns the credentials to ask ECR with.
func (e exchange) identity(ctx context.Context) (aws.Credentials, error) {
	key := aws.Credentials{AccessKeyID: e.config.AccessKeyID, SecretAccessKey: e.config.SecretAccessKey}
	if e.config.RoleARN == "" {
		return key, nil
	}
	client := e.calls.sts(sts.Options{
		AppID:       applicationID,
		Region:      e.config.Region,
		Credentials: credentials.StaticCredentialsProvider{Value: key},
		EndpointOptions: sts.EndpointResolverOptions{
			UseFIPSEndpoint:      fipsState(e.config.UseFIPS),
			UseDualStackEndpoint: dualStackState(e.config.UseDualStack),
		},
		HTTPClient: e.http,
		Retryer:    e.calls.retryer(),
	})
	session, err := stscreds.NewAssumeRoleProvider(client, e.config.RoleARN, func(o *stscreds.AssumeRoleOptions) {
		o.RoleSessionName = roleSessionName
		o.Duration = roleDuration
	}).Retrieve(ctx)
	if err != nil {
		return aws.Credentials{}, e.failure(ctx, e.assumeRole(), err)
	}
	e.scrub.add(session.SecretAccessKey, session.SessionToken, session.AccessKeyID)
	return session, nil
}

// token asks ECR. The request names no registry: the token opens every one
// that the identity may read.
func (e exchange) token(ctx context.Context, identity aws.Credentials) (*ecr.GetAuthorizationTokenOutput, error) {
	e.http.last = answer{}
	client := e.calls.ecr(ecr.Options{
		AppID:       applicationID,
		Region:      e.config.Region,
		Credentials: credentials.StaticCredentialsProvider{Value: identity},
		EndpointOptions: ecr.EndpointResolverOptions{
			UseFIPSEndpoint:      fipsState(e.config.UseFIPS),
			UseDualStackEndpoint: dualStackState(e.config.UseDualStack),
		},
		HTTPClient: e.http,
		Retryer:    e.calls.retryer(),
	})
	output, err := client.GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		return nil, e.failure(ctx, e.getToken(), err)
	}
	return output, nil
}

func fipsState(use bool) aws.FIPSEndpointState {
	if use {
		return aws.FIPSEndpointStateEnabled
	}
	return aws.FIPSEndpointStateDisabled
}

func dualStackState(use bool) aws.DualStackEndpointState {
	if use {
		return aws.DualStackEndpointStateEnabled
	}
	return aws.DualStackEndpointStateDisabled
}
