package chainguard

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/imagepullsecrets/operator/internal/exchange"
	"github.com/imagepullsecrets/operator/internal/exchange/exchangetest"
	"github.com/imagepullsecrets/operator/providers"
)

var (
	testNow = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	expiry  = testNow.Add(time.Hour)

	// subject is the ServiceAccount's token, and issued is Chainguard's.
	subject = exchangetest.JWT(map[string]any{"iat": testNow.Unix()})
	issued  = exchangetest.JWT(map[string]any{"sub": "planted-issued", "exp": testNow.Add(30 * time.Minute).Unix()})
	secrets = []string{subject, issued, "planted"}

	good = exchangetest.Reply{Body: `{"token":"` + issued + `","refreshToken":"planted","expiry":"2030-01-02T04:04:05Z"}`}
)

func newProvider(t *testing.T, service *exchangetest.Service) *Provider {
	t.Helper()
	provider := mustNew(t, testConfig(), service.Client())
	provider.now = func() time.Time { return testNow }
	return provider
}

func fetch(t *testing.T, reply exchangetest.Reply) (providers.Credential, error) {
	t.Helper()
	service := exchangetest.NewService(t, func(exchangetest.Request) exchangetest.Reply { return reply })
	minted := 0
	credential, err := newProvider(t, service).Fetch(t.Context(), minting(t, subject, &minted))
	if got := len(service.Requests()); got != 1 {
		t.Errorf("made %d requests", got)
	}
	return credential, err
}

func TestTheExpiryIsChainguardsWord(t *testing.T) {
	for name, test := range map[string]struct {
		body string
		want time.Time
	}{
		"the answer's":             {`{"token":"` + issued + `","expiry":"2030-01-02T03:24:05.5Z"}`, testNow.Add(20*time.Minute + 500*time.Millisecond)},
		"the answer's, in a zone":  {`{"token":"opaque","expiry":"2030-01-02T05:24:05+02:00"}`, testNow.Add(20 * time.Minute)},
		"the token's, if no other": {`{"token":"` + issued + `","refresh_token":"x","new":{}}`, testNow.Add(30 * time.Minute)},
	} {
		t.Run(name, func(t *testing.T) {
			credential, err := fetch(t, exchangetest.Reply{Body: test.body})
			if err != nil || !credential.ExpiresAt.Equal(test.want) {
				t.Errorf("got %s, %v; want %s", credential.ExpiresAt, err, test.want)
			}
			t.Run("by a machine that is behind", func(t *testing.T) {
				credential, err := fetch(t, dated(exchangetest.Reply{Body: test.body}, testNow.Add(7*time.Minute)))
				if want := test.want.Add(-7 * time.Minute); err != nil || !credential.ExpiresAt.Equal(want) || credential.Skew != "this machine's clock is 7m0s behind Chainguard's" {
					t.Errorf("got %s, %q, %v; want %s", credential.ExpiresAt, credential.Skew, err, want)
				}
			})
		})
	}
}

func TestAHostThatIsDownIsTheEndpoint(t *testing.T) {
	for name, test := range map[string]struct {
		reply exchangetest.Reply
		down  string
	}{
		"a server's error":          {refusal(503, 14, "try again"), "issuer.enforce.dev"},
		"an answer that is no JSON": {exchangetest.Reply{Body: "planted"}, "issuer.enforce.dev"},
		"too many requests":         {refusal(429, 8, "slow down"), ""},
		"a refusal":                 {refusal(403, 7, "no"), ""},
		"no token":                  {exchangetest.Reply{Body: `{}`}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := fetch(t, test.reply)
			if got := providers.DownHost(err); err == nil || got != test.down {
				t.Errorf("%q is said to be down: %v", got, err)
			}
		})
	}
	if got := mustNew(t, testConfig(), nil).Endpoints(); got[0] != "issuer.enforce.dev" {
		t.Errorf("the endpoint is %s", got)
	}
}

func refusal(status, code int, message string) exchangetest.Reply {
	body, _ := json.Marshal(map[string]any{"code": code, "message": message, "details": []any{}})
	return exchangetest.Reply{Status: status, Body: string(body)}
}

func dated(reply exchangetest.Reply, at time.Time) exchangetest.Reply {
	reply.Header = map[string]string{"Date": at.Format(http.TimeFormat)}
	return reply
}

