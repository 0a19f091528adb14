package ecr

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/google/go-cmp/cmp"

	"github.com/imagepullsecrets/operator/internal/awsidentity/awstest"
	"github.com/imagepullsecrets/operator/internal/dockerconfig"
	"github.com/imagepullsecrets/operator/internal/exchange"
	"github.com/imagepullsecrets/operator/providers"
)

// token is a success. Its proxyEndpoint is of the caller's account.
func token(expiresAt time.Time) awstest.Reply {
	return awstest.JSON(200, fmt.Sprintf(
		`{"authorizationData":[{"authorizationToken":%q,"expiresAt":%d.25,"proxyEndpoint":"https://999999999999.dkr.ecr.eu-central-1.amazonaws.com"}]}`,
		awstest.EncodedToken(), expiresAt.Unix()))
}

func newServer(t *testing.T) *awstest.Server {
	t.Helper()
	fake := awstest.NewServer(t)
	fake.Answer(awstest.GetToken, token(awstest.Now.Add(12*time.Hour)))
	return fake
}

// reaching returns a Provider that reaches a fake and retries ECR at once.
func reaching(t *testing.T, config Config, transport http.RoundTripper) *Provider {
	t.Helper()
	provider, err := New(config, &http.Client{Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	provider.now = func() time.Time { return awstest.Now }
	provider.newAPI = func(options ecr.Options) tokenAPI {
		options.Retryer = awstest.Retryer(options.Retryer.MaxAttempts())
		return ecr.New(options)
	}
	return provider
}

// fetch runs Fetch under a deadline that no test should meet.
func fetch(t *testing.T, provider *Provider) (providers.Credential, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return provider.Fetch(ctx, (&awstest.Minter{IssuedAt: awstest.Now}).Env())
}

func TestFetchReturnsTheTokensLogin(t *testing.T) {
	got, err := fetch(t, reaching(t, testConfig(), newServer(t)))
	if err != nil {
		t.Fatal(err)
	}
	if got.Login != (dockerconfig.Login{Username: "AWS", Password: awstest.Password}) {
		t.Errorf("got %#v", got.Login)
	}
	if !got.ExpiresAt.Equal(awstest.Now.Add(12*time.Hour + 250*time.Millisecond)) {
		t.Errorf("expires at %s", got.ExpiresAt)
	}
}

func TestFetchSignsWithTheAccessKey(t *testing.T) {
	fake := newServer(t)
	if _, err := fetch(t, reaching(t, testConfig(), fake)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{awstest.GetToken}, fake.Actions()); diff != "" {
		t.Fatal(diff)
	}
	request := fake.Requests()[0]
	if request.Host != "api.ecr.eu-central-1.amazonaws.com" || request.Body != "{}" || request.SessionToken != "" {
		t.Errorf("got %+v", request)
	}
	if !strings.HasPrefix(request.Authorization, "AWS4-HMAC-SHA256 Credential="+awstest.KeyID+"/") ||
		!strings.Contains(request.Authorization, "/eu-central-1/ecr/aws4_request") {
		t.Errorf("signed %q", request.Authorization)
	}
	if !strings.Contains(request.UserAgent, "imagepullsecret-operator") {
		t.Errorf("user agent %q does not tell who is calling", request.UserAgent)
	}
}

func TestFetchBecomesTheRoleFirst(t *testing.T) {
	for name, test := range map[string]struct {
		config Config
		action string
	}{
		"by an access key":    {withRole(testConfig()), awstest.AssumeRole},
		"by a ServiceAccount": {withServiceAccount(testConfig()), awstest.WebIdentity},
	} {
		t.Run(name, func(t *testing.T) {
			test.config.UseFIPS = true
			fake := newServer(t)
			if _, err := fetch(t, reaching(t, test.config, fake)); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{test.action, awstest.GetToken}, fake.Actions()); diff != "" {
				t.Fatal(diff)
			}
			assume, ask := fake.Requests()[0], fake.Requests()[1]
			if assume.Host != "sts-fips.eu-central-1.amazonaws.com" {
				t.Errorf("assumed at %s", assume.Host)
			}
			if ask.Host != "api.ecr-fips.eu-central-1.amazonaws.com" || ask.SessionToken != awstest.Session ||
				!strings.Contains(ask.Authorization, "Credential="+awstest.SessionID+"/") {
				t.Errorf("asked with %+v", ask)
			}
		})
	}
}

func TestFetchEndsWithARefusedRole(t *testing.T) {
	fake := newServer(t)
	fake.Answer(awstest.AssumeRole, awstest.STSError(403, "AccessDenied", "no"))
	_, err := fetch(t, reaching(t, withRole(testConfig()), fake))
	awstest.CheckError(t, err, providers.Denied, "sts:AssumeRole at sts.eu-central-1.amazonaws.com: AccessDenied")
	if len(fake.Actions()) != 1 {
		t.Errorf("called %v", fake.Actions())
	}
}

func TestFetchLooksAtNothingButItsConfiguration(t *testing.T) {
	for key, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "AKIAENVIRONMENT", "AWS_SECRET_ACCESS_KEY": "environment", "AWS_SESSION_TOKEN": "environment",
		"AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1", "AWS_PROFILE": "environment",
		"AWS_ENDPOINT_URL": "https://elsewhere.example", "AWS_ENDPOINT_URL_ECR": "https://elsewhere.example",
		"AWS_USE_FIPS_ENDPOINT": "true", "AWS_USE_DUALSTACK_ENDPOINT": "true", "AWS_MAX_ATTEMPTS": "1",
	} {
		t.Setenv(key, value)
	}
	fake := newServer(t)
	if _, err := fetch(t, reaching(t, testConfig(), fake)); err != nil {
		t.Fatal(err)
	}
	if got := fake.Requests()[0]; got.Host != "api.ecr.eu-central-1.amazonaws.com" || strings.Contains(got.Authorization, "ENVIRONMENT") {
		t.Errorf("the call went to %s, signed %q", got.Host, got.Authorization)
	}
}

