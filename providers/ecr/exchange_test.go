package ecr

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/imagepullsecrets/operator/providers"
)

func TestFetchReturnsTheTokenForEveryRegistry(t *testing.T) {
	config := testConfig()
	config.UseFIPS, config.UseDualStack = true, true
	fake := newFakeAWS(t)
	provider := newProvider(t, config, fake)
	logins, expiresAt, err := fetch(t, provider)
	if err != nil {
		t.Fatal(err)
	}
	// The answer's proxyEndpoint is of account 999999999999.
	want := map[string]string{
		"111122223333.dkr.ecr.eu-central-1.amazonaws.com":      "AWS:" + plantedPassword,
		"111122223333.dkr.ecr-fips.eu-central-1.amazonaws.com": "AWS:" + plantedPassword,
		"111122223333.dkr-ecr.eu-central-1.on.aws":             "AWS:" + plantedPassword,
		"111122223333.dkr-ecr-fips.eu-central-1.on.aws":        "AWS:" + plantedPassword,
	}
	if diff := cmp.Diff(want, logins); diff != "" {
		t.Error(diff)
	}
	for _, registry := range provider.Registries() {
		if _, found := logins[registry]; !found {
			t.Errorf("no login for %s", registry)
		}
	}
	if !expiresAt.Equal(testNow.Add(12*time.Hour + 250*time.Millisecond)) {
		t.Errorf("expires at %s", expiresAt)
	}
}

func TestFetchSignsWithTheAccessKey(t *testing.T) {
	fake := newFakeAWS(t)
	if _, _, err := fetch(t, newProvider(t, testConfig(), fake)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{actionToken}, fake.actions()); diff != "" {
		t.Fatal(diff)
	}
	request := fake.requests[0]
	if request.host != "api.ecr.eu-central-1.amazonaws.com" || request.body != "{}" || request.sessionToken != "" {
		t.Errorf("got %+v", request)
	}
	if !strings.HasPrefix(request.authorization, "AWS4-HMAC-SHA256 Credential="+plantedKeyID+"/") ||
		!strings.Contains(request.authorization, "/eu-central-1/ecr/aws4_request") {
		t.Errorf("signed %q", request.authorization)
	}
	if !strings.Contains(request.userAgent, "imagepullsecret-operator") {
		t.Errorf("user agent %q does not tell who is calling", request.userAgent)
	}
}

func TestFetchAssumesTheRoleFirst(t *testing.T) {
	config := withRole(testConfig())
	config.UseFIPS = true
	fake := newFakeAWS(t)
	if _, _, err := fetch(t, newProvider(t, config, fake)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{actionAssumeRole, actionToken}, fake.actions()); diff != "" {
		t.Fatal(diff)
	}
	assume, ask := fake.requests[0], fake.requests[1]
	form, err := url.ParseQuery(assume.body)
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		"RoleArn":         config.RoleARN,
		"RoleSessionName": "imagepullsecret-operator",
		"DurationSeconds": "900",
	} {
		if got := form.Get(key); got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	if assume.host != "sts-fips.eu-central-1.amazonaws.com" || !strings.Contains(assume.authorization, "Credential="+plantedKeyID+"/") {
		t.Errorf("assumed with %+v", assume)
	}
	if ask.host != "api.ecr-fips.eu-central-1.amazonaws.com" || ask.sessionToken != plantedSession ||
		!strings.Contains(ask.authorization, "Credential="+plantedTempID+"/") {
		t.Errorf("asked with %+v", ask)
	}
}

func TestFetchLooksAtNothingButItsConfiguration(t *testing.T) {
	for key, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "AKIAENVIRONMENT", "AWS_SECRET_ACCESS_KEY": "environment", "AWS_SESSION_TOKEN": "environment",
		"AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1", "AWS_PROFILE": "environment",
		"AWS_ENDPOINT_URL": "https://elsewhere.example", "AWS_ENDPOINT_URL_ECR": "https://elsewhere.example",
		"AWS_ENDPOINT_URL_STS": "https://elsewhere.example", "AWS_USE_FIPS_ENDPOINT": "true",
		"AWS_USE_DUALSTACK_ENDPOINT": "true", "AWS_ROLE_ARN": "arn:aws:iam::999999999999:role/environment",
		"AWS_WEB_IDENTITY_TOKEN_FILE": "/nonexistent", "AWS_MAX_ATTEMPTS": "1",
	} {
		t.Setenv(key, value)
	}
	fake := newFakeAWS(t)
	if _, _, err := fetch(t, newProvider(t, withRole(testConfig()), fake)); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"sts.eu-central-1.amazonaws.com", "api.ecr.eu-central-1.amazonaws.com"} {
		if got := fake.requests[i]; got.host != want || strings.Contains(got.authorization, "ENVIRONMENT") {
			t.Errorf("call %d went to %s, signed %q", i, got.host, got.authorization)
		}
	}
}