const trust = "let the identity " + identity + " trust this cluster's issuer, the subject system:serviceaccount:team:puller " +
	"and the audience https://issuer.enforce.dev, and give it a role with registry.pull"

var refusals = map[string]struct {
	reply exchangetest.Reply
	class providers.Class
	want  []string
}{
	"an identity that trusts somebody else": {
		refusal(403, 7, "identity cannot be assumed with the provided token"), providers.Denied,
		[]string{"PermissionDenied: identity cannot be assumed with the provided token; " + trust},
	},
	"a token of an unknown issuer": {
		refusal(401, 16, "oidc: id token issued by a different provider"), providers.Denied, []string{"Unauthenticated: oidc: id token issued", trust},
	},
	"the wrong audience": {
		refusal(401, 16, `oidc: expected audience "https://issuer.enforce.dev" got ["a"]`), providers.Denied, []string{"expected audience", trust},
	},
	"an expired token, by a slow cluster": {
		dated(refusal(401, 16, "oidc: token is expired (Token Expiry: 2030-01-02 03:00:00 +0000 UTC)"), testNow.Add(time.Hour)), providers.ClockSkew,
		[]string{"token is expired", "; this cluster's clock is 1h0m0s behind Chainguard's: set it right"},
	},
	"a token from the future": {
		refusal(401, 16, "oidc: current time 2030-01-02 before the nbf (not before) time: 2030-01-03"), providers.ClockSkew,
		[]string{"set the clocks of the cluster's API servers right"},
	},
	"an identity that does not exist":  {refusal(404, 5, "identity not found"), providers.Denied, []string{"NotFound: identity not found", trust}},
	"an identity that is no identity":  {refusal(400, 3, "invalid UIDP"), providers.Invalid, []string{"InvalidArgument: invalid UIDP; check identity " + identity}},
	"a state that does not allow it":   {refusal(400, 9, "group is suspended"), providers.Denied, []string{"FailedPrecondition"}},
	"too many requests":                {refusal(429, 8, "slow down"), providers.Throttled, []string{"ResourceExhausted: slow down"}},
	"an unavailable service":           {refusal(503, 14, "try again"), providers.Transient, []string{"Unavailable: try again"}},
	"a deadline of the service's own":  {refusal(504, 4, "late"), providers.Transient, []string{"DeadlineExceeded"}},
	"an internal error":                {refusal(500, 13, "oops"), providers.Transient, []string{"Internal: oops"}},
	"an unknown error":                 {refusal(500, 2, "oops"), providers.Transient, []string{"Unknown: oops"}},
	"lost data":                        {refusal(500, 15, "oops"), providers.Transient, []string{"DataLoss: oops"}},
	"a code that outweighs the status": {refusal(500, 7, "no"), providers.Denied, []string{"PermissionDenied: no"}},
	"a code that nobody knows":         {refusal(403, 99, "no"), providers.Denied, []string{"403 Forbidden: no; " + trust}},
	"a refusal without a code":         {exchangetest.Reply{Status: 429, Body: `{}`}, providers.Throttled, []string{"429 Too Many Requests"}},
	"a refusal without a body":         {exchangetest.Reply{Status: 401}, providers.Denied, []string{"401 Unauthorized; " + trust}},
	"a refusal that is no JSON":        {exchangetest.Reply{Status: 403, Body: "planted"}, providers.Transient, []string{"answered 403 Forbidden with application/json that can't be read"}},
	"a refusal of another form":        {exchangetest.Reply{Status: 400, Body: `{"code":"planted"}`}, providers.Transient, []string{"can't be read"}},

	"a portal's page":         {exchangetest.Reply{Body: "planted", Header: map[string]string{"Content-Type": "text/html"}}, providers.Transient, []string{"with text/html instead of data"}},
	"a redirect":              {exchangetest.Reply{Status: 307, Header: map[string]string{"Location": "https://evil.example/"}}, providers.Transient, []string{"redirect"}},
	"an endless answer":       {exchangetest.Reply{Body: strings.Repeat(" ", exchange.MaxBody+1)}, providers.Transient, []string{"longer than 1048576 bytes"}},
	"a truncated answer":      {exchangetest.Reply{Body: `{"token":"planted`}, providers.Transient, []string{"can't be read"}},
	"an empty answer":         {exchangetest.Reply{}, providers.Transient, []string{"can't be read"}},
	"an empty object":         {exchangetest.Reply{Body: `{}`}, providers.Transient, []string{"the answer holds no token"}},
	"null":                    {exchangetest.Reply{Body: `null`}, providers.Transient, []string{"the answer holds no token"}},
	"a token of another type": {exchangetest.Reply{Body: `{"token":17}`}, providers.Transient, []string{"can't be read"}},
	"a token that is no text": {exchangetest.Reply{Body: `{"token":"planted\n"}`}, providers.Transient, []string{"characters that no token has"}},
	"no word of the expiry":   {exchangetest.Reply{Body: `{"token":"planted"}`}, providers.Transient, []string{"does not say when its token expires"}},
	"an expiry that is none":  {exchangetest.Reply{Body: `{"token":"planted","expiry":"planted"}`}, providers.Transient, []string{"expiry is not a time by RFC 3339"}},
	"a past expiry":           {exchangetest.Reply{Body: `{"token":"planted","expiry":"2030-01-02T03:04:05Z"}`}, providers.Transient, []string{"expired at 2030-01-02T03:04:05Z already"}},
	"a past expiry by a fast clock": {
		dated(exchangetest.Reply{Body: `{"token":"planted","expiry":"2030-01-02T03:00:00Z"}`}, testNow.Add(-time.Hour)), providers.ClockSkew,
		[]string{"this machine's clock is 1h0m0s ahead of Chainguard's: set it right"},
	},
}

