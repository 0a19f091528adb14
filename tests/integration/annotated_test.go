package integration

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/tests/cluster"
	"github.com/imagepullsecrets/operator/tests/fakecloud"
	"github.com/imagepullsecrets/operator/tests/federation"
	"github.com/imagepullsecrets/operator/tests/operator"
)

// The namespaces whose Secrets may use any identity are numbered from 0; the one
// after them may use a single one, and later ones none.
const updaterNamespace, updaterNamespaces, strictNamespace = "updated", 10, 10

// Objects of namespaces that ask by their annotations, in the way of two
// systems before this one. The operator has the rights of the chart's switches.
func TestAnnotatedObjectsAskForLogins(t *testing.T) {
	own := ownCluster(t, withAllRights)
	trusted(t, own)
	updater, args := annotatedRights(t, own), annotatedArgs()
	for i := range updaterNamespaces {
		args = append(args, fmt.Sprintf("--chainguard-allow=%s-%d=*", updaterNamespace, i))
	}
	identity, theOne := chainguardIdentity(updater), chainguardIdentity(updater)
	args = append(args, fmt.Sprintf("--chainguard-allow=%s-%d=%s", updaterNamespace, strictNamespace, theOne))
	stale := leftBehind(t)
	process := runOperator(t, own, args...)

	t.Run("ServiceAccounts", func(t *testing.T) { annotatedAccounts(t, own, process, stale) })
	t.Run("Secrets", func(t *testing.T) {
		annotatedSecrets(t, process, identity)
		t.Run("use the identity that their namespace may, and no other", func(t *testing.T) { oneIdentity(t, updater, identity, theOne) })
	})
	t.Run("metrics", func(t *testing.T) { noSeriesOfTheirOwn(t, own, process) })
	t.Run("a restart", func(t *testing.T) { restartWithAnnotated(t, own, process, args, identity) })
}

// annotatedRights gives the operator the rights of both switches, and returns the
// identity that it uses for annotated Secrets: its own.
func annotatedRights(t *testing.T, own *cluster.Cluster) federation.Identity {
	t.Helper()
	grantRules(t, shared.api, "annotated-service-accounts",
		rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"serviceaccounts/token"}, Verbs: []string{"create"}})
	grantRules(t, shared.api, "annotated-secrets",
		rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{"pull-secret"}, Verbs: []string{"get", "list", "watch", "patch"}})
	updater := federation.Identity{Issuer: own.Issuer(), Namespace: operator.Namespace, Name: operator.ServiceAccount}
	for _, right := range updater.Rights() {
		create(t, right)
	}
	return updater
}

// annotatedArgs are the flags of both switches, with nothing allowed.
func annotatedArgs() []string {
	return []string{
		"--annotated-service-accounts", "--annotated-secrets",
		"--chainguard-service-account=" + operator.Namespace + "/" + operator.ServiceAccount, "--chainguard-audience=https://issuer.enforce.dev",
	}
}

// accountFor makes a ServiceAccount, which is not annotated yet.
func accountFor(t *testing.T, own *cluster.Cluster, name string) federation.Identity {
	t.Helper()
	id := federation.Identity{Issuer: own.Issuer(), Namespace: namespace(t), Name: name}
	create(t, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: id.Namespace, Name: name}})
	return id
}

// annotate changes the annotations of an object; an empty value removes one.
func annotate(t *testing.T, object client.Object, annotations map[string]string) {
	t.Helper()
	eventually(t, "annotating "+object.GetName(), func() error {
		if err := shared.api.Get(t.Context(), client.ObjectKeyFromObject(object), object); err != nil {
			return err
		}
		before, _ := object.DeepCopyObject().(client.Object)
		all := object.GetAnnotations()
		if all == nil {
			all = map[string]string{}
		}
		for key, value := range annotations {
			if all[key] = value; value == "" {
				delete(all, key)
			}
		}
		object.SetAnnotations(all)
		return shared.api.Patch(t.Context(), object, client.MergeFrom(before))
	})
}

func annotateAccount(t *testing.T, id federation.Identity, annotations map[string]string) {
	t.Helper()
	annotate(t, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: id.Namespace, Name: id.Name}}, annotations)
}

