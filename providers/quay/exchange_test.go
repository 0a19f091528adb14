package quay

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
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

	// subject is the ServiceAccount's token, and issued is Quay's.
	subject = exchangetest.JWT(map[string]any{"iat": testNow.Unix()})
	basic   = base64.StdEncoding.EncodeToString([]byte("example+puller:" + subject))
	issued  = withExpiry(expiry)
	secrets = []string{subject, basic, issued, "planted"}

	good = exchangetest.Reply{Body: `{"token":"` + issued + `"}`}
)

func withExpiry(at time.Time) string {
	return exchangetest.JWT(map[string]any{"sub": "planted-issued", "exp": at.Unix()})
}

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
	credential, err := newProvider(t, service).Fetch(t.Context(), minting(t, &minted))
	if got := len(service.Requests()); got != 1 {
		t.Errorf("made %d requests", got)
	}
	return credential, err
}

func TestFetchSendsWhatQuayReads(t *testing.T) {
	service := exchangetest.NewService(t, func(exchangetest.Request) exchangetest.Reply { return good })
	provider := newProvider(t, service)
	minted := 0
	for range 2 {
		credential, err := provider.Fetch(t.Context(), minting(t, &minted))
		if err != nil {
			t.Fatal(err)
		}
		if credential.Login.Username != "example+puller" || credential.Login.Password != issued {
			t.Errorf("got %+v", credential.Login)
		}
		if !credential.ExpiresAt.Equal(expiry) {
			t.Errorf("expires at %s", credential.ExpiresAt)
		}
	}
	requests := service.Requests()
	if minted != 2 || len(requests) != 2 {
		t.Fatalf("minted %d tokens for %d requests, want one for each exchange", minted, len(requests))
	}
	got := requests[0]
	if got.Method != http.MethodGet || got.Host != "quay.io" || got.Path != "/oauth2/federation/robot/token" || len(got.Query)+len(got.Form) > 0 {
		t.Errorf("got %s %s%s?%v %v", got.Method, got.Host, got.Path, got.Query, got.Form)
	}
	for header, want := range map[string]string{"Authorization": "Basic " + basic, "Accept": "application/json", "User-Agent": exchange.UserAgent} {
		if value := got.Header.Get(header); value != want {
			t.Errorf("%s: got %q, want %q", header, value, want)
		}
	}
}

func refusal(status int, text string) exchangetest.Reply {
	body, _ := json.Marshal(map[string]any{"error": text})
	return exchangetest.Reply{Status: status, Body: string(body)}
}

func dated(reply exchangetest.Reply, at time.Time) exchangetest.Reply {
	reply.Header = map[string]string{"Date": at.Format(http.TimeFormat)}
	return reply
}

const trust = "; let the robot federation of example+puller name this cluster's issuer, the subject system:serviceaccount:team:puller and, if it names audiences, quay.io"

func page(status int) exchangetest.Reply {
	return exchangetest.Reply{Status: status, Body: "planted", Header: map[string]string{"Content-Type": "text/html; charset=utf-8"}}
}