func TestFetchTriesAgainAndSucceeds(t *testing.T) {
	fake := newServer(t)
	fake.Answer(awstest.GetToken, awstest.HTML(503, ""), awstest.JSONError(400, "ThrottlingException", "slow down"), token(awstest.Now.Add(time.Hour)))
	if _, err := fetch(t, reaching(t, testConfig(), fake)); err != nil {
		t.Fatal(err)
	}
	if got := len(fake.Actions()); got != 3 {
		t.Errorf("made %d calls", got)
	}
}

// refusal is how ECR, or something in its place, answers.
type refusal struct {
	answer func(extra string) awstest.Reply
	class  providers.Class
	calls  int
	want   []string
}

func fromECR(status int, code, message string) func(string) awstest.Reply {
	return func(extra string) awstest.Reply { return awstest.JSONError(status, code, message+extra) }
}

func html(status int) func(string) awstest.Reply {
	return func(extra string) awstest.Reply { return awstest.HTML(status, extra) }
}

func fixed(reply awstest.Reply) func(string) awstest.Reply {
	return func(string) awstest.Reply { return reply }
}

func withToken(text string) func(string) awstest.Reply {
	return fixed(awstest.JSON(200, `{"authorizationData":[{"authorizationToken":"`+text+`","expiresAt":1893600000}]}`))
}