// forRole are the annotations for ECR registries of roles.
func forRole(sources ...federation.Source) map[string]string {
	var roles []string
	for _, source := range sources {
		roles = append(roles, string(source.Entry.ECR.RoleARN))
	}
	return map[string]string{
		v1alpha1.AnnotationAccountRegistry: sources[0].Registry, v1alpha1.AnnotationAccountAudience: "sts.amazonaws.com",
		v1alpha1.AnnotationAWSRoleARN: strings.Join(roles, ", "),
	}
}

// asksForNothing takes away what forRole gives.
var asksForNothing = map[string]string{
	v1alpha1.AnnotationAccountRegistry: "", v1alpha1.AnnotationAWSRoleARN: "", v1alpha1.AnnotationAccountAudience: "",
}

// expectListed waits until a ServiceAccount's imagePullSecrets are these, in any
// order: it is that in which the logins came.
func expectListed(t *testing.T, id federation.Identity, names ...string) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s/%s lists %v", id.Namespace, id.Name, names), func() error {
		found, err := accountAt(t.Context(), client.ObjectKey{Namespace: id.Namespace, Name: id.Name})
		if err != nil {
			return err
		}
		if listed := slices.Sorted(slices.Values(attachedTo(found))); !slices.Equal(listed, slices.Sorted(slices.Values(names))) {
			return fmt.Errorf("it lists %v", listed)
		}
		return nil
	})
}

// expectTold waits until an event about an object of a kind says something.
func expectTold(t *testing.T, kind, namespace, name, reason, says string) {
	t.Helper()
	eventually(t, fmt.Sprintf("event %s about %s %s/%s saying %q", reason, kind, namespace, name, says), func() error {
		var list eventsv1.EventList
		if err := shared.api.List(t.Context(), &list, client.InNamespace(namespace)); err != nil {
			return err
		}
		var others []string
		for _, event := range list.Items {
			if event.Regarding.Name != name || event.Regarding.Kind != kind {
				continue
			}
			if event.Reason == reason && strings.Contains(event.Note, says) {
				return nil
			}
			others = append(others, event.Reason+": "+event.Note)
		}
		return fmt.Errorf("there are %q", others)
	})
}

func expectAccountTold(t *testing.T, id federation.Identity, reason, says string) {
	t.Helper()
	expectTold(t, "ServiceAccount", id.Namespace, id.Name, reason, says)
}

// expectPull waits until a Secret opens a registry.
func expectPull(t *testing.T, namespace, name, registry string) *corev1.Secret {
	t.Helper()
	var secret *corev1.Secret
	eventually(t, fmt.Sprintf("Secret %s/%s opens %s", namespace, name, registry), func() (err error) {
		if secret, err = secretIn(t, namespace, name); err != nil {
			return err
		}
		return pull(t.Context(), secret, registry)
	})
	return secret
}

// leftBehind makes a Secret of a ServiceAccount that has ceased to ask while
// no operator ran, attached as the operator attaches.
func leftBehind(t *testing.T) federation.Identity {
	t.Helper()
	id := federation.Identity{Namespace: namespace(t), Name: "quiet"}
	made := create(t, &corev1.ServiceAccount{
		ObjectMeta:       metav1.ObjectMeta{Namespace: id.Namespace, Name: id.Name, Annotations: map[string]string{v1alpha1.AnnotationAttached: "imagepullsecret-quiet"}},
		ImagePullSecrets: []corev1.LocalObjectReference{{Name: "mine"}, {Name: "imagepullsecret-quiet"}},
	})
	create(t, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: id.Namespace, Name: "imagepullsecret-quiet", Labels: map[string]string{v1alpha1.LabelOwnerUID: string(made.UID)},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "ServiceAccount", Name: id.Name, UID: made.UID, Controller: ptr.To(true)}},
		},
		Type: corev1.SecretTypeDockerConfigJson, Data: map[string][]byte{corev1.DockerConfigJsonKey: []byte("{}")},
	})
	return id
}

