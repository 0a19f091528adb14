package awsidentity

import (
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/imagepullsecrets/operator/internal/awsidentity/awstest"
	"github.com/imagepullsecrets/operator/providers"
)

const (
	firstRole = "arn:aws:iam::111122223333:role/team/pull"
	nextRole  = "arn:aws:iam::444455556666:role/registry"
	lastRole  = "arn:aws:iam::777788889999:role/last"
)

func keyConfig() Config {
	return Config{AccessKeyID: awstest.KeyID, SecretAccessKey: awstest.SecretKey}
}

func keyWithRole() Config {
	config := keyConfig()
	config.RoleARN = firstRole
	return config
}

func accountConfig() Config {
	return Config{
		ServiceAccount: providers.ServiceAccount{Namespace: "registry-access", Name: "puller", UID: "u-1"},
		RoleARN:        firstRole,
	}
}

func frankfurt(t testing.TB) Region {
	t.Helper()
	region, err := FindRegion("eu-central-1", Variant{})
	if err != nil {
		t.Fatal(err)
	}
	return region
}

// newIdentity returns an Identity whose calls are retried at once.
func newIdentity(t testing.TB, config Config, transport http.RoundTripper) *Identity {
	t.Helper()
	identity, err := New(config, frankfurt(t), &http.Client{Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	identity.newSTS = func(options sts.Options) stsAPI {
		options.Retryer = awstest.Retryer(options.Retryer.MaxAttempts())
		return sts.New(options)
	}
	return identity
}

func begin(identity *Identity, env providers.Env) *Exchange {
	return identity.Begin(env, func() time.Time { return awstest.Now })
}

// minting returns what the cluster lends, by a clock that is right.
func minting() providers.Env { return (&awstest.Minter{IssuedAt: awstest.Now}).Env() }

// become runs the chain of an identity.
func become(t testing.TB, identity *Identity, env providers.Env) (aws.Credentials, error) {
	t.Helper()
	provider, err := begin(identity, env).Credentials(t.Context())
	if err != nil {
		return aws.Credentials{}, err
	}
	found, err := provider.Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return found, nil
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