var refusals = map[string]struct {
	reply exchangetest.Reply
	class providers.Class
	want  []string
}{
	"a robot without federation": {
		refusal(401, "Robot does not have federated login configured"), providers.Denied,
		[]string{"401 Unauthorized: Robot does not have federated login configured" + trust},
	},
	"another issuer":                      {refusal(401, "issuer https://issuer.example not configured for this robot"), providers.Denied, []string{"issuer https://issuer.example not configured for this robot" + trust}},
	"another subject":                     {refusal(401, "Token does not match robot"), providers.Denied, []string{"Token does not match robot" + trust}},
	"another audience":                    {refusal(401, "Invalid token: Audience doesn't match"), providers.Denied, []string{"Audience doesn't match" + trust}},
	"a robot that does not exist":         {refusal(401, "Could not find robot with username: example+puller"), providers.Denied, []string{"; check robot: is there a robot account example+puller?"}},
	"a robot that is none":                {refusal(401, "Invalid robot"), providers.Denied, []string{"Invalid robot; check robot"}},
	"no credentials":                      {refusal(401, "missing auth"), providers.Denied, []string{"missing auth" + trust}},
	"an expired token, by a slow cluster": {dated(refusal(401, "Invalid token: Signature has expired"), testNow.Add(time.Hour)), providers.ClockSkew, []string{"; this cluster's clock is 1h0m0s behind Quay's: set it right"}},
	"a token from the future":             {refusal(401, "Invalid token: The token is not yet valid (iat)"), providers.ClockSkew, []string{"; set the clocks of the cluster's API servers right"}},
	"an error of Quay's API":              {exchangetest.Reply{Status: 403, Body: `{"status":403,"error_message":"Unauthorized","error_type":"insufficient_scope"}`}, providers.Denied, []string{"403 Forbidden: Unauthorized" + trust}},
	"a message of Quay's":                 {exchangetest.Reply{Status: 400, Body: `{"message":"no"}`}, providers.Invalid, []string{"400 Bad Request: no"}},
	"too many requests":                   {refusal(429, "slow_down"), providers.Throttled, []string{"429 Too Many Requests: slow_down"}},
	"a server's error":                    {refusal(500, "oops"), providers.Transient, []string{"500 Internal Server Error: oops"}},
	"a server's page":                     {page(502), providers.Transient, []string{"answered 502 Bad Gateway with text/html"}},
	"an old installation":                 {page(404), providers.Invalid, []string{"404 Not Found; check registry; robot federation needs Quay 3.13 or later"}},
	"another server":                      {exchangetest.Reply{Status: 404, Body: "planted", Header: map[string]string{"Content-Type": "text/plain"}}, providers.Invalid, []string{"404 Not Found; check registry"}},
	"a refusal without a body":            {exchangetest.Reply{Status: 401}, providers.Denied, []string{"401 Unauthorized" + trust}},
	"a refusal that is no JSON":           {exchangetest.Reply{Status: 401, Body: "planted"}, providers.Transient, []string{"answered 401 Unauthorized with application/json that can't be read"}},
	"a refusal of another form":           {exchangetest.Reply{Status: 401, Body: `{"error":{"planted":1}}`}, providers.Transient, []string{"can't be read"}},

	"a portal's page":           {page(200), providers.Transient, []string{"with text/html instead of data"}},
	"a redirect":                {exchangetest.Reply{Status: 301, Header: map[string]string{"Location": "https://evil.example/"}}, providers.Transient, []string{"redirect"}},
	"an endless answer":         {exchangetest.Reply{Body: strings.Repeat(" ", exchange.MaxBody+1)}, providers.Transient, []string{"longer than 1048576 bytes"}},
	"a truncated answer":        {exchangetest.Reply{Body: `{"token":"planted`}, providers.Transient, []string{"can't be read"}},
	"an empty answer":           {exchangetest.Reply{}, providers.Transient, []string{"can't be read"}},
	"an empty object":           {exchangetest.Reply{Body: `{}`}, providers.Transient, []string{"the answer holds no token"}},
	"a token of another type":   {exchangetest.Reply{Body: `{"token":["planted"]}`}, providers.Transient, []string{"can't be read"}},
	"a token that is no text":   {exchangetest.Reply{Body: `{"token":"planted "}`}, providers.Transient, []string{"characters that no token has"}},
	"a token that is no JWT":    {exchangetest.Reply{Body: `{"token":"planted"}`}, providers.Transient, []string{"the answer's token can't be read: it is not a JWT"}},
	"a token without an expiry": {exchangetest.Reply{Body: `{"token":"e30.e30.x"}`}, providers.Transient, []string{"does not say when its token expires"}},
	"a token that is over":      {exchangetest.Reply{Body: `{"token":"` + withExpiry(testNow) + `"}`}, providers.Transient, []string{"expired at 2030-01-02T03:04:05Z already"}},
	"a token that is over by a fast clock": {
		dated(exchangetest.Reply{Body: `{"token":"` + withExpiry(testNow) + `"}`}, testNow.Add(-time.Hour)), providers.ClockSkew,
		[]string{"this machine's clock is 1h0m0s ahead of Quay's: set it right"},
	},
}

func TestFetchTellsWhatWentWrong(t *testing.T) {
	for name, test := range refusals {
		t.Run(name, func(t *testing.T) {
			credential, err := fetch(t, test.reply)
			exchangetest.CheckError(t, err, test.class, append(test.want, "robot federation at quay.io: "), secrets)
			if credential != (providers.Credential{}) {
				t.Errorf("got a credential until %s", credential.ExpiresAt)
			}
		})
	}
}

func TestARefusalThatQuotesTheTokenDoesNotTellIt(t *testing.T) {
	reply := refusal(401, "bad "+subject+" in "+basic)
	reply.Header = map[string]string{"Retry-After": "7"}
	_, err := fetch(t, reply)
	exchangetest.CheckError(t, err, providers.Denied, []string{"bad *** in ***;"}, secrets)
	if got := providers.RetryAfter(err); got != 7*time.Second {
		t.Errorf("wait for %s", got)
	}
}

func TestACertificateThatNobodyTrustsLeadsToTheBundle(t *testing.T) {
	service := exchangetest.NewService(t, func(exchangetest.Request) exchangetest.Reply { return good })
	client := service.Client()
	client.Transport.(*http.Transport).TLSClientConfig.RootCAs = x509.NewCertPool()
	minted := 0
	_, err := mustNew(t, testConfig(), client).Fetch(t.Context(), minting(t, &minted))
	exchangetest.CheckError(t, err, providers.Transient, []string{"robot federation at quay.io: the certificate is not trusted; let caBundle hold the CA that signed it"}, secrets)
	var cause *tls.CertificateVerificationError
	if !errors.As(err, &cause) || len(service.Requests()) > 0 {
		t.Errorf("got cause %v and %d requests", errors.Unwrap(err), len(service.Requests()))
	}
}

