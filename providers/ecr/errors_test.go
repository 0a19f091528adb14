package ecr

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/imagepullsecrets/operator/providers"
)

// refusal is how AWS, or something in its place, answers one of the calls.
type refusal struct {
	action  string
	answer  func(extra string) reply
	class   providers.Class
	calls   int
	message []string
}

func fromSTS(status int, code, message string) func(string) reply {
	return func(extra string) reply { return stsError(status, code, message+extra) }
}

func fromECR(status int, code, message string) func(string) reply {
	return func(extra string) reply { return ecrError(status, code, message+extra) }
}

func html(status int) func(string) reply {
	return func(extra string) reply {
		return reply{status: status, body: "<html><body>portal" + extra + "</body></html>", header: map[string]string{"Content-Type": "text/html; charset=utf-8"}}
	}
}

var stsRefusals = map[string]refusal{
	"STS: a trust policy that does not name the user": {
		answer: fromSTS(403, "AccessDenied", "User: arn:aws:iam::111122223333:user/ci is not authorized to perform: sts:AssumeRole"),
		class:  providers.Denied, calls: 1,
		message: []string{"sts:AssumeRole at sts.eu-central-1.amazonaws.com: AccessDenied: User: arn:aws:iam::111122223333:user/ci is not authorized", "request id 11111111-2222", "trust policy of arn:aws:iam::111122223333:role/team/pull"},
	},
	"STS: an unknown access key": {
		answer: fromSTS(403, "InvalidClientTokenId", "The security token included in the request is invalid."),
		class:  providers.Denied, calls: 1, message: []string{"unknown, inactive or of another partition"},
	},
	"STS: the wrong secret key": {
		answer: fromSTS(403, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided."),
		class:  providers.Denied, calls: 1, message: []string{"secretKey does not belong to accessKeyID"},
	},
	"STS: a signature from the past": {
		answer: fromSTS(403, "SignatureDoesNotMatch", "Signature expired: 20300102T000000Z is now earlier than 20300102T024905Z"),
		class:  providers.ClockSkew, calls: 1, message: []string{"clock"},
	},
	"STS: a signature from the future": {
		answer: fromSTS(403, "SignatureDoesNotMatch", "Signature not yet current: 20300102T060000Z is still later than 20300102T031905Z"),
		class:  providers.ClockSkew, calls: 1, message: []string{"clock"},
	},
	"STS: no such identity provider": {
		answer: fromSTS(400, "InvalidIdentityToken", "No OpenIDConnect provider found in your account for https://issuer.example"),
		class:  providers.Invalid, calls: 1, message: []string{"InvalidIdentityToken", "issuer and audience"},
	},
	"STS: the wrong audience": {
		answer: fromSTS(400, "InvalidIdentityToken", "Incorrect token audience"),
		class:  providers.Invalid, calls: 1, message: []string{"Incorrect token audience"},
	},
	"STS: an identity provider that does not answer for its keys": {
		answer: fromSTS(400, "InvalidIdentityToken", "Couldn't retrieve verification key from your identity provider"),
		class:  providers.Transient, calls: 1, message: []string{"Couldn't retrieve verification key"},
	},
	"STS: an expired web identity token": {
		answer: fromSTS(400, "ExpiredTokenException", "Token expired: current date/time 1893553445 must be before the expiration date/time 1893550000"),
		class:  providers.ClockSkew, calls: 1, message: []string{"clock"},
	},
	"STS: an ended session": {
		answer: fromSTS(403, "ExpiredToken", "The security token included in the request is expired"),
		class:  providers.Denied, calls: 1, message: []string{"session that has ended"},
	},
	"STS: an unreachable identity provider": {
		answer: fromSTS(400, "IDPCommunicationError", "timed out"),
		class:  providers.Transient, calls: 3, message: []string{"IDPCommunicationError"},
	},
	"STS: a rejected claim": {
		answer: fromSTS(403, "IDPRejectedClaim", "no"), class: providers.Invalid, calls: 1, message: []string{"IDPRejectedClaim"},
	},
	"STS: a region where it is not activated": {
		answer: fromSTS(403, "RegionDisabledException", "STS is not activated in this region"),
		class:  providers.Invalid, calls: 1, message: []string{"activate STS for the region"},
	},
	"STS: a request that it can't take": {
		answer: fromSTS(400, "ValidationError", "1 validation error detected"),
		class:  providers.Invalid, calls: 1, message: []string{"1 validation error detected", "check region, accountID and roleArn"},
	},
	"STS: too many requests": {
		answer: fromSTS(400, "Throttling", "Rate exceeded"), class: providers.Throttled, calls: 3, message: []string{"Rate exceeded"},
	},
	"STS: a server's error":                 {answer: html(500), class: providers.Transient, calls: 3, message: []string{"500 Internal Server Error"}},
	"STS: a bad gateway":                    {answer: html(502), class: providers.Transient, calls: 3, message: []string{"502 Bad Gateway with text/html"}},
	"STS: an unavailable service":           {answer: html(503), class: providers.Transient, calls: 3, message: []string{"503 Service Unavailable"}},
	"STS: a portal's page instead of XML":   {answer: html(200), class: providers.Transient, calls: 1, message: []string{"200 OK with text/html instead of JSON or XML; a proxy in between?"}},
	"STS: a proxy's refusal":                {answer: html(403), class: providers.Transient, calls: 1, message: []string{"403 Forbidden with text/html"}},
	"STS: an answer without credentials":    {answer: func(string) reply { return reply{status: 200, body: "<x><AssumeRoleResult/></x>"} }, class: providers.Transient, calls: 1, message: []string{"200 OK"}},
	"STS: an unknown refusal of the caller": {answer: fromSTS(403, "SomethingNew", "no"), class: providers.Denied, calls: 1, message: []string{"SomethingNew: no", "trust policy"}},
	"STS: an unknown error":                 {answer: fromSTS(400, "SomethingNew", "no"), class: providers.Transient, calls: 1, message: []string{"SomethingNew: no"}},
}

var ecrRefusals = map[string]refusal{
	"ECR: a user without the right": {
		answer: fromECR(400, "AccessDeniedException", "User: arn:aws:iam::111122223333:user/ci is not authorized to perform: ecr:GetAuthorizationToken on resource: *"),
		class:  providers.Denied, calls: 1,
		message: []string{"ecr:GetAuthorizationToken at api.ecr.eu-central-1.amazonaws.com: AccessDeniedException: User: arn:aws:iam::111122223333:user/ci", "request id aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", "grant ecr:GetAuthorizationToken on resource * to the access key's user"},
	},
	"ECR: an unknown access key": {
		answer: fromECR(400, "UnrecognizedClientException", "The security token included in the request is invalid."),
		class:  providers.Denied, calls: 1, message: []string{"the access key is unknown, inactive or of another partition"},
	},
	"ECR: an ended session": {
		answer: fromECR(400, "ExpiredTokenException", "The security token included in the request is expired"),
		class:  providers.Denied, calls: 1, message: []string{"session that has ended"},
	},
	"ECR: the wrong secret key": {
		answer: fromECR(400, "InvalidSignatureException", "The request signature we calculated does not match the signature you provided."),
		class:  providers.Denied, calls: 1, message: []string{"secretKey does not belong to accessKeyID, or carries stray"},
	},
	"ECR: a signature from the past": {
		answer: fromECR(400, "InvalidSignatureException", "Signature expired: 20300102T000000Z is now earlier than 20300102T024905Z"),
		class:  providers.ClockSkew, calls: 1, message: []string{"clock"},
	},
	"ECR: a token's signature from the past": {
		answer: fromECR(400, "ExpiredTokenException", "Signature expired: 20300102T000000Z is now earlier"),
		class:  providers.ClockSkew, calls: 1, message: []string{"clock"},
	},
	"ECR: an expired request":   {answer: fromECR(400, "RequestExpired", "Request has expired."), class: providers.ClockSkew, calls: 1, message: []string{"clock"}},
	"ECR: a too skewed clock":   {answer: fromECR(403, "RequestTimeTooSkewed", "The difference is too large."), class: providers.ClockSkew, calls: 1, message: []string{"clock"}},
	"ECR: a wrong parameter":    {answer: fromECR(400, "InvalidParameterException", "Invalid parameter"), class: providers.Invalid, calls: 1, message: []string{"InvalidParameterException"}},
	"ECR: an organisation's no": {answer: fromECR(400, "BlockedByOrganizationPolicyException", "no"), class: providers.Denied, calls: 1, message: []string{"organisation's policy"}},
	"ECR: too many requests":    {answer: fromECR(400, "ThrottlingException", "Rate exceeded"), class: providers.Throttled, calls: 3, message: []string{"Rate exceeded"}},
	"ECR: too many requests by status": {
		answer: fromECR(429, "TooManyRequestsException", "Too many"), class: providers.Throttled, calls: 3, message: []string{"Too many"},
	},
	"ECR: too many requests by an unknown code": {answer: fromECR(429, "SomethingNew", "no"), class: providers.Throttled, calls: 1, message: []string{"SomethingNew"}},
	"ECR: a gateway's too many requests":        {answer: html(429), class: providers.Throttled, calls: 1, message: []string{"asked for fewer requests (429)"}},
	"ECR: a server's error":                     {answer: fromECR(500, "ServerException", "oops"), class: providers.Transient, calls: 3, message: []string{"ServerException: oops"}},
	"ECR: a bad gateway":                        {answer: html(502), class: providers.Transient, calls: 3, message: []string{"502 Bad Gateway with text/html instead of JSON or XML"}},
	"ECR: a portal's page instead of JSON":      {answer: html(200), class: providers.Transient, calls: 1, message: []string{"200 OK with text/html instead of JSON or XML; a proxy in between?"}},
	"ECR: a server's error without a body": {
		answer: func(string) reply { return reply{status: 503, header: map[string]string{"Content-Type": "text/plain"}} },
		class:  providers.Transient, calls: 3, message: []string{"answered 503 Service Unavailable"},
	},
	"ECR: a code that may be a secret": {
		answer: func(string) reply { return ecrError(400, plantedKeyID, "no") },
		class:  providers.Transient, calls: 1, message: []string{"amazonaws.com: an error without a readable code: no (request id"},
	},
	"ECR: an answer of no type": {
		answer: func(string) reply { return reply{status: 404, header: map[string]string{"Content-Type": "none"}} },
		class:  providers.Transient, calls: 1, message: []string{"answered 404 Not Found with "},
	},
	"ECR: a redirect": {
		answer: func(string) reply {
			return reply{status: 307, header: map[string]string{"Location": "https://elsewhere.example/?t=" + plantedSession}}
		},
		class: providers.Transient, calls: 1, message: []string{"redirect (307 Temporary Redirect), which is not followed"},
	},
	"ECR: an endless answer": {
		answer: func(string) reply { return ecrAnswer(200, strings.Repeat(" ", maxBody+1)) },
		class:  providers.Transient, calls: 1, message: []string{"longer than 1048576 bytes"},
	},
	"ECR: no list":        {answer: func(string) reply { return ecrAnswer(200, `{}`) }, class: providers.Transient, calls: 1, message: []string{"holds no authorizationData"}},
	"ECR: an empty list":  {answer: func(string) reply { return ecrAnswer(200, `{"authorizationData":[]}`) }, class: providers.Transient, calls: 1, message: []string{"holds no authorizationData"}},
	"ECR: an empty entry": {answer: func(string) reply { return ecrAnswer(200, `{"authorizationData":[{}]}`) }, class: providers.Transient, calls: 1, message: []string{"holds no authorizationToken"}},
	"ECR: a null entry":   {answer: func(string) reply { return ecrAnswer(200, `{"authorizationData":[null]}`) }, class: providers.Transient, calls: 1, message: []string{"authorization"}},
	"ECR: a past expiry":  {answer: func(string) reply { return token(testNow.Add(-time.Second)) }, class: providers.Transient, calls: 1, message: []string{"expiresAt, 2030-01-02T03:04:04Z, is past"}},
	"ECR: broken base64":  {answer: withToken("%%%"), class: providers.Transient, calls: 1, message: []string{"not base64"}},
	"ECR: no colon":       {answer: withToken("QVdT"), class: providers.Transient, calls: 1, message: []string{"without a colon"}},
	"ECR: no password":    {answer: withToken("QVdTOg=="), class: providers.Transient, calls: 1, message: []string{"empty user or password"}},
	"ECR: no word of expiry": {
		answer: func(string) reply {
			return ecrAnswer(200, `{"authorizationData":[{"authorizationToken":"`+encodedToken()+`"}]}`)
		},
		class: providers.Transient, calls: 1, message: []string{"holds no expiresAt"},
	},
}

func withToken(text string) func(string) reply {
	return func(string) reply {
		return ecrAnswer(200, `{"authorizationData":[{"authorizationToken":"`+text+`","expiresAt":1893600000}]}`)
	}
}

func TestFetchTellsWhatWentWrong(t *testing.T) {
	for name, test := range stsRefusals {
		test.action = actionAssumeRole
		t.Run(name, func(t *testing.T) { checkRefusal(t, withRole(testConfig()), test) })
	}
	for name, test := range ecrRefusals {
		test.action = actionToken
		t.Run(name, func(t *testing.T) { checkRefusal(t, testConfig(), test) })
	}
}

func checkRefusal(t *testing.T, config Config, test refusal) {
	t.Helper()
	fake := newFakeAWS(t)
	fake.replies[test.action] = []reply{test.answer("")}
	_, _, err := fetch(t, newProvider(t, config, fake))
	checkMessage(t, err, test.class, test.message)
	if got := len(fake.actions()); got != test.calls {
		t.Errorf("made %d calls, want %d: %v", got, test.calls, err)
	}
}

func checkMessage(t *testing.T, err error, class providers.Class, parts []string) {
	t.Helper()
	var failure *providers.Error
	if !errors.As(err, &failure) {
		t.Fatalf("got %v, want a *providers.Error", err)
	}
	if failure.Class != class {
		t.Errorf("got class %s, want %s: %v", failure.Class, class, err)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in %q", part, err)
		}
	}
	if found := leaks(err.Error()); found != nil {
		t.Errorf("%q tells %q", err, found)
	}
}