func annotatedAccounts(t *testing.T, own *cluster.Cluster, process *operator.Process, stale federation.Identity) {
	t.Run("get a Secret that opens their registry, attached, with what the earlier system noted", func(t *testing.T) {
		id := accountFor(t, own, "app")
		source := federation.ECR(shared.cloud, id, number())
		annotateAccount(t, id, forRole(source))
		secret := expectPull(t, id.Namespace, "imagepullsecret-app", source.Registry)
		expectListed(t, id, "imagepullsecret-app")
		owner := metav1.GetControllerOf(secret)
		if secret.Labels[v1alpha1.LabelServiceAccount] != "app" || secret.Annotations[v1alpha1.AnnotationPrincipal] != string(source.Entry.ECR.RoleARN) ||
			secret.Annotations[v1alpha1.AnnotationExpiresAt] == "" || owner == nil || owner.Kind != "ServiceAccount" || owner.Name != "app" {
			t.Errorf("the Secret's labels are %v, annotations %v, owners %v", secret.Labels, secret.Annotations, secret.OwnerReferences)
		}
		expectAccountTold(t, id, v1alpha1.ReasonProvisioned, "Secret imagepullsecret-app stands, with a login until "+secret.Annotations[v1alpha1.AnnotationExpiresAt])
	})
	t.Run("of every provider", func(t *testing.T) {
		id := accountFor(t, own, "app")
		for _, way := range otherWays(id) {
			annotateAccount(t, id, way.annotations)
			expectPull(t, id.Namespace, "imagepullsecret-app", way.registry)
			for key := range way.annotations {
				way.annotations[key] = ""
			}
			annotateAccount(t, id, way.annotations)
			expectNoSecret(t, id.Namespace, "imagepullsecret-app")
			expectListed(t, id)
		}
	})
	t.Run("with several principals, of which one that is denied blocks no other", func(t *testing.T) {
		id := accountFor(t, own, "app")
		first, denied, last := federation.ECR(shared.cloud, id, number()), federation.ECR(shared.cloud, federation.Identity{Namespace: "other", Name: "other"}, number()), federation.ECR(shared.cloud, id, number())
		annotations := forRole(first, denied, last)
		annotations[v1alpha1.AnnotationAccountSecretName] = "mine"
		annotateAccount(t, id, annotations)
		expectSecret(t, id.Namespace, "mine", first.Registry)
		expectSecret(t, id.Namespace, "mine-2", first.Registry)
		expectListed(t, id, "mine", "mine-1", "mine-2")
		expectAccountTold(t, id, v1alpha1.ReasonProvisioningFailed, "Secret mine-1: ")
		if _, err := secretIn(t, id.Namespace, "mine-1"); err == nil {
			t.Error("the denied principal has a Secret")
		}

		// The last one goes while the denied one goes on failing.
		annotateAccount(t, id, forRole(first, denied))
		expectNoSecret(t, id.Namespace, "mine-2")
		expectListed(t, id, "mine", "mine-1")
		expectAccountTold(t, id, v1alpha1.ReasonDecommissioned, "Secret mine-2")
		expectPull(t, id.Namespace, "mine", first.Registry)
		if _, err := secretIn(t, id.Namespace, "mine-1"); err == nil {
			t.Error("the denied principal has a Secret now")
		}

		annotations = forRole(first)
		annotations[v1alpha1.AnnotationAccountSecretName] = ""
		annotateAccount(t, id, annotations)
		expectNoSecret(t, id.Namespace, "mine")
		expectSecret(t, id.Namespace, "imagepullsecret-app", first.Registry)
		expectListed(t, id, "imagepullsecret-app")
	})
	t.Run("change their minds at once", func(t *testing.T) {
		id := accountFor(t, own, "app")
		first, second := federation.ECR(shared.cloud, id, number()), federation.ECR(shared.cloud, id, number())
		annotateAccount(t, id, forRole(first))
		expectPull(t, id.Namespace, "imagepullsecret-app", first.Registry)
		annotateAccount(t, id, forRole(second))
		expectSecret(t, id.Namespace, "imagepullsecret-app", second.Registry)
		annotateAccount(t, id, asksForNothing)
		expectNoSecret(t, id.Namespace, "imagepullsecret-app")
		expectListed(t, id)
	})
	t.Run("change what else they say of the same principal at once", func(t *testing.T) { samePrincipal(t, own) })
	t.Run("with names longer than a label's value", func(t *testing.T) {
		id := accountFor(t, own, strings.Repeat("long", 20))
		source := federation.Chainguard(shared.cloud, id, number())
		annotateAccount(t, id, map[string]string{v1alpha1.AnnotationChainguardIdentity: source.Entry.Chainguard.Identity})
		expectPull(t, id.Namespace, "imagepullsecret-"+id.Name, source.Registry)
	})
	t.Run("take over what the earlier system made for them, in place", func(t *testing.T) {
		id := accountFor(t, own, "app")
		var made corev1.ServiceAccount
		if err := shared.api.Get(t.Context(), client.ObjectKey{Namespace: id.Namespace, Name: id.Name}, &made); err != nil {
			t.Fatal(err)
		}
		before := create(t, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: id.Namespace, Name: "imagepullsecret-app", Labels: map[string]string{v1alpha1.LabelServiceAccount: "app"},
				OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "ServiceAccount", Name: "app", UID: made.UID, Controller: ptr.To(true)}},
			},
			Type: corev1.SecretTypeDockerConfigJson, Data: map[string][]byte{corev1.DockerConfigJsonKey: []byte(`{"auths":{}}`)},
		})
		setListed(t, id.Namespace, id.Name, "foreign", "imagepullsecret-app")
		source := federation.ECR(shared.cloud, id, number())
		annotateAccount(t, id, forRole(source))
		if after := expectPull(t, id.Namespace, "imagepullsecret-app", source.Registry); after.UID != before.UID {
			t.Error("the Secret was made anew")
		}
		expectRecorded(t, id.Namespace, id.Name, "imagepullsecret-app")
		annotateAccount(t, id, asksForNothing)
		expectNoSecret(t, id.Namespace, "imagepullsecret-app")
		expectListed(t, id, "foreign")
	})
	t.Run("leave a stranger's Secret alone and say so", func(t *testing.T) {
		id := accountFor(t, own, "app")
		stranger := create(t, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: id.Namespace, Name: "imagepullsecret-app"},
			Type:       corev1.SecretTypeDockerConfigJson, Data: map[string][]byte{corev1.DockerConfigJsonKey: []byte(`{"auths":{}}`)},
		})
		annotateAccount(t, id, forRole(federation.ECR(shared.cloud, id, number())))
		expectAccountTold(t, id, v1alpha1.ReasonProvisioningFailed, "choose another name in annotation imagepullsecrets.preferred.jp/secret-name")
		expectUntouched(t, stranger)
	})
	t.Run("heal what is deleted", func(t *testing.T) {
		id := accountFor(t, own, "app")
		source := federation.ECR(shared.cloud, id, number())
		annotateAccount(t, id, forRole(source))
		remove(t, expectPull(t, id.Namespace, "imagepullsecret-app", source.Registry))
		expectPull(t, id.Namespace, "imagepullsecret-app", source.Registry)
	})
	t.Run("take their Secrets with them, and nobody misses them", func(t *testing.T) {
		id := accountFor(t, own, "app")
		source := federation.ECR(shared.cloud, id, number())
		annotateAccount(t, id, forRole(source))
		expectPull(t, id.Namespace, "imagepullsecret-app", source.Registry)
		expectListed(t, id, "imagepullsecret-app")
		remove(t, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: id.Namespace, Name: id.Name}})
		expectNoSecret(t, id.Namespace, "imagepullsecret-app")

		// By the time that a later one is served, every trouble with it is in the log.
		about := regexp.MustCompile(`\b` + id.Namespace + `\b`)
		create(t, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: id.Namespace, Name: "later"}})
		later := federation.Identity{Issuer: id.Issuer, Namespace: id.Namespace, Name: "later"}
		source = federation.ECR(shared.cloud, later, number())
		annotateAccount(t, later, forRole(source))
		expectPull(t, later.Namespace, "imagepullsecret-later", source.Registry)
		expectListed(t, later, "imagepullsecret-later")
		for line := range strings.Lines(process.Log()) {
			if strings.Contains(line, `"level":"error"`) && about.MatchString(line) {
				t.Errorf("logged: %s", line)
			}
		}
	})
	t.Run("are told what is wrong with what they ask", func(t *testing.T) {
		id := accountFor(t, own, "app")
		annotateAccount(t, id, map[string]string{v1alpha1.AnnotationAccountRegistry: "gcr.io"})
		expectAccountTold(t, id, v1alpha1.ReasonProvisioningFailed, "add "+v1alpha1.AnnotationAWSRoleARN)
		// A token for AWS must not be sent along to whoever calls himself so.
		annotateAccount(t, id, map[string]string{
			v1alpha1.AnnotationAccountRegistry: "111122223333.dkr.ecr.eu-central-1.evil.example", v1alpha1.AnnotationAWSRoleARN: "arn:aws:iam::111122223333:role/r",
		})
		expectAccountTold(t, id, v1alpha1.ReasonProvisioningFailed, "evil.example")
		if _, err := secretIn(t, id.Namespace, "imagepullsecret-app"); err == nil {
			t.Error("there is a Secret for a host that is not AWS's")
		}
	})
	t.Run("have their Pods that came too early made anew", func(t *testing.T) {
		id := accountFor(t, own, "app")
		source := federation.ECR(shared.cloud, id, number())
		m := &team{namespace: id.Namespace, registry: source.Registry, node: unique("node")}
		create(t, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: m.node}})
		spec := m.spec()
		spec.ServiceAccountName = id.Name
		early := m.deploy(t, spec)
		annotateAccount(t, id, forRole(source))
		expectPull(t, id.Namespace, "imagepullsecret-app", source.Registry)
		expectListed(t, id, "imagepullsecret-app")
		failPull(t, early, "app")
		late := expectEvictedFor(t, early, "imagepullsecret-app")
		if !slices.Contains(late.Spec.ImagePullSecrets, corev1.LocalObjectReference{Name: "imagepullsecret-app"}) {
			t.Errorf("the new Pod has %v", late.Spec.ImagePullSecrets)
		}
	})
	t.Run("that asked while no operator ran and do not any more lose what they had", func(t *testing.T) {
		expectNoSecret(t, stale.Namespace, "imagepullsecret-quiet")
		expectListed(t, stale, "mine")
	})
}

