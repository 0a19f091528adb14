package awsidentity

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/endpointcreds"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/smithy-go/logging"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/imagepullsecrets/operator/internal/exchange"
	"github.com/imagepullsecrets/operator/providers"
)

const ownHint = "give the operator a role for service accounts (IRSA), EKS Pod Identity or an instance role"

// operatorsOwn returns the operator's own credentials, which the SDK keeps
// until they end.
func (e *Exchange) operatorsOwn(ctx context.Context) (aws.Credentials, error) {
	provider, err := ownProvider(ctx, e.identity.region, e.identity.client)
	if err != nil {
		failure := providers.Errorf(providers.Invalid,
			"the operator's own AWS configuration: %s; check AWS_* in its environment (SSL_CERT_FILE stands in for AWS_CA_BUNDLE)",
			e.scrub.Describe(err.Error()))
		failure.Cause = err
		return aws.Credentials{}, failure
	}
	found, err := provider.Retrieve(ctx)
	e.signer, e.who = own, "the operator's own identity"
	if err != nil {
		return aws.Credentials{}, e.withoutOwn(ctx, e.origin(provider), err)
	}
	e.scrub.Add(found.SecretAccessKey, found.SessionToken, found.AccessKeyID)
	e.forget = provider.Invalidate
	return found, nil
}

// withoutOwn is the error when the operator has no credentials of its own.
func (e *Exchange) withoutOwn(ctx context.Context, origin string, err error) *providers.Error {
	e.http = headOf(err)
	call := Call{Call: exchange.Call{Action: "getting the operator's own AWS credentials", Host: origin}}
	failure := e.Failure(ctx, call, err)
	var sent *url.Error
	var plain interface{ HTTPStatusCode() int }
	_, refused := refusalIn(err)
	switch {
	case refused || ctx.Err() != nil || e.http.status != 0 || errors.As(err, &sent):
	case errors.As(err, &plain) && plain.HTTPStatusCode() == http.StatusForbidden:
		// The agent of EKS Pod Identity refuses in a line of text.
		failure = call.Errorf(providers.Denied, "refused (403 Forbidden)")
		failure.Cause = err
	default:
		// There was no trouble with a connection: a file is missing, or the
		// answer was of no known form.
		failure = call.Errorf(providers.Transient, "there are none")
		failure.Cause = err
	}
	failure.Message += "; " + ownHint
	return failure
}

// origin says where credentials come from.
func (e *Exchange) origin(provider *aws.CredentialsCache) string {
	sources := provider.ProviderSources()
	if len(sources) == 0 {
		return "an unknown place"
	}
	switch sources[len(sources)-1] {
	case aws.CredentialSourceIMDS:
		return "the instance's metadata service"
	case aws.CredentialSourceHTTP:
		return "the container's credentials endpoint"
	case aws.CredentialSourceEnvVarsSTSWebIDToken:
		return e.identity.region.STSHost
	default:
		return "what AWS_* in its environment names"
	}
}

// headOf returns a recorder of the last answer, which another exchange may
// have met.
func headOf(err error) *recorder {
	var answered *smithyhttp.ResponseError
	if !errors.As(err, &answered) || answered.Response == nil || answered.Response.Response == nil {
		return &recorder{}
	}
	return &recorder{status: answered.Response.StatusCode, header: answered.Response.Header}
}

// ownProviders are the process's providers of its own credentials, by ownKey:
// each keeps its credentials, so that many sources share them.
var ownProviders sync.Map

// ownKey is what own credentials depend on besides the environment.
type ownKey struct {
	region Region
	client *http.Client
}

// ownProvider returns the SDK's chain of the environment, a role for service
// accounts, shared files, the container's endpoint (EKS Pod Identity) and the
// instance's role. It makes no request. The error tells what is wrong with the
// environment.
func ownProvider(ctx context.Context, region Region, client *http.Client) (*aws.CredentialsCache, error) {
	key := ownKey{region, client}
	if found, ok := ownProviders.Load(key); ok {
		return found.(*aws.CredentialsCache), nil //nolint:forcetypeassert // nothing else is stored
	}
	calls := newOwnClient(client)
	loaded, err := config.LoadDefaultConfig(ctx,
		config.WithRegion(region.Name),
		config.WithUseFIPSEndpoint(region.Variant.FIPSState()),
		config.WithUseDualStackEndpoint(region.Variant.DualStackState()),
		config.WithHTTPClient(calls),
		config.WithLogger(logging.Nop{}),
		config.WithEndpointCredentialOptions(func(o *endpointcreds.Options) { o.HTTPClient = calls }),
		config.WithWebIdentityRoleCredentialOptions(func(o *stscreds.WebIdentityRoleOptions) {
			if o.RoleSessionName == "" {
				o.RoleSessionName = ApplicationID
			}
		}),
	)
	if err != nil {
		return nil, err
	}
	cache, ok := loaded.Credentials.(*aws.CredentialsCache)
	if !ok {
		cache = aws.NewCredentialsCache(loaded.Credentials)
	}
	found, _ := ownProviders.LoadOrStore(key, cache)
	return found.(*aws.CredentialsCache), nil //nolint:forcetypeassert // nothing else is stored
}

const (
	// ownTimeout ends requests for own credentials. The SDK makes them under
	// no deadline, as several exchanges may wait for one.
	ownTimeout = 30 * time.Second
	// localTimeout is that of endpoints on the node, which answer at once or
	// not at all.
	localTimeout = 5 * time.Second
)

// ownClient is the HTTP client for own credentials. Metadata service and
// container endpoint are on the node and speak plain HTTP: their requests
// never go through a proxy.
type ownClient struct{ cloud, local *http.Client }

func newOwnClient(client *http.Client) ownClient {
	cloud := *client
	cloud.Timeout = ownTimeout
	dialer := &net.Dialer{Timeout: localTimeout}
	return ownClient{cloud: &cloud, local: &http.Client{
		Timeout:   localTimeout,
		Transport: &http.Transport{DialContext: dialer.DialContext, IdleConnTimeout: ownTimeout},
	}}
}

// Do sends a request.
func (c ownClient) Do(request *http.Request) (*http.Response, error) {
	if request.URL.Scheme == "http" {
		return limitedDo(c.local, request)
	}
	return limitedDo(c.cloud, request)
}