func TestNoMessageTellsASecret(t *testing.T) {
	extra := " " + strings.Join(planted, " ") + " " + encodedToken()
	check := func(t *testing.T, config Config, action string, answer func(string) reply) {
		t.Helper()
		fake := newFakeAWS(t)
		fake.replies[action] = []reply{answer(extra).
			with("X-Amzn-Requestid", plantedKeyID).
			with("Retry-After", plantedSecret).
			with("Date", plantedSession)}
		_, _, err := fetch(t, newProvider(t, config, fake))
		if err == nil {
			t.Fatal("no error")
		}
		for _, secret := range leaks(err.Error()) {
			// Nobody can know the session's key before there is a session.
			if secret != plantedTempKey || action != actionAssumeRole {
				t.Errorf("%q tells %q", err, secret)
			}
		}
		if len([]rune(err.Error())) > 1024 {
			t.Errorf("the message has %d bytes", len(err.Error()))
		}
	}
	for name, test := range ecrRefusals {
		t.Run("with a role, "+name, func(t *testing.T) { check(t, withRole(testConfig()), actionToken, test.answer) })
	}
	for name, test := range stsRefusals {
		t.Run(name, func(t *testing.T) { check(t, withRole(testConfig()), actionAssumeRole, test.answer) })
	}
}