// samePrincipal changes the annotations that do not say whose login it is.
func samePrincipal(t *testing.T, own *cluster.Cluster) {
	const name = "imagepullsecret-app"
	settled := func() (federation.Identity, *v1alpha1.ECRSource) { // nothing but a change brings it again
		id := accountFor(t, own, "app")
		source := federation.ECR(shared.cloud, id, number())
		annotateAccount(t, id, forRole(source))
		expectPull(t, id.Namespace, name, source.Registry)
		expectListed(t, id, name)
		expectAccountTold(t, id, v1alpha1.ReasonProvisioned, name)
		return id, source.Entry.ECR
	}
	id, from := settled()
	other := federation.ECR(shared.cloud, id, number())
	shared.cloud.GrantECR(string(from.RoleARN), from.AccountID, other.Entry.ECR.AccountID)
	annotateAccount(t, id, map[string]string{v1alpha1.AnnotationAccountRegistry: other.Registry})
	expectPull(t, id.Namespace, name, other.Registry)

	id, _ = settled()
	annotateAccount(t, id, map[string]string{v1alpha1.AnnotationAccountAudience: "another"}) // which the role does not trust
	expectAccountTold(t, id, v1alpha1.ReasonProvisioningFailed, "Secret "+name+": ")

	google := accountFor(t, own, "app")
	wrong := federation.ArtifactRegistry(shared.cloud, google, number()).Entry.GoogleArtifactRegistry.WorkloadIdentityProvider
	way := impersonating(google)
	right := way.annotations[v1alpha1.AnnotationGoogleProvider]
	way.annotations[v1alpha1.AnnotationGoogleProvider] = wrong // whose principals may not impersonate
	annotateAccount(t, google, way.annotations)
	expectAccountTold(t, google, v1alpha1.ReasonProvisioningFailed, "Secret "+name+": ")
	annotateAccount(t, google, map[string]string{v1alpha1.AnnotationGoogleProvider: right})
	expectPull(t, google.Namespace, name, way.registry)
}