func TestAHostThatIsDownIsTheEndpoint(t *testing.T) {
	for name, test := range map[string]struct {
		reply exchangetest.Reply
		down  bool
	}{
		"a server's error":          {refusal(500, "oops"), true},
		"a gateway's page":          {page(502), true},
		"an answer that is no JSON": {exchangetest.Reply{Body: "planted"}, true},
		"too many requests":         {page(429), false},
		"a refusal":                 {refusal(401, "Invalid robot"), false},
		"no token":                  {exchangetest.Reply{Body: `{}`}, false},
		"no word of the expiry":     {exchangetest.Reply{Body: `{"token":"e30.e30.x"}`}, false},
	} {
		t.Run(name, func(t *testing.T) {
			service := exchangetest.NewService(t, func(exchangetest.Request) exchangetest.Reply { return test.reply })
			checkDown(t, service.Client(), test.down)
		})
	}
	t.Run("a certificate that nobody trusts", func(t *testing.T) {
		service := exchangetest.NewService(t, func(exchangetest.Request) exchangetest.Reply { return good })
		client := service.Client()
		client.Transport.(*http.Transport).TLSClientConfig.RootCAs = x509.NewCertPool()
		checkDown(t, client, true)
	})
}

// checkDown fetches from a registry whose name holds the usual port.
func checkDown(t *testing.T, client *http.Client, down bool) {
	t.Helper()
	config := testConfig()
	config.Registry, config.Audience = "quay.example.com:443", "quay.io"
	provider := mustNew(t, config, client)
	minted := 0
	_, err := provider.Fetch(t.Context(), minting(t, &minted))
	if err == nil {
		t.Fatal("no error")
	}
	if got := providers.HostOf(err); got != provider.Endpoints()[0] || (providers.DownHost(err) == got) != down {
		t.Errorf("%q failed, and %q is said to be down: %v", got, providers.DownHost(err), err)
	}
}

func TestAMachineThatIsBehindTakesTheLoginForOverInTime(t *testing.T) {
	const behind = 7 * time.Minute
	credential, err := fetch(t, dated(exchangetest.Reply{Body: `{"token":"` + withExpiry(expiry.Add(behind)) + `"}`}, testNow.Add(behind)))
	if err != nil || !credential.ExpiresAt.Equal(expiry) || credential.Skew != "this machine's clock is 7m0s behind "+whose {
		t.Errorf("expires at %s, want %s, %q (%v)", credential.ExpiresAt, expiry, credential.Skew, err)
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
	_, err := newProvider(t, service).Fetch(ctx, minting(t, &minted))
	exchangetest.CheckError(t, err, providers.Transient, []string{"cancelled"}, secrets)
}

func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{good.Body, `{}`, `null`, `[]`, `{"token":"e30.eyJleHAiOjFlMzAwfQ.x"}`, `{"token":"e30.eyJleHAiOjI1MzQwMjMwMDc5OX0.x"}`, `{"error":"` + "\xff" + `"}`} {
		f.Add(200, seed)
	}
	for _, test := range refusals {
		f.Add(max(test.reply.Status, 200), test.reply.Body)
	}
	provider := mustNew(f, testConfig(), nil)
	f.Fuzz(func(t *testing.T, status int, body string) {
		answer := exchange.Answer{Status: status, Body: []byte(body)}
		token, expiresAt, err := provider.readToken(answer)
		if err == nil && (token == "" || strings.ContainsAny(token, "\r\n \x00")) {
			t.Errorf("got token %q until %s", token, expiresAt)
		}
		for _, err := range []error{err, provider.refused(answer, subject, exchange.NewScrubber(subject, basic))} {
			var failure *providers.Error
			if err != nil && (!errors.As(err, &failure) || failure.Class == 0 || len([]rune(err.Error())) > 1024 || strings.Contains(err.Error(), subject)) {
				t.Errorf("got %v", err)
			}
		}
	})
}

func FuzzRegistry(f *testing.F) {
	for _, seed := range []string{"quay.io", "quay.io:443", "10.0.0.1:1", "a:b", "[::1]:2", "evil@quay.io", "quay.io/x", "a..b", "-a.b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, registry string) {
		if !isAuthority(registry) {
			return
		}
		request, err := http.NewRequest(http.MethodGet, "https://"+registry+"/oauth2/federation/robot/token", nil)
		if err != nil || request.URL.Host != registry || request.URL.User != nil || request.URL.Path != "/oauth2/federation/robot/token" {
			t.Errorf("%q leads to %v, %v", registry, request, err)
		}
	})
}