func TestRetryAfterIsTakenFromTheHeader(t *testing.T) {
	for name, test := range map[string]struct {
		value string
		want  time.Duration
	}{
		"seconds":                    {"17", 17 * time.Second},
		"a date":                     {testNow.Add(90 * time.Second).Format(http.TimeFormat), 90 * time.Second},
		"a date in the past":         {testNow.Add(-time.Hour).Format(http.TimeFormat), 0},
		"a date in a century is cut": {testNow.AddDate(100, 0, 0).Format(http.TimeFormat), time.Hour},
		"fewer than no seconds":      {"-5", 0},
		"a century is cut":           {"3155760000", time.Hour},
		"more than a number can say": {"99999999999999999999", 0},
		"nonsense":                   {"soon", 0},
		"nothing":                    {"", 0},
	} {
		t.Run(name, func(t *testing.T) {
			fake := newFakeAWS(t)
			fake.replies[actionToken] = []reply{ecrError(400, "ThrottlingException", "Rate exceeded").with("Retry-After", test.value)}
			_, _, err := fetch(t, newProvider(t, testConfig(), fake))
			if got := providers.RetryAfter(err); got != test.want || providers.ClassOf(err) != providers.Throttled {
				t.Errorf("got %s, want %s: %v", got, test.want, err)
			}
		})
	}
}

