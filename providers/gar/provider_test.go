package gar

import (
	"slices"
	"testing"

	"github.com/imagepullsecrets/operator/internal/exchange"
	"github.com/imagepullsecrets/operator/internal/exchange/exchangetest"
)

func TestEveryInputOfTheIdentityIsInTheKey(t *testing.T) {
	base := func() Config {
		config := impersonating()
		config.Delegates = []string{"one@p.iam.gserviceaccount.com", "two@p.iam.gserviceaccount.com"}
		return config
	}
	key := func(c Config) string { return keyOf(t, c) }
	exchangetest.CheckKeys(t, base, key, map[string]exchangetest.Change[Config]{
		"Registries": {
			Set:         func(c *Config) { c.Registries = []string{"us-docker.pkg.dev"} },
			Indifferent: "one token opens whatever its principal may read",
		},
		"ServiceAccount.Namespace": {Set: func(c *Config) { c.ServiceAccount.Namespace = "other" }},
		"ServiceAccount.Name":      {Set: func(c *Config) { c.ServiceAccount.Name = "other" }},
		"ServiceAccount.UID":       {Set: func(c *Config) { c.ServiceAccount.UID = "other" }},
		"WorkloadIdentityProvider": {Set: func(c *Config) { c.WorkloadIdentityProvider += "-2" }},
		"WorkloadIdentityProvider under the same audience": {Set: func(c *Config) {
			c.WorkloadIdentityProvider += "-2"
			c.Audience = "https://iam.googleapis.com/" + testProvider
		}},
		"GKECluster":                    {Set: func(c *Config) { c.WorkloadIdentityProvider, c.GKECluster = "", testCluster }},
		"GKECluster beside the other":   {Set: func(c *Config) { c.WorkloadIdentityProvider, c.GKECluster = "", testCluster+"-2" }},
		"Audience":                      {Set: func(c *Config) { c.Audience = "other" }},
		"GoogleServiceAccount":          {Set: func(c *Config) { c.GoogleServiceAccount = "other@p.iam.gserviceaccount.com" }},
		"GoogleServiceAccount left out": {Set: func(c *Config) { c.GoogleServiceAccount, c.Delegates = "", nil }},
		"Delegates left out":            {Set: func(c *Config) { c.Delegates = nil }},
		"Delegates in another order":    {Set: func(c *Config) { slices.Reverse(c.Delegates) }},
		"Delegates without the last":    {Set: func(c *Config) { c.Delegates = c.Delegates[:1] }},
		"UniverseDomain": {Set: func(c *Config) {
			c.UniverseDomain, c.Registries = "s3nsapis.fr", []string{"docker.s3nsregistry.fr"}
		}},
		"Ambient": {Set: func(c *Config) {
			*c = Config{Ambient: true, Registries: c.Registries, GoogleServiceAccount: c.GoogleServiceAccount, Delegates: c.Delegates}
		}},
	})
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
