package witness

import (
	"context"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google/externalaccount"

	"github.com/imagepullsecrets/operator/tests/fakecloud"
	"github.com/imagepullsecrets/operator/tests/federation"
)

// serviceAccountToken supplies Google's client with a token of the API server.
type serviceAccountToken string

// SubjectToken returns the token.
func (s serviceAccountToken) SubjectToken(context.Context, externalaccount.SupplierOptions) (string, error) {
	return string(s), nil
}

// googleToken has Google's own client obtain a token with a ServiceAccount's;
// change makes of its configuration what a test wants.
func googleToken(t *testing.T, provider string, change func(*externalaccount.Config)) (*oauth2.Token, error) {
	t.Helper()
	config := externalaccount.Config{
		Audience:             "//iam.googleapis.com/" + provider,
		SubjectTokenType:     "urn:ietf:params:oauth:token-type:jwt",
		SubjectTokenSupplier: serviceAccountToken(tokenFor(t, "https://iam.googleapis.com/"+provider)),
		Scopes:               []string{"https://www.googleapis.com/auth/cloud-platform"},
	}
	change(&config)
	source, err := externalaccount.NewTokenSource(context.WithValue(t.Context(), oauth2.HTTPClient, shared.cloud.HTTPClient()), config)
	if err != nil {
		t.Fatal(err)
	}
	return source.Token()
}

// impersonation is the URL at which a service account is impersonated.
func impersonation(email string) func(*externalaccount.Config) {
	return func(c *externalaccount.Config) {
		c.ServiceAccountImpersonationURL = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/" + email + ":generateAccessToken"
	}
}

// asItIs leaves a configuration alone.
func asItIs(*externalaccount.Config) {}

const (
	googleReader   = "reader@witness.iam.gserviceaccount.com"
	googleRegistry = "us-central2-docker.pkg.dev"
)

func TestGooglesClientObtainsTokens(t *testing.T) {
	source := federation.ArtifactRegistry(shared.cloud, shared.id, 2)
	provider := source.Entry.GoogleArtifactRegistry.WorkloadIdentityProvider
	pool, _, _ := strings.Cut(provider, "/providers/")
	shared.cloud.AddGoogleServiceAccount(fakecloud.GoogleServiceAccount{
		Email: googleReader, WorkloadIdentityUsers: []string{"principal://iam.googleapis.com/" + pool + "/subject/" + shared.id.Subject()},
	})
	shared.cloud.GrantArtifactRegistry(googleRegistry, "serviceAccount:"+googleReader)
	for name, test := range map[string]struct {
		registry string
		change   func(*externalaccount.Config)
	}{
		"of the federated identity":             {source.Registry, asItIs},
		"of a service account by impersonation": {googleRegistry, impersonation(googleReader)},
	} {
		t.Run(name, func(t *testing.T) {
			token, err := googleToken(t, provider, test.change)
			if err != nil {
				t.Fatalf("Google's client got no token: %v", err)
			}
			if until := time.Until(token.Expiry); token.Type() != "Bearer" || until < 30*time.Minute || until > time.Hour {
				t.Errorf("it is a %s token valid for %s", token.Type(), until)
			}
			expectOpens(t, test.registry, "oauth2accesstoken", token.AccessToken)
		})
	}
}

func TestGooglesClientUnderstandsRefusals(t *testing.T) {
	const guarded = "guarded@witness.iam.gserviceaccount.com"
	shared.cloud.AddGoogleServiceAccount(fakecloud.GoogleServiceAccount{Email: guarded})
	provider := federation.ArtifactRegistry(shared.cloud, shared.id, 3).Entry.GoogleArtifactRegistry.WorkloadIdentityProvider
	for name, test := range map[string]struct {
		change func(*externalaccount.Config)
		want   []string
	}{
		"a token for another audience": {
			func(c *externalaccount.Config) {
				c.SubjectTokenSupplier = serviceAccountToken(tokenFor(t, "elsewhere"))
			},
			[]string{"status code 400", `"error":"invalid_grant"`}},
		"a pool that does not exist": {
			func(c *externalaccount.Config) { c.Audience = strings.Replace(c.Audience, "clusters", "others", 1) },
			[]string{"status code 400", `"error":"invalid_target"`}},
		"a service account that trusts nobody": {
			impersonation(guarded),
			[]string{"status code 403", "iam.serviceAccounts.getAccessToken"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := googleToken(t, provider, test.change)
			if err == nil {
				t.Fatal("Google's client got a token")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in %v", want, err)
				}
			}
		})
	}
}
