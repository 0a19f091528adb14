package acr

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

const (
	tenant = "11111111-2222-3333-4444-555555555555"
	client = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
)

func testConfig() Config {
	return Config{
		Registry: "example.azurecr.io", TenantID: tenant, ClientID: client,
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
			`registry must be a login server of AzurePublic, such as example.azurecr.io, in lower case, not ""`,
			`tenantID must be a directory's id, such as 00000000-0000-0000-0000-000000000000, or its domain, not ""`,
			`clientID must be an application's id, such as 00000000-0000-0000-0000-000000000000, not ""`,
			"serviceAccount.name is empty; serviceAccount.namespace is empty",
		}},
		"a ServiceAccount without a UID": {func(c *Config) { c.ServiceAccount.UID = "\n" }, []string{`serviceAccount "team/puller" has no UID: does it exist?`}},
		"a registry that only looks so":  {func(c *Config) { c.Registry = "x.azurecr.io.evil.example" }, []string{`not "x.azurecr.io.evil.example"`}},
		"a registry that ends alike":     {func(c *Config) { c.Registry = "exampleazurecr.io" }, []string{`not "exampleazurecr.io"`}},
		"the suffix alone":               {func(c *Config) { c.Registry = ".azurecr.io" }, []string{`not ".azurecr.io"`}},
		"a name that is too short":       {func(c *Config) { c.Registry = "abcd.azurecr.io" }, []string{`not "abcd.azurecr.io"`}},
		"a data endpoint": {
			func(c *Config) { c.Registry = "example.eastus.data.azurecr.io" }, []string{"registry must be a login server, not", "which is a data endpoint"},
		},
		"a region's endpoint":            {func(c *Config) { c.Registry = "example.eastus.geo.azurecr.io" }, []string{"must be a login server"}},
		"a registry in capitals":         {func(c *Config) { c.Registry = "Example.azurecr.io" }, []string{`in lower case, not "Example.azurecr.io"`}},
		"a registry with a port":         {func(c *Config) { c.Registry = "example.azurecr.io:443" }, []string{`not "example.azurecr.io:443"`}},
		"a registry with a path":         {func(c *Config) { c.Registry = "evil/example.azurecr.io" }, []string{`not "evil/example.azurecr.io"`}},
		"a registry with a user":         {func(c *Config) { c.Registry = "evil@example.azurecr.io" }, []string{`not "evil@example.azurecr.io"`}},
		"a registry of another cloud":    {func(c *Config) { c.Cloud = "AzureChina" }, []string{"of AzureChina, such as example.azurecr.cn", `not "example.azurecr.io"`}},
		"a cloud that nobody knows":      {func(c *Config) { c.Cloud = "AzureGermany" }, []string{`cloud must be one of AzurePublic, AzureChina and AzureUSGovernment, not "AzureGermany"`}},
		"a tenant of everybody":          {func(c *Config) { c.TenantID = "common" }, []string{`not "common"`}},
		"a tenant that climbs":           {func(c *Config) { c.TenantID = "../x.example" }, []string{`not "../x.example"`}},
		"a tenant with a path":           {func(c *Config) { c.TenantID = "a.example/x" }, []string{`not "a.example/x"`}},
		"a client's name":                {func(c *Config) { c.ClientID = "puller" }, []string{`clientID must be an application's id`, `not "puller"`}},
		"an id without its dashes":       {func(c *Config) { c.ClientID = strings.ReplaceAll(client, "-", "") }, []string{`not "aaaaaaaabbbbccccddddeeeeeeeeeeee"`}},
		"a secret in the client's place": {func(c *Config) { c.ClientID = secret }, []string{"not a value of 42 characters"}},
		"a secret in the tenant's place": {func(c *Config) { c.TenantID = secret }, []string{"not a value of 42 characters"}},
		"an audience of two words":       {func(c *Config) { c.Audience = "a b" }, []string{`audience must be a text without white space, not "a b"`}},
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

