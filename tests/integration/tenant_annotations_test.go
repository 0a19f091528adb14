package integration

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/tests/cluster"
	"github.com/imagepullsecrets/operator/tests/fakecloud"
	"github.com/imagepullsecrets/operator/tests/federation"
	"github.com/imagepullsecrets/operator/tests/operator"
)

// tenancy is a cluster whose tenants may annotate, with an operator that listens
// to them and a cloud that nobody else asks.
type tenancy struct {
	cluster *cluster.Cluster
	cloud   *fakecloud.Cloud
	// operator is the identity of the operator's own ServiceAccount.
	operator federation.Identity
	// first and second are Chainguard's identities that trust it; the namespaces
	// team and team-b may use one of them each.
	first, second string
}

// Tenants who write ServiceAccounts and Secrets of their own with whatever
// annotations get what is theirs.
func TestTenantsInAClusterOfTheirOwn(t *testing.T) {
	own := ownCluster(t, withAllRights)
	c := &tenancy{cluster: own, cloud: ownCloud(t, fakecloud.Options{}), operator: annotatedRights(t, own)}
	if err := federation.TrustCluster(c.cloud, own); err != nil {
		t.Fatal(err)
	}
	c.first = federation.Chainguard(c.cloud, c.operator, number()).Entry.Chainguard.Identity
	c.second = federation.Chainguard(c.cloud, c.operator, number()).Entry.Chainguard.Identity
	args := append(annotatedArgs(), "--chainguard-allow=team="+c.first, "--chainguard-allow=team-b="+c.second)
	process := runOperator(t, own, args...)

	t.Run("get no token to a host of their own", c.lures)
	t.Run("get no token of another identity", c.othersIdentities)
	t.Run("get no token that opens the API server", c.ownAudience)
	t.Run("use no identity of another namespace", c.othersAllowances)
	t.Run("reach no Secret but their own by its name", c.othersSecrets)
	t.Run("put no login of theirs into other namespaces", func(t *testing.T) { c.forgedLogins(t, process, args) })
}

// asks makes a ServiceAccount as the tenant, with annotations.
func (m *tenant) asks(t *testing.T, c *tenancy, name string, annotations map[string]string) federation.Identity {
	t.Helper()
	m.make(t, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: annotations}})
	return federation.Identity{Issuer: c.cluster.Issuer(), Namespace: m.namespace, Name: name}
}

