package ecrpublic

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecrpublic"
	"github.com/google/go-cmp/cmp"

	"github.com/imagepullsecrets/operator/internal/awsidentity"
	"github.com/imagepullsecrets/operator/internal/awsidentity/awstest"
	"github.com/imagepullsecrets/operator/internal/dockerconfig"
	"github.com/imagepullsecrets/operator/providers"
)

const role = "arn:aws:iam::111122223333:role/team/pull"

func keyConfig() Config {
	return Config{Identity: awsidentity.Config{AccessKeyID: awstest.KeyID, SecretAccessKey: awstest.SecretKey}}
}

func accountConfig() Config {
	return Config{Identity: awsidentity.Config{
		ServiceAccount: providers.ServiceAccount{Namespace: "registry-access", Name: "puller", UID: "u-1"}, RoleARN: role,
	}}
}

func token(expiresAt time.Time) awstest.Reply {
	return awstest.JSON(200, fmt.Sprintf(
		`{"authorizationData":{"authorizationToken":%q,"expiresAt":%d.25}}`, awstest.EncodedToken(), expiresAt.Unix()))
}

func newServer(t *testing.T) *awstest.Server {
	t.Helper()
	fake := awstest.NewServer(t)
	fake.Answer(awstest.GetToken, token(awstest.Now.Add(12*time.Hour)))
	return fake
}

func mustNew(t *testing.T, config Config) *Provider {
	t.Helper()
	provider, err := New(config, nil)
	if err != nil {
		t.Fatal(err)
	}
	return provider
}

