package tokenexchange

import (
	"context"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/imagepullsecrets/operator/internal/exchange"
	"github.com/imagepullsecrets/operator/providers"
)

const trust = `let the server trust this cluster's issuer, the audience "https://sso.example.com" and the subject system:serviceaccount:registry-access:puller`

func TestRefusals(t *testing.T) {
	oauth := func(status int, code, description string) reply {
		return answerOf(status, `{"error":"`+code+`","error_description":"`+description+`"}`)
	}
	date := func(offset time.Duration) string { return testNow.Add(offset).Format(http.TimeFormat) }
	basic := func(c *Config) { *c = withClient(*c, Basic) }
	// Too short to be taken for a secret by its looks.
	short := func(c *Config) { c.ClientAuthentication, c.ClientID, c.ClientSecret = Basic, "op", "planted" }
	header := base64.StdEncoding.EncodeToString([]byte("op:planted"))
	for name, test := range map[string]struct {
		reply      reply
		change     func(*Config)
		class      providers.Class
		want       []string
		retryAfter time.Duration
	}{
		"a subject that nobody trusts": {
			reply: oauth(400, "invalid_grant", "The subject token is not trusted."), class: providers.Denied,
			want: []string{"token exchange at sso.example.com: invalid_grant: The subject token is not trusted.; " + trust},
		},
		"a subject token that isn't accepted, as RFC 8693 says it": {
			reply: oauth(400, "invalid_request", "Invalid subject token"), class: providers.Denied,
			want: []string{"check format, subjectTokenType, audience, resource and parameters; or else " + trust},
		},
		"a token that isn't accepted, as Keycloak says it": {reply: oauth(400, "invalid_token", "invalid token"), class: providers.Denied, want: []string{"invalid_token: invalid token; " + trust}},
		"an exchange that a policy forbids":                {reply: oauth(403, "access_denied", "Client not allowed to exchange"), class: providers.Denied, want: []string{trust}},
		"an unknown client": {
			reply: oauth(401, "invalid_client", "Invalid client or Invalid client credentials"), change: basic, class: providers.Denied,
			want: []string{"invalid_client: Invalid client or Invalid client credentials; check clientAuthentication: the clientID, the secret's value, and whether the server takes the method Basic"},
		},
		"a client that should have said who it is": {reply: oauth(401, "invalid_client", ""), class: providers.Denied, want: []string{"invalid_client; the server wants to know its client: set clientAuthentication"}},
		"a client that may not exchange": {
			reply: oauth(400, "unauthorized_client", "Client not enabled for token exchange"), change: basic, class: providers.Denied,
			want: []string{`let the server allow token exchange to the client "operator@corp/a b"; or else ` + trust},
		},
		"nobody in particular may not exchange": {
			reply: oauth(400, "unauthorized_client", "The given credential is rejected by the attribute condition."), class: providers.Denied,
			want: []string{"to callers without clientAuthentication; or else " + trust},
		},
		"an unknown scope":      {reply: oauth(400, "invalid_scope", "Invalid scopes: pull"), class: providers.Invalid, want: []string{"invalid_scope: Invalid scopes: pull; check scopes"}},
		"an unknown audience":   {reply: oauth(400, "invalid_target", "The target service is invalid."), class: providers.Invalid, want: []string{"check audience and resource"}},
		"no token exchange":     {reply: oauth(400, "unsupported_grant_type", "Unsupported grant_type"), class: providers.Invalid, want: []string{"check grantType, format, and whether"}},
		"an unknown token type": {reply: oauth(400, "unsupported_token_type", ""), class: providers.Invalid, want: []string{"check subjectTokenType and requestedTokenType"}},
		"a code in capitals":    {reply: oauth(400, "INVALID_SCOPE", ""), class: providers.Invalid, want: []string{"INVALID_SCOPE; check scopes"}},
		"too fast":              {reply: oauth(400, "slow_down", "").with("Retry-After", "30"), class: providers.Throttled, want: []string{"slow_down"}, retryAfter: 30 * time.Second},
		"too fast, by status":   {reply: oauth(429, "invalid_request", "").with("Retry-After", "7"), class: providers.Throttled, retryAfter: 7 * time.Second},
		"too fast, in a text":   {reply: reply{429, map[string]string{"Content-Type": "text/plain", "Retry-After": "5"}, "slow down"}, class: providers.Throttled, want: []string{"429 Too Many Requests"}, retryAfter: 5 * time.Second},
		"a server's bad moment": {reply: oauth(400, "temporarily_unavailable", ""), class: providers.Transient},
		"a server's failure":    {reply: oauth(400, "server_error", "boom"), class: providers.Transient, want: []string{"server_error: boom"}},
		"a refusal with a 200":  {reply: oauth(200, "invalid_grant", "no"), class: providers.Denied, want: []string{"invalid_grant: no", trust}},

		"JFrog: a token that isn't accepted": {
			reply: answerOf(401, `{"errors":[{"status":401,"message":"Bad credentials"}]}`), class: providers.Denied,
			want: []string{"401 Unauthorized: Bad credentials; " + trust},
		},
		"JFrog: no identity mapping": {
			reply: answerOf(403, `{"errors":[{"code":"FORBIDDEN","message":"No identity mapping matches","detail":"x"}]}`), class: providers.Denied,
			want: []string{"FORBIDDEN: No identity mapping matches; " + trust},
		},
		"JFrog: an unknown provider": {
			reply: answerOf(404, `{"errors":[{"status":404,"message":"Provider k8s was not found"}]}`), class: providers.Invalid,
			want: []string{"404 Not Found: Provider k8s was not found; check the path of endpoint, and what parameters name"},
		},
		"JFrog: a malformed request": {
			reply: answerOf(400, `{"errors":[{"status":400,"message":"provider_name is missing"}]}`), class: providers.Invalid,
			want: []string{"400 Bad Request: provider_name is missing; check format", "; or else " + trust},
		},
		"a text of a path that leads nowhere": {
			reply: reply{404, map[string]string{"Content-Type": "text/plain"}, "404 page not found"}, class: providers.Transient,
			want: []string{"answered 404 Not Found with text/plain that can't be read; a proxy in between? Or is the path of endpoint wrong?"},
		},
		"a page of a path that takes no POST": {
			reply: reply{405, map[string]string{"Content-Type": "text/html"}, "<h1>no</h1>"}, class: providers.Transient,
			want: []string{"answered 405 Method Not Allowed with text/html instead of data; a proxy in between? Or is the path of endpoint wrong?"},
		},
		"Docker: a plain message":   {reply: answerOf(403, `{"message":"connection is disabled"}`), class: providers.Denied, want: []string{"403 Forbidden: connection is disabled; " + trust}},
		"Docker: a detail":          {reply: answerOf(401, `{"detail":"no"}`), class: providers.Denied, want: []string{"401 Unauthorized: no; " + trust}},
		"Docker: a registry's form": {reply: answerOf(401, `{"errors":[{"code":"UNAUTHORIZED","message":"no","detail":[{"Type":"x"}]}]}`), class: providers.Denied, want: []string{"UNAUTHORIZED: no"}},
		"Docker: too many requests": {reply: answerOf(429, `{"message":"rate limited"}`).with("Retry-After", "2"), class: providers.Throttled, want: []string{"rate limited"}, retryAfter: 2 * time.Second},
		"an error that is an object": {
			reply: answerOf(403, `{"error":{"code":403,"message":"denied","status":"PERMISSION_DENIED"}}`), class: providers.Denied,
			want: []string{"PERMISSION_DENIED: denied; " + trust},
		},
		"an error of a framework":           {reply: answerOf(415, `{"timestamp":"x","status":415,"error":"Unsupported Media Type"}`), class: providers.Invalid, want: []string{"415 Unsupported Media Type; the server takes another format than Form: change format"}},
		"a 401 with a client":               {reply: answerOf(401, `{}`), change: basic, class: providers.Denied, want: []string{"check clientAuthentication", "; or else " + trust}},
		"a 403 without a body":              {reply: answerOf(403, ""), class: providers.Denied, want: []string{"403 Forbidden; " + trust}},
		"a 405":                             {reply: answerOf(405, ""), class: providers.Invalid, want: []string{"405 Method Not Allowed; check the path of endpoint"}},
		"a 500":                             {reply: answerOf(500, `{"message":"boom"}`), class: providers.Transient, want: []string{"500 Internal Server Error: boom"}},
		"a 503 with a text":                 {reply: reply{503, map[string]string{"Content-Type": "text/plain", "Retry-After": "9"}, "planted"}, class: providers.Transient, want: []string{"answered 503 Service Unavailable"}, retryAfter: 9 * time.Second},
		"a 403 with a text":                 {reply: reply{403, map[string]string{"Content-Type": "text/plain"}, "planted"}, class: providers.Transient, want: []string{"answered 403 Forbidden with text/plain that can't be read"}},
		"a web page":                        {reply: reply{403, map[string]string{"Content-Type": "text/html"}, "<html>planted"}, class: providers.Transient, want: []string{"a proxy in between?"}},
		"members of other types":            {reply: answerOf(400, `{"error":7,"errors":"x","message":[],"error_description":{}}`), class: providers.Invalid, want: []string{"400 Bad Request; check format"}},
		"errors that are no objects":        {reply: answerOf(400, `{"errors":["a"]}`), class: providers.Invalid, want: []string{"400 Bad Request; check format"}},
		"no errors in the list":             {reply: answerOf(400, `{"errors":[]}`), class: providers.Invalid, want: []string{"400 Bad Request; check format"}},
		"null among the errors":             {reply: answerOf(400, `{"errors":[null],"error":null}`), class: providers.Invalid, want: []string{"400 Bad Request; check format"}},
		"a code that is a sentence":         {reply: oauth(400, "no no no", "x"), class: providers.Invalid, want: []string{"400 Bad Request: x"}},
		"the token comes back":              {reply: oauth(400, "invalid_grant", "not valid: "+accountToken), class: providers.Denied, want: []string{"not valid: ***"}},
		"the client's secret comes back":    {reply: oauth(401, "invalid_client", plantedSecret+" is wrong"), change: basic, class: providers.Denied, want: []string{"*** is wrong"}},
		"the encoded secret comes back":     {reply: oauth(401, "invalid_client", "planted+secret%2B%2F%26%3D is wrong"), change: basic, class: providers.Denied, want: []string{"*** is wrong"}},
		"the header's value comes back":     {reply: oauth(401, "invalid_client", "bad: "+header), change: short, class: providers.Denied, want: []string{"invalid_client: bad: ***; "}},
		"the whole header comes back":       {reply: oauth(401, "invalid_client", "bad: Basic "+header), change: short, class: providers.Denied, want: []string{"invalid_client: bad: Basic ***; "}},
		"a very long description is cut":    {reply: oauth(400, "invalid_scope", strings.Repeat("a ", 4000)), class: providers.Invalid, want: []string{"…; check scopes"}},
		"a clock that is behind":            {reply: oauth(400, "invalid_grant", "Token is not active").with("Date", date(-5*time.Minute)), class: providers.ClockSkew, want: []string{"Token is not active; this cluster's clock is 5m0s ahead of sso.example.com's: set it right"}},
		"a clock that is ahead":             {reply: oauth(400, "invalid_request", "JWT expired at 12:00").with("Date", date(time.Hour)), class: providers.ClockSkew, want: []string{"this cluster's clock is 1h0m0s behind"}},
		"a clock that nobody complains of":  {reply: oauth(400, "invalid_grant", "unknown issuer").with("Date", date(time.Hour)), class: providers.Denied, want: []string{trust + "; this cluster's clock is 1h0m0s behind"}},
		"a complaint with clocks that fit":  {reply: oauth(400, "invalid_grant", "token expired").with("Date", date(20*time.Second)), class: providers.Denied, want: []string{"token expired; " + trust}},
		"a clock that is no matter":         {reply: oauth(400, "invalid_scope", "expired scope").with("Date", date(time.Hour)), class: providers.Invalid, want: []string{"expired scope; check scopes"}},
		"a description that is about words": {reply: oauth(400, "invalid_grant", "this export is experimental").with("Date", date(time.Hour)), class: providers.Denied},
	} {
		t.Run(name, func(t *testing.T) {
			config := testConfig()
			if test.change != nil {
				test.change(&config)
			}
			server := newServer(t, test.reply)
			_, err := fetch(t, newProvider(t, config, server))
			checkMessage(t, err, test.class, test.want...)
			if got := providers.RetryAfter(err); got != test.retryAfter {
				t.Errorf("retry after %s, want %s", got, test.retryAfter)
			}
			// One exchange is one request: the store retries.
			server.only(t)
		})
	}
}

