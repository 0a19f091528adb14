package awsidentity

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

	"github.com/imagepullsecrets/operator/internal/awsidentity/awstest"
	"github.com/imagepullsecrets/operator/internal/exchange"
	"github.com/imagepullsecrets/operator/providers"
)

// refusal is how STS, or something in its place, answers.
type refusal struct {
	answer func(extra string) awstest.Reply
	class  providers.Class
	calls  int
	want   []string
}

func fromSTS(status int, code, message string) func(string) awstest.Reply {
	return func(extra string) awstest.Reply { return awstest.STSError(status, code, message+extra) }
}

func html(status int) func(string) awstest.Reply {
	return func(extra string) awstest.Reply { return awstest.HTML(status, extra) }
}

// refusals are of calls of both kinds.
var refusals = map[string]refusal{
	"a region where STS is not activated": {fromSTS(403, "RegionDisabledException", "STS is not activated in this region"), providers.Invalid, 1, []string{"activate STS for the region"}},
	"a request that it can't take":        {fromSTS(400, "ValidationError", "1 validation error detected"), providers.Invalid, 1, []string{"1 validation error detected", "check region and roles"}},
	"too many requests":                   {fromSTS(400, "Throttling", "Rate exceeded"), providers.Throttled, 3, []string{"Rate exceeded"}},
	"too many requests by a new code":     {fromSTS(429, "SomethingNew", "no"), providers.Throttled, 1, []string{"SomethingNew"}},
	"a gateway's too many requests":       {html(429), providers.Throttled, 1, []string{"asked for fewer requests (429)"}},
	"a server's error in STS's words":     {fromSTS(500, "InternalFailure", "oops"), providers.Transient, 3, []string{"InternalFailure: oops"}},
	"a server's error":                    {html(500), providers.Transient, 3, []string{"500 Internal Server Error"}},
	"a bad gateway":                       {html(502), providers.Transient, 3, []string{"502 Bad Gateway with text/html"}},
	"an unavailable service":              {html(503), providers.Transient, 3, []string{"503 Service Unavailable"}},
	"a portal's page instead of XML":      {html(200), providers.Transient, 1, []string{"200 OK with text/html instead of data; a proxy in between?"}},
	"a proxy's refusal":                   {html(403), providers.Transient, 1, []string{"403 Forbidden with text/html"}},
	"an unknown error":                    {fromSTS(400, "SomethingNew", "no"), providers.Transient, 1, []string{"SomethingNew: no"}},
	"a code that may be a secret":         {fromSTS(400, awstest.KeyID, "no"), providers.Transient, 1, []string{"amazonaws.com: an error without a readable code: no (request id"}},
	"an organisation's policy":            {fromSTS(403, "BlockedByOrganizationPolicyException", "no"), providers.Denied, 1, []string{"organisation's policy"}},
	"an answer of another kind": {
		func(string) awstest.Reply { return awstest.Reply{Status: 200, Body: "<x><y/></x>"} },
		providers.Transient, 1, []string{"answered 200 OK with text/plain that can't be read"},
	},
	"an answer that holds nothing": {
		func(string) awstest.Reply {
			return awstest.Reply{Status: 200, Body: "<AssumeRoleResponse><AssumeRoleResult></AssumeRoleResult></AssumeRoleResponse>"}
		},
		providers.Transient, 1, []string{"amazonaws.com: "},
	},
	"a truncated answer": {
		func(string) awstest.Reply {
			whole := awstest.Sessions(awstest.AssumeRole)
			whole.Body, _, _ = strings.Cut(whole.Body, "<SecretAccessKey>")
			return whole
		}, providers.Transient, 1, []string{"amazonaws.com: "},
	},
	"an endless answer": {
		func(string) awstest.Reply {
			return awstest.Reply{Status: 200, Body: "<AssumeRoleResponse>" + strings.Repeat(" ", exchange.MaxBody)}
		}, providers.Transient, 1, []string{"longer than 1048576 bytes"},
	},
	"a redirect": {
		func(string) awstest.Reply {
			return awstest.Reply{Status: 307, Header: map[string]string{"Location": "https://elsewhere.example/?t=" + awstest.Session}}
		}, providers.Transient, 1, []string{"redirect (307 Temporary Redirect), which is not followed"},
	},
	"a refusal without a body": {
		func(string) awstest.Reply {
			return awstest.Reply{Status: 404, Header: map[string]string{"Content-Type": "none"}}
		}, providers.Transient, 1, []string{"answered 404 Not Found with "},
	},
}

