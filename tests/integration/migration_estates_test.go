package integration

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
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

// system makes a system's namespace and what it runs as.
func system(t *testing.T, namespace, name string) *estate {
	t.Helper()
	makeNamespace(t, namespace)
	create(t, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}})
	return &estate{namespace: namespace, name: name}
}

// write makes a Secret as the program of a field manager does.
func write(t *testing.T, manager string, secret *corev1.Secret) *corev1.Secret {
	t.Helper()
	if err := shared.api.Create(t.Context(), secret, client.FieldOwner(manager)); err != nil {
		t.Fatal(err)
	}
	return secret
}

// listing makes a ServiceAccount that lists Secrets, and a Pod of its that got
// their names when it was made.
func (e *estate) listing(t *testing.T, namespace, name string, names ...string) {
	t.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	eventually(t, "ServiceAccount "+name+" in "+namespace, func() error {
		return shared.api.Get(t.Context(), client.ObjectKeyFromObject(account), account)
	})
	setListed(t, namespace, name, names...)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: unique("pod")},
		Spec:       corev1.PodSpec{ServiceAccountName: name, Containers: []corev1.Container{{Name: "main", Image: registry + "/app"}}},
	}
	eventually(t, "a Pod with the names of "+name, func() error {
		made := pod.DeepCopy()
		if err := shared.api.Create(t.Context(), made); err != nil {
			return err
		}
		if len(made.Spec.ImagePullSecrets) != len(names) { // admission has yet to see the list
			return errors.Join(errors.New("it has not"), shared.api.Delete(t.Context(), made, client.GracePeriodSeconds(0)))
		}
		pod = made
		return nil
	})
	e.accounts, e.pods = append(e.accounts, account), append(e.pods, pod)
}

// estateOfIMPS is an object of its documentation, which selects one namespace by
// its annotation and another one by a Pod, with the status and the Secrets that
// IMPS makes of it: labelled, owned, and with the credentials in an annotation.
func estateOfIMPS(t *testing.T) *estate {
	t.Helper()
	e := system(t, "imps-system", "imps")
	makeSeedSource(t)
	byAnnotation, byPod := annotatedNamespace(t, seedAnnotation, "true"), namespace(t)
	makePod(t, byPod, nil, map[string]string{seedAnnotation: "true"})
	eventually(t, "the API server serves IMPS's kind", func() error {
		return applyFile(t.Context(), shared.api, filepath.Join("testdata", "imps-by-annotations.yaml"))
	})
	object := get(t, seedObject)
	object.Status = v1alpha1.ImagePullSecretStatus{
		Status: v1alpha1.StatusReady, LastSuccessfulReconciliation: ptr.To(metav1.NewTime(time.Now().Truncate(time.Second))),
		ManagedNamespaces: []string{byAnnotation, byPod}, SourceSecretStatus: map[string]string{seedHome + "." + seedSource: "Ok"},
	}
	if err := shared.api.Status().Update(t.Context(), object, client.FieldOwner(impsManager)); err != nil {
		t.Fatal(err)
	}
	for _, namespace := range []string{byAnnotation, byPod} {
		document, _ := dockerConfig(seedRegistry)
		e.add(write(t, impsManager, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: namespace, Name: seedSecret, Labels: map[string]string{v1alpha1.LabelOwnerUID: string(object.UID)},
				Annotations: map[string]string{v1alpha1.AnnotationIMPSLastApplied: document},
				OwnerReferences: []metav1.OwnerReference{{
					APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.Kind, Name: object.Name, UID: object.UID, Controller: ptr.To(false),
				}},
			},
			Type: corev1.SecretTypeDockerConfigJson, Data: map[string][]byte{corev1.DockerConfigJsonKey: []byte(document)},
		}), seedRegistry)
		e.listing(t, namespace, "default", "mine", seedSecret) // which somebody wrote by hand
	}
	e.takenOver = func(t *testing.T) {
		expectReady(t, seedObject, 2)
		if now := get(t, seedObject); now.UID != object.UID {
			t.Error("the object was made anew")
		}
	}
	return e
}

// estateOfProvisioner is a ServiceAccount with two principals, the Secrets of
// both, and their names in its list.
func estateOfProvisioner(t *testing.T, own *cluster.Cluster) *estate {
	t.Helper()
	e := system(t, "image-pull-secrets-provisioner-system", "controller-manager")
	id := accountFor(t, own, "app")
	first, second := federation.ECR(shared.cloud, id, number()), federation.ECR(shared.cloud, id, number())
	shared.cloud.GrantECR(string(second.Entry.ECR.RoleARN), second.Entry.ECR.AccountID, first.Entry.ECR.AccountID)
	annotateAccount(t, id, forRole(first, second))
	account, err := accountAt(t.Context(), client.ObjectKey{Namespace: id.Namespace, Name: id.Name})
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"imagepullsecret-app", "imagepullsecret-app-1"}
	for i, source := range []federation.Source{first, second} {
		e.add(write(t, "image-pull-secrets-provisioner", &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: id.Namespace, Name: names[i], Labels: map[string]string{v1alpha1.LabelServiceAccount: "app"},
				Annotations: map[string]string{
					v1alpha1.AnnotationPrincipal: string(source.Entry.ECR.RoleARN), v1alpha1.AnnotationExpiresAt: time.Now().Add(time.Hour).UTC().Format(time.RFC3339),
				},
				OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "ServiceAccount", Name: "app", UID: account.UID, Controller: ptr.To(true)}},
			},
			Type: corev1.SecretTypeDockerConfigJson, // with no field auth
			Data: map[string][]byte{corev1.DockerConfigJsonKey: fmt.Appendf(nil, `{"auths":{%q:{"username":"AWS","password":%q}}}`, first.Registry, password())},
		}), first.Registry)
	}
	e.listing(t, id.Namespace, "app", append([]string{"mine"}, names...)...)
	e.takenOver = func(t *testing.T) {
		for _, name := range names {
			expectPull(t, id.Namespace, name, first.Registry)
			expectAccountTold(t, id, v1alpha1.ReasonProvisioned, "Secret "+name+" stands")
		}
		expectRecorded(t, id.Namespace, "app", strings.Join(names, ","))
	}
	return e
}