// way is a way of asking, and what it opens.
type way struct {
	annotations map[string]string
	registry    string
}

// impersonating is the way of a Google service account.
func impersonating(id federation.Identity) way {
	impersonated := federation.ArtifactRegistryImpersonated(shared.cloud, id, number())
	entry := impersonated.Entry.GoogleArtifactRegistry
	// Annotations name no delegates: the identity itself may impersonate it.
	pool, _, _ := strings.Cut(entry.WorkloadIdentityProvider, "/providers/")
	principal := "principal://iam.googleapis.com/" + pool + "/subject/" + id.Subject()
	shared.cloud.AddGoogleServiceAccount(fakecloud.GoogleServiceAccount{
		Email:                 entry.GoogleServiceAccount,
		WorkloadIdentityUsers: []string{principal}, TokenCreators: []string{principal},
	})
	return way{map[string]string{
		v1alpha1.AnnotationAccountRegistry:      impersonated.Registry,
		v1alpha1.AnnotationGoogleProvider:       entry.WorkloadIdentityProvider,
		v1alpha1.AnnotationGoogleServiceAccount: entry.GoogleServiceAccount,
	}, impersonated.Registry}
}

// otherWays are those that are not AWS's.
func otherWays(id federation.Identity) []way {
	direct := federation.ArtifactRegistry(shared.cloud, id, number())
	chainguard := federation.Chainguard(shared.cloud, id, number())
	azure := federation.AzureContainerRegistry(shared.cloud, id, number())
	robot := fmt.Sprintf("example%d+pull", number())
	shared.cloud.AddQuayRobot(fakecloud.QuayRobot{Name: robot, Issuer: id.Issuer, Subject: id.Subject(), Audience: "quay.io"})
	return []way{
		{map[string]string{
			v1alpha1.AnnotationAccountRegistry: direct.Registry,
			v1alpha1.AnnotationGoogleProvider:  direct.Entry.GoogleArtifactRegistry.WorkloadIdentityProvider,
		}, direct.Registry},
		impersonating(id),
		{map[string]string{v1alpha1.AnnotationChainguardIdentity: chainguard.Entry.Chainguard.Identity}, chainguard.Registry},
		{map[string]string{
			v1alpha1.AnnotationAccountRegistry: azure.Registry,
			v1alpha1.AnnotationAzureClientID:   azure.Entry.AzureContainerRegistry.ClientID,
			v1alpha1.AnnotationAzureTenantID:   azure.Entry.AzureContainerRegistry.TenantID,
		}, azure.Registry},
		{map[string]string{v1alpha1.AnnotationQuayRobot: robot}, "quay.io"},
	}
}