var refusals = map[string]refusal{
	"a user without the right": {
		fromECR(400, "AccessDeniedException", "User: arn:aws:iam::111122223333:user/ci is not authorized to perform: ecr:GetAuthorizationToken on resource: *"), providers.Denied, 1,
		[]string{
			"ecr:GetAuthorizationToken at api.ecr.eu-central-1.amazonaws.com: AccessDeniedException: User: arn:aws:iam::111122223333:user/ci",
			"request id aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", "grant ecr:GetAuthorizationToken on resource * to the access key's user",
		},
	},
	"an unknown access key":       {fromECR(400, "UnrecognizedClientException", "The security token included in the request is invalid."), providers.Denied, 1, []string{"the access key is unknown, inactive or of another partition"}},
	"an ended session":            {fromECR(400, "ExpiredTokenException", "The security token included in the request is expired"), providers.Denied, 1, []string{"session that has ended"}},
	"the wrong secret key":        {fromECR(400, "InvalidSignatureException", "The request signature we calculated does not match the signature you provided."), providers.Denied, 1, []string{"secretKey does not belong to accessKeyID, or carries stray"}},
	"a signature from the past":   {fromECR(400, "InvalidSignatureException", "Signature expired: 20300102T000000Z is now earlier than 20300102T024905Z"), providers.ClockSkew, 1, []string{"clock"}},
	"a token's signature is late": {fromECR(400, "ExpiredTokenException", "Signature expired: 20300102T000000Z is now earlier"), providers.ClockSkew, 1, []string{"clock"}},
	"an expired request":          {fromECR(400, "RequestExpired", "Request has expired."), providers.ClockSkew, 1, []string{"clock"}},
	"a too skewed clock":          {fromECR(403, "RequestTimeTooSkewed", "The difference is too large."), providers.ClockSkew, 1, []string{"clock"}},
	"a wrong parameter":           {fromECR(400, "InvalidParameterException", "Invalid parameter"), providers.Invalid, 1, []string{"InvalidParameterException"}},
	"an organisation's no":        {fromECR(400, "BlockedByOrganizationPolicyException", "no"), providers.Denied, 1, []string{"organisation's policy"}},
	"too many requests":           {fromECR(400, "ThrottlingException", "Rate exceeded"), providers.Throttled, 3, []string{"Rate exceeded"}},
	"too many requests by status": {fromECR(429, "TooManyRequestsException", "Too many"), providers.Throttled, 3, []string{"Too many"}},
	"too many by an unknown code": {fromECR(429, "SomethingNew", "no"), providers.Throttled, 1, []string{"SomethingNew"}},
	"a server's error":            {fromECR(500, "ServerException", "oops"), providers.Transient, 3, []string{"ServerException: oops"}},

	"a gateway's too many requests": {html(429), providers.Throttled, 1, []string{"asked for fewer requests (429)"}},
	"a bad gateway":                 {html(502), providers.Transient, 3, []string{"502 Bad Gateway with text/html instead of data"}},
	"a portal's page":               {html(200), providers.Transient, 1, []string{"200 OK with text/html instead of data; a proxy in between?"}},
	"a server's error without a body": {
		fixed(awstest.Reply{Status: 503, Header: map[string]string{"Content-Type": "text/plain"}}), providers.Transient, 3, []string{"answered 503 Service Unavailable"},
	},
	"a code that may be a secret": {fixed(awstest.JSONError(400, awstest.KeyID, "no")), providers.Transient, 1, []string{"amazonaws.com: an error without a readable code: no (request id"}},
	"a redirect": {
		fixed(awstest.Reply{Status: 307, Header: map[string]string{"Location": "https://elsewhere.example/?t=" + awstest.Session}}),
		providers.Transient, 1, []string{"redirect (307 Temporary Redirect), which is not followed"},
	},
	"an endless answer":   {fixed(awstest.JSON(200, strings.Repeat(" ", exchange.MaxBody+1))), providers.Transient, 1, []string{"longer than 1048576 bytes"}},
	"a truncated answer":  {fixed(awstest.JSON(200, `{"authorizationData":[{"authorizationTok`)), providers.Transient, 1, []string{"answered 200 OK with application/x-amz-json-1.1 that can't be read"}},
	"a list of a string":  {fixed(awstest.JSON(200, `{"authorizationData":["x"]}`)), providers.Transient, 1, []string{"amazonaws.com: "}},
	"no list":             {fixed(awstest.JSON(200, `{}`)), providers.Transient, 1, []string{"the answer holds no authorizationData"}},
	"an empty list":       {fixed(awstest.JSON(200, `{"authorizationData":[]}`)), providers.Transient, 1, []string{"holds no authorizationData"}},
	"an empty entry":      {fixed(awstest.JSON(200, `{"authorizationData":[{}]}`)), providers.Transient, 1, []string{"holds no authorizationToken"}},
	"a null entry":        {fixed(awstest.JSON(200, `{"authorizationData":[null]}`)), providers.Transient, 1, []string{"authorization"}},
	"a past expiry":       {fixed(token(awstest.Now.Add(-time.Second))), providers.Transient, 1, []string{"the answer's token expired at 2030-01-02T03:04:04Z already"}},
	"broken base64":       {withToken("%%%"), providers.Transient, 1, []string{"not base64"}},
	"no colon":            {withToken("QVdT"), providers.Transient, 1, []string{"without a colon"}},
	"no password":         {withToken("QVdTOg=="), providers.Transient, 1, []string{"empty user or password"}},
	"no word of expiry":   {fixed(awstest.JSON(200, `{"authorizationData":[{"authorizationToken":"`+awstest.EncodedToken()+`"}]}`)), providers.Transient, 1, []string{"holds no expiresAt"}},
	"an expiry of a text": {fixed(awstest.JSON(200, `{"authorizationData":[{"authorizationToken":"x","expiresAt":"soon"}]}`)), providers.Transient, 1, []string{"amazonaws.com: "}},
}

