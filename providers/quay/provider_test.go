package quay

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/imagepullsecrets/operator/internal/exchange"
	"github.com/imagepullsecrets/operator/internal/exchange/exchangetest"
	"github.com/imagepullsecrets/operator/providers"
)

func testConfig() Config {
	return Config{
		Robot:          "example+puller",
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
		"everything empty is told at once": {func(c *Config) { *c = Config{CABundle: secret} }, []string{
			`robot must be <organization>+<name>, such as example+puller, not ""; serviceAccount.name is empty; serviceAccount.namespace is empty; caBundle: holds no certificate in PEM form`,
		}},
		"a ServiceAccount without a UID": {func(c *Config) { c.ServiceAccount.UID = "\n" }, []string{`serviceAccount "team/puller" has no UID: does it exist?`}},
		"a registry that is a URL":       {func(c *Config) { c.Registry = "https://quay.io" }, []string{`registry must be <host>[:<port>] as in the images' names, in lower case, not "https://quay.io"`}},
		"a registry with a path":         {func(c *Config) { c.Registry = "quay.io/example" }, []string{`not "quay.io/example"`}},
		"a registry with a user":         {func(c *Config) { c.Registry = "evil@quay.io" }, []string{`not "evil@quay.io"`}},
		"a registry with a query":        {func(c *Config) { c.Registry = "quay.io?a" }, []string{`not "quay.io?a"`}},
		"a registry in capitals":         {func(c *Config) { c.Registry = "Quay.io" }, []string{`not "Quay.io"`}},
		"a registry without a dot":       {func(c *Config) { c.Registry = "quay" }, []string{`not "quay"`}},
		"a registry without a host":      {func(c *Config) { c.Registry = ":443" }, []string{`not ":443"`}},
		"a registry of empty parts":      {func(c *Config) { c.Registry = "quay..io" }, []string{`not "quay..io"`}},
		"a registry by IPv6":             {func(c *Config) { c.Registry = "[::1]:443" }, []string{`not "[::1]:443"`}},
		"a port of letters":              {func(c *Config) { c.Registry = "quay.io:https" }, []string{`not "quay.io:https"`}},
		"no port behind a colon":         {func(c *Config) { c.Registry = "quay.io:" }, []string{`not "quay.io:"`}},
		"a port out of bounds":           {func(c *Config) { c.Registry = "quay.io:65536" }, []string{`not "quay.io:65536"`}},
		"port 0":                         {func(c *Config) { c.Registry = "quay.io:0" }, []string{`not "quay.io:0"`}},
		"a port in another spelling":     {func(c *Config) { c.Registry = "quay.io:0443" }, []string{`not "quay.io:0443"`}},
		"an endless host":                {func(c *Config) { c.Registry = strings.Repeat("planted.", 40) + "io" }, []string{"not a value of 322 characters"}},
		"a user for a robot":             {func(c *Config) { c.Robot = "example" }, []string{`not "example"`}},
		"a robot with a colon":           {func(c *Config) { c.Robot = "example+pull:er" }, []string{`not "example+pull:er"`}},
		"a robot with a line break":      {func(c *Config) { c.Robot = "example+pull\ner" }, []string{`not "example+pull\ner"`}},
		"a secret in the robot's place": {
			func(c *Config) { c.Robot = secret }, []string{"not a value of 42 characters"},
		},
		"an audience of two words": {func(c *Config) { c.Audience = "a b" }, []string{`audience must be a text without white space, not "a b"`}},
	} {
		t.Run(name, func(t *testing.T) {
			config := testConfig()
			test.change(&config)
			provider, err := New(config, nil)
			if provider != nil {
				t.Errorf("got %v", provider)
			}
			exchangetest.CheckError(t, err, providers.Invalid, test.want, []string{"planted"})
		})
	}
}

