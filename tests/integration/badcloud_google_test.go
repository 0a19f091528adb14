package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/tests/fakecloud"
	"github.com/imagepullsecrets/operator/tests/federation"
)

// withGoogle changes an entry.
func withGoogle(change func(*v1alpha1.GoogleArtifactRegistrySource)) func(*testing.T, *broken) func() {
	return inEntry(func(entry *v1alpha1.CredentialSource) { change(entry.GoogleArtifactRegistry) })
}

// provide makes the entry's provider one that is not quite as it should be.
func (b *broken) provide(change func(*fakecloud.WorkloadIdentityProvider)) {
	provider := fakecloud.WorkloadIdentityProvider{Name: b.Entry.GoogleArtifactRegistry.WorkloadIdentityProvider, Issuer: b.id.Issuer}
	change(&provider)
	shared.cloud.AddWorkloadIdentityProvider(provider)
}

func asItShouldBe(*fakecloud.WorkloadIdentityProvider) {}

// poolThat breaks the provider until the entry is touched.
func poolThat(change func(*fakecloud.WorkloadIdentityProvider)) func(*testing.T, *broken) func() {
	return inCloud(
		func(b *broken) { b.provide(change) },
		func(b *broken) { b.provide(asItShouldBe) },
	)
}

// googleAccount sets the Google service account of an email up otherwise.
func googleAccount(email string, users, creators []string) {
	shared.cloud.AddGoogleServiceAccount(fakecloud.GoogleServiceAccount{Email: email, WorkloadIdentityUsers: users, TokenCreators: creators})
}

// hinted is the member and the accounts that the operator names to grant roles
// on, by whom tests grant them.
func (b *broken) hinted() (member, delegate, reader string) {
	google := b.Entry.GoogleArtifactRegistry
	return b.worded([]string{"{member}"})[0], google.Delegates[0], google.GoogleServiceAccount
}

// projectNumber is that of the entry's pool.
func (b *broken) projectNumber() string {
	return strings.Split(b.Entry.GoogleArtifactRegistry.WorkloadIdentityProvider, "/")[1]
}

// impersonatedDirectly is a source whose identity impersonates without a
// delegate.
func impersonatedDirectly(cloud *fakecloud.Cloud, id federation.Identity, number int) federation.Source {
	source := federation.ArtifactRegistryImpersonated(cloud, id, number)
	b := broken{Source: source, id: id}
	member, _, reader := b.hinted()
	source.Entry.GoogleArtifactRegistry.Delegates = nil
	cloud.AddGoogleServiceAccount(fakecloud.GoogleServiceAccount{Email: reader, WorkloadIdentityUsers: []string{member}})
	return source
}

const (
	exchangeAt      = "token exchange at sts.googleapis.com: "
	impersonationAt = "impersonation at iamcredentials.googleapis.com: "
	noAccessHint    = "IAM_PERMISSION_DENIED: Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist)."
	chainHint       = "grant roles/iam.serviceAccountTokenCreator on {delegate} to {member}, roles/iam.serviceAccountTokenCreator on {reader} to {delegate}"
)