func TestFetchTellsWhatWentWrong(t *testing.T) {
	for name, test := range refusals {
		t.Run(name, func(t *testing.T) {
			fake := newServer(t)
			fake.Answer(awstest.GetToken, test.answer(""))
			_, err := fetch(t, reaching(t, testConfig(), fake))
			awstest.CheckError(t, err, test.class, test.want...)
			if got := len(fake.Actions()); got != test.calls {
				t.Errorf("made %d calls, want %d: %v", got, test.calls, err)
			}
		})
	}
}

func TestADeniedRoleIsNamed(t *testing.T) {
	fake := newServer(t)
	fake.Answer(awstest.GetToken, awstest.JSONError(400, "AccessDeniedException", "no"))
	_, err := fetch(t, reaching(t, withServiceAccount(testConfig()), fake))
	awstest.CheckError(t, err, providers.Denied, "grant ecr:GetAuthorizationToken on resource * to arn:aws:iam::111122223333:role/team/pull")
}

func TestNoMessageTellsASecret(t *testing.T) {
	extra := " " + strings.Join(awstest.Secrets(), " ")
	for name, test := range refusals {
		t.Run(name, func(t *testing.T) {
			fake := newServer(t)
			fake.Answer(awstest.GetToken, test.answer(extra).
				With("X-Amzn-Requestid", awstest.KeyID).With("Retry-After", awstest.SecretKey).With("Date", awstest.Session))
			_, err := fetch(t, reaching(t, withRole(testConfig()), fake))
			if err == nil {
				t.Fatal("no error")
			}
			if found := awstest.Leaks(err.Error()); len(found) > 0 || len([]rune(err.Error())) > 1024 {
				t.Errorf("%q tells %q", err, found)
			}
		})
	}
}

func TestATokenThatIsOverByAFastClockIsSkew(t *testing.T) {
	fake := newServer(t)
	aws := awstest.Now.Add(-13 * time.Hour)
	fake.Answer(awstest.GetToken, token(aws.Add(12*time.Hour)).With("Date", aws.Format(http.TimeFormat)))
	_, err := fetch(t, reaching(t, testConfig(), fake))
	awstest.CheckError(t, err, providers.ClockSkew, "already; this machine's clock is 13h0m0s ahead of AWS's: set it right")
}

// tokenFunc stands for the SDK.
type tokenFunc func() (*ecr.GetAuthorizationTokenOutput, error)

func (f tokenFunc) GetAuthorizationToken(context.Context, *ecr.GetAuthorizationTokenInput, ...func(*ecr.Options)) (*ecr.GetAuthorizationTokenOutput, error) {
	return f()
}

func TestFetchSurvivesWhateverTheSDKReturns(t *testing.T) {
	for name, test := range map[string]struct {
		api  tokenFunc
		want string
	}{
		"nothing at all":      {func() (*ecr.GetAuthorizationTokenOutput, error) { return nil, nil }, "holds no authorizationData"},
		"an error of no kind": {func() (*ecr.GetAuthorizationTokenOutput, error) { return nil, errors.New(awstest.SecretKey) }, "the connection failed"},
	} {
		t.Run(name, func(t *testing.T) {
			provider := reaching(t, testConfig(), awstest.Broken{Err: errors.New("no network here")})
			provider.newAPI = func(ecr.Options) tokenAPI { return test.api }
			_, err := fetch(t, provider)
			awstest.CheckError(t, err, providers.Transient, test.want)
		})
	}
}