// tokensAsked is how many tokens of ServiceAccounts the API server was asked for.
func (c *tenancy) tokensAsked(t *testing.T) (count float64) {
	t.Helper()
	api, err := kubernetes.NewForConfig(c.cluster.Config())
	if err != nil {
		t.Fatal(err)
	}
	text, err := api.RESTClient().Get().AbsPath("/metrics").DoRaw(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	series := regexp.MustCompile(`(?m)^apiserver_request_total\{[^}]*resource="serviceaccounts"[^}]*subresource="token"[^}]*\} (\S+)$`)
	for _, found := range series.FindAllStringSubmatch(string(text), -1) {
		value, err := strconv.ParseFloat(found[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		count += value
	}
	return count
}

// subjectsShown are those of the cluster's tokens that the cloud saw since it had
// seen others.
func (c *tenancy) subjectsShown(t *testing.T, before []string) []string {
	t.Helper()
	var subjects []string
	for _, token := range c.cloud.ShownTokens() {
		if slices.Contains(before, token) {
			continue
		}
		var claims struct{ Iss, Sub string }
		payload, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
		if err != nil || json.Unmarshal(payload, &claims) != nil {
			t.Fatalf("a token that can't be read: %v", err)
		}
		if claims.Iss == c.cluster.Issuer() {
			subjects = append(subjects, claims.Sub)
		}
	}
	slices.Sort(subjects)
	return slices.Compact(subjects)
}

const ecrHost = "111122223333.dkr.ecr.us-east-1.amazonaws.com"

// lures are annotations that name a host which is none of their provider's, and
// what is told of them.
func lures() map[string][]map[string]string {
	at := func(key string, hosts []string, more ...string) (made []map[string]string) {
		for _, host := range hosts {
			annotations := pairs(more)
			annotations[key] = host
			made = append(made, annotations)
		}
		return made
	}
	registry := func(hosts []string, more ...string) []map[string]string {
		return at(v1alpha1.AnnotationAccountRegistry, hosts, more...)
	}
	const tenantID = "00000000-0000-0000-0000-000000000000"
	pool := []string{v1alpha1.AnnotationGoogleProvider, "projects/1/locations/global/workloadIdentityPools/pool/providers/cluster"}
	azure := []string{v1alpha1.AnnotationAzureClientID, tenantID, v1alpha1.AnnotationAzureTenantID, tenantID}
	return map[string][]map[string]string{
		"is not the host of an ECR registry": registry([]string{
			"attacker.example.com", "user:password@" + ecrHost, ecrHost + "@attacker.example.com", ecrHost + ":8443", ecrHost + "/attacker.example.com",
			"https://" + ecrHost, ecrHost + "?x=attacker.example.com", ecrHost + "#attacker.example.com", ecrHost + "\nattacker.example.com",
			ecrHost + ",attacker.example.com", ecrHost + " attacker.example.com", strings.ToUpper(ecrHost), "attacker.example.com/" + ecrHost,
			"attacker.example.com\\" + ecrHost, "１" + ecrHost[1:],
		}, v1alpha1.AnnotationAWSRoleARN, "arn:aws:iam::111122223333:role/pull"),
		"is not AWS's": registry([]string{
			ecrHost + ".attacker.example.com", ecrHost + ".", "111122223333.dkr.ecr.us-east-1.amazonaws.com.attacker.example",
			"111122223333.dkr.ecr.us-east-1.attacker.example.com", "111122223333.dkr-ecr.us-east-1.on.aws.attacker.example.com",
			"111122223333.dkr.ecr.us-east-1.amazonaws.com.cn",
		}, v1alpha1.AnnotationAWSRoleARN, "arn:aws:iam::111122223333:role/pull"),
		"must be a host of universe": registry([]string{
			"attacker.example.com", "europe-docker.pkg.dev.attacker.example.com", "europe-docker.pkg.dev@attacker.example.com",
			"europe-docker.pkg.dev:8443", "europe-docker.pkg.dev.", "Europe-docker.pkg.dev", "attacker.example.com/europe-docker.pkg.dev",
			"gcr.io.attacker.example.com", "attackergcr.io", "docker.pkg-attacker.goog", "docker.attackerregistry.fr",
		}, pool...),
		"must be cgr.dev or subdomains of it": registry([]string{
			"attacker.example.com", "cgr.dev.attacker.example.com", "attackercgr.dev", "cgr.dev@attacker.example.com", "cgr.dev:8443", "cgr.dev.", "CGR.dev",
		}, v1alpha1.AnnotationChainguardIdentity, "aa/bb"),
		"must be a login server": registry([]string{
			"attacker.example.com", "example.azurecr.io.attacker.example.com", "attacker.example.com/x.azurecr.io", "example.azurecr.io:8443",
			"example.azurecr.io.", "user@example.azurecr.io", "a.b.azurecr.io",
		}, azure...),
		"is not quay.io": registry([]string{
			"attacker.example.com", "quay.io.attacker.example.com", "quay.io:8443", "quay.io@attacker.example.com", "Quay.io", "quay.io.", "quay.io/..",
		}, v1alpha1.AnnotationQuayRobot, "o+r"),
		// What becomes part of a URL or of its user is no way out either.
		"tenantID must be": at(v1alpha1.AnnotationAzureTenantID, []string{
			"..", "common", tenantID + "/../..", "attacker.example.com@x", "attacker.example.com/x", tenantID + "?x=",
		}, v1alpha1.AnnotationAccountRegistry, "example.azurecr.io", v1alpha1.AnnotationAzureClientID, tenantID),
		"must be a service account's email": at(v1alpha1.AnnotationGoogleServiceAccount, []string{
			"a@attacker.example.com/../../x", "a@b.com:generateAccessToken?x=", "a/../b@c.com", "a@b@c.com",
		}, append(pool, v1alpha1.AnnotationAccountRegistry, "europe-docker.pkg.dev")...),
		"workloadIdentityProvider must be": at(v1alpha1.AnnotationGoogleProvider, []string{
			"https://attacker.example.com/projects/1/locations/global/workloadIdentityPools/pool/providers/cluster", "projects/1/../..",
		}, v1alpha1.AnnotationAccountRegistry, "europe-docker.pkg.dev"),
		"robot must be": at(v1alpha1.AnnotationQuayRobot, []string{"o+r:p@attacker.example.com", "o+r@attacker.example.com", "o/../r"}),
	}
}

// lures checks that a host which the annotations name is refused before anybody
// is asked for anything.
func (c *tenancy) lures(t *testing.T) {
	attacker := tenantOf(t, c.cluster, namespace(t))
	minted, asked := c.tokensAsked(t), c.cloud.CallsByHost()
	for says, all := range lures() {
		t.Run(says, func(t *testing.T) {
			for _, annotations := range all {
				id := attacker.asks(t, c, unique("lured"), annotations)
				expectAccountTold(t, id, v1alpha1.ReasonProvisioningFailed, says)
			}
		})
	}
	attacker.expectNoLogins(t, "auths")
	if diff := cmp.Diff(asked, c.cloud.CallsByHost()); diff != "" {
		t.Errorf("hosts were asked (-before +after):\n%s", diff)
	}
	if now := c.tokensAsked(t); now != minted {
		t.Errorf("%v tokens were asked for", now-minted)
	}
	// Both would have been seen.
	honest := attacker.asks(t, c, "honest", nil)
	source := federation.ECR(c.cloud, honest, number())
	annotateAccount(t, honest, forRole(source))
	expectPull(t, honest.Namespace, "imagepullsecret-honest", source.Registry)
	if c.tokensAsked(t) == minted || cmp.Equal(asked, c.cloud.CallsByHost()) {
		t.Error("what a token takes is not seen")
	}
}

// othersIdentities checks that a tenant who names a principal of another
// ServiceAccount, of the same name in another namespace or the operator's own,
// asks for it as himself and is denied.
func (c *tenancy) othersIdentities(t *testing.T) {
	victim := accountFor(t, c.cluster, "app")
	role := federation.ECR(c.cloud, victim, number())
	ways := append(otherWays(victim), way{forRole(role), role.Registry})
	for _, way := range ways {
		annotateAccount(t, victim, way.annotations)
		expectPull(t, victim.Namespace, "imagepullsecret-app", way.registry)
		if way.annotations[v1alpha1.AnnotationGoogleProvider] != "" && way.annotations[v1alpha1.AnnotationGoogleServiceAccount] == "" {
			c.expectUseless(t, way)
		} else {
			c.expectDenied(t, way)
		}
		for key := range way.annotations {
			way.annotations[key] = ""
		}
		annotateAccount(t, victim, way.annotations)
	}
	role = federation.ECR(c.cloud, c.operator, number())
	c.expectDenied(t, way{forRole(role), role.Registry})
}

// expectDenied checks that the cloud denies what a tenant asks for as his
// ServiceAccount app.
func (c *tenancy) expectDenied(t *testing.T, way way) {
	t.Helper()
	attacker := tenantOf(t, c.cluster, namespace(t))
	c.expectAsked(t, attacker, way, v1alpha1.ReasonProvisioningFailed)
	attacker.expectNoLogins(t, "auths")
}

// expectUseless is expectDenied where a pool of identities gives a login to
// whoever the cluster knows, and the registry looks at whose it is.
func (c *tenancy) expectUseless(t *testing.T, way way) {
	t.Helper()
	attacker := tenantOf(t, c.cluster, namespace(t))
	c.expectAsked(t, attacker, way, v1alpha1.ReasonProvisioned)
	if err := pull(t.Context(), expectSecret(t, attacker.namespace, "imagepullsecret-app", way.registry), way.registry); err == nil {
		t.Errorf("the tenant's login opens %s", way.registry)
	}
}

// expectAsked waits until a tenant is told of what he asked for in the way of
// another ServiceAccount, and checks that it was asked for as his.
func (c *tenancy) expectAsked(t *testing.T, attacker *tenant, way way, reason string) {
	t.Helper()
	before := c.cloud.ShownTokens()
	id := attacker.asks(t, c, "app", way.annotations)
	expectAccountTold(t, id, reason, "Secret imagepullsecret-app")
	if shown := c.subjectsShown(t, before); !slices.Equal(shown, []string{id.Subject()}) {
		t.Errorf("%s: the cloud was shown tokens of %v", way.registry, shown)
	}
}

// ownAudience checks that nobody outside is shown a token by which the API server
// itself is opened.
func (c *tenancy) ownAudience(t *testing.T) {
	attacker := tenantOf(t, c.cluster, namespace(t))
	id := attacker.asks(t, c, "app", nil)
	asks := forRole(federation.ECR(c.cloud, id, number()))
	asks[v1alpha1.AnnotationAccountAudience] = c.cluster.Issuer()
	before := c.cloud.ShownTokens()
	annotateAccount(t, id, asks)
	expectAccountTold(t, id, v1alpha1.ReasonProvisioningFailed, "is the API server's own")
	if shown := c.subjectsShown(t, before); len(shown) > 0 {
		t.Errorf("the cloud was shown tokens of %v", shown)
	}
}

// othersAllowances checks that an identity serves the Secrets of the namespace
// only that it is allowed for, while it serves them.
func (c *tenancy) othersAllowances(t *testing.T) {
	tenants := map[string]*tenant{}
	for _, name := range []string{"team", "team-b", "team-a", "tea", "a-team"} {
		create(t, namespaceNamed(name))
		tenants[name] = tenantOf(t, c.cluster, name)
	}
	asking := func(namespace, name, identity string) *corev1.Secret {
		made := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{v1alpha1.AnnotationChainguardUpdater: identity}},
			Type:       corev1.SecretTypeDockerConfigJson, StringData: map[string]string{corev1.DockerConfigJsonKey: "{}"},
		}
		tenants[namespace].make(t, made)
		return made
	}
	asking("team", "pull-secret", c.first)
	expectPull(t, "team", "pull-secret", "cgr.dev")
	asked := c.cloud.Calls(fakecloud.Chainguard)
	for _, name := range []string{"team-a", "tea", "a-team"} {
		stays := asking(name, "pull-secret", c.first)
		expectTold(t, "Secret", name, "pull-secret", v1alpha1.ReasonSourceInvalid, "may not be used in namespace "+name)
		expectUntouched(t, stays)
	}
	another := asking("team-b", "another", c.second) // of a name that is not listened to
	for _, identity := range []string{
		"*", c.first, c.second + "," + c.first, c.first + "\n" + c.second, c.second + "/../" + c.first, c.second + "/", c.second + "&identity=" + c.first,
	} {
		stays := asking("team-b", "pull-secret", identity)
		expectTold(t, "Secret", "team-b", "pull-secret", v1alpha1.ReasonSourceInvalid, fmt.Sprintf("the identity %.128q may not be used", identity))
		expectUntouched(t, stays)
		remove(t, stays)
	}
	if now := c.cloud.Calls(fakecloud.Chainguard); now != asked {
		t.Errorf("Chainguard was asked %d times", now-asked)
	}
	asking("team-b", "pull-secret", c.second)
	expectPull(t, "team-b", "pull-secret", "cgr.dev")
	expectUntouched(t, another)
}

// othersSecrets checks that the name of a Secret in an annotation is one in the
// ServiceAccount's namespace, and none that is kept for somebody else.
func (c *tenancy) othersSecrets(t *testing.T) {
	label := unique("label")
	victim := accountFor(t, c.cluster, "app")
	relabel(t, victim.Namespace, label, "yes")
	attacker := tenantOf(t, c.cluster, namespace(t, label, "yes"))
	imps := object(t, "pull", label, staticSource(t, namespace(t), registry))
	expectReady(t, imps.Name, 2)
	theirs, kept := expectSecret(t, victim.Namespace, "pull", registry), expectSecret(t, attacker.namespace, "pull", registry)
	id := attacker.asks(t, c, "app", nil)
	source := federation.ECR(c.cloud, id, number())
	asks := forRole(source)
	for name, says := range map[string]string{
		"pull":                                   fmt.Sprintf("Secret %s/pull is kept for ImagePullSecret %q, which is for the whole cluster", attacker.namespace, imps.Name),
		victim.Namespace + "/pull":               "is not the name of a Secret",
		"../" + victim.Namespace + "/pull":       "is not the name of a Secret",
		"../../" + victim.Namespace + "/secrets": "is not the name of a Secret",
	} {
		asks[v1alpha1.AnnotationAccountSecretName] = name
		annotateAccount(t, id, asks)
		expectAccountTold(t, id, v1alpha1.ReasonProvisioningFailed, says)
	}
	asks[v1alpha1.AnnotationAccountSecretName] = victim.Namespace + ".pull"
	annotateAccount(t, id, asks)
	expectPull(t, attacker.namespace, victim.Namespace+".pull", source.Registry)
	expectUntouched(t, theirs)
	expectUntouched(t, kept)

	// A Secret that claims to be another's ServiceAccount's gets none of its logins.
	role := federation.ECR(c.cloud, victim, number())
	annotateAccount(t, victim, forRole(role))
	stands := expectPull(t, victim.Namespace, "imagepullsecret-app", role.Registry)
	attacker.make(t, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "imagepullsecret-app", Labels: stands.Labels, Annotations: stands.Annotations},
		Type:       corev1.SecretTypeDockerConfigJson, StringData: map[string]string{corev1.DockerConfigJsonKey: "{}"},
	})
	expectNoSecret(t, attacker.namespace, "imagepullsecret-app")
	expectUntouched(t, stands)
}