// What can be wrong between a ServiceAccount and Google.
var brokenGoogle = map[string]brokenSource{
	"the provider takes tokens for another audience": {
		federation.ArtifactRegistry, func(_ *testing.T, b *broken) func() {
			b.provide(func(p *fakecloud.WorkloadIdentityProvider) { p.Audiences = []string{"https://another.example"} })
			return func() {
				touched := b.Entry.DeepCopy()
				touched.GoogleArtifactRegistry.Audience = "https://another.example"
				b.Entry = *touched
			}
		}, v1alpha1.ReasonSourceInvalid,
		[]string{
			exchangeAt + "invalid_grant: The audience in ID Token ",
			"let the workload identity provider allow the audience https://iam.googleapis.com/{provider}, or set audience to one that it allows",
		},
	},
	"the token is for another audience": {
		federation.ArtifactRegistry, withGoogle(func(google *v1alpha1.GoogleArtifactRegistrySource) { google.Audience = "another" }), v1alpha1.ReasonSourceInvalid,
		[]string{exchangeAt + "invalid_grant: The audience in ID Token ", "let the workload identity provider allow the audience another, or set audience to one that it allows"},
	},
	"the provider trusts another issuer": {
		federation.ArtifactRegistry, poolThat(func(p *fakecloud.WorkloadIdentityProvider) { p.Issuer = "https://another.example" }), v1alpha1.ReasonSourceInvalid,
		[]string{exchangeAt + "invalid_grant: The issuer in ID Token ", `let the workload identity provider trust this cluster's issuer "{issuer}"`},
	},
	"there is no such pool": {
		federation.ArtifactRegistry, withGoogle(func(google *v1alpha1.GoogleArtifactRegistrySource) {
			google.WorkloadIdentityProvider = strings.Replace(google.WorkloadIdentityProvider, "/clusters/", "/others/", 1)
		}), v1alpha1.ReasonSourceInvalid,
		[]string{exchangeAt + "invalid_target: The target service indicated by the ", "check that the pool and the provider of workloadIdentityProvider exist and are enabled"},
	},
	"the provider is disabled": {
		federation.ArtifactRegistry, poolThat(func(p *fakecloud.WorkloadIdentityProvider) { p.Disabled = true }), v1alpha1.ReasonSourceInvalid,
		[]string{exchangeAt + "invalid_target: ", "check that the pool and the provider of workloadIdentityProvider exist and are enabled"},
	},
	"the attribute condition rejects the token": {
		federation.ArtifactRegistry, poolThat(func(p *fakecloud.WorkloadIdentityProvider) {
			p.Condition = func(claims map[string]any) bool { return claims["sub"] == "system:serviceaccount:another:one" }
		}), v1alpha1.ReasonDenied,
		[]string{
			exchangeAt + "unauthorized_client: The given credential is rejected by the attribute condition.",
			"let the attribute condition of the workload identity provider admit assertion.sub == '{subject}'",
		},
	},
	"the token is stale to Google": {
		federation.ArtifactRegistry, inPassing(
			func(b *broken) {
				b.provide(func(p *fakecloud.WorkloadIdentityProvider) { p.MaxTokenAge = time.Nanosecond })
			},
			func(b *broken) { b.provide(asItShouldBe) },
		), v1alpha1.ReasonClockSkew,
		[]string{exchangeAt + "invalid_grant: ID Token issued at ", "is stale to sign-in.; set the clocks of the cluster's API servers right"},
	},
	"the identity may not impersonate": {
		impersonatedDirectly, inCloud(
			func(b *broken) { googleAccount(b.Entry.GoogleArtifactRegistry.GoogleServiceAccount, nil, nil) },
			func(b *broken) {
				googleAccount(b.Entry.GoogleArtifactRegistry.GoogleServiceAccount, b.worded([]string{"{member}"}), nil)
			},
		), v1alpha1.ReasonDenied,
		[]string{impersonationAt + noAccessHint, "grant roles/iam.workloadIdentityUser on {reader} to {member}"},
	},
	"the identity may not act through the delegate": {
		// roles/iam.workloadIdentityUser does not hold iam.serviceAccounts.implicitDelegation.
		federation.ArtifactRegistryImpersonated, inCloud(
			func(b *broken) {
				member, delegate, _ := b.hinted()
				googleAccount(delegate, []string{member}, nil)
			},
			func(b *broken) {
				member, delegate, _ := b.hinted()
				googleAccount(delegate, nil, []string{member})
			},
		), v1alpha1.ReasonDenied,
		[]string{impersonationAt + "IAM_PERMISSION_DENIED: Permission 'iam.serviceAccounts.implicitDelegation' denied on resource", chainHint},
	},
	"the delegate may not impersonate": {
		federation.ArtifactRegistryImpersonated, inCloud(
			func(b *broken) {
				_, _, reader := b.hinted()
				googleAccount(reader, nil, nil)
			},
			func(b *broken) {
				_, delegate, reader := b.hinted()
				googleAccount(reader, nil, []string{"serviceAccount:" + delegate})
			},
		), v1alpha1.ReasonDenied,
		[]string{impersonationAt + noAccessHint, chainHint},
	},
	"the delegate is another": {
		federation.ArtifactRegistryImpersonated,
		withGoogle(func(google *v1alpha1.GoogleArtifactRegistrySource) {
			google.Delegates[0] = "another@project.iam.gserviceaccount.com"
		}),
		v1alpha1.ReasonDenied, []string{impersonationAt + "IAM_PERMISSION_DENIED: ", chainHint},
	},
	"there is no such Google service account": {
		impersonatedDirectly,
		withGoogle(func(google *v1alpha1.GoogleArtifactRegistrySource) {
			google.GoogleServiceAccount = "another@project.iam.gserviceaccount.com"
		}),
		v1alpha1.ReasonSourceInvalid,
		[]string{impersonationAt + "NOT_FOUND: ", "check that the Google service account another@project.iam.gserviceaccount.com exists"},
	},
	"the Service Account Credentials API is disabled": {
		impersonatedDirectly, inCloud(
			func(b *broken) { shared.cloud.DisableIAMCredentials(b.projectNumber()) },
			func(b *broken) { shared.cloud.EnableIAMCredentials(b.projectNumber()) },
		), v1alpha1.ReasonDenied,
		[]string{
			impersonationAt + "SERVICE_DISABLED: IAM Service Account Credentials API has not been used in project ",
			"enable iamcredentials.googleapis.com in the project that is named",
		},
	},
	"there is no such GKE cluster": {
		federation.ArtifactRegistryGKE, withGoogle(func(google *v1alpha1.GoogleArtifactRegistrySource) { google.GKECluster += "-2" }), v1alpha1.ReasonSourceInvalid,
		[]string{exchangeAt + "invalid_target: ", "check gkeCluster, and that workload identity federation is enabled for the cluster"},
	},
	"the GKE cluster is another": {
		federation.ArtifactRegistryGKE, func(_ *testing.T, b *broken) func() {
			right := b.Entry.DeepCopy()
			b.Entry.GoogleArtifactRegistry.GKECluster += "-2"
			shared.cloud.AddGKECluster(b.Entry.GoogleArtifactRegistry.GKECluster, "https://another.example")
			return func() { b.Entry = *right }
		}, v1alpha1.ReasonSourceInvalid,
		[]string{exchangeAt + "invalid_grant: The issuer in ID Token ", `let the cluster's pool trust this cluster's issuer "{issuer}"`},
	},
	"there is no such universe": {
		federation.ArtifactRegistry, withGoogle(func(google *v1alpha1.GoogleArtifactRegistrySource) {
			google.UniverseDomain, google.Registries = "apis-nowhere.example", []v1alpha1.RegistryHost{"docker.pkg-nowhere.example"}
		}), v1alpha1.ReasonUnavailable,
		[]string{"token exchange at sts.apis-nowhere.example: the proxy refused to connect: 502 Bad Gateway"},
	},
}

