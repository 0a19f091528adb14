package integration

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/tests/cluster"
	"github.com/imagepullsecrets/operator/tests/fakecloud"
	"github.com/imagepullsecrets/operator/tests/federation"
	"github.com/imagepullsecrets/operator/tests/operator"
)

// The operator's own identities.
const (
	ownRole    = "arn:aws:iam::700000000000:role/operator"
	ownAccount = "operator@own-project.iam.gserviceaccount.com"
)

// ownCloud is a cloud for one test, which takes the place of the suite's.
func ownCloud(t *testing.T, options fakecloud.Options) *fakecloud.Cloud {
	t.Helper()
	own, err := fakecloud.Start(context.Background(), options)
	if err != nil {
		t.Fatal(err)
	}
	before := shared.cloud
	shared.cloud = own
	t.Cleanup(func() {
		shared.cloud = before
		own.Stop()
	})
	return own
}

// runOperatorAs runs an operator for one test that finds an identity of its
// own in its environment.
func runOperatorAs(t *testing.T, c *cluster.Cluster, env []string, args ...string) *operator.Process {
	t.Helper()
	if err := outputs.record(context.Background(), c); err != nil {
		t.Fatal(err)
	}
	kubeconfig, err := c.ServiceAccountKubeconfig(t.Context(), operator.Namespace, operator.ServiceAccount)
	if err != nil {
		t.Fatal(err)
	}
	coverage := "GOCOVERDIR=" + cmp.Or(os.Getenv("GOCOVERDIR"), t.TempDir())
	process, err := operator.Start(context.Background(), operator.Options{
		Binary: shared.binary, Kubeconfig: kubeconfig, Args: append([]string{"--log-level=debug"}, args...),
		Env: slices.Concat(shared.cloud.Env(), []string{coverage}, env),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { expectNoLeakOf(t, process) })
	return process
}

// setClock is a cloud's clock that a test puts wrong.
type setClock struct{ ahead atomic.Int64 }

// Now is the cloud's time.
func (c *setClock) Now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

// off puts the clock wrong until mended.
func (c *setClock) off(ahead time.Duration) func(*testing.T, *broken) func() {
	return inPassing(
		func(*broken) { c.ahead.Store(int64(ahead)) },
		func(*broken) { c.ahead.Store(0) },
	)
}

// ownECR is a registry of a region that the operator's own role opens. What
// the operator got or did not get there is shared by all entries of the region.
func ownECR(region string) func(*fakecloud.Cloud, federation.Identity, int) federation.Source {
	return func(cloud *fakecloud.Cloud, _ federation.Identity, number int) federation.Source {
		account := fmt.Sprintf("%012d", 710000000000+number)
		cloud.GrantECR(ownRole, account)
		return federation.Source{
			Entry:    v1alpha1.CredentialSource{ECR: &v1alpha1.ECRSource{AccountID: account, Region: region}},
			Registry: account + ".dkr.ecr." + region + ".amazonaws.com",
		}
	}
}

// ownECRChained is a registry of an account whose role trusts the operator's.
func ownECRChained(cloud *fakecloud.Cloud, id federation.Identity, number int) federation.Source {
	source := ownECR("eu-central-1")(cloud, id, number)
	reader := "arn:aws:iam::" + source.Entry.ECR.AccountID + ":role/reader"
	cloud.AddRole(reader, fakecloud.Trust{Principals: []string{ownRole}})
	cloud.GrantECR(reader, source.Entry.ECR.AccountID)
	source.Entry.ECR.AssumeRoles = []v1alpha1.AWSRole{{RoleARN: v1alpha1.AWSRoleARN(reader)}}
	return source
}

func ownECRPublic(cloud *fakecloud.Cloud, _ federation.Identity, _ int) federation.Source {
	cloud.GrantECRPublic(ownRole)
	return federation.Source{Entry: v1alpha1.CredentialSource{ECRPublic: &v1alpha1.ECRPublicSource{}}, Registry: "public.ecr.aws"}
}

// ownArtifactRegistry is a registry that the operator's own account reads.
func ownArtifactRegistry(cloud *fakecloud.Cloud, _ federation.Identity, number int) federation.Source {
	registry := fmt.Sprintf("me-west%d-docker.pkg.dev", number)
	cloud.GrantArtifactRegistry(registry, "serviceAccount:"+ownAccount)
	entry := &v1alpha1.GoogleArtifactRegistrySource{Registries: []v1alpha1.RegistryHost{v1alpha1.RegistryHost(registry)}}
	return federation.Source{Entry: v1alpha1.CredentialSource{GoogleArtifactRegistry: entry}, Registry: registry}
}

// ownArtifactRegistryImpersonated is one whose reader the operator's own
// account may impersonate.
func ownArtifactRegistryImpersonated(cloud *fakecloud.Cloud, id federation.Identity, number int) federation.Source {
	source := ownArtifactRegistry(cloud, id, number)
	reader := fmt.Sprintf("reader@own-%d.iam.gserviceaccount.com", number)
	cloud.AddGoogleServiceAccount(fakecloud.GoogleServiceAccount{Email: reader, TokenCreators: []string{"serviceAccount:" + ownAccount}})
	cloud.GrantArtifactRegistry(source.Registry, "serviceAccount:"+reader)
	source.Entry.GoogleArtifactRegistry.GoogleServiceAccount = reader
	return source
}

// working is a source in which nothing is wrong.
func working(*testing.T, *broken) func() { return func() {} }

// asAnotherReader breaks something until the entry names another reader.
func asAnotherReader(spoil, mend func(reader string)) func(*testing.T, *broken) func() {
	return func(_ *testing.T, b *broken) func() {
		reader := b.Entry.GoogleArtifactRegistry.GoogleServiceAccount
		spoil(reader)
		return func() {
			mend(reader)
			b.Source = ownArtifactRegistryImpersonated(shared.cloud, b.id, number())
		}
	}
}

// What can be wrong with the operator's own identity.
var brokenOwn = map[string]brokenSource{
	"the Pod's identity is refused": {
		ownECR("eu-west-3"), inCloud(
			func(*broken) { shared.cloud.Fail(fakecloud.Ambient, fakecloud.Fault{Kind: fakecloud.Denied}) },
			func(*broken) { shared.cloud.ClearFaults() },
		), v1alpha1.ReasonDenied,
		[]string{
			"getting the operator's own AWS credentials at the container's credentials endpoint: refused (403 Forbidden); ",
			"give the operator a role for service accounts (IRSA), EKS Pod Identity or an instance role",
		},
	},
	"the operator's role has no permission on ECR": {
		ownECR("eu-west-2"), inCloud(
			func(*broken) { shared.cloud.RevokeECR(ownRole) },
			func(b *broken) { shared.cloud.GrantECR(ownRole, b.Entry.ECR.AccountID) },
		), v1alpha1.ReasonDenied,
		[]string{
			"ecr:GetAuthorizationToken at api.ecr.eu-west-2.amazonaws.com: AccessDeniedException: ",
			"grant ecr:GetAuthorizationToken on resource * to the operator's own identity",
		},
	},
	"the next role does not trust the operator's": {
		ownECRChained, inCloud(
			func(b *broken) { shared.cloud.AddRole(string(b.aws().AssumeRoles[0].RoleARN), fakecloud.Trust{}) },
			func(b *broken) {
				shared.cloud.AddRole(string(b.aws().AssumeRoles[0].RoleARN), fakecloud.Trust{Principals: []string{ownRole}})
			},
		), v1alpha1.ReasonDenied,
		[]string{
			"sts:AssumeRole at sts.eu-central-1.amazonaws.com: AccessDenied: ",
			"let the trust policy of {last} name the operator's own identity, and grant the latter sts:AssumeRole on the role",
		},
	},
	"the metadata server refuses": {
		ownArtifactRegistryImpersonated, asAnotherReader(
			func(string) { shared.cloud.Fail(fakecloud.Ambient, fakecloud.Fault{Kind: fakecloud.Denied}) },
			func(string) { shared.cloud.ClearFaults() },
		), v1alpha1.ReasonDenied,
		[]string{"asking for the operator's own token at the metadata server: 403 Forbidden"},
	},
	"the operator's account may not impersonate": {
		ownArtifactRegistryImpersonated, asAnotherReader(
			func(reader string) { googleAccount(reader, []string{"serviceAccount:another"}, nil) },
			func(string) {},
		), v1alpha1.ReasonDenied,
		[]string{impersonationAt + noAccessHint, "grant roles/iam.serviceAccountTokenCreator on {reader} to the operator's own Google identity"},
	},
}

// An operator of the test's own lends its identity where that is allowed, by
// each of the ways in which it gets one. The clock of its cloud is the test's.
func TestBadAWSAndGoogleForAnOperatorWithAnIdentityOfItsOwn(t *testing.T) {
	own := ownCluster(t, withAllRights)
	clock := &setClock{}
	cloud := ownCloud(t, fakecloud.Options{Clock: clock.Now})
	if err := federation.TrustCluster(cloud, own); err != nil {
		t.Fatal(err)
	}
	cloud.AddRole(ownRole, fakecloud.Trust{})

	both := append(cloud.PodIdentityEnv(ownRole), cloud.MetadataServerEnv(ownAccount)...)
	process := runOperatorAs(t, own, both, "--ambient-credentials=aws,google")
	for sentence, bad := range brokenOwn {
		t.Run(sentence, func(t *testing.T) {
			t.Cleanup(cloud.ClearFaults)
			bad.check(t)
		})
	}
	for sentence, kind := range map[string]func(*fakecloud.Cloud, federation.Identity, int) federation.Source{
		"EKS Pod Identity opens ECR": ownECR("eu-central-1"), "and by a role of another account": ownECRChained, "and ECR Public": ownECRPublic,
		"the metadata server opens Artifact Registry": ownArtifactRegistry, "and by impersonation": ownArtifactRegistryImpersonated,
	} {
		t.Run(sentence, func(t *testing.T) { expectWorking(t, kind) })
	}
	checkClocks(t, clock)
	if err := process.Stop(); err != nil {
		t.Error(err)
	}

	process = runOperatorAs(t, own, cloud.InstanceRoleEnv(ownRole), "--ambient-credentials=aws")
	t.Run("an instance's role opens ECR", func(t *testing.T) { expectWorking(t, ownECR("eu-west-1")) })
	t.Run("Google is not allowed thereby", func(t *testing.T) {
		bad := brokenSource{ownArtifactRegistry, working, v1alpha1.ReasonSourceInvalid, ownNotAllowed("googleArtifactRegistry", "google")}
		bad.expect(t, bad.start(t))
	})
	if err := process.Stop(); err != nil {
		t.Error(err)
	}
	checkRoleForServiceAccounts(t, own)
}

func expectWorking(t *testing.T, kind func(*fakecloud.Cloud, federation.Identity, int) federation.Source) {
	t.Helper()
	b := brokenSource{kind: kind, spoil: working}.start(t)
	expectOpens(t, b.name, b.selected, b.Registry)
	expectNoLeak(t, b.name)
}

// checkRoleForServiceAccounts gives an operator a role for service accounts
// (IRSA), at first by a token for somebody else.
func checkRoleForServiceAccounts(t *testing.T, own *cluster.Cluster) {
	t.Helper()
	account := federation.Identity{Issuer: own.Issuer(), Namespace: operator.Namespace, Name: operator.ServiceAccount}
	shared.cloud.AddOIDCProvider("700000000000", own.Issuer())
	shared.cloud.AddRole(ownRole, fakecloud.Trust{WebIdentities: []fakecloud.WebIdentity{
		{Issuer: own.Issuer(), Audience: "sts.amazonaws.com", Subject: account.Subject()},
	}})
	file := filepath.Join(t.TempDir(), "token")
	writeToken(t, file, account, "another")
	runOperatorAs(t, own, []string{"AWS_ROLE_ARN=" + ownRole, "AWS_WEB_IDENTITY_TOKEN_FILE=" + file}, "--ambient-credentials=aws")
	t.Run("a role for service accounts wants its audience, and opens ECR", func(t *testing.T) {
		bad := brokenSource{
			ownECR("eu-north-1"), inCloud(func(*broken) {}, func(*broken) { writeToken(t, file, account, "sts.amazonaws.com") }),
			v1alpha1.ReasonSourceInvalid,
			[]string{
				"getting the operator's own AWS credentials at sts.eu-north-1.amazonaws.com: InvalidIdentityToken: Incorrect token audience",
				"the role's identity provider does not take the web identity token: check its issuer and audience",
			},
		}
		bad.check(t)
	})
}

// writeToken writes a token of a ServiceAccount to a file, as the kubelet does
// for a projected volume.
func writeToken(t *testing.T, file string, account federation.Identity, audience string) {
	t.Helper()
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: []string{audience}}}
	named := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: account.Namespace, Name: account.Name}}
	if err := shared.api.SubResource("token").Create(t.Context(), named, request); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(request.Status.Token), 0o600); err != nil {
		t.Fatal(err)
	}
	secrets.Add(request.Status.Token)
}