const updaterSystem, updaterName = "pull-secret-updater", "controller"

// estateOfUpdater is an annotated Secret with a login that was obtained as the
// updater's own ServiceAccount, which the identity trusts.
func estateOfUpdater(t *testing.T, own *cluster.Cluster) *estate {
	t.Helper()
	e := system(t, updaterSystem, updaterName)
	updater := federation.Identity{Issuer: own.Issuer(), Namespace: updaterSystem, Name: updaterName}
	makeNamespace(t, operator.Namespace)
	for _, right := range updater.Rights() {
		create(t, right)
	}
	identity := fmt.Sprintf("%040x/%016x", number(), number())
	shared.cloud.AddChainguardIdentity(fakecloud.ChainguardIdentity{
		UID: identity, Issuer: updater.Issuer, Subject: updater.Subject(), Audience: "issuer.enforce.dev", // the updater's
	})
	user := namespace(t)
	e.add(write(t, updaterName, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: user, Name: "pull-secret", Annotations: map[string]string{v1alpha1.AnnotationChainguardUpdater: identity},
		},
		Type: corev1.SecretTypeDockerConfigJson,
		Data: map[string][]byte{corev1.DockerConfigJsonKey: fmt.Appendf(nil, `{"auths":{"cgr.dev":{"auth":%q}}}`, encoded("_token:"+password()))},
	}), "cgr.dev")
	e.listing(t, user, "default", "pull-secret")
	e.takenOver = func(t *testing.T) { expectPull(t, user, "pull-secret", "cgr.dev") }
	return e
}

const patcherSystem = "imagepullsecret-patcher"

// estateOfPatcher is what the patcher and its first fork leave: Secrets with
// an annotation, and their name in ServiceAccounts. The rights are those of the page.
func estateOfPatcher(t *testing.T) *estate {
	t.Helper()
	e := system(t, patcherSystem, patcherSystem)
	for _, kind := range []string{"ClusterRole", "Role"} {
		applyDocumented(t, "docs/migrating-from-others.md", kind, patcherSystem, unchanged)
	}
	ref := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: patcherSystem}
	subjects := []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: patcherSystem, Name: patcherSystem}}
	create(t, &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: patcherSystem}, RoleRef: ref, Subjects: subjects})
	ref.Kind = "Role"
	create(t, &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: patcherSystem, Name: patcherSystem}, RoleRef: ref, Subjects: subjects})
	user := namespace(t)
	e.add(write(t, patcherSystem, secretOfPatcher(user, patched, metav1.ObjectMeta{
		Annotations: map[string]string{"app.kubernetes.io/managed-by": patcherSystem},
	})), registry)
	e.listing(t, user, "default", "mine", patched)
	e.takenOver = func(t *testing.T) { expectOnRecord(t, user, "default", patched) }
	return e
}

// expectOnRecord waits until a name is the operator's in a ServiceAccount; names
// of other estates may be, too.
func expectOnRecord(t *testing.T, namespace, account, name string) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s/%s has %s on record", namespace, account, name), func() error {
		found, err := accountAt(t.Context(), client.ObjectKey{Namespace: namespace, Name: account})
		if err != nil {
			return err
		}
		if recorded := found.Annotations[v1alpha1.AnnotationAttached]; !slices.Contains(strings.Split(recorded, ","), name) {
			return fmt.Errorf("it has %q", recorded)
		}
		return nil
	})
}

// estateOfPatcherByObject is the same of the patcher's second fork, which labels
// its Secrets, with the ImagePullSecret of the page in its place. The name of the
// Secret is that fork's, so that nothing else in this test is about it.
func estateOfPatcherByObject(t *testing.T) *estate {
	t.Helper()
	const secretName = "global-imagepullsecret"
	e := system(t, "global-patcher", "global-patcher")
	makeNamespace(t, seedHome)
	create(t, secretOfPatcher(seedHome, "company", metav1.ObjectMeta{}))
	user, excluded := namespace(t), annotatedNamespace(t, "k8s.titansoft.com/imagepullsecret-patcher-exclude", "true")
	e.add(write(t, patcherSystem, secretOfPatcher(user, secretName, metav1.ObjectMeta{
		Labels: map[string]string{"app.kubernetes.io/managed-by": patcherSystem},
	})), registry)
	e.listing(t, user, "default", "mine", secretName)
	e.takenOver = func(t *testing.T) {
		applyDocumented(t, "docs/migrating-from-others.md", v1alpha1.Kind, "company", func(text string) string {
			return strings.ReplaceAll(text, patched, secretName)
		})
		late := namespace(t)
		expectListed(t, federation.Identity{Namespace: late, Name: "default"}, patched, secretName)
		expectSecret(t, late, secretName, registry)
		expectNoSecret(t, excluded, secretName)
		expectRecorded(t, user, "default", patched) // the other entry counts as a person's
	}
	return e
}

// secretOfPatcher is a Secret with a login for registry.
func secretOfPatcher(namespace, name string, metadata metav1.ObjectMeta) *corev1.Secret {
	metadata.Namespace, metadata.Name = namespace, name
	return &corev1.Secret{
		ObjectMeta: metadata, Type: corev1.SecretTypeDockerConfigJson,
		Data: map[string][]byte{corev1.DockerConfigJsonKey: []byte(loginsFor(registry))},
	}
}
