package integration

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/tests/cluster"
)

// tenant is somebody who administrates one namespace: he has Kubernetes' own
// role for that, writes Events besides, and may do nothing elsewhere.
type tenant struct {
	namespace string
	api       client.Client
}

// tenantOf makes a namespace's tenant.
func tenantOf(t *testing.T, c *cluster.Cluster, namespace string) *tenant {
	t.Helper()
	const name = "tenant"
	create(t, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}})
	create(t, &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "events"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{"", "events.k8s.io"}, Resources: []string{"events"}, Verbs: []string{"*"}},
	}})
	for role, kind := range map[string]string{"admin": "ClusterRole", "events": "Role"} {
		create(t, &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: role},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: kind, Name: role},
			Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: namespace, Name: name}},
		})
	}
	made := &tenant{namespace: namespace, api: clientAs(t, c, namespace, name)}
	made.await(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "probe"}})
	made.await(t, &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: namespace, Name: "probe"},
		InvolvedObject: corev1.ObjectReference{Kind: "Pod", Namespace: namespace, Name: "probe"},
	})
	return made
}

// await waits until the API server knows that the tenant may make an object.
func (m *tenant) await(t *testing.T, probe client.Object) {
	t.Helper()
	eventually(t, fmt.Sprintf("the tenant of %s may make a %T", m.namespace, probe), func() error {
		return m.api.Create(t.Context(), probe, client.DryRunAll)
	})
}

// clientAs returns a client that is a ServiceAccount.
func clientAs(t *testing.T, c *cluster.Cluster, namespace, name string) client.Client {
	t.Helper()
	kubeconfig, err := c.ServiceAccountKubeconfig(t.Context(), namespace, name)
	if err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	scheme, err := newScheme()
	if err != nil {
		t.Fatal(err)
	}
	made, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// mayLabel lets the tenant change his Namespace, as some platforms do.
func (m *tenant) mayLabel(t *testing.T) *tenant {
	t.Helper()
	name := "label-" + m.namespace
	create(t, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"namespaces"}, ResourceNames: []string{m.namespace}, Verbs: []string{"get", "patch", "update"}},
	}})
	create(t, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: m.namespace, Name: "tenant"}},
	})
	eventually(t, "the tenant may change his Namespace", func() error { return m.label(t, "probe", "yes") })
	return m
}

// label sets a label of the tenant's Namespace, as himself.
func (m *tenant) label(t *testing.T, key, value string) error {
	t.Helper()
	patch := fmt.Sprintf(`{"metadata":{"labels":{%q:%q}}}`, key, value)
	return m.api.Patch(t.Context(), namespaceNamed(m.namespace), client.RawPatch("application/merge-patch+json", []byte(patch)))
}

// make makes an object as the tenant. It goes with his namespace.
func (m *tenant) make(t *testing.T, object client.Object) {
	t.Helper()
	object.SetNamespace(m.namespace)
	if err := m.api.Create(t.Context(), object); err != nil {
		t.Fatalf("the tenant may not make what he is to make: %v", err)
	}
}

// expectNoLogins checks that nobody put a login into the tenant's namespace.
func (m *tenant) expectNoLogins(t *testing.T, registry string) {
	t.Helper()
	var list corev1.SecretList
	if err := m.api.List(t.Context(), &list, client.InNamespace(m.namespace)); err != nil {
		t.Fatal(err)
	}
	for _, secret := range list.Items {
		if strings.Contains(string(secret.Data[corev1.DockerConfigJsonKey]), registry) {
			t.Errorf("the tenant has a login for %s in Secret %s", registry, secret.Name)
		}
	}
}

// expectForbidden checks that the API server has not let somebody do something
// for lack of a right.
func expectForbidden(t *testing.T, err error) {
	t.Helper()
	if !apierrors.IsForbidden(err) {
		t.Errorf("not forbidden: %v", err)
	}
}

// claimed are Secrets that pretend to be kept for an object.
var claimed = map[string]func(kept *corev1.Secret, made *corev1.Secret){
	"its label": func(kept, made *corev1.Secret) {
		made.Labels = map[string]string{v1alpha1.LabelOwnerUID: kept.Labels[v1alpha1.LabelOwnerUID]}
	},
	"all of its labels, annotations and owners": func(kept, made *corev1.Secret) {
		made.Labels, made.Annotations, made.OwnerReferences = kept.Labels, kept.Annotations, kept.OwnerReferences
	},
	"its label, for good": func(kept, made *corev1.Secret) {
		made.Labels, made.Immutable = kept.Labels, new(true)
	},
	"what IMPS left, for it to be adopted": func(kept, made *corev1.Secret) {
		made.OwnerReferences = kept.OwnerReferences
		made.Annotations = map[string]string{v1alpha1.AnnotationIMPSLastApplied: "{}"}
	},
	"what the patcher left, for it to be adopted": func(_, made *corev1.Secret) {
		made.Labels = map[string]string{"app.kubernetes.io/managed-by": "imagepullsecret-patcher"}
	},
}