// chainguardIdentity is one that trusts a ServiceAccount, and nobody used yet.
func chainguardIdentity(id federation.Identity) string {
	return federation.Chainguard(shared.cloud, id, number()).Entry.Chainguard.Identity
}

// asking makes a Secret that asks for an identity's login, in a namespace by its
// number.
func asking(t *testing.T, number int, kind corev1.SecretType, data map[string]string, identity string) *corev1.Secret {
	t.Helper()
	name := fmt.Sprintf("%s-%d", updaterNamespace, number)
	create(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
	return create(t, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: "pull-secret", Annotations: map[string]string{v1alpha1.AnnotationChainguardUpdater: identity}},
		Type:       kind, StringData: data,
	})
}

func annotatedSecrets(t *testing.T, process *operator.Process, identity string) {
	const other = `"ghcr.io":{"auth":"dTpw","email":"me@example.com"}`
	t.Run("hold a login in place, and keep their other registries", func(t *testing.T) {
		before := asking(t, 0, corev1.SecretTypeDockerConfigJson, map[string]string{
			corev1.DockerConfigJsonKey: `{"auths":{` + other + `},"credHelpers":{"x":"y"}}`, "note": "kept",
		}, identity)
		after := expectPull(t, before.Namespace, "pull-secret", "cgr.dev")
		document := string(after.Data[corev1.DockerConfigJsonKey])
		if !strings.Contains(document, other) || !strings.Contains(document, `"credHelpers":{"x":"y"}`) || string(after.Data["note"]) != "kept" ||
			after.UID != before.UID || len(after.OwnerReferences) != 0 {
			t.Error("something else than the login changed")
		}
		expectTold(t, "Secret", before.Namespace, "pull-secret", v1alpha1.ReasonReady, "")

		// What its owner adds stays, and what he takes out comes back.
		after.Data[corev1.DockerConfigJsonKey] = []byte(`{"auths":{` + other + `,"quay.io":{"auth":"dTpw"}}}`)
		if err := shared.api.Update(t.Context(), after); err != nil {
			t.Fatal(err)
		}
		again := expectPull(t, before.Namespace, "pull-secret", "cgr.dev")
		if err := sameRegistries(again, []string{"ghcr.io", "quay.io", "cgr.dev"}); err != nil {
			t.Error(err)
		}

		// Without the annotation it is left as it is.
		annotate(t, again, map[string]string{v1alpha1.AnnotationChainguardUpdater: ""})
		settled := again.ResourceVersion
		witness := asking(t, 1, corev1.SecretTypeDockerConfigJson, map[string]string{corev1.DockerConfigJsonKey: `{}`}, identity)
		expectPull(t, witness.Namespace, "pull-secret", "cgr.dev")
		if now, err := secretIn(t, before.Namespace, "pull-secret"); err != nil || now.ResourceVersion != settled {
			t.Errorf("a Secret that does not ask any more was written, %v", err)
		}
	})
	for i, odd := range []struct {
		name string
		kind corev1.SecretType
		data map[string]string
		says string
	}{
		{"another type", corev1.SecretTypeOpaque, map[string]string{"x": "y"}, "is not kubernetes.io/dockerconfigjson"},
		{"no type and no data", "", nil, "is not kubernetes.io/dockerconfigjson"},
		{"a legacy type", corev1.SecretTypeDockercfg, map[string]string{corev1.DockerConfigKey: "{}"}, "delete it and create it again"},
		{"a document that is none", corev1.SecretTypeDockerConfigJson, map[string]string{corev1.DockerConfigJsonKey: `null`}, "give Secret"},
	} {
		t.Run("of "+odd.name+" stay untouched, with an event", func(t *testing.T) {
			secret := asking(t, 2+i, odd.kind, odd.data, identity)
			expectTold(t, "Secret", secret.Namespace, "pull-secret", v1alpha1.ReasonConflict, odd.says)
			expectUntouched(t, secret)
		})
	}
	t.Run("change for other reasons without another exchange or write", func(t *testing.T) {
		const writes = `imagepullsecret_target_writes_total{operation="apply",result="success"}`
		made := asking(t, 6, corev1.SecretTypeDockerConfigJson, map[string]string{corev1.DockerConfigJsonKey: `{}`}, identity)
		secret := expectPull(t, made.Namespace, made.Name, "cgr.dev")
		expectTold(t, "Secret", secret.Namespace, secret.Name, v1alpha1.ReasonReady, "") // by then the write is counted
		asked, written := exchanges(), metric(t, process, writes)
		for _, change := range []func(){
			func() { secret.Data["note"] = []byte("new") },
			func() { secret.Labels = map[string]string{"team": "theirs"} },
			func() { secret.Annotations["note"] = "new" },
			func() { secret.Data["note"] = []byte("newer") },
		} {
			change()
			if err := shared.api.Update(t.Context(), secret); err != nil {
				t.Fatalf("somebody else writes it: %v", err)
			}
		}
		settled := secret.ResourceVersion
		witness := asking(t, 7, corev1.SecretTypeDockerConfigJson, map[string]string{corev1.DockerConfigJsonKey: `{}`}, identity)
		expectPull(t, witness.Namespace, witness.Name, "cgr.dev")
		if now, err := secretIn(t, secret.Namespace, secret.Name); err != nil || now.ResourceVersion != settled {
			t.Errorf("it was written, %v", err)
		}

		// A login that is taken out is put back: by one write, and without a new one.
		secret.Data[corev1.DockerConfigJsonKey] = []byte(`{}`)
		if err := shared.api.Update(t.Context(), secret); err != nil {
			t.Fatal(err)
		}
		expectPull(t, secret.Namespace, secret.Name, "cgr.dev")
		expectNothingAsked(t, asked)
		eventually(t, "one write for the witness, and one for the repair", func() error {
			if made := metric(t, process, writes) - written; made != 2 {
				return fmt.Errorf("%v were made", made)
			}
			return nil
		})
	})
	t.Run("of namespaces that are not on the list get nothing", func(t *testing.T) {
		secret := asking(t, strictNamespace+1, corev1.SecretTypeDockerConfigJson, map[string]string{corev1.DockerConfigJsonKey: `{}`}, identity)
		expectTold(t, "Secret", secret.Namespace, "pull-secret", v1alpha1.ReasonSourceInvalid, "allow it with --chainguard-allow="+secret.Namespace+"=<identity>")
		expectUntouched(t, secret)
	})
}