// checkClocks puts the cloud's clock wrong: who is ahead, and by how much, is
// said, and once it is right the source recovers by itself.
func checkClocks(t *testing.T, clock *setClock) {
	t.Helper()
	const offset = time.Hour + 30*time.Second // far from where the number of minutes changes
	for sentence, bad := range map[string]brokenSource{
		"AWS's clock is ahead": {
			federation.ECR, clock.off(offset), v1alpha1.ReasonClockSkew,
			[]string{webIdentityAt + "ExpiredTokenException: Token expired: current date/time ", "this cluster's clock is 1h0m", "s behind AWS's: set it right"},
		},
		"AWS's clock is behind": {
			federation.ECR, clock.off(-offset), v1alpha1.ReasonClockSkew,
			[]string{webIdentityAt + "InvalidIdentityToken: Token is not valid yet", "this cluster's clock is 1h0m", "s ahead of AWS's: set it right"},
		},
		"Google's clock is ahead": {
			federation.ArtifactRegistry, clock.off(offset), v1alpha1.ReasonClockSkew,
			[]string{exchangeAt + "invalid_grant: ID Token issued at ", "is stale to sign-in.; this cluster's clock is 1h0m", "s behind Google's: set it right"},
		},
		"Google's clock is behind": {
			federation.ArtifactRegistry, clock.off(-offset), v1alpha1.ReasonClockSkew,
			[]string{exchangeAt + "invalid_grant: ID Token issued at ", "this cluster's clock is 1h0m", "s ahead of Google's: set it right"},
		},
	} {
		t.Run(sentence, func(t *testing.T) { bad.check(t) })
	}
	t.Run("an access key is good although AWS's clock is ahead", func(t *testing.T) {
		t.Cleanup(func() { clock.ahead.Store(0) })
		clock.ahead.Store(int64(offset))
		account, label := newECRAccount(t), unique("label")
		selected := namespace(t, label, "yes")
		name := object(t, "pull", label, source(t, selected, v1alpha1.SecretTypeECR, account.data())).Name
		expectOpens(t, name, selected, account.host())
		told := get(t, name).Status.Credentials[0]
		if told.Ready != metav1.ConditionTrue || told.Reason != v1alpha1.ReasonClockSkew || !strings.HasPrefix(told.Message, "this machine's clock is 1h0m") {
			t.Errorf("the difference is told of as %+v", told)
		}
		expectWarning(t, name, v1alpha1.ReasonClockSkew, "s behind AWS's: set it right")
	})
	t.Run("an access key's token is over when AWS's clock is half a day behind", func(t *testing.T) {
		t.Cleanup(func() { clock.ahead.Store(0) })
		clock.ahead.Store(int64(-13*time.Hour - offset/2))
		account, label := newECRAccount(t), unique("label")
		selected := namespace(t, label, "yes")
		ref := source(t, selected, v1alpha1.SecretTypeECR, account.data())
		name := object(t, "pull", label, ref).Name
		expectFailedSource(t, name, ref, v1alpha1.ReasonClockSkew, "; this machine's clock is 13h30m")
		clock.ahead.Store(0)
		expectOpens(t, name, selected, account.host())
	})
}