// Logins go where the selection says, whatever Secrets say of themselves.
func TestTenantsGetNoLoginByWhatTheirSecretsSay(t *testing.T) {
	t.Parallel()
	label := unique("label")
	selected, host := namespace(t, label, "yes"), unique("registry")+".example.com"
	imps := object(t, "pull", label, staticSource(t, namespace(t), host))
	kept := expectSecret(t, selected, "pull", host)
	attackers := map[string]*tenant{}
	for sentence, claim := range claimed {
		attacker := tenantOf(t, shared.cluster, namespace(t))
		made := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: "pull"}, Type: corev1.SecretTypeDockerConfigJson,
			StringData: map[string]string{corev1.DockerConfigJsonKey: "{}"},
		}
		claim(kept, made)
		attacker.make(t, made)
		attackers[sentence] = attacker
	}
	update(t, imps.Name, func(o *v1alpha1.ImagePullSecret) {
		o.Spec.Target.Secret.Labels = map[string]v1alpha1.LabelValue{"all": "looked-at"}
	})
	expectReady(t, imps.Name, 1)
	expectOthersServed(t)
	for sentence, attacker := range attackers {
		t.Run(sentence, func(t *testing.T) { attacker.expectNoLogins(t, host) })
	}
}

// The operator's label on a tenant's Secret is about that one Secret: others of
// its name, and of its namespace, stay.
func TestTenantsWhoLabelTheirSecretsLoseThoseOnly(t *testing.T) {
	t.Parallel()
	label := unique("label")
	selected, home := namespace(t, label, "yes"), namespace(t)
	imps := object(t, "pull", label, staticSource(t, home, registry))
	kept := expectSecret(t, selected, "pull", registry)
	attacker := tenantOf(t, shared.cluster, namespace(t))
	stays := []*corev1.Secret{kept}
	for _, where := range []string{selected, home} {
		stays = append(stays, create(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: where, Name: "decoy"}}))
	}
	beside := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "beside"}}
	attacker.make(t, beside)
	attacker.make(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "decoy", Labels: map[string]string{v1alpha1.LabelOwnerUID: string(imps.UID)}}})
	expectNoSecret(t, attacker.namespace, "decoy")
	for _, secret := range append(stays, beside) {
		expectUntouched(t, secret)
	}
}

// Whoever may label his Namespace selects it where labels decide. Where a name
// decides, it does not help him.
func TestTenantsWhoLabelTheirNamespaceTakeNobodysName(t *testing.T) {
	t.Parallel()
	label, victim := unique("label"), namespace(t)
	attacker := tenantOf(t, shared.cluster, namespace(t)).mayLabel(t)
	home := namespace(t)
	for name, target := range map[string]v1alpha1.NamespaceSelector{
		"by-name":       {Names: []string{victim}},
		"by-name-label": {Labels: []metav1.LabelSelector{{MatchLabels: map[string]string{corev1.LabelMetadataName: victim}}}},
		"but-for-names": {
			Labels:  []metav1.LabelSelector{{MatchLabels: map[string]string{label: "yes"}}},
			Exclude: v1alpha1.NamespaceExclusion{Names: []string{attacker.namespace}},
		},
		"but-for-name-label": {
			Labels: []metav1.LabelSelector{{MatchLabels: map[string]string{label: "yes"}}},
			Exclude: v1alpha1.NamespaceExclusion{
				Labels: []metav1.LabelSelector{{MatchLabels: map[string]string{corev1.LabelMetadataName: attacker.namespace}}},
			},
		},
		"by-label": {Labels: []metav1.LabelSelector{{MatchLabels: map[string]string{label: "yes"}}}},
	} {
		made := newObject(name, "", staticSource(t, home, registry))
		made.Spec.Target.Namespaces = target
		create(t, made)
	}
	for key, value := range map[string]string{corev1.LabelMetadataName: victim, label: "yes"} {
		if err := attacker.label(t, key, value); err != nil {
			t.Fatal(err)
		}
	}
	expectSecret(t, attacker.namespace, "by-label", registry) // by design
	for _, name := range []string{"by-name", "by-name-label"} {
		expectSecret(t, victim, name, registry)
	}
	expectOthersServed(t)
	for _, name := range []string{"by-name", "by-name-label", "but-for-names", "but-for-name-label"} {
		if _, err := secretIn(t, attacker.namespace, name); !apierrors.IsNotFound(err) {
			t.Errorf("Secret %s reached the tenant: %v", name, err)
		}
	}
}

// The record of what the operator attached can be forged. It costs the tenant
// his own ServiceAccount's entries, and nobody else anything.
func TestTenantsWhoForgeTheRecordOfAttachedNamesLoseTheirOwnEntries(t *testing.T) {
	t.Parallel()
	label := unique("label")
	attacker := tenantOf(t, shared.cluster, namespace(t, label, "yes"))
	victim := account(t, namespace(t, label, "yes"), []string{"first", "last"})
	beside := account(t, attacker.namespace, []string{"first", "last"})
	made := attachment(t, label, accountsNamed("*"))
	pull := secretNameOf(made)
	expectAttached(t, victim, pull, "first", "last", pull)
	before := expectAttached(t, beside, pull, "first", "last", pull)
	forged := &corev1.ServiceAccount{
		ObjectMeta: metav1.ObjectMeta{Name: "forged", Annotations: map[string]string{
			v1alpha1.AnnotationAttached: fmt.Sprintf("first, %s/first,../%s/first,%s/first,,%s", victim, beside.Name, victim.Namespace, pull),
		}},
		ImagePullSecrets: []corev1.LocalObjectReference{{Name: "first"}, {Name: "last"}},
	}
	attacker.make(t, forged)
	expectAttached(t, client.ObjectKeyFromObject(forged), pull, "last", pull)
	expectAttached(t, victim, pull, "first", "last", pull)
	if after := expectAttached(t, beside, pull, "first", "last", pull); after.ResourceVersion != before.ResourceVersion {
		t.Error("another ServiceAccount was written")
	}
}