// keyRefusals are of AssumeRole, signed with an access key.
var keyRefusals = map[string]refusal{
	"a trust policy that does not name the user": {
		fromSTS(403, "AccessDenied", "User: arn:aws:iam::111122223333:user/ci is not authorized to perform: sts:AssumeRole"), providers.Denied, 1,
		[]string{
			"sts:AssumeRole at sts.eu-central-1.amazonaws.com: AccessDenied: User: arn:aws:iam::111122223333:user/ci is not authorized",
			"request id 11111111-2222", "let the trust policy of arn:aws:iam::111122223333:role/team/pull name the access key's user",
		},
	},
	"an answer without credentials": {
		func(string) awstest.Reply {
			return awstest.Reply{Status: 200, Body: "<AssumeRoleResponse><AssumeRoleResult><Credentials></Credentials></AssumeRoleResult></AssumeRoleResponse>"}
		}, providers.Transient, 1, []string{"the answer does not hold the session's credentials"},
	},
	"an unknown access key":       {fromSTS(403, "InvalidClientTokenId", "The security token included in the request is invalid."), providers.Denied, 1, []string{"unknown, inactive or of another partition"}},
	"the wrong secret key":        {fromSTS(403, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided."), providers.Denied, 1, []string{"secretKey does not belong to accessKeyID"}},
	"a signature from the past":   {fromSTS(403, "SignatureDoesNotMatch", "Signature expired: 20300102T000000Z is now earlier than 20300102T024905Z"), providers.ClockSkew, 1, []string{"set this machine's clock right"}},
	"a signature from the future": {fromSTS(403, "SignatureDoesNotMatch", "Signature not yet current: 20300102T060000Z is still later than 20300102T031905Z"), providers.ClockSkew, 1, []string{"set this machine's clock right"}},
	"an ended session":            {fromSTS(403, "ExpiredToken", "The security token included in the request is expired"), providers.Denied, 1, []string{"session that has ended"}},
	"a refusal by a new code":     {fromSTS(403, "SomethingNew", "no"), providers.Denied, 1, []string{"SomethingNew: no", "trust policy"}},
}

// webRefusals are of AssumeRoleWithWebIdentity.
var webRefusals = map[string]refusal{
	"a trust policy that does not name the ServiceAccount": {
		fromSTS(403, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity"), providers.Denied, 1,
		[]string{
			"sts:AssumeRoleWithWebIdentity at sts.eu-central-1.amazonaws.com: AccessDenied: Not authorized to perform sts:AssumeRoleWithWebIdentity (request id 11111111-2222",
			"let the trust policy of arn:aws:iam::111122223333:role/team/pull allow it to the OIDC provider of https://issuer.example",
			"with :sub system:serviceaccount:registry-access:puller and :aud sts.amazonaws.com",
		},
	},
	"no such identity provider": {
		fromSTS(400, "InvalidIdentityToken", "No OpenIDConnect provider found in your account for https://issuer.example"), providers.Invalid, 1,
		[]string{"No OpenIDConnect provider found", "let IAM in the account of arn:aws:iam::111122223333:role/team/pull have an OIDC provider for https://issuer.example with the audience sts.amazonaws.com"},
	},
	"the wrong audience": {fromSTS(400, "InvalidIdentityToken", "Incorrect token audience"), providers.Invalid, 1, []string{"Incorrect token audience", "with the audience sts.amazonaws.com"}},
	"an identity provider that does not give its keys": {fromSTS(400, "InvalidIdentityToken", "Couldn't retrieve verification key from your identity provider,  please reference AssumeRoleWithWebIdentity documentation for requirements"), providers.Transient, 1, []string{"Couldn't retrieve verification key"}},
	"an unreachable identity provider":                 {fromSTS(400, "IDPCommunicationError", "timed out"), providers.Transient, 3, []string{"IDPCommunicationError"}},
	"a rejected claim":                                 {fromSTS(403, "IDPRejectedClaim", "no"), providers.Invalid, 1, []string{"IDPRejectedClaim", "with the audience"}},
	"a token that is over, twice":                      {fromSTS(400, "ExpiredTokenException", "Token expired: current date/time 1893553445 must be before the expiration date/time 1893550000"), providers.ClockSkew, 2, []string{"set the clocks of the cluster's API servers right"}},
	"a token from the future":                          {fromSTS(400, "InvalidIdentityToken", "Token is not valid yet"), providers.ClockSkew, 1, []string{"set the clocks of the cluster's API servers right"}},
	"a token that is too old, twice":                   {fromSTS(400, "ExpiredTokenException", "Token too old: 1893550000"), providers.ClockSkew, 2, []string{"set the clocks of the cluster's API servers right"}},
}

// eachRefusal runs a test for every kind of call and every row that it has.
func eachRefusal(t *testing.T, check func(t *testing.T, config Config, action string, test refusal)) {
	for _, call := range []struct {
		config Config
		action string
		own    map[string]refusal
	}{
		{keyWithRole(), awstest.AssumeRole, keyRefusals},
		{accountConfig(), awstest.WebIdentity, webRefusals},
	} {
		for _, rows := range []map[string]refusal{refusals, call.own} {
			for name, test := range rows {
				t.Run(call.action+": "+name, func(t *testing.T) { check(t, call.config, call.action, test) })
			}
		}
	}
}

func TestWhatWentWrongIsTold(t *testing.T) {
	eachRefusal(t, func(t *testing.T, config Config, action string, test refusal) {
		fake := awstest.NewServer(t)
		fake.Answer(action, test.answer(""))
		_, err := become(t, newIdentity(t, config, fake), minting())
		awstest.CheckError(t, err, test.class, test.want...)
		if got := len(fake.Actions()); got != test.calls {
			t.Errorf("made %d calls, want %d: %v", got, test.calls, err)
		}
	})
}

func TestOnlyAnOutageNamesTheHostThatIsDown(t *testing.T) {
	const sts = "sts.eu-central-1.amazonaws.com"
	for name, test := range map[string]struct {
		answer func(string) awstest.Reply
		down   string
	}{
		"a server's error in STS's words":      {fromSTS(500, "InternalFailure", "oops"), sts},
		"a server's error by an unknown code":  {fromSTS(503, "SomethingNew", "oops"), sts},
		"a bad gateway":                        {html(502), sts},
		"a portal's page":                      {html(200), sts},
		"a proxy's refusal":                    {html(403), ""},
		"too many requests":                    {fromSTS(400, "Throttling", "Rate exceeded"), ""},
		"too many requests by 503":             {fromSTS(503, "SlowDown", "Rate exceeded"), ""},
		"a gateway's too many requests":        {html(429), ""},
		"a refusal":                            {fromSTS(403, "AccessDenied", "no"), ""},
		"an unreachable identity provider":     {fromSTS(400, "IDPCommunicationError", "timed out"), ""},
		"an identity provider that is no help": {fromSTS(400, "InvalidIdentityToken", "Couldn't retrieve verification key from your identity provider"), ""},
		"an unknown code":                      {fromSTS(400, "SomethingNew", "no"), ""},
		"clocks that differ":                   {fromSTS(400, "RequestExpired", "no"), ""},
	} {
		for action, config := range map[string]Config{awstest.AssumeRole: keyWithRole(), awstest.WebIdentity: accountConfig()} {
			t.Run(action+": "+name, func(t *testing.T) {
				fake := awstest.NewServer(t)
				fake.Answer(action, test.answer(""))
				identity := newIdentity(t, config, fake)
				_, err := become(t, identity, minting())
				if got := providers.DownHost(err); err == nil || got != test.down {
					t.Errorf("%q is said to be down: %v", got, err)
				}
				if identity.Hosts("")[0] != sts {
					t.Errorf("the hosts are %s", identity.Hosts(""))
				}
			})
		}
	}
}

func TestAnAnswerWithoutASessionIsNoOutage(t *testing.T) {
	fake := awstest.NewServer(t)
	fake.Answer(awstest.AssumeRole, awstest.Reply{Status: 200, Body: "<AssumeRoleResponse><AssumeRoleResult><Credentials></Credentials></AssumeRoleResult></AssumeRoleResponse>"})
	_, err := become(t, newIdentity(t, keyWithRole(), fake), minting())
	if got := providers.DownHost(err); err == nil || got != "" {
		t.Errorf("%q is said to be down: %v", got, err)
	}
}

func TestNoMessageTellsASecret(t *testing.T) {
	token := awstest.Token(1, awstest.Now)
	extra := " " + strings.Join(awstest.Secrets(), " ") + " " + token
	eachRefusal(t, func(t *testing.T, config Config, action string, test refusal) {
		fake := awstest.NewServer(t)
		fake.Answer(action, test.answer(extra).
			With("X-Amzn-Requestid", awstest.KeyID).With("Retry-After", awstest.SecretKey).With("Date", awstest.Session))
		_, err := become(t, newIdentity(t, config, fake), minting())
		if err == nil {
			t.Fatal("no error")
		}
		for _, secret := range awstest.Leaks(err.Error()) {
			// Nobody can know the session's key before there is a session, nor
			// a secret key that isn't configured.
			if secret != awstest.SessionKey && (secret != awstest.SecretKey || config.SecretAccessKey != "") {
				t.Errorf("%q tells %q", err, secret)
			}
		}
		if strings.Contains(err.Error(), token) || len([]rune(err.Error())) > 1024 {
			t.Errorf("got %q", err)
		}
	})
}

func TestRetryAfterIsTakenFromTheHeader(t *testing.T) {
	for name, test := range map[string]struct {
		value string
		want  time.Duration
	}{
		"seconds":                    {"17", 17 * time.Second},
		"a date":                     {awstest.Now.Add(90 * time.Second).Format(http.TimeFormat), 90 * time.Second},
		"a date in the past":         {awstest.Now.Add(-time.Hour).Format(http.TimeFormat), 0},
		"a century is cut":           {"3155760000", time.Hour},
		"more than a number can say": {"99999999999999999999", 0},
		"nothing":                    {"", 0},
	} {
		for kind, reply := range map[string]awstest.Reply{
			"STS's": awstest.STSError(400, "Throttling", "Rate exceeded"), "a gateway's": awstest.HTML(429, ""),
		} {
			t.Run(kind+" "+name, func(t *testing.T) {
				fake := awstest.NewServer(t)
				fake.Answer(awstest.AssumeRole, reply.With("Retry-After", test.value))
				_, err := become(t, newIdentity(t, keyWithRole(), fake), minting())
				if got := providers.RetryAfter(err); got != test.want || providers.ClassOf(err) != providers.Throttled {
					t.Errorf("got %s, want %s: %v", got, test.want, err)
				}
			})
		}
	}
}

func TestClockSkewIsMeasured(t *testing.T) {
	for name, test := range map[string]struct {
		config Config
		action string
		reply  awstest.Reply
		date   time.Time
		want   string
	}{
		"a slow machine":     {keyWithRole(), awstest.AssumeRole, awstest.STSError(400, "RequestExpired", "x"), awstest.Now.Add(7 * time.Minute), "this machine's clock is 7m0s behind AWS's: set it right"},
		"a fast machine":     {keyWithRole(), awstest.AssumeRole, awstest.STSError(400, "RequestExpired", "x"), awstest.Now.Add(-7 * time.Minute), "this machine's clock is 7m0s ahead of AWS's: set it right"},
		"a machine in time":  {keyWithRole(), awstest.AssumeRole, awstest.STSError(400, "RequestExpired", "x"), awstest.Now, "set this machine's clock right"},
		"a slow cluster":     {accountConfig(), awstest.WebIdentity, awstest.STSError(400, "ExpiredTokenException", "x"), awstest.Now, "this cluster's clock is 12m0s behind AWS's: set it right"},
		"a cluster in time":  {accountConfig(), awstest.WebIdentity, awstest.STSError(400, "ExpiredTokenException", "x"), awstest.Now.Add(-12 * time.Minute), "set the clocks of the cluster's API servers right"},
		"no word of the now": {accountConfig(), awstest.WebIdentity, awstest.STSError(400, "ExpiredTokenException", "x"), time.Time{}, "set the clocks of the cluster's API servers right"},
	} {
		t.Run(name, func(t *testing.T) {
			fake := awstest.NewServer(t)
			if !test.date.IsZero() {
				test.reply = test.reply.With("Date", test.date.Format(http.TimeFormat))
			}
			fake.Answer(test.action, test.reply)
			cluster := &awstest.Minter{IssuedAt: awstest.Now.Add(-12 * time.Minute)}
			_, err := become(t, newIdentity(t, test.config, fake), cluster.Env())
			awstest.CheckError(t, err, providers.ClockSkew, test.want)
		})
	}
}

func TestNetworkErrorsNameTheHost(t *testing.T) {
	const host = "sts:AssumeRole at sts.eu-central-1.amazonaws.com: "
	for name, test := range map[string]struct {
		err  error
		want string
	}{
		"no such host":       {&net.DNSError{Err: "no such host", Name: "sts.eu-central-1.amazonaws.com", IsNotFound: true}, "does not exist in DNS"},
		"a closed port":      {&net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}, "could not be reached: connection refused; check HTTPS_PROXY"},
		"an unknown CA":      {&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, "the certificate is not trusted"},
		"any other mischief": {errors.New("proxy http://user:" + awstest.SecretKey + "@proxy"), "the connection failed"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := become(t, newIdentity(t, keyWithRole(), awstest.Broken{Err: test.err}), minting())
			awstest.CheckError(t, err, providers.Transient, host, test.want)
			if got := providers.DownHost(err); got != "sts.eu-central-1.amazonaws.com" {
				t.Errorf("%q is said to be down", got)
			}
			if !errors.Is(err, test.err) {
				t.Error("errors.Is does not find the cause")
			}
		})
	}
}

func TestAnEndedContextIsTold(t *testing.T) {
	for name, test := range map[string]struct {
		ctx  func() (context.Context, context.CancelFunc)
		want string
		down string
	}{
		"a deadline": {func() (context.Context, context.CancelFunc) {
			return context.WithDeadline(t.Context(), time.Unix(0, 0))
		}, "no answer within the time allowed", "sts.eu-central-1.amazonaws.com"},
		"cancellation": {func() (context.Context, context.CancelFunc) {
			c, f := context.WithCancel(t.Context())
			f()
			return c, f
		}, "cancelled", ""},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := test.ctx()
			defer cancel()
			_, err := begin(newIdentity(t, keyWithRole(), awstest.NewServer(t)), minting()).Credentials(ctx)
			awstest.CheckError(t, err, providers.Transient, test.want)
			if got := providers.DownHost(err); got != test.down {
				t.Errorf("%q is said to be down", got)
			}
			if !errors.Is(err, ctx.Err()) {
				t.Errorf("errors.Is does not find %v in %v", ctx.Err(), errors.Unwrap(err))
			}
		})
	}
}

