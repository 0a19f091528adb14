package gar

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/imagepullsecrets/operator/providers"
)

// registriesMustBe begins what is said of a registry that is none of Google's.
const (
	registriesMustBe = `registries[0] must be a host of universe "googleapis.com", such as <location>-docker.pkg.dev, gcr.io or <location>.gcr.io, not `
	providerMustBe   = "workloadIdentityProvider must be projects/<number>/locations/global/workloadIdentityPools/<pool>/providers/<provider>, not "
	clusterMustBe    = "gkeCluster must be projects/<id>/locations/<location>/clusters/<name>, with the project's id and not its number, not "
	emailMustBe      = " must be a service account's email, such as puller@my-project.iam.gserviceaccount.com, not "
)

func TestNewSaysWhatIsWrong(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"no registry": {func(c *Config) { c.Registries = nil }, "registries is empty"},
		"a registry twice": {
			func(c *Config) { c.Registries = []string{"gcr.io", "us.gcr.io", "gcr.io"} },
			`registries[2] is "gcr.io" for the second time`,
		},
		"a universe that is none": {
			func(c *Config) { c.UniverseDomain = strings.Repeat("\x9d", 201) },
			"universeDomain must be a domain in lower case, such as googleapis.com, not a value of 201 characters",
		},
		"somebody else's registry": {func(c *Config) { c.Registries = []string{"quay.io"} }, registriesMustBe + `"quay.io"`},
		"nobody": {
			func(c *Config) { c.ServiceAccount, c.WorkloadIdentityProvider = providers.ServiceAccount{}, "" },
			"serviceAccount is missing, and with it workloadIdentityProvider or gkeCluster",
		},
		"a ServiceAccount that nobody trusts": {
			func(c *Config) { c.WorkloadIdentityProvider = "" },
			"serviceAccount needs workloadIdentityProvider or gkeCluster",
		},
		"a ServiceAccount without a namespace": {
			func(c *Config) { c.ServiceAccount.Namespace = "" }, "serviceAccount.namespace is empty",
		},
		"a ServiceAccount without a name": {
			func(c *Config) { c.ServiceAccount.Name = "" }, "serviceAccount.name is empty",
		},
		"a ServiceAccount without a UID": {
			func(c *Config) { c.ServiceAccount.UID = "" }, `serviceAccount "team/puller" has no UID: does it exist?`,
		},
		"two pools": {
			func(c *Config) { c.GKECluster = testCluster },
			"set either workloadIdentityProvider or gkeCluster, not both",
		},
		"two identities": {
			func(c *Config) { c.Ambient = true },
			"the operator's own identity is used without serviceAccount, workloadIdentityProvider, gkeCluster and audience",
		},
		"the operator's own identity with an audience": {
			func(c *Config) { *c = Config{Registries: []string{"gcr.io"}, Ambient: true, Audience: "x"} },
			"the operator's own identity is used without serviceAccount, workloadIdentityProvider, gkeCluster and audience",
		},
		"a provider by its project's id": {
			func(c *Config) {
				c.WorkloadIdentityProvider = strings.Replace(testProvider, "123456789", "my-project", 1)
			},
			`workloadIdentityProvider must name the project by its number, not by its id "my-project" (gcloud projects describe <id> --format='value(projectNumber)')`,
		},
		"a pool instead of a provider": {
			func(c *Config) {
				c.WorkloadIdentityProvider = "projects/123456789/locations/global/workloadIdentityPools/clusters"
			},
			providerMustBe + `"projects/123456789/locations/global/workloadIdentityPools/clusters"`,
		},
		"a provider at another host": {
			func(c *Config) { c.WorkloadIdentityProvider = "//iam.evil.example/" + testProvider },
			providerMustBe + `"//iam.evil.example/` + testProvider + `"`,
		},
		"a provider with more behind it": {
			func(c *Config) { c.WorkloadIdentityProvider = testProvider + "/x" }, providerMustBe + `"` + testProvider + `/x"`,
		},
		"a key file in the wrong place": {
			func(c *Config) { c.WorkloadIdentityProvider = strings.Repeat("k", 201) }, providerMustBe + "a value of 201 characters",
		},
		"a cluster by its project's number": {
			func(c *Config) {
				c.WorkloadIdentityProvider, c.GKECluster = "", "projects/123456/locations/europe-west1/clusters/x"
			},
			clusterMustBe + `"projects/123456/locations/europe-west1/clusters/x"`,
		},
		"a cluster in another universe": {
			func(c *Config) {
				c.WorkloadIdentityProvider, c.GKECluster = "", testCluster
				c.UniverseDomain, c.Registries = "s3nsapis.fr", []string{"docker.s3nsregistry.fr"}
			},
			"gkeCluster is for universe googleapis.com only: set workloadIdentityProvider",
		},
		"a cluster with an audience": {
			func(c *Config) { c.WorkloadIdentityProvider, c.GKECluster, c.Audience = "", testCluster, "x" },
			"audience can't be chosen with gkeCluster, whose pool takes only its own",
		},
		"an audience with a space": {
			func(c *Config) { c.Audience = "a b" }, "audience must be printable ASCII without spaces, of at most 1024 characters",
		},
		"an audience that is too long": {
			func(c *Config) { c.Audience = strings.Repeat("a", 1025) },
			"audience must be printable ASCII without spaces, of at most 1024 characters",
		},
		"an account that is no email": {
			func(c *Config) { c.GoogleServiceAccount = "puller" }, "googleServiceAccount" + emailMustBe + `"puller"`,
		},
		"an account that leads elsewhere": {
			func(c *Config) { c.GoogleServiceAccount = "a@b.example/../x:signBlob?y=z.com" },
			"googleServiceAccount" + emailMustBe + `"a@b.example/../x:signBlob?y=z.com"`,
		},
		"an account in capitals": {
			func(c *Config) { c.GoogleServiceAccount = "A@b.example" }, "googleServiceAccount" + emailMustBe + `"A@b.example"`,
		},
		"an account that is too long": {
			func(c *Config) { c.GoogleServiceAccount = strings.Repeat("a", 320) + "@b.example" },
			"googleServiceAccount" + emailMustBe + "a value of 330 characters",
		},
		"a delegate that is no email": {
			func(c *Config) { c.GoogleServiceAccount, c.Delegates = testEmail, []string{testEmail, "x"} }, "delegates[1]" + emailMustBe + `"x"`,
		},
		"delegates of nobody": {
			func(c *Config) { c.Delegates = []string{testEmail} }, "delegates lead to googleServiceAccount: set that too",
		},
		"everything at once": {
			func(c *Config) {
				*c = Config{UniverseDomain: "Evil", Audience: "a b", GoogleServiceAccount: "x", Delegates: []string{"y"}, GKECluster: "z"}
			},
			`registries is empty; universeDomain must be a domain in lower case, such as googleapis.com, not "Evil"; ` +
				"serviceAccount.name is empty; serviceAccount.namespace is empty; " + clusterMustBe + `"z"; ` +
				"audience can't be chosen with gkeCluster, whose pool takes only its own; " +
				"googleServiceAccount" + emailMustBe + `"x"; ` + "delegates[0]" + emailMustBe + `"y"`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			config := direct()
			test.change(&config)
			_, err := New(config, nil)
			if failure := failed(t, err); failure.Class != providers.Invalid || failure.Message != test.want {
				t.Errorf("got  %s: %s\nwant %s", failure.Class, failure.Message, test.want)
			}
		})
	}
}

