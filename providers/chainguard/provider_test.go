package chainguard

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/imagepullsecrets/operator/internal/exchange"
	"github.com/imagepullsecrets/operator/internal/exchange/exchangetest"
	"github.com/imagepullsecrets/operator/providers"
)

const identity = "0123456789abcdef0123456789abcdef01234567/0123456789abcdef"

func testConfig() Config {
	return Config{
		Identity:       identity,
		ServiceAccount: providers.ServiceAccount{Namespace: "team", Name: "puller", UID: "uid-1"},
	}
}

func mustNew(t testing.TB, config Config, client *http.Client) *Provider {
	t.Helper()
	provider, err := New(config, client)
	if err != nil {
		t.Fatal(err)
	}
	return provider
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	secret := strings.Repeat("planted", 6)
	for name, test := range map[string]struct {
		change func(*Config)
		want   []string
	}{
		"everything empty is told at once": {func(c *Config) { *c = Config{} }, []string{
			"identity must be an identity's UID of at most 512 characters that matches ", `, as chainctl iam identities list shows it, not ""`,
			"serviceAccount.name is empty; serviceAccount.namespace is empty",
		}},
		"a ServiceAccount without a UID":    {func(c *Config) { c.ServiceAccount.UID = "\n" }, []string{`serviceAccount "team/puller" has no UID: does it exist?`}},
		"white space is empty":              {func(c *Config) { c.Identity = " \n" }, []string{`not ""`}},
		"an identity's name":                {func(c *Config) { c.Identity = "puller" }, []string{`not "puller"`}},
		"an identity that climbs":           {func(c *Config) { c.Identity = "ab/../cd" }, []string{`not "ab/../cd"`}},
		"an identity with an empty segment": {func(c *Config) { c.Identity = "ab//cd" }, []string{`not "ab//cd"`}},
		"an identity that begins a path":    {func(c *Config) { c.Identity = "/ab" }, []string{`not "/ab"`}},
		"an identity that ends in one":      {func(c *Config) { c.Identity = "ab/" }, []string{`not "ab/"`}},
		"an identity with a query":          {func(c *Config) { c.Identity = "ab?cd" }, []string{`not "ab?cd"`}},
		"an escaped identity":               {func(c *Config) { c.Identity = "ab%2fcd" }, []string{`not "ab%2fcd"`}},
		"an identity on two lines":          {func(c *Config) { c.Identity = "ab\ncd" }, []string{`not "ab\ncd"`}},
		"an identity in capitals":           {func(c *Config) { c.Identity = "AB" }, []string{`not "AB"`}},
		"an identity that is too long":      {func(c *Config) { c.Identity = strings.Repeat("a", 513) }, []string{"not a value of 513 characters"}},
		"a secret in the identity's place":  {func(c *Config) { c.Identity = secret }, []string{"not a value of 42 characters"}},
		"an audience of two words":          {func(c *Config) { c.Audience = "a b" }, []string{`audience must be a text without white space, not "a b"`}},
		"another registry":                  {func(c *Config) { c.Registries = []string{"quay.io"} }, []string{`registries must be cgr.dev or subdomains of it, not "quay.io"`}},
		"a registry that only looks so":     {func(c *Config) { c.Registries = []string{"cgr.dev.evil.example"} }, []string{`not "cgr.dev.evil.example"`}},
		"a registry that ends alike":        {func(c *Config) { c.Registries = []string{"evilcgr.dev"} }, []string{`not "evilcgr.dev"`}},
		"a registry with a path":            {func(c *Config) { c.Registries = []string{"cgr.dev/chainguard"} }, []string{`not "cgr.dev/chainguard"`}},
		"a registry with a port":            {func(c *Config) { c.Registries = []string{"cgr.dev:443"} }, []string{`not "cgr.dev:443"`}},
		"a registry in capitals":            {func(c *Config) { c.Registries = []string{"CGR.dev"} }, []string{`not "CGR.dev"`}},
		"a registry of many":                {func(c *Config) { c.Registries = []string{"cgr.dev", ""} }, []string{`not ""`}},
	} {
		t.Run(name, func(t *testing.T) {
			config := testConfig()
			test.change(&config)
			provider, err := New(config, nil)
			if provider != nil {
				t.Errorf("got %v", provider)
			}
			exchangetest.CheckError(t, err, providers.Invalid, test.want, []string{secret})
		})
	}
}