func TestTimeThatRunsOutBetweenAttemptsTellsTheLastAnswer(t *testing.T) {
	fake := awstest.NewServer(t)
	fake.Answer(awstest.AssumeRole, awstest.HTML(503, "").With("Retry-After", "9"))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	identity := newIdentity(t, keyWithRole(), roundTrip(func(r *http.Request) (*http.Response, error) {
		defer cancel()
		return fake.RoundTrip(r.WithContext(context.Background()))
	}))
	_, err := begin(identity, minting()).Credentials(ctx)
	awstest.CheckError(t, err, providers.Transient, "cancelled (last answer: 503 Service Unavailable)")
	if got := providers.RetryAfter(err); got != 9*time.Second {
		t.Errorf("retry after %s", got)
	}
}

// Whoever answered before time ran out is judged by that.
func TestTimeThatRunsOutBetweenAttemptsIsNotAlwaysAnOutage(t *testing.T) {
	for name, test := range map[string]struct {
		reply awstest.Reply
		down  string
	}{
		"after a server's error":           {awstest.HTML(503, ""), "sts.eu-central-1.amazonaws.com"},
		"after a wish for fewer requests":  {awstest.STSError(400, "Throttling", "Rate exceeded"), ""},
		"after a gateway's, by its status": {awstest.HTML(429, ""), ""},
	} {
		t.Run(name, func(t *testing.T) {
			fake := awstest.NewServer(t)
			fake.Answer(awstest.AssumeRole, test.reply)
			run := begin(newIdentity(t, keyWithRole(), fake), minting())
			_, _ = run.Credentials(t.Context()) // leaves what it met last
			late, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
			defer cancel()
			err := run.Failure(late, Call{Call: exchange.Call{Action: "test", Host: "sts.eu-central-1.amazonaws.com"}}, late.Err())
			if got := providers.DownHost(err); got != test.down {
				t.Errorf("%q is said to be down: %v", got, err)
			}
		})
	}
}