func TestUniverseDomain(t *testing.T) {
	for name, test := range map[string]struct {
		domain string
		valid  bool
	}{
		"Google's":              {"googleapis.com", true},
		"a sovereign cloud's":   {"s3nsapis.fr", true},
		"one with hyphens":      {"apis-berlin-build0.goog", true},
		"a single label":        {"localhost", false},
		"an address":            {"127.0.0.1", false},
		"one with a port":       {"s3nsapis.fr:8443", false},
		"one with a path":       {"s3nsapis.fr/x", false},
		"one with a user":       {"user@s3nsapis.fr", false},
		"one with a dot at end": {"s3nsapis.fr.", false},
		"one with a wildcard":   {"*.fr", false},
		"one with a line break": {"s3ns\napis.fr", false},
		"one in capitals":       {"S3nsapis.fr", false},
		"one beyond ASCII":      {"s3nsäpis.fr", false},
		"a hyphen at the edge":  {"-s3nsapis.fr", false},
		"a label too long":      {strings.Repeat("a", 64) + ".fr", false},
		"one that is too long":  {strings.Repeat("a.", 120) + "fr", false},
	} {
		t.Run(name, func(t *testing.T) {
			config := direct()
			config.UniverseDomain = test.domain
			if got := config.normalised().hasUniverse(); got != test.valid {
				t.Errorf("got %t", got)
			}
		})
	}
}

func TestValuesAreTakenInAnyNotation(t *testing.T) {
	plain := impersonating()
	plain.Delegates = []string{"one@p.iam.gserviceaccount.com"}
	want, err := New(plain, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Config){
		"a full resource name":    func(c *Config) { c.WorkloadIdentityProvider = "//iam.googleapis.com/" + testProvider },
		"an address":              func(c *Config) { c.WorkloadIdentityProvider = "https://iam.googleapis.com/" + testProvider },
		"a universe that is said": func(c *Config) { c.UniverseDomain = "googleapis.com" },
		"an audience that is said": func(c *Config) {
			c.Audience = "https://iam.googleapis.com/" + testProvider
		},
		"white space everywhere": func(c *Config) {
			c.Registries = []string{" europe-west1-docker.pkg.dev\n", "\tgcr.io"}
			c.ServiceAccount = providers.ServiceAccount{Namespace: " team", Name: "puller ", UID: "4711\n"}
			c.WorkloadIdentityProvider += "\n"
			c.GoogleServiceAccount += "\n"
			c.Delegates = []string{" one@p.iam.gserviceaccount.com "}
			c.UniverseDomain, c.Audience, c.GKECluster = " ", " ", " "
		},
	} {
		t.Run(name, func(t *testing.T) {
			config := plain
			change(&config)
			got, err := New(config, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got.Key() != want.Key() {
				t.Error("the key is another")
			}
			if got.pool != want.pool {
				t.Errorf("got %+v, want %+v", got.pool, want.pool)
			}
			if diff := cmp.Diff(want.Registries(), got.Registries()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestNewLeavesItsArgumentAlone(t *testing.T) {
	config := direct()
	config.Registries = []string{" gcr.io "}
	provider, err := New(config, nil)
	if err != nil {
		t.Fatal(err)
	}
	config.Registries[0] = "evil.example"
	provider.Registries()[0] = "evil.example"
	if got := provider.Registries(); len(got) != 1 || got[0] != "gcr.io" {
		t.Errorf("got %q", got)
	}
}