// noSeriesOfTheirOwn: metrics do not grow with objects that are annotated.
func noSeriesOfTheirOwn(t *testing.T, own *cluster.Cluster, process *operator.Process) {
	id := accountFor(t, own, "app")
	source := federation.ECR(shared.cloud, id, number())
	annotateAccount(t, id, forRole(source))
	expectPull(t, id.Namespace, "imagepullsecret-app", source.Registry)
	expectAccountTold(t, id, v1alpha1.ReasonProvisioned, "imagepullsecret-app")
	secret := asking(t, strictNamespace+2, corev1.SecretTypeDockerConfigJson, map[string]string{corev1.DockerConfigJsonKey: `{}`}, "nobody")
	expectTold(t, "Secret", secret.Namespace, "pull-secret", v1alpha1.ReasonSourceInvalid, "")
	text, err := process.Metrics(t.Context())
	if err != nil || !strings.Contains(text, `imagepullsecret_exchanges_total{provider="ecr",result="success"}`) {
		t.Fatalf("the operator's metrics are not there: %v", err)
	}
	for line := range strings.Lines(text) {
		if strings.Contains(line, "serviceaccounts/") || strings.Contains(line, "secrets/") {
			t.Errorf("a series of an annotated object's own: %s", line)
		}
	}
}