func TestEachCloudHasItsHostsAndAudience(t *testing.T) {
	for name, test := range map[string]struct{ cloud, registry, authority, audience string }{
		"by default":        {"", "example.azurecr.io", "login.microsoftonline.com", "api://AzureADTokenExchange"},
		"the public one":    {"AzurePublic", "example.azurecr.io", "login.microsoftonline.com", "api://AzureADTokenExchange"},
		"China's":           {"AzureChina", "example.azurecr.cn", "login.chinacloudapi.cn", "api://AzureADTokenExchangeChina"},
		"the US government": {"AzureUSGovernment", "example-a1b2c3.azurecr.us", "login.microsoftonline.us", "api://AzureADTokenExchangeUSGov"},
	} {
		t.Run(name, func(t *testing.T) {
			config := testConfig()
			config.Cloud, config.Registry, config.TenantID = test.cloud, test.registry, "example.onmicrosoft.com"
			provider := mustNew(t, config, nil)
			if provider.cloud.authority != test.authority || provider.config.Audience != test.audience {
				t.Errorf("got %s, %s", provider.cloud.authority, provider.config.Audience)
			}
		})
	}
}

func TestDefaultsWhiteSpaceAndCase(t *testing.T) {
	given := Config{
		Registry: " example.azurecr.io\n", TenantID: tenant + "\n", ClientID: " " + strings.ToUpper(client), Cloud: "AzurePublic ",
		ServiceAccount: providers.ServiceAccount{Namespace: "team ", Name: " puller", UID: "uid-1\n"}, Audience: "api://AzureADTokenExchange\n",
	}
	if plain, padded := mustNew(t, testConfig(), nil), mustNew(t, given, nil); plain.Key() != padded.Key() {
		t.Error("padding, case, or writing a default down makes another key")
	}
}

func TestKeyCoversEveryInput(t *testing.T) {
	// With an audience of its own, so that the cloud doesn't change it.
	base := func() Config { config := testConfig(); config.Audience = "mine"; return config }
	if got, want := mustNew(t, base(), nil).Key(), base().complete().key(); got != want {
		t.Errorf("got key %s, want %s", got, want)
	}
	key := func(c Config) string { return c.complete().key() }
	exchangetest.CheckKeys(t, base, key, map[string]exchangetest.Change[Config]{
		"Registry":                 {Set: func(c *Config) { c.Registry = "other.azurecr.io" }},
		"TenantID":                 {Set: func(c *Config) { c.TenantID = "example.com" }},
		"ClientID":                 {Set: func(c *Config) { c.ClientID = tenant }},
		"Cloud":                    {Set: func(c *Config) { c.Cloud = "AzureChina" }},
		"ServiceAccount.Namespace": {Set: func(c *Config) { c.ServiceAccount.Namespace += "x" }},
		"ServiceAccount.Name":      {Set: func(c *Config) { c.ServiceAccount.Name += "x" }},
		"ServiceAccount.UID":       {Set: func(c *Config) { c.ServiceAccount.UID += "x" }},
		"Audience":                 {Set: func(c *Config) { c.Audience = "other" }},
	})
}

func TestWhatIsKnownBeforeAnyExchange(t *testing.T) {
	provider := mustNew(t, testConfig(), nil)
	if provider.Name() != "azureContainerRegistry" || provider.Endpoints()[0] != "login.microsoftonline.com" {
		t.Errorf("got %s at %s", provider.Name(), provider.Endpoints())
	}
	if diff := cmp.Diff([]string{"example.azurecr.io"}, provider.Registries()); diff != "" {
		t.Error(diff)
	}
	if provider.client != exchange.Shared() {
		t.Error("not the shared client")
	}
	for _, verb := range []string{"%v", "%+v", "%#v"} {
		want := `azureContainerRegistry "example.azurecr.io" as team/puller`
		if got := fmt.Sprintf(verb, provider); got != want {
			t.Errorf("%s: got %q", verb, got)
		}
		if got := fmt.Sprintf(verb, testConfig()); got != want {
			t.Errorf("%s: got %q", verb, got)
		}
	}
}

func minting(t *testing.T, calls *int) providers.Env {
	return providers.Env{Token: func(_ context.Context, account providers.ServiceAccount, audience string) (string, error) {
		*calls++
		if account != testConfig().ServiceAccount || audience != "api://AzureADTokenExchange" {
			t.Errorf("asked for a token of %s for %s", account, audience)
		}
		return assertion, nil
	}}
}

func TestFetchPassesOnWhyThereIsNoToken(t *testing.T) {
	azure := newAzure(t, signedIn, exchanged)
	want := providers.Errorf(providers.Forbidden, "grant create on serviceaccounts/token")
	_, err := azure.provider.Fetch(t.Context(), providers.Env{
		Token: func(context.Context, providers.ServiceAccount, string) (string, error) { return "", want },
	})
	if !errors.Is(err, want) || len(azure.Requests()) > 0 {
		t.Errorf("got %v and %d requests", err, len(azure.Requests()))
	}
}