func TestBadGoogleTrustIsToldAndMended(t *testing.T) {
	for sentence, bad := range brokenGoogle {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			bad.check(t)
		})
	}
}

// among adds a registry to an entry.
func among(host v1alpha1.RegistryHost) func(*testing.T, *broken) func() {
	return withGoogle(func(google *v1alpha1.GoogleArtifactRegistrySource) {
		google.Registries = append(google.Registries, host)
	})
}

// notGoogles says that a registry is none of Google's.
func notGoogles(host string) []string {
	return []string{fmt.Sprintf(`spec.registry.credentials[0].googleArtifactRegistry: registries[1] must be a host of universe "googleapis.com", `+
		`such as <location>-docker.pkg.dev, gcr.io or <location>.gcr.io, not %q`, host)}
}

// Entries that nobody is asked about. The tests count requests, so they follow
// one another.
var refusedGoogle = map[string]brokenSource{
	"a registry that begins like one of Artifact Registry's": {
		federation.ArtifactRegistry, among("europe-docker.pkg.dev.evil.example"), v1alpha1.ReasonSourceInvalid, notGoogles("europe-docker.pkg.dev.evil.example"),
	},
	"a registry that ends like one of Artifact Registry's": {
		federation.ArtifactRegistry, among("evil.example.europe-docker.pkg.dev"), v1alpha1.ReasonSourceInvalid, notGoogles("evil.example.europe-docker.pkg.dev"),
	},
	"a host of pkg.dev that is no registry": {
		federation.ArtifactRegistry, among("europe-python.pkg.dev"), v1alpha1.ReasonSourceInvalid, notGoogles("europe-python.pkg.dev"),
	},
	"a registry that begins like gcr.io": {
		federation.ArtifactRegistry, among("eu.gcr.io.evil.example"), v1alpha1.ReasonSourceInvalid, notGoogles("eu.gcr.io.evil.example"),
	},
	"a registry that ends like gcr.io": {
		federation.ArtifactRegistry, among("evilgcr.io"), v1alpha1.ReasonSourceInvalid, notGoogles("evilgcr.io"),
	},
	"a universe that the registry is not in": {
		federation.ArtifactRegistry, withGoogle(func(google *v1alpha1.GoogleArtifactRegistrySource) { google.UniverseDomain = "evil.example" }), v1alpha1.ReasonSourceInvalid,
		[]string{`registries[0] must be a host of universe "evil.example", such as <location>-docker.evil.example, not "{registry}"`},
	},
	"a project's ID instead of its number": {
		federation.ArtifactRegistry, withGoogle(func(google *v1alpha1.GoogleArtifactRegistrySource) {
			google.WorkloadIdentityProvider = "projects/my-project/locations/global/workloadIdentityPools/clusters/providers/cluster"
		}), v1alpha1.ReasonSourceInvalid,
		[]string{`spec.registry.credentials[0].googleArtifactRegistry: workloadIdentityProvider must name the project by its number, not by its id "my-project" ` +
			"(gcloud projects describe <id> --format='value(projectNumber)')"},
	},
	"a pool instead of its provider": {
		federation.ArtifactRegistry, withGoogle(func(google *v1alpha1.GoogleArtifactRegistrySource) {
			google.WorkloadIdentityProvider, _, _ = strings.Cut(google.WorkloadIdentityProvider, "/providers/")
		}), v1alpha1.ReasonSourceInvalid,
		[]string{"workloadIdentityProvider must be projects/<number>/locations/global/workloadIdentityPools/<pool>/providers/<provider>, not "},
	},
	"a project's number for a GKE cluster": {
		federation.ArtifactRegistryGKE, withGoogle(func(google *v1alpha1.GoogleArtifactRegistrySource) {
			google.GKECluster = "projects/123456789012/locations/europe-west1/clusters/main"
		}), v1alpha1.ReasonSourceInvalid,
		[]string{"gkeCluster must be projects/<id>/locations/<location>/clusters/<name>, with the project's id and not its number, not "},
	},
	"an email that would change the request's path": {
		impersonatedDirectly, withGoogle(func(google *v1alpha1.GoogleArtifactRegistrySource) {
			google.GoogleServiceAccount = "a/../b@project.iam.gserviceaccount.com"
		}), v1alpha1.ReasonSourceInvalid,
		[]string{`googleServiceAccount must be a service account's email, such as puller@my-project.iam.gserviceaccount.com, not "a/../b@project.iam.gserviceaccount.com"`},
	},
	"the operator's own identity": {
		federation.ArtifactRegistry, withGoogle(func(google *v1alpha1.GoogleArtifactRegistrySource) {
			google.ServiceAccount, google.WorkloadIdentityProvider = nil, ""
		}), v1alpha1.ReasonSourceInvalid, ownNotAllowed("googleArtifactRegistry", "google"),
	},
}