func TestClockSkewIsMeasured(t *testing.T) {
	for name, test := range map[string]struct {
		date time.Time
		want string
	}{
		"a slow clock":  {testNow.Add(7 * time.Minute), "this machine's clock is 7m0s behind AWS's: set it right"},
		"a fast clock":  {testNow.Add(-7 * time.Minute), "this machine's clock is 7m0s ahead of AWS's: set it right"},
		"a right clock": {testNow, "set this machine's clock right"},
	} {
		t.Run(name, func(t *testing.T) {
			fake := newFakeAWS(t)
			fake.replies[actionToken] = []reply{ecrError(400, "RequestExpired", "x").with("Date", test.date.Format(http.TimeFormat))}
			_, _, err := fetch(t, newProvider(t, testConfig(), fake))
			checkMessage(t, err, providers.ClockSkew, []string{test.want})
		})
	}
	t.Run("a token that is over by a fast clock", func(t *testing.T) {
		fake := newFakeAWS(t)
		aws := testNow.Add(-13 * time.Hour)
		fake.replies[actionToken] = []reply{token(aws.Add(12*time.Hour)).with("Date", aws.Format(http.TimeFormat))}
		_, _, err := fetch(t, newProvider(t, testConfig(), fake))
		checkMessage(t, err, providers.ClockSkew, []string{"is past; this machine's clock is 13h0m0s ahead"})
	})
}