func TestFetchTellsWhatWentWrong(t *testing.T) {
	for name, test := range refusals {
		t.Run(name, func(t *testing.T) {
			credential, err := fetch(t, test.reply)
			exchangetest.CheckError(t, err, test.class, append(test.want, "token exchange at issuer.enforce.dev: "), secrets)
			if credential != (providers.Credential{}) {
				t.Errorf("got %v", credential.ExpiresAt)
			}
		})
	}
}

func TestARefusalThatQuotesTheTokenDoesNotTellIt(t *testing.T) {
	reply := refusal(403, 7, "cannot be assumed with "+subject)
	reply.Header = map[string]string{"Retry-After": "7"}
	_, err := fetch(t, reply)
	exchangetest.CheckError(t, err, providers.Denied, []string{"cannot be assumed with ***;"}, secrets)
	if got := providers.RetryAfter(err); got != 7*time.Second {
		t.Errorf("wait for %s", got)
	}
}

func TestFetchEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	released := make(chan struct{})
	defer close(released)
	service := exchangetest.NewService(t, func(exchangetest.Request) exchangetest.Reply {
		cancel()
		<-released
		return good
	})
	minted := 0
	_, err := newProvider(t, service).Fetch(ctx, minting(t, subject, &minted))
	exchangetest.CheckError(t, err, providers.Transient, []string{"cancelled"}, secrets)
}

func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{
		good.Body, `{}`, `null`, `[]`, `"x"`, `{"token":"x","expiry":"9999-12-31T23:59:59-12:00"}`,
		`{"token":"e30.eyJleHAiOjFlMzAwfQ.x"}`, `{"token":"e30.eyJleHAiOjI1MzQwMjMwMDc5OX0.x"}`, `{"TOKEN":"x"}`, `{"token":"` + "\xff" + `"}`,
	} {
		f.Add(200, seed)
	}
	for _, test := range refusals {
		f.Add(max(test.reply.Status, 200), test.reply.Body)
	}
	provider := mustNew(f, testConfig(), nil)
	f.Fuzz(func(t *testing.T, status int, body string) {
		answer := exchange.Answer{Status: status, Body: []byte(body)}
		token, expiresAt, err := readToken(answer)
		if err == nil && (token == "" || strings.ContainsAny(token, "\r\n \x00")) {
			t.Errorf("got token %q until %s", token, expiresAt)
		}
		for _, err := range []error{err, provider.refused(answer, subject)} {
			var failure *providers.Error
			if err != nil && (!errors.As(err, &failure) || failure.Class == 0 || len([]rune(err.Error())) > 1024 || strings.Contains(err.Error(), subject)) {
				t.Errorf("got %v", err)
			}
		}
	})
}