func TestNewTakesIdentitiesAndRegistries(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"a folder's identity": func(c *Config) { c.Identity = "ab/cd/ef" },
		"a long identity":     func(c *Config) { c.Identity = strings.Repeat("a", 512) },
		"a subdomain":         func(c *Config) { c.Registries = []string{"skills.cgr.dev", "cgr.dev"} },
		"a subdomain of it":   func(c *Config) { c.Registries = []string{"a.b-c.cgr.dev"} },
	} {
		t.Run(name, func(t *testing.T) {
			config := testConfig()
			change(&config)
			if _, err := New(config, nil); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestDefaultsAndWhiteSpace(t *testing.T) {
	given := Config{
		Identity:       " " + identity + "\n",
		ServiceAccount: providers.ServiceAccount{Namespace: " team ", Name: "puller\n", UID: "uid-1 "},
		Audience:       "\thttps://issuer.enforce.dev",
		Registries:     []string{"cgr.dev\n"},
	}
	plain, padded := mustNew(t, testConfig(), nil), mustNew(t, given, nil)
	if plain.Key() != padded.Key() {
		t.Error("padding, or writing a default down, makes another key")
	}
	if diff := cmp.Diff([]string{"cgr.dev"}, padded.Registries()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"cgr.dev"}, plain.Registries()); diff != "" {
		t.Error(diff)
	}
	if given.Registries[0] != "cgr.dev\n" {
		t.Error("the caller's Config was changed")
	}
}

func TestKeyCoversEveryInput(t *testing.T) {
	key := func(c Config) string { return mustNew(t, c, nil).Key() }
	exchangetest.CheckKeys(t, testConfig, key, map[string]exchangetest.Change[Config]{
		"Identity":                 {Set: func(c *Config) { c.Identity += "/ab" }},
		"ServiceAccount.Namespace": {Set: func(c *Config) { c.ServiceAccount.Namespace += "x" }},
		"ServiceAccount.Name":      {Set: func(c *Config) { c.ServiceAccount.Name += "x" }},
		"ServiceAccount.UID":       {Set: func(c *Config) { c.ServiceAccount.UID += "x" }},
		"Audience":                 {Set: func(c *Config) { c.Audience = "other" }},
		"Registries":               {Set: func(c *Config) { c.Registries = []string{"skills.cgr.dev"} }, Indifferent: "one token opens them all"},
	})
}

func TestWhatIsKnownBeforeAnyExchange(t *testing.T) {
	provider := mustNew(t, testConfig(), nil)
	if provider.Name() != "chainguard" || provider.Endpoints()[0] != "issuer.enforce.dev" {
		t.Errorf("got %s at %s", provider.Name(), provider.Endpoints())
	}
	if provider.client != exchange.Shared() {
		t.Error("not the shared client")
	}
	provider.Registries()[0] = "changed"
	if got := provider.Registries()[0]; got != "cgr.dev" {
		t.Errorf("got %q", got)
	}
	for _, verb := range []string{"%v", "%+v", "%#v"} {
		want := "chainguard a value of 57 characters as team/puller"
		if got := fmt.Sprintf(verb, provider); got != want {
			t.Errorf("%s: got %q", verb, got)
		}
		if got := fmt.Sprintf(verb, testConfig()); got != want {
			t.Errorf("%s: got %q", verb, got)
		}
	}
}

// minting returns an Env with one token, and counts the calls.
func minting(t *testing.T, token string, calls *int) providers.Env {
	return providers.Env{Token: func(_ context.Context, account providers.ServiceAccount, audience string) (string, error) {
		*calls++
		if account != testConfig().ServiceAccount || audience != "https://issuer.enforce.dev" {
			t.Errorf("asked for a token of %s for %s", account, audience)
		}
		return token, nil
	}}
}

func TestFetchSendsWhatChainguardReads(t *testing.T) {
	service := exchangetest.NewService(t, func(exchangetest.Request) exchangetest.Reply { return good })
	provider := newProvider(t, service)
	minted := 0
	for range 2 {
		credential, err := provider.Fetch(t.Context(), minting(t, subject, &minted))
		if err != nil {
			t.Fatal(err)
		}
		if credential.Login.Username != "_token" || credential.Login.Password != issued {
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
	if got.Method != http.MethodPost || got.Host != "issuer.enforce.dev" || got.Path != "/sts/exchange" || len(got.Query) > 0 {
		t.Errorf("got %s %s%s?%v", got.Method, got.Host, got.Path, got.Query)
	}
	if want := "Bearer " + subject; got.Header.Get("Authorization") != want {
		t.Errorf("got authorization %q", got.Header.Get("Authorization"))
	}
	if diff := cmp.Diff(url.Values{"aud": {"cgr.dev"}, "identity": {identity}}, got.Form); diff != "" {
		t.Error(diff)
	}
}

func TestFetchPassesOnWhyThereIsNoToken(t *testing.T) {
	service := exchangetest.NewService(t, func(exchangetest.Request) exchangetest.Reply { return good })
	want := providers.Errorf(providers.Forbidden, "grant create on serviceaccounts/token")
	_, err := newProvider(t, service).Fetch(t.Context(), providers.Env{
		Token: func(context.Context, providers.ServiceAccount, string) (string, error) { return "", want },
	})
	if !errors.Is(err, want) || len(service.Requests()) > 0 {
		t.Errorf("got %v and %d requests", err, len(service.Requests()))
	}
}
