package awsidentity

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"

	"github.com/imagepullsecrets/operator/internal/exchange"
	"github.com/imagepullsecrets/operator/providers"
)

// roleDuration is the shortest that AWS grants. A session makes one or two
// calls; the token that it gets has a life of its own.
const roleDuration = 15 * time.Minute

// stsAPI is what is used of STS.
type stsAPI interface {
	AssumeRole(context.Context, *sts.AssumeRoleInput, ...func(*sts.Options)) (*sts.AssumeRoleOutput, error)
	AssumeRoleWithWebIdentity(context.Context, *sts.AssumeRoleWithWebIdentityInput, ...func(*sts.Options)) (*sts.AssumeRoleWithWebIdentityOutput, error)
}

// sts returns a client for one call; by is nil if the call isn't signed.
func (e *Exchange) sts(by aws.CredentialsProvider) stsAPI {
	region := e.identity.region
	return e.identity.newSTS(sts.Options{
		AppID:       ApplicationID,
		Region:      region.Name,
		Credentials: by,
		EndpointOptions: sts.EndpointResolverOptions{
			UseFIPSEndpoint:      region.Variant.FIPSState(),
			UseDualStackEndpoint: region.Variant.DualStackState(),
		},
		HTTPClient: e.HTTPClient(),
		Retryer:    NewRetryer(),
	})
}

// assumeRole returns the credentials of a session of the role.
func (e *Exchange) assumeRole(ctx context.Context, by aws.Credentials, role Role) (aws.Credentials, error) {
	call := Call{
		Call:   exchange.Call{Action: "sts:AssumeRole", Host: e.identity.region.STSHost},
		Denied: fmt.Sprintf("let the trust policy of %s name %s, and grant the latter sts:AssumeRole on the role", role.RoleARN, e.who),
	}
	input := &sts.AssumeRoleInput{
		RoleArn:         aws.String(role.RoleARN),
		RoleSessionName: aws.String(e.identity.sessionName),
		DurationSeconds: aws.Int32(int32(roleDuration.Seconds())),
	}
	if role.ExternalID != "" {
		input.ExternalId = aws.String(role.ExternalID)
		call.Denied += "; its sts:ExternalId must be the configured externalID"
	}
	output, err := e.sts(credentials.StaticCredentialsProvider{Value: by}).AssumeRole(ctx, input)
	if err != nil {
		return aws.Credentials{}, e.Failure(ctx, call, err)
	}
	if output == nil {
		output = &sts.AssumeRoleOutput{}
	}
	return e.begin(call, role.RoleARN, output.Credentials)
}

// assumeRoleWithWebIdentity exchanges the ServiceAccount's token for the
// credentials of a session of its role. AWS refuses tokens that it deems old,
// so it is tried once more with a new one.
func (e *Exchange) assumeRoleWithWebIdentity(ctx context.Context) (aws.Credentials, error) {
	found, err := e.exchangeToken(ctx)
	if refusal, refused := refusalIn(err); refused && refusal.ErrorCode() == expiredWebToken {
		return e.exchangeToken(ctx)
	}
	return found, err
}

func (e *Exchange) exchangeToken(ctx context.Context) (aws.Credentials, error) {
	config := e.identity.config
	token, err := e.env.Token(ctx, config.ServiceAccount, config.Audience)
	if err != nil {
		return aws.Credentials{}, err
	}
	e.scrub.Add(token)
	call := e.identity.webIdentityCall(token)
	output, err := e.sts(nil).AssumeRoleWithWebIdentity(ctx, &sts.AssumeRoleWithWebIdentityInput{
		RoleArn:          aws.String(config.RoleARN),
		RoleSessionName:  aws.String(e.identity.sessionName),
		WebIdentityToken: aws.String(token),
		DurationSeconds:  aws.Int32(int32(roleDuration.Seconds())),
	})
	if err != nil {
		return aws.Credentials{}, e.Failure(ctx, call, err)
	}
	if output == nil {
		output = &sts.AssumeRoleWithWebIdentityOutput{}
	}
	return e.begin(call, config.RoleARN, output.Credentials)
}

// webIdentityCall names the parts of the trust that the token relies on. A
// token that can't be read only makes the hints less exact.
func (i *Identity) webIdentityCall(token string) Call {
	claims, err := exchange.ParseClaims(token)
	issuer := claims.Issuer
	if err != nil || issuer == "" {
		issuer = "the cluster's issuer"
	}
	noTrust := fmt.Sprintf("let IAM in the account of %s have an OIDC provider for %s with the audience %s", i.config.RoleARN, issuer, i.config.Audience)
	return Call{
		Call: exchange.Call{Action: "sts:AssumeRoleWithWebIdentity", Host: i.region.STSHost},
		Denied: fmt.Sprintf("let the trust policy of %s allow it to the OIDC provider of %s with :sub %s and :aud %s",
			i.config.RoleARN, issuer, i.config.ServiceAccount.Subject(), i.config.Audience),
		verdicts: map[string]verdict{
			expiredWebToken:        {class: providers.ClockSkew},
			"InvalidIdentityToken": {class: providers.Invalid, hint: noTrust},
			"IDPRejectedClaim":     {class: providers.Invalid, hint: noTrust},
		},
		clock: func(header http.Header) string { return exchange.ClusterClock(header, token, "AWS's") },
	}
}

// begin makes a session the signer of the next call. It trusts no field of the
// answer to be there.
func (e *Exchange) begin(call Call, role string, granted *types.Credentials) (aws.Credentials, error) {
	if granted == nil {
		granted = &types.Credentials{}
	}
	found := aws.Credentials{
		AccessKeyID:     aws.ToString(granted.AccessKeyId),
		SecretAccessKey: aws.ToString(granted.SecretAccessKey),
		SessionToken:    aws.ToString(granted.SessionToken),
	}
	if !found.HasKeys() || found.SessionToken == "" {
		return aws.Credentials{}, call.Errorf(providers.Transient, "the answer does not hold the session's credentials")
	}
	e.scrub.Add(found.SecretAccessKey, found.SessionToken, found.AccessKeyID)
	e.signer, e.who = session, role
	return found, nil
}