func TestBadGoogleEntriesAreRefusedBeforeAnybodyIsAsked(t *testing.T) {
	checkRefused(t, refusedGoogle)
}

// Keys of the cluster that Google does not get, whoever asks, so these tests
// follow one another.
var keylessGoogle = map[string]brokenSource{
	"Google can't reach the cluster's issuer": {
		federation.ArtifactRegistry, withIssuerAt(nowhere), v1alpha1.ReasonUnavailable,
		[]string{
			exchangeAt + "invalid_grant: Error connecting to the given credential's issuer.",
			"Google must reach this cluster's issuer, or upload this cluster's present keys to the provider (kubectl get --raw /openid/v1/jwks)",
		},
	},
	"Google has other keys than the cluster's": {
		federation.ArtifactRegistry, withOtherKeys, v1alpha1.ReasonDenied,
		[]string{
			exchangeAt + "invalid_grant: The signature of the ID Token is invalid.",
			"upload this cluster's present keys to the provider (kubectl get --raw /openid/v1/jwks)",
		},
	},
}

// withOtherKeys lets the cloud find no key of the cluster's where it looks.
func withOtherKeys(t *testing.T, b *broken) func() {
	mend := withIssuerAt(func(t *testing.T) string {
		t.Helper()
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_ = json.NewEncoder(w).Encode(map[string]any{"issuer": b.id.Issuer, "keys": []any{}})
		}))
		t.Cleanup(server.Close)
		return server.URL
	})(t, b)
	return func() {
		mend()
		b.touch()
	}
}

func TestBadGoogleWithoutTheClustersKeysIsTold(t *testing.T) {
	for sentence, bad := range keylessGoogle {
		t.Run(sentence, func(t *testing.T) { bad.check(t) })
	}
}