func TestRegistriesAndWhatFollowsFromThem(t *testing.T) {
	for name, test := range map[string]struct{ registry, key, endpoint, audience string }{
		"by default":               {"", "quay.io", "quay.io", "quay.io"},
		"one's own":                {"quay.example.com", "quay.example.com", "quay.example.com", "quay.example.com"},
		"another port":             {"quay.example.com:8443", "quay.example.com:8443", "quay.example.com:8443", "quay.example.com"},
		"the usual port, in names": {"quay.example.com:443", "quay.example.com:443", "quay.example.com", "quay.example.com"},
		"a port that ends alike":   {"quay.example.com:1443", "quay.example.com:1443", "quay.example.com:1443", "quay.example.com"},
		"a short name with a port": {"quay:8443", "quay:8443", "quay:8443", "quay"},
		"an address":               {"10.0.0.1:8443", "10.0.0.1:8443", "10.0.0.1:8443", "10.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			config := testConfig()
			config.Registry = test.registry
			provider := mustNew(t, config, nil)
			if diff := cmp.Diff([]string{test.key}, provider.Registries()); diff != "" {
				t.Error(diff)
			}
			if provider.Endpoints()[0] != test.endpoint || provider.config.Audience != test.audience {
				t.Errorf("got endpoint %s, audience %s", provider.Endpoints(), provider.config.Audience)
			}
		})
	}
}

func TestDefaultsAndWhiteSpace(t *testing.T) {
	given := Config{
		Registry: " quay.io\n", Robot: "example+puller\n", Audience: "quay.io ", CABundle: "\n",
		ServiceAccount: providers.ServiceAccount{Namespace: "team ", Name: " puller", UID: "uid-1\n"},
	}
	if plain, padded := mustNew(t, testConfig(), nil), mustNew(t, given, nil); plain.Key() != padded.Key() {
		t.Error("padding, or writing a default down, makes another key")
	}
}

func TestKeyCoversEveryInput(t *testing.T) {
	service := exchangetest.NewService(t, nil)
	key := func(c Config) string { return mustNew(t, c, nil).Key() }
	exchangetest.CheckKeys(t, testConfig, key, map[string]exchangetest.Change[Config]{
		// The audience stays, so that the registry alone changes.
		"Registry":                 {Set: func(c *Config) { c.Registry, c.Audience = "quay.example.com", "quay.io" }},
		"Robot":                    {Set: func(c *Config) { c.Robot += "x" }},
		"ServiceAccount.Namespace": {Set: func(c *Config) { c.ServiceAccount.Namespace += "x" }},
		"ServiceAccount.Name":      {Set: func(c *Config) { c.ServiceAccount.Name += "x" }},
		"ServiceAccount.UID":       {Set: func(c *Config) { c.ServiceAccount.UID += "x" }},
		"Audience":                 {Set: func(c *Config) { c.Audience = "other" }},
		"CABundle":                 {Set: func(c *Config) { c.CABundle = service.CABundle() }},
	})
}

func TestTheClientTrustsTheBundle(t *testing.T) {
	service := exchangetest.NewService(t, nil)
	config := testConfig()
	if got := mustNew(t, config, nil).client; got != exchange.Shared() {
		t.Error("without a bundle: not the shared client")
	}
	config.CABundle = service.CABundle()
	roots, err := exchange.ParseRoots(service.CABundle())
	if err != nil {
		t.Fatal(err)
	}
	trusting := mustNew(t, config, nil).client
	config.Robot += "2"
	if mustNew(t, config, nil).client != trusting {
		t.Error("two providers with one bundle have a client each")
	}
	transport, ok := trusting.Transport.(*http.Transport)
	if !ok || !transport.TLSClientConfig.RootCAs.Equal(roots) {
		t.Error("with a bundle: the client doesn't trust it")
	}
	given := service.Client()
	if got := mustNew(t, config, given).client; got != given {
		t.Error("the given client is not used")
	}
}

func TestNothingPrintsMoreThanNames(t *testing.T) {
	provider := mustNew(t, testConfig(), nil)
	if provider.Name() != "quay" {
		t.Errorf("got %s", provider.Name())
	}
	config := provider.config
	config.CABundle = "planted"
	for _, verb := range []string{"%v", "%+v", "%#v"} {
		want := `quay "example+puller" at "quay.io" as team/puller`
		if got := fmt.Sprintf(verb, provider); got != want {
			t.Errorf("%s: got %q", verb, got)
		}
		if got := fmt.Sprintf(verb, config); got != want {
			t.Errorf("%s: got %q", verb, got)
		}
	}
}

func minting(t *testing.T, calls *int) providers.Env {
	return providers.Env{Token: func(_ context.Context, account providers.ServiceAccount, audience string) (string, error) {
		*calls++
		if account != testConfig().ServiceAccount || audience != "quay.io" {
			t.Errorf("asked for a token of %s for %s", account, audience)
		}
		return subject, nil
	}}
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
