package gar

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/imagepullsecrets/operator/internal/exchange"
	"github.com/imagepullsecrets/operator/providers"
)

func newRun(p *Provider) fetch { return fetch{p, providers.Env{}, exchange.NewScrubber()} }

func callOf(host string) exchange.Call { return exchange.Call{Action: "token exchange", Host: host} }

func answerOf(status int, body string) exchange.Answer {
	return exchange.Answer{Status: status, Body: []byte(body)}
}

// read reads a token as of testNow.
func read(body string) (accessToken, error) {
	run := newRun(&Provider{now: func() time.Time { return testNow }})
	return run.readToken(callOf(stsHost), answerOf(200, body), testNow)
}

func TestReadToken(t *testing.T) {
	for name, test := range map[string]struct {
		body string
		life time.Duration
		err  string
	}{
		"a token":                                 {`{"access_token":"a","expires_in":3599,"token_type":"Bearer"}`, 3599 * time.Second, ""},
		"a life in another notation":              {`{"access_token":"a","expires_in":3.599e3}`, 3599 * time.Second, ""},
		"a life beyond all of them":               {`{"access_token":"a","expires_in":1e300}`, 24 * time.Hour, ""},
		"the longest token that Google documents": {`{"access_token":"` + strings.Repeat("a", 12288) + `","expires_in":1}`, time.Second, ""},
		"a longer one":                            {`{"access_token":"` + strings.Repeat("a", 1<<17) + `","expires_in":1}`, 0, "the answer's token "},
		"a token with a line break":               {`{"access_token":"a\nb","expires_in":1}`, 0, "the answer's token "},
		"a token beyond ASCII":                    {`{"access_token":"ä","expires_in":1}`, 0, "the answer's token "},
		"an empty token":                          {`{"access_token":"","expires_in":1}`, 0, "holds no token"},
		"no token":                                {`{"expires_in":1}`, 0, "holds no token"},
		"no life":                                 {`{"access_token":"a"}`, 0, "does not say when"},
		"a life that is over":                     {`{"access_token":"a","expires_in":0}`, 0, "does not say when"},
		"a life that was over long ago":           {`{"access_token":"a","expires_in":-5}`, 0, "does not say when"},
		"a life of another type":                  {`{"access_token":"a","expires_in":"3599"}`, 0, "not a token in JSON"},
		"a token of another type":                 {`{"access_token":{"a":1},"expires_in":1}`, 0, "not a token in JSON"},
		"a list":                                  {`[]`, 0, "not a token in JSON"},
		"half of it":                              {`{"access_token":"a","expires_in":1`, 0, "not a token in JSON"},
		"nothing":                                 {``, 0, "not a token in JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := read(test.body)
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("got %v, want %s", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.value == "" || !got.expiresAt.Equal(testNow.Add(test.life)) {
				t.Errorf("got %q until %s", got.value, got.expiresAt)
			}
		})
	}
}

func FuzzReadToken(f *testing.F) {
	for _, seed := range []string{
		federated().body, `{}`, `null`, ``, `{"access_token":"a","expires_in":1e308}`, `{"access_token":"\u0000","expires_in":-1}`,
		`{"access_token":"planted","expires_in":"planted"}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		got, err := read(body)
		if err != nil {
			if got != (accessToken{}) || strings.Contains(err.Error(), "planted") {
				t.Errorf("got %v and %q", got, err)
			}
			return
		}
		if got.value == "" || strings.ContainsAny(got.value, " \r\n\x00") {
			t.Errorf("accepted the token %q", got.value)
		}
		if life := got.expiresAt.Sub(testNow); life < time.Second || life > maxLife {
			t.Errorf("accepted a life of %s", life)
		}
	})
}

func FuzzImpersonationAnswer(f *testing.F) {
	for _, seed := range []string{
		impersonated(testNow.Add(time.Hour)).body, `{}`, ``, `null`, `{"accessToken":"a"}`, `{"accessToken":"a","expireTime":"9999-12-31T23:59:59Z"}`,
		`{"accessToken":1,"expireTime":{}}`, `{"accessToken":"a","expireTime":"0001-01-01T00:00:00Z"}`,
	} {
		f.Add(seed, 200)
		f.Add(seed, 403)
	}
	f.Fuzz(func(t *testing.T, body string, status int) {
		if status < 200 || status > 599 {
			return
		}
		provider, err := New(impersonating(), scripted(status, body))
		if err != nil {
			t.Fatal(err)
		}
		provider.now = func() time.Time { return testNow }
		got, err := newRun(provider).impersonate(t.Context(), plantedFederated)
		if err != nil {
			_ = failed(t, err)
			return
		}
		if got.value == "" || !got.expiresAt.After(testNow) || got.expiresAt.Sub(testNow).Seconds() > math.Ceil(lifetime.Seconds()) {
			t.Errorf("accepted %q until %s", got.value, got.expiresAt)
		}
	})
}