// fetch runs Fetch against a fake, retrying at once, under a deadline that no
// test should meet.
func fetch(t *testing.T, config Config, transport http.RoundTripper) (providers.Credential, error) {
	t.Helper()
	provider, err := New(config, &http.Client{Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	provider.now = func() time.Time { return awstest.Now }
	provider.newAPI = func(options ecrpublic.Options) tokenAPI {
		options.Retryer = awstest.Retryer(options.Retryer.MaxAttempts())
		return ecrpublic.New(options)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return provider.Fetch(ctx, (&awstest.Minter{IssuedAt: awstest.Now}).Env())
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	for name, test := range map[string]struct {
		config Config
		want   []string
	}{
		"nobody":                      {Config{}, []string{"nobody is named to call AWS"}},
		"a role of another partition": {Config{awsidentity.Config{AccessKeyID: "x", RoleARN: "arn:aws-cn:iam::111122223333:role/pull"}}, []string{"secretKey is empty", `is of partition "aws-cn", but region us-east-1 is of partition aws`}},
	} {
		t.Run(name, func(t *testing.T) {
			provider, err := New(test.config, nil)
			if provider != nil {
				t.Errorf("got %v", provider)
			}
			awstest.CheckError(t, err, providers.Invalid, test.want...)
		})
	}
}

func TestTheAPIsHostIsTheSDKs(t *testing.T) {
	endpoint, err := ecrpublic.NewDefaultEndpointResolverV2().ResolveEndpoint(t.Context(), ecrpublic.EndpointParameters{Region: aws.String(region)})
	if err != nil || endpoint.URI.Host != api {
		t.Errorf("got %s, %v", endpoint.URI.Host, err)
	}
}

func TestWhatIsKnownBeforeAnExchange(t *testing.T) {
	provider := mustNew(t, keyConfig())
	if diff := cmp.Diff([]string{"public.ecr.aws", "ecr-public.aws.com"}, provider.Registries()); diff != "" {
		t.Error(diff)
	}
	if provider.Name() != "ecrPublic" || provider.Endpoints()[0] != api {
		t.Errorf("%s at %s", provider.Name(), provider.Endpoints())
	}
	if got := mustNew(t, accountConfig()).Endpoints(); !slices.Equal(got, []string{"sts.us-east-1.amazonaws.com", api}) {
		t.Errorf("a role begins at %s", got)
	}
}

func TestTheKeyIsThatOfTheIdentity(t *testing.T) {
	// awsidentity's tests change each field of an identity. A new field here
	// needs a decision.
	if got := reflect.TypeFor[Config]().NumField(); got != 1 {
		t.Errorf("%d fields", got)
	}
	one, other := mustNew(t, keyConfig()), mustNew(t, accountConfig())
	if one.Key() == other.Key() || one.Key() != mustNew(t, keyConfig()).Key() {
		t.Error("the key does not follow the identity")
	}
	if home, err := awsidentity.FindRegion(region, awsidentity.Variant{}); err != nil {
		t.Error(err)
	} else if private, err := awsidentity.New(keyConfig().Identity, home, nil); err != nil || private.Key("ecr") == one.Key() {
		t.Errorf("shares its key with the private registry: %v", err)
	}
}

func TestNothingPrintsASecret(t *testing.T) {
	config := keyConfig()
	provider := mustNew(t, config)
	type holder struct {
		Provider providers.Provider
		Config   Config
	}
	for _, value := range []any{config, &config, provider, holder{provider, config}, &holder{provider, config}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
			if found := awstest.Leaks(fmt.Sprintf(verb, value)); len(found) > 0 {
				t.Errorf("%s of %T tells %q", verb, value, found)
			}
		}
	}
}

func TestFetchReturnsTheTokensLogin(t *testing.T) {
	for name, test := range map[string]struct {
		config  Config
		actions []string
		signer  string
	}{
		"by an access key":    {keyConfig(), []string{awstest.GetToken}, awstest.KeyID},
		"by a ServiceAccount": {accountConfig(), []string{awstest.WebIdentity, awstest.GetToken}, awstest.SessionID},
	} {
		t.Run(name, func(t *testing.T) {
			fake := newServer(t)
			got, err := fetch(t, test.config, fake)
			if err != nil {
				t.Fatal(err)
			}
			if got.Login != (dockerconfig.Login{Username: "AWS", Password: awstest.Password}) || !got.ExpiresAt.Equal(awstest.Now.Add(12*time.Hour+250*time.Millisecond)) {
				t.Errorf("got %#v until %s", got.Login, got.ExpiresAt)
			}
			if diff := cmp.Diff(test.actions, fake.Actions()); diff != "" {
				t.Fatal(diff)
			}
			asked := fake.Requests()[len(test.actions)-1]
			if asked.Host != api || asked.Body != "{}" || !strings.Contains(asked.UserAgent, awsidentity.ApplicationID) ||
				!strings.Contains(asked.Authorization, "Credential="+test.signer+"/") || !strings.Contains(asked.Authorization, "/us-east-1/ecr-public/aws4_request") {
				t.Errorf("asked with %+v", asked)
			}
		})
	}
}

func TestFetchEndsWithARefusedRole(t *testing.T) {
	fake := newServer(t)
	fake.Answer(awstest.WebIdentity, awstest.STSError(403, "AccessDenied", "no"))
	_, err := fetch(t, accountConfig(), fake)
	awstest.CheckError(t, err, providers.Denied, "sts:AssumeRoleWithWebIdentity at sts.us-east-1.amazonaws.com: AccessDenied")
}

func TestFetchTellsWhatWentWrong(t *testing.T) {
	for name, test := range map[string]struct {
		config Config
		answer awstest.Reply
		class  providers.Class
		calls  int
		want   []string
	}{
		"a user without the right": {
			keyConfig(), awstest.JSONError(400, "AccessDeniedException", "User: arn:aws:iam::111122223333:user/ci is not authorized to perform: ecr-public:GetAuthorizationToken on resource: *"), providers.Denied, 1,
			[]string{
				"ecr-public:GetAuthorizationToken at api.ecr-public.us-east-1.amazonaws.com: AccessDeniedException: User: arn:aws:iam::111122223333:user/ci",
				"grant ecr-public:GetAuthorizationToken and sts:GetServiceBearerToken on resource * to the access key's user",
			},
		},
		"a role without the bearer token": {
			accountConfig(), awstest.JSONError(400, "AccessDeniedException", "User: arn:aws:sts::111122223333:assumed-role/pull/me is not authorized to perform: sts:GetServiceBearerToken on resource: arn:aws:sts::111122223333:*"), providers.Denied, 2,
			[]string{"sts:GetServiceBearerToken on resource * to " + role},
		},
		"an unknown access key": {keyConfig(), awstest.JSONError(400, "UnrecognizedClientException", "The security token included in the request is invalid."), providers.Denied, 1, []string{"the access key is unknown"}},
		"a revoked session":     {accountConfig(), awstest.JSONError(400, "ExpiredTokenException", "The security token included in the request is expired"), providers.Denied, 2, []string{"does not take the session of " + role}},
		"too many requests":     {keyConfig(), awstest.JSONError(400, "ThrottlingException", "Rate exceeded"), providers.Throttled, 3, []string{"Rate exceeded"}},
		"a server's error":      {keyConfig(), awstest.JSONError(500, "ServerException", "oops"), providers.Transient, 3, []string{"ServerException: oops"}},
		"a portal's page":       {keyConfig(), awstest.HTML(200, ""), providers.Transient, 1, []string{"200 OK with text/html instead of data"}},
		"nothing":               {keyConfig(), awstest.JSON(200, `{}`), providers.Transient, 1, []string{"the answer holds no authorizationData"}},
		"null":                  {keyConfig(), awstest.JSON(200, `{"authorizationData":null}`), providers.Transient, 1, []string{"the answer holds no authorizationData"}},
		"a private registry's":  {keyConfig(), awstest.JSON(200, `{"authorizationData":[{}]}`), providers.Transient, 1, []string{"amazonaws.com: "}},
		"no token":              {keyConfig(), awstest.JSON(200, `{"authorizationData":{}}`), providers.Transient, 1, []string{"holds no authorizationToken"}},
		"no word of expiry":     {keyConfig(), awstest.JSON(200, `{"authorizationData":{"authorizationToken":"QVdTOnNlY3JldA=="}}`), providers.Transient, 1, []string{"holds no expiresAt"}},
		"a past expiry":         {keyConfig(), token(awstest.Now.Add(-time.Second)), providers.Transient, 1, []string{"the answer's token expired at 2030-01-02T03:04:04Z already"}},
	} {
		t.Run(name, func(t *testing.T) {
			fake := newServer(t)
			fake.Answer(awstest.GetToken, test.answer)
			_, err := fetch(t, test.config, fake)
			awstest.CheckError(t, err, test.class, test.want...)
			if got := len(fake.Actions()); got != test.calls {
				t.Errorf("made %d calls, want %d: %v", got, test.calls, err)
			}
		})
	}
}

// tokenFunc stands for the SDK.
type tokenFunc func() (*ecrpublic.GetAuthorizationTokenOutput, error)

func (f tokenFunc) GetAuthorizationToken(context.Context, *ecrpublic.GetAuthorizationTokenInput, ...func(*ecrpublic.Options)) (*ecrpublic.GetAuthorizationTokenOutput, error) {
	return f()
}

func TestFetchSurvivesAnSDKThatReturnsNothing(t *testing.T) {
	provider := mustNew(t, keyConfig())
	provider.newAPI = func(ecrpublic.Options) tokenAPI {
		return tokenFunc(func() (*ecrpublic.GetAuthorizationTokenOutput, error) { return nil, nil })
	}
	_, err := provider.Fetch(t.Context(), providers.Env{})
	awstest.CheckError(t, err, providers.Transient, "the answer holds no authorizationData")
}

func TestNetworkErrorsNameTheHost(t *testing.T) {
	_, err := fetch(t, keyConfig(), awstest.Broken{Err: errors.New(awstest.SecretKey)})
	awstest.CheckError(t, err, providers.Transient, "ecr-public:GetAuthorizationToken at "+api+": the connection failed")
	if got := providers.DownHost(err); got != mustNew(t, keyConfig()).Endpoints()[0] {
		t.Errorf("%q is said to be down", got)
	}
}

func TestAMachineThatIsBehindTakesTheLoginForOverInTime(t *testing.T) {
	const behind = 7 * time.Minute
	fake := newServer(t)
	aws := awstest.Now.Add(behind)
	fake.Answer(awstest.GetToken, token(aws.Add(12*time.Hour)).With("Date", aws.Format(http.TimeFormat)))
	got, err := fetch(t, keyConfig(), fake)
	if want := awstest.Now.Add(12*time.Hour + 250*time.Millisecond); err != nil || !got.ExpiresAt.Equal(want) || got.Skew != "this machine's clock is 7m0s behind AWS's" {
		t.Errorf("expires at %s, want %s, %q (%v)", got.ExpiresAt, want, got.Skew, err)
	}
}

func FuzzAnAnswer(f *testing.F) {
	f.Add(200, `{"authorizationData":{"authorizationToken":"QVdTOnNlY3JldA==","expiresAt":1893600000}}`)
	f.Add(200, `{"authorizationData":{"authorizationToken":"QVdTOg==","expiresAt":1e400}}`)
	f.Add(200, `{"authorizationData":[null]}`)
	f.Add(400, `{"__type":"AccessDeniedException","message":"no"}`)
	f.Add(500, `<html>`)
	f.Add(399, "\xff\x00")
	f.Fuzz(func(t *testing.T, status int, body string) {
		got, err := fetch(t, keyConfig(), awstest.Canned{Status: status, Body: body})
		if err != nil {
			awstest.CheckError(t, err, providers.ClassOf(err))
			return
		}
		if got.Login.Username == "" || got.Login.Password == "" || !got.ExpiresAt.After(awstest.Now) {
			t.Errorf("%d %q gave %v until %s", status, body, got.Login, got.ExpiresAt)
		}
	})
}