// forgedLogins checks that an operator that has lost a source takes the logins
// from what it wrote itself, not from what tenants have made of it or put beside
// it.
func (c *tenancy) forgedLogins(t *testing.T, process *operator.Process, args []string) {
	label := unique("label")
	attacker, victim := tenantOf(t, c.cluster, namespace(t, label, "yes")), namespace(t, label, "yes")
	gone := staticSource(t, namespace(t), registry)
	imps := object(t, "pull", label, gone)
	expectReady(t, imps.Name, 2)
	kept := expectSecret(t, victim, "pull", registry)
	if err := process.Stop(); err != nil {
		t.Fatal(err)
	}
	deleteSource(t, gone)
	forged, _ := dockerConfig(registry)
	change := corev1ac.Secret("pull", attacker.namespace).WithType(corev1.SecretTypeDockerConfigJson).
		WithData(map[string][]byte{corev1.DockerConfigJsonKey: []byte(forged)}).WithLabels(kept.Labels).WithAnnotations(kept.Annotations)
	if err := attacker.api.Apply(t.Context(), change, client.FieldOwner(v1alpha1.FieldManager), client.ForceOwnership); err != nil {
		t.Fatal(err) // by the operator's own name, which is nobody's
	}
	const many = 50 // beside the one that is right
	for range many {
		attacker.make(t, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{ // of no use to the operator, and to stay all the same
				Name: unique("forged"), Labels: kept.Labels, Annotations: kept.Annotations, Finalizers: []string{"tenant.example.com/stay"},
			},
			Type: corev1.SecretTypeDockerConfigJson, StringData: map[string]string{corev1.DockerConfigJsonKey: forged},
		})
	}
	restarted := runOperator(t, c.cluster, args...)
	expectCondition(t, imps.Name, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSourceNotFound)
	expectTargets(t, restarted, imps.Name, 2)
	late := namespace(t, label, "yes")
	for _, where := range []string{late, victim} {
		if got := passwordOf(t, expectSecret(t, where, "pull", registry), registry); got != passwordOf(t, kept, registry) {
			t.Errorf("namespace %s has the tenant's login", where)
		}
	}
}