// broken is a network that fails.
type broken struct{ err error }

func (b broken) RoundTrip(*http.Request) (*http.Response, error) { return nil, b.err }

func TestNetworkErrorsNameTheHost(t *testing.T) {
	const host = "ecr:GetAuthorizationToken at api.ecr.eu-central-1.amazonaws.com: "
	for name, test := range map[string]struct {
		err  error
		want string
	}{
		"no such host":       {&net.DNSError{Err: "no such host", Name: "api.ecr.eu-central-1.amazonaws.com", IsNotFound: true}, "does not exist in DNS"},
		"a broken DNS":       {&net.DNSError{Err: "server misbehaving", Name: "api.ecr.eu-central-1.amazonaws.com", IsTemporary: true}, "could not be looked up"},
		"a closed port":      {&net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}, "could not be reached: connection refused; check HTTPS_PROXY"},
		"an absent proxy":    {&net.OpError{Op: "proxyconnect", Net: "tcp", Err: syscall.ECONNREFUSED}, "the proxy of HTTPS_PROXY could not be reached"},
		"a proxy's refusal":  {&proxyRefusal{status: 407}, "the proxy refused to connect: 407 Proxy Authentication Required"},
		"a broken setting":   {errProxySetting, "the proxy's address in the environment can't be parsed"},
		"an unknown CA":      {certificateError(), "the certificate is not trusted"},
		"a slow network":     {&net.OpError{Op: "dial", Net: "tcp", Err: slow{}}, "could not be reached in time"},
		"any other mischief": {errors.New("proxy http://user:" + plantedSecret + "@proxy"), "the connection failed"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := fetch(t, newProvider(t, testConfig(), broken{test.err}))
			checkMessage(t, err, providers.Transient, []string{host, test.want})
			if !errors.Is(err, test.err) {
				t.Error("errors.Is does not find the cause")
			}
		})
	}
}

type slow struct{}

func (slow) Error() string   { return "i/o timeout" }
func (slow) Timeout() bool   { return true }
func (slow) Temporary() bool { return true }

func TestAnEndedContextIsTold(t *testing.T) {
	for name, test := range map[string]struct {
		ctx  func() (context.Context, context.CancelFunc)
		want string
	}{
		"a deadline": {func() (context.Context, context.CancelFunc) {
			return context.WithDeadline(t.Context(), time.Unix(0, 0))
		}, "no answer within the time allowed"},
		"cancellation": {func() (context.Context, context.CancelFunc) {
			c, f := context.WithCancel(t.Context())
			f()
			return c, f
		}, "cancelled"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := test.ctx()
			defer cancel()
			_, err := newProvider(t, testConfig(), newFakeAWS(t)).Fetch(ctx)
			checkMessage(t, err, providers.Transient, []string{test.want})
			if !errors.Is(err, ctx.Err()) {
				t.Errorf("errors.Is does not find %v in %v", ctx.Err(), errors.Unwrap(err))
			}
		})
	}
}

func TestTimeThatRunsOutBetweenAttemptsTellsTheLastAnswer(t *testing.T) {
	fake := newFakeAWS(t)
	fake.replies[actionToken] = []reply{html(503)("")}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	provider := newProvider(t, testConfig(), roundTrip(func(r *http.Request) (*http.Response, error) {
		defer cancel()
		return fake.RoundTrip(r.WithContext(context.Background()))
	}))
	_, err := provider.Fetch(ctx)
	checkMessage(t, err, providers.Transient, []string{"503 Service Unavailable"})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func certificateError() error {
	return &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}
}
