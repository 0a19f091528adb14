package gar

import (
	"maps"
	"reflect"
	"slices"
	"testing"

	"github.com/imagepullsecrets/operator/internal/exchange"
)

// Every field of a Config decides on the identity and so on the key, unless it
// says here why not. A field without an entry fails the test.
func TestEveryInputOfTheIdentityIsInTheKey(t *testing.T) {
	const alike = "leads to the same login"
	fields := map[string]struct {
		changes []func(*Config)
		alike   string // why the key stays the same
	}{
		"Registries": {[]func(*Config){func(c *Config) { c.Registries = []string{"us-docker.pkg.dev"} }}, alike},
		"ServiceAccount": {changes: []func(*Config){
			func(c *Config) { c.ServiceAccount.Namespace = "other" },
			func(c *Config) { c.ServiceAccount.Name = "other" },
			func(c *Config) { c.ServiceAccount.UID = "other" },
		}},
		"WorkloadIdentityProvider": {changes: []func(*Config){
			func(c *Config) { c.WorkloadIdentityProvider += "-2" },
			// The same name of the audience, but another provider.
			func(c *Config) {
				c.WorkloadIdentityProvider += "-2"
				c.Audience = "https://iam.googleapis.com/" + testProvider
			},
		}},
		"GKECluster": {changes: []func(*Config){
			func(c *Config) { c.WorkloadIdentityProvider, c.GKECluster = "", testCluster },
			func(c *Config) { c.WorkloadIdentityProvider, c.GKECluster = "", testCluster+"-2" },
		}},
		"Audience":             {changes: []func(*Config){func(c *Config) { c.Audience = "other" }}},
		"GoogleServiceAccount": {changes: []func(*Config){func(c *Config) { c.GoogleServiceAccount, c.Delegates = "", nil }, func(c *Config) { c.GoogleServiceAccount = "other@p.iam.gserviceaccount.com" }}},
		"Delegates": {changes: []func(*Config){
			func(c *Config) { c.Delegates = nil },
			func(c *Config) { slices.Reverse(c.Delegates) },
			func(c *Config) { c.Delegates = c.Delegates[:1] },
		}},
		"UniverseDomain": {changes: []func(*Config){func(c *Config) {
			c.UniverseDomain, c.Registries = "s3nsapis.fr", []string{"docker.s3nsregistry.fr"}
		}}},
		"Ambient": {changes: []func(*Config){func(c *Config) {
			*c = Config{Ambient: true, Registries: c.Registries, GoogleServiceAccount: c.GoogleServiceAccount, Delegates: c.Delegates}
		}}},
	}
	for field := range reflect.TypeFor[Config]().Fields() {
		if _, found := fields[field.Name]; !found {
			t.Errorf("%s: does it decide on the identity?", field.Name)
		}
	}
	base := func() Config {
		config := impersonating()
		config.Delegates = []string{"one@p.iam.gserviceaccount.com", "two@p.iam.gserviceaccount.com"}
		return config
	}
	seen := map[string]string{keyOf(t, base()): "the unchanged configuration"}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		for _, change := range fields[name].changes {
			config := base()
			change(&config)
			key := keyOf(t, config)
			other, known := seen[key]
			if known != (fields[name].alike != "") {
				t.Errorf("%s: the key is that of %q", name, other)
			}
			if !known {
				seen[key] = name
			}
		}
	}
}

func keyOf(t *testing.T, config Config) string {
	t.Helper()
	provider, err := New(config, nil)
	if err != nil {
		t.Fatal(err)
	}
	return provider.Key()
}

func TestAProviderTellsWhoItAsks(t *testing.T) {
	for name, test := range map[string]struct {
		config Config
		want   []string
	}{
		"the token exchange":                        {direct(), []string{"sts.googleapis.com"}},
		"the token exchange, and the impersonation": {impersonating(), []string{"sts.googleapis.com", "iamcredentials.googleapis.com"}},
		"that of the universe": {Config{
			ServiceAccount: account(), WorkloadIdentityProvider: testProvider,
			UniverseDomain: "s3nsapis.fr", Registries: []string{"docker.s3nsregistry.fr"},
		}, []string{"sts.s3nsapis.fr"}},
		"the metadata server": {own(), []string{"169.254.169.254:80"}},
	} {
		t.Run(name, func(t *testing.T) {
			provider, err := New(test.config, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := provider.Endpoints(); !slices.Equal(got, test.want) {
				t.Errorf("got %s, want %s", got, test.want)
			}
			if provider.Name() != "googleArtifactRegistry" || provider.client != exchange.Shared() {
				t.Errorf("got %s with %v", provider.Name(), provider.client)
			}
		})
	}
}