func TestFetchTriesAgainAndSucceeds(t *testing.T) {
	fake := newFakeAWS(t)
	fake.replies[actionToken] = []reply{html(503)(""), ecrError(400, "ThrottlingException", "slow down"), token(testNow.Add(time.Hour))}
	if _, _, err := fetch(t, newProvider(t, testConfig(), fake)); err != nil {
		t.Fatal(err)
	}
	if got := len(fake.actions()); got != 3 {
		t.Errorf("made %d calls", got)
	}
}

// tokenFunc and roleFunc stand for the SDK.
type tokenFunc func() (*ecr.GetAuthorizationTokenOutput, error)

func (f tokenFunc) GetAuthorizationToken(context.Context, *ecr.GetAuthorizationTokenInput, ...func(*ecr.Options)) (*ecr.GetAuthorizationTokenOutput, error) {
	return f()
}

type roleFunc func() (*sts.AssumeRoleOutput, error)

func (f roleFunc) AssumeRole(context.Context, *sts.AssumeRoleInput, ...func(*sts.Options)) (*sts.AssumeRoleOutput, error) {
	return f()
}

func TestFetchSurvivesWhateverTheSDKReturns(t *testing.T) {
	refusal := &smithy.GenericAPIError{Code: "ServerException", Message: "oops"}
	for name, test := range map[string]struct {
		role  roleFunc
		token tokenFunc
		want  string
	}{
		"nothing at all for a token": {
			token: func() (*ecr.GetAuthorizationTokenOutput, error) { return nil, nil },
			want:  "holds no authorizationData",
		},
		"an error of no kind": {
			token: func() (*ecr.GetAuthorizationTokenOutput, error) { return nil, errors.New(plantedSecret) },
			want:  "the connection failed",
		},
		"a refusal without a response": {
			token: func() (*ecr.GetAuthorizationTokenOutput, error) { return nil, refusal },
			want:  "amazonaws.com: ServerException: oops",
		},
		"an empty session": {
			role: func() (*sts.AssumeRoleOutput, error) { return &sts.AssumeRoleOutput{}, nil },
			want: "sts:AssumeRole at sts.eu-central-1.amazonaws.com: ",
		},
	} {
		t.Run(name, func(t *testing.T) {
			config := testConfig()
			if test.role != nil {
				config = withRole(config)
			}
			provider := newProvider(t, config, broken{errors.New("no network here")})
			provider.calls.newECR = func(ecr.Options) tokenAPI { return test.token }
			provider.calls.newSTS = func(sts.Options) stscreds.AssumeRoleAPIClient { return test.role }
			_, _, err := fetch(t, provider)
			checkMessage(t, err, providers.Transient, []string{test.want})
		})
	}
}

func TestTheRealRetryerIsBounded(t *testing.T) {
	retryer := calls{}.retryer()
	if _, standard := retryer.(*retry.Standard); !standard || retryer.MaxAttempts() != 3 {
		t.Errorf("got %T with %d attempts", retryer, retryer.MaxAttempts())
	}
}

func TestConcurrentFetchesDoNotMix(t *testing.T) {
	fake := newFakeAWS(t)
	provider := newProvider(t, withRole(testConfig()), fake)
	failures := make(chan error)
	const fetches = 8
	for range fetches {
		go func() {
			_, err := provider.Fetch(t.Context())
			failures <- err
		}()
	}
	for range fetches {
		if err := <-failures; err != nil {
			t.Error(err)
		}
	}
}

var (
	_ http.RoundTripper = (*fakeAWS)(nil)
	_ aws.HTTPClient    = (*recorder)(nil)
)