// oneIdentity shows that neither another identity than the one that a namespace
// may use, nor a Secret of another name there, gets anything: nobody is asked.
func oneIdentity(t *testing.T, updater federation.Identity, witnessed, theOne string) {
	empty := map[string]string{corev1.DockerConfigJsonKey: `{}`}
	before, other := exchanges(), chainguardIdentity(updater)
	secret := asking(t, strictNamespace, corev1.SecretTypeDockerConfigJson, empty, other)
	misnamed := create(t, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: secret.Namespace, Name: "other-secret", Annotations: map[string]string{v1alpha1.AnnotationChainguardUpdater: theOne}},
		Type:       secret.Type, StringData: empty,
	})
	expectTold(t, "Secret", secret.Namespace, secret.Name, v1alpha1.ReasonSourceInvalid,
		fmt.Sprintf("the identity %q may not be used in namespace %s", other, secret.Namespace))
	witness := asking(t, 8, corev1.SecretTypeDockerConfigJson, empty, witnessed) // whose login is there
	expectPull(t, witness.Namespace, witness.Name, "cgr.dev")
	expectNothingAsked(t, before)
	expectUntouched(t, secret)

	annotate(t, secret, map[string]string{v1alpha1.AnnotationChainguardUpdater: theOne})
	expectPull(t, secret.Namespace, secret.Name, "cgr.dev")
	expectUntouched(t, misnamed)
}

// After a restart nothing is exchanged, written or told again.
func restartWithAnnotated(t *testing.T, own *cluster.Cluster, process *operator.Process, args []string, identity string) {
	asking := asking(t, 9, corev1.SecretTypeDockerConfigJson, map[string]string{corev1.DockerConfigJsonKey: `{}`}, identity)
	inPlace := expectPull(t, asking.Namespace, asking.Name, "cgr.dev")
	id := accountFor(t, own, "app")
	source := federation.ECR(shared.cloud, id, number())
	annotateAccount(t, id, forRole(source))
	before := expectPull(t, id.Namespace, "imagepullsecret-app", source.Registry)
	expectListed(t, id, "imagepullsecret-app")
	expectAccountTold(t, id, v1alpha1.ReasonProvisioned, "imagepullsecret-app")
	const onlyTheWitness = 2 // calls: one for a session, one for a login
	if err := process.Stop(); err != nil {
		t.Fatal(err)
	}
	asked := exchanges()
	runOperator(t, own, args...)
	// Whatever the new process does about the first, it has done when it has
	// served another.
	witness := accountFor(t, own, "witness")
	next := federation.ECR(shared.cloud, witness, number())
	annotateAccount(t, witness, forRole(next))
	expectPull(t, witness.Namespace, "imagepullsecret-witness", next.Registry)
	expectAccountTold(t, witness, v1alpha1.ReasonProvisioned, "imagepullsecret-witness")
	after, err := secretIn(t, id.Namespace, "imagepullsecret-app")
	if err != nil || after.ResourceVersion != before.ResourceVersion {
		t.Errorf("the Secret was written again, %v", err)
	}
	expectUntouched(t, inPlace)
	if made := exchanges() - asked; made != onlyTheWitness {
		t.Errorf("%d calls, want those of the witness alone", made)
	}
	var list eventsv1.EventList
	if err := shared.api.List(t.Context(), &list, client.InNamespace(id.Namespace)); err != nil {
		t.Fatal(err)
	}
	told := 0
	for _, event := range list.Items {
		if event.Reason == v1alpha1.ReasonProvisioned && event.Regarding.Name == id.Name {
			told++
			if event.Series != nil {
				err = errors.Join(err, fmt.Errorf("it was told %d times", event.Series.Count))
			}
		}
	}
	if told != 1 || err != nil {
		t.Errorf("%d events, %v", told, err)
	}
}
