package gar

import (
	"strings"
	"testing"

	"github.com/imagepullsecrets/operator/internal/exchange"
)

func TestRegistriesThatGetTheLogin(t *testing.T) {
	for name, test := range map[string]struct {
		universe, host string
		valid          bool
	}{
		"a region":                               {"googleapis.com", "europe-west1-docker.pkg.dev", true},
		"a multi-region":                         {"googleapis.com", "us-docker.pkg.dev", true},
		"all locations":                          {"googleapis.com", "docker.pkg.dev", true},
		"a regional endpoint":                    {"googleapis.com", "docker.me-central2.rep.pkg.dev", true},
		"gcr.io":                                 {"googleapis.com", "gcr.io", true},
		"gcr.io of a location":                   {"googleapis.com", "eu.gcr.io", true},
		"another suffix":                         {"googleapis.com", "x-docker.pkg.dev.evil.example", false},
		"another suffix of gcr.io":               {"googleapis.com", "gcr.io.evil.example", false},
		"another prefix":                         {"googleapis.com", "evil.example-docker.pkg.dev", false},
		"another prefix of gcr.io":               {"googleapis.com", "evilgcr.io", false},
		"two labels before gcr.io":               {"googleapis.com", "a.us.gcr.io", false},
		"another dot":                            {"googleapis.com", "us-docker-pkg.dev", false},
		"any letter for a dot":                   {"googleapis.com", "us-dockerxpkg.dev", false},
		"another format of packages":             {"googleapis.com", "us-python.pkg.dev", false},
		"the domain alone":                       {"googleapis.com", "pkg.dev", false},
		"no location":                            {"googleapis.com", "-docker.pkg.dev", false},
		"a port":                                 {"googleapis.com", "us-docker.pkg.dev:443", false},
		"a path":                                 {"googleapis.com", "us-docker.pkg.dev/project", false},
		"a scheme":                               {"googleapis.com", "https://us-docker.pkg.dev", false},
		"a user":                                 {"googleapis.com", "us-docker.pkg.dev@evil.example", false},
		"a wildcard":                             {"googleapis.com", "*-docker.pkg.dev", false},
		"capitals":                               {"googleapis.com", "US-docker.pkg.dev", false},
		"a second line":                          {"googleapis.com", "us-docker.pkg.dev\nevil.example", false},
		"a dot at the end":                       {"googleapis.com", "us-docker.pkg.dev.", false},
		"nothing":                                {"googleapis.com", "", false},
		"a sovereign cloud's":                    {"s3nsapis.fr", "docker.s3nsregistry.fr", true},
		"a sovereign cloud's region":             {"s3nsapis.fr", "u-france-east1-docker.s3nsregistry.fr", true},
		"a sovereign cloud's with another form":  {"apis-berlin-build0.goog", "u-germany-northeast1-docker.pkg-berlin-build0.goog", true},
		"any other cloud's":                      {"cloud.example", "here-docker.cloud.example", true},
		"Google's for a sovereign cloud":         {"s3nsapis.fr", "us-docker.pkg.dev", false},
		"gcr.io for a sovereign cloud":           {"s3nsapis.fr", "gcr.io", false},
		"a sovereign cloud's for Google":         {"googleapis.com", "docker.s3nsregistry.fr", false},
		"one sovereign cloud's for another":      {"apis-berlin-build0.goog", "docker.s3nsregistry.fr", false},
		"another suffix than a sovereign clouds": {"s3nsapis.fr", "docker.s3nsregistry.fr.evil.example", false},
	} {
		t.Run(name, func(t *testing.T) {
			config := Config{UniverseDomain: test.universe, Registries: []string{test.host}}
			var problems exchange.Problems
			if config.checkRegistries(&problems); (len(problems) == 0) != test.valid {
				t.Errorf("got %q", problems)
			}
		})
	}
}

func FuzzRegistries(f *testing.F) {
	for _, seed := range []string{
		"us-docker.pkg.dev", "docker.us.rep.pkg.dev", "gcr.io", "us.gcr.io", "x-docker.pkg.dev.evil.example", "gcr.io\n", "*.gcr.io", "docker.s3nsregistry.fr",
	} {
		f.Add("googleapis.com", seed)
		f.Add("s3nsapis.fr", seed)
	}
	f.Fuzz(func(t *testing.T, universe, host string) {
		config := Config{UniverseDomain: universe, Registries: []string{host}}
		var problems exchange.Problems
		if config.checkRegistries(&problems); !config.hasUniverse() || len(problems) > 0 {
			return
		}
		suffixes := []string{"." + registryDomain(universe)}
		if universe == googleUniverse {
			suffixes = []string{".pkg.dev", ".gcr.io"}
		}
		within := host == "gcr.io" && universe == googleUniverse
		for _, suffix := range suffixes {
			within = within || strings.HasSuffix(host, suffix)
		}
		if !within || strings.ContainsAny(host, "/:@*?#\\ \n") {
			t.Errorf("universe %q: accepted %q", universe, host)
		}
	})
}

func FuzzNew(f *testing.F) {
	f.Add("gcr.io", testProvider, "", "", testEmail, testEmail, "", false)
	f.Add("gcr.io", "", testCluster, "x", "", "", "googleapis.com", false)
	f.Add("docker.s3nsregistry.fr", "//iam.googleapis.com/"+testProvider, "", "", "", "", "s3nsapis.fr", true)
	f.Add("docker.x", testProvider, "", "", "", "", "\x9d", false) // no text for a regular expression
	f.Fuzz(func(t *testing.T, registry, provider, cluster, audience, email, delegate, universe string, ambient bool) {
		config := Config{
			Registries: []string{registry}, WorkloadIdentityProvider: provider, GKECluster: cluster, Audience: audience,
			GoogleServiceAccount: email, Delegates: []string{delegate}, UniverseDomain: universe, Ambient: ambient,
		}
		if !ambient {
			config.ServiceAccount = account()
		}
		got, err := New(config, nil)
		if err != nil {
			_ = failed(t, err)
			return
		}
		for _, part := range append([]string{got.stsHost(), got.iamHost(), got.config.GoogleServiceAccount}, got.config.Delegates...) {
			if strings.ContainsAny(part, "/:?#% \n\\") {
				t.Errorf("accepted %q", part)
			}
		}
		if !ambient && (got.pool.audience == "" || got.pool.request == "") {
			t.Error("accepted a ServiceAccount without audiences")
		}
	})
}