func TestNoAnswerIsTransient(t *testing.T) {
	server := newServer(t, good())
	provider := newProvider(t, testConfig(), server)
	server.Close()
	_, err := fetch(t, provider)
	checkMessage(t, err, providers.Transient, "token exchange at sso.example.com: could not be reached: connection refused")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = provider.Fetch(ctx, environment(nil))
	checkMessage(t, err, providers.Transient, "token exchange at sso.example.com: cancelled")
}

func TestAHostThatIsDownIsTheEndpoint(t *testing.T) {
	config := testConfig()
	config.Endpoint = "https://SSO.example.com:0443/token"
	for name, test := range map[string]struct {
		reply reply
		down  bool
	}{
		"a server's error":              {answerOf(500, `{"message":"boom"}`), true},
		"a server's text":               {reply{503, map[string]string{"Content-Type": "text/plain"}, "planted"}, true},
		"a gateway's page":              {reply{502, map[string]string{"Content-Type": "text/html"}, "planted"}, true},
		"an answer that can't be read":  {answerOf(200, `[]`), true},
		"a bad moment that it tells of": {answerOf(400, `{"error":"temporarily_unavailable"}`), false},
		"too many requests":             {answerOf(429, `{}`), false},
		"a refusal":                     {answerOf(400, `{"error":"invalid_grant"}`), false},
		"no token":                      {answerOf(200, `{"expires_in":60}`), false},
		"no word of the expiry":         {answerOf(200, `{"access_token":"planted"}`), false},
	} {
		t.Run(name, func(t *testing.T) {
			provider := newProvider(t, config, newServer(t, test.reply))
			_, err := fetch(t, provider)
			if got := providers.DownHost(err); err == nil || (got == provider.Endpoints()[0]) != test.down || !test.down && got != "" {
				t.Errorf("%q is said to be down: %v", got, err)
			}
		})
	}
	t.Run("no connection", func(t *testing.T) {
		server := newServer(t, good())
		provider := newProvider(t, config, server)
		server.Close()
		_, err := fetch(t, provider)
		if got := providers.DownHost(err); got != provider.Endpoints()[0] {
			t.Errorf("%q is said to be down: %v", got, err)
		}
	})
}

func FuzzRefused(f *testing.F) {
	for _, body := range answers {
		f.Add([]byte(body), 400)
		f.Add([]byte(body), 503)
	}
	f.Add([]byte(`{"error":"`+accountToken+`","message":"`+accountToken+`"}`), 401)
	provider, err := New(withClient(testConfig(), Post), nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte, status int) {
		this := run{Provider: provider, scrub: exchange.NewScrubber(accountToken, plantedSecret), started: testNow, issued: testNow}
		members, unreadable := parseObject(body)
		err := this.refused(exchange.Answer{Status: status, Header: http.Header{}, Body: body}, members, unreadable)
		if !strings.HasPrefix(err.Message, "token exchange at sso.example.com: ") || !utf8.ValidString(err.Message) {
			t.Errorf("got %q", err.Message)
		}
		// Code, description and hint, all bounded.
		if length := utf8.RuneCountInString(err.Message); length > 1000 {
			t.Errorf("%d characters", length)
		}
		if strings.Contains(err.Message, accountToken) || strings.Contains(err.Message, plantedSecret) {
			t.Errorf("%q tells a secret", err.Message)
		}
		if err.Class < providers.Invalid || err.Class > providers.Transient {
			t.Errorf("class %d", err.Class)
		}
	})
}