func TestConcurrentFetchesDoNotMix(t *testing.T) {
	provider := reaching(t, withServiceAccount(testConfig()), newServer(t))
	failures := make(chan error)
	const fetches = 8
	for range fetches {
		go func() {
			_, err := provider.Fetch(t.Context(), (&awstest.Minter{IssuedAt: awstest.Now}).Env())
			failures <- err
		}()
	}
	for range fetches {
		if err := <-failures; err != nil {
			t.Error(err)
		}
	}
}

func FuzzAnAnswer(f *testing.F) {
	f.Add(200, `{"authorizationData":[{"authorizationToken":"QVdTOnNlY3JldA==","expiresAt":1893600000}]}`)
	f.Add(200, `{"authorizationData":[{"authorizationToken":"QVdTOg==","expiresAt":1e400}]}`)
	f.Add(200, `{"authorizationData":[null]}`)
	f.Add(200, `{"authorizationData":{"authorizationToken":1}}`)
	f.Add(400, `{"__type":"AccessDeniedException","message":"no"}`)
	f.Add(500, `<html>`)
	f.Add(399, "\xff\x00")
	f.Fuzz(func(t *testing.T, status int, body string) {
		provider := reaching(t, testConfig(), awstest.Canned{Status: status, Body: body})
		got, err := fetch(t, provider)
		if err != nil {
			awstest.CheckError(t, err, providers.ClassOf(err))
			return
		}
		if got.Login.Username == "" || got.Login.Password == "" || !got.ExpiresAt.After(awstest.Now) {
			t.Errorf("%d %q gave %v until %s", status, body, got.Login, got.ExpiresAt)
		}
	})
}

func TestTheHostThatIsDownIsToldFromTheOther(t *testing.T) {
	const sts, api = "sts.eu-central-1.amazonaws.com", "api.ecr.eu-central-1.amazonaws.com"
	oops := awstest.HTML(503, "")
	for name, test := range map[string]struct {
		config         Config
		action         string
		reply          awstest.Reply
		endpoint, down string
	}{
		"STS, which is asked first":        {withServiceAccount(testConfig()), awstest.WebIdentity, oops, sts, sts},
		"ECR, which is asked behind it":    {withServiceAccount(testConfig()), awstest.GetToken, oops, sts, api},
		"ECR, which alone is asked":        {testConfig(), awstest.GetToken, oops, api, api},
		"ECR by its own word":              {testConfig(), awstest.GetToken, awstest.JSONError(500, "ServerException", "oops"), api, api},
		"nobody, as ECR refuses":           {testConfig(), awstest.GetToken, awstest.JSONError(400, "AccessDeniedException", "no"), api, ""},
		"nobody, as ECR is asked too much": {testConfig(), awstest.GetToken, awstest.JSONError(400, "ThrottlingException", "no"), api, ""},
		"nobody, as a token is missing":    {testConfig(), awstest.GetToken, awstest.JSON(200, `{}`), api, ""},
	} {
		t.Run(name, func(t *testing.T) {
			fake := newServer(t)
			fake.Answer(test.action, test.reply)
			provider := reaching(t, test.config, fake)
			_, err := fetch(t, provider)
			if got := providers.DownHost(err); err == nil || got != test.down || provider.Endpoints()[0] != test.endpoint {
				t.Errorf("%q is said to be down, and the endpoint is %s: %v", got, provider.Endpoints(), err)
			}
		})
	}
}

func TestAMachineThatIsBehindTakesTheLoginForOverInTime(t *testing.T) {
	const behind = 7 * time.Minute
	fake := newServer(t)
	aws := awstest.Now.Add(behind)
	fake.Answer(awstest.GetToken, token(aws.Add(12*time.Hour)).With("Date", aws.Format(http.TimeFormat)))
	got, err := fetch(t, reaching(t, testConfig(), fake))
	if want := awstest.Now.Add(12*time.Hour + 250*time.Millisecond); err != nil || !got.ExpiresAt.Equal(want) || got.Skew != "this machine's clock is 7m0s behind AWS's" {
		t.Errorf("expires at %s, want %s, %q (%v)", got.ExpiresAt, want, got.Skew, err)
	}
}