func TestARefusalWithoutAResponseIsTold(t *testing.T) {
	run := begin(newIdentity(t, keyConfig(), nil), providers.Env{})
	call := Call{Call: exchange.Call{Action: "test", Host: "host"}}
	err := run.Failure(t.Context(), call, &apiError{code: "ServerException", message: "oops"})
	awstest.CheckError(t, err, providers.Transient, "test at host: ServerException: oops")
}

func FuzzAnAnswerOfSTS(f *testing.F) {
	f.Add(200, awstest.Sessions(awstest.WebIdentity).Body)
	f.Add(200, awstest.Sessions(awstest.AssumeRole).Body)
	f.Add(200, "<a><b><Credentials><Expiration>soon</Expiration></Credentials></b></a>")
	f.Add(400, awstest.STSError(400, "ExpiredTokenException", "Token too old: 1").Body)
	f.Add(403, "<ErrorResponse><Error><Code>\x00</Code></Error>")
	f.Add(399, "")
	f.Fuzz(func(t *testing.T, status int, body string) {
		network := awstest.Canned{Status: status, Body: body}
		for _, config := range []Config{accountConfig(), keyWithRole()} {
			found, err := become(t, newIdentity(t, config, network), minting())
			if err != nil {
				var failure *providers.Error
				if !errors.As(err, &failure) || strings.Contains(err.Error(), awstest.SecretKey) && config.SecretAccessKey != "" {
					t.Errorf("got %v", err)
				}
				continue
			}
			if !found.HasKeys() || found.SessionToken == "" {
				t.Errorf("%d %q gave half a session", status, body)
			}
		}
	})
}
