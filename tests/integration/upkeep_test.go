package integration

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/tests/fakecloud"
)

func TestDriftIsRepaired(t *testing.T) {
	t.Parallel()
	home, label := namespace(t), unique("label")
	selected := namespace(t, label, "yes")
	made := newObject("pull", label, staticSource(t, home, registry))
	made.Spec.Target.Secret.Labels = map[string]v1alpha1.LabelValue{"team": "a"}
	create(t, made)
	original := expectSecret(t, selected, "pull", registry)

	cases := map[string]string{
		"changed data":          `{"data":{".dockerconfigjson":"` + base64.StdEncoding.EncodeToString([]byte(`{"auths":{}}`)) + `"}}`,
		"a changed label":       `{"metadata":{"labels":{"team":"b"}}}`,
		"a removed owner":       `{"metadata":{"ownerReferences":null}}`,
		"our own label removed": `{"metadata":{"labels":{"images.banzaicloud.io/owner-uid":null}}}`,
	}
	for name, patch := range cases {
		t.Run(name, func(t *testing.T) {
			secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: selected, Name: "pull"}}
			if err := shared.api.Patch(t.Context(), secret, client.RawPatch(types.MergePatchType, []byte(patch)), client.FieldOwner("mallory")); err != nil {
				t.Fatal(err)
			}
			eventually(t, "repair", func() error {
				now, err := secretIn(t, selected, "pull")
				switch {
				case err != nil:
					return err
				case string(now.Data[corev1.DockerConfigJsonKey]) != string(original.Data[corev1.DockerConfigJsonKey]):
					return errors.New("the data is not what it was")
				case now.Labels["team"] != "a" || now.Labels[v1alpha1.LabelOwnerUID] != string(made.UID) || len(now.OwnerReferences) != 1:
					return fmt.Errorf("metadata is %v %v", now.Labels, now.OwnerReferences)
				case now.UID != original.UID:
					t.Fatal("the Secret was replaced, not repaired in place")
				}
				return nil
			})
		})
	}
	t.Run("a deleted Secret", func(t *testing.T) {
		remove(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: selected, Name: "pull"}})
		eventually(t, "restored", func() error {
			now, err := secretIn(t, selected, "pull")
			if err == nil && now.UID == original.UID {
				return errors.New("it was not deleted yet")
			}
			return err
		})
	})
}

func TestAChangedSourceReachesEveryNamespaceInPlace(t *testing.T) {
	t.Parallel()
	home, label := namespace(t), unique("label")
	first, second := namespace(t, label, "yes"), namespace(t, label, "yes")
	ref := staticSource(t, home, registry)
	object(t, "pull", label, ref)
	before := expectSecret(t, first, "pull", registry)
	expectSecret(t, second, "pull", registry)

	document, _ := dockerConfig("other.example.com")
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ref.Namespace, Name: ref.Name}}
	patch := fmt.Sprintf(`{"stringData":{".dockerconfigjson":%q}}`, document)
	if err := shared.api.Patch(t.Context(), secret, client.RawPatch(types.MergePatchType, []byte(patch))); err != nil {
		t.Fatal(err)
	}
	if after := expectSecret(t, first, "pull", "other.example.com"); after.UID != before.UID {
		t.Error("the Secret was replaced")
	}
	expectSecret(t, second, "pull", "other.example.com")
}

func TestLabelsAndAnnotationsFollowTheSpec(t *testing.T) {
	t.Parallel()
	home, label := namespace(t), unique("label")
	selected := namespace(t, label, "yes")
	made := newObject("pull", label, staticSource(t, home, registry))
	made.Spec.Target.Secret.Labels = map[string]v1alpha1.LabelValue{"a": "1", "b": "2"}
	made.Spec.Target.Secret.Annotations = map[string]v1alpha1.AnnotationValue{"c": "any text, with spaces"}
	create(t, made)
	secret := expectSecret(t, selected, "pull", registry)
	if secret.Labels["a"] != "1" || secret.Labels["b"] != "2" || secret.Annotations["c"] != "any text, with spaces" {
		t.Errorf("labels %v, annotations %v", secret.Labels, secret.Annotations)
	}
	update(t, made.Name, func(o *v1alpha1.ImagePullSecret) {
		o.Spec.Target.Secret.Labels = map[string]v1alpha1.LabelValue{"a": "3"}
		o.Spec.Target.Secret.Annotations = nil
	})
	eventually(t, "labels and annotations that left the spec are removed", func() error {
		secret, err := secretIn(t, selected, "pull")
		if err != nil {
			return err
		}
		_, oldLabel := secret.Labels["b"]
		_, oldAnnotation := secret.Annotations["c"]
		if oldLabel || oldAnnotation || secret.Labels["a"] != "3" {
			return fmt.Errorf("labels %v, annotations %v", secret.Labels, secret.Annotations)
		}
		return nil
	})
}

func TestARenamedSecretReplacesTheOldOne(t *testing.T) {
	t.Parallel()
	home, label := namespace(t), unique("label")
	selected := namespace(t, label, "yes")
	made := object(t, "old", label, staticSource(t, home, registry))
	expectSecret(t, selected, "old", registry)
	update(t, made.Name, func(o *v1alpha1.ImagePullSecret) { o.Spec.Target.Secret.Name = "new" })
	expectSecret(t, selected, "new", registry)
	expectNoSecret(t, selected, "old")
}

func TestSuspendLeavesEverythingAsItIs(t *testing.T) {
	t.Parallel()
	home, label := namespace(t), unique("label")
	selected := namespace(t, label, "yes")
	made := object(t, "pull", label, staticSource(t, home, registry))
	expectSecret(t, selected, "pull", registry)
	update(t, made.Name, func(o *v1alpha1.ImagePullSecret) { o.Spec.Suspend = true })
	expectCondition(t, made.Name, v1alpha1.ConditionReady, metav1.ConditionUnknown, v1alpha1.ReasonSuspended)

	remove(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: selected, Name: "pull"}})
	late := namespace(t, label, "yes")
	// Another object that is served meanwhile shows that time has passed.
	witness := object(t, "witness", label, staticSource(t, home, registry))
	expectSecret(t, late, "witness", registry)
	expectReady(t, witness.Name, 2)
	expectNoSecret(t, selected, "pull")
	expectNoSecret(t, late, "pull")

	update(t, made.Name, func(o *v1alpha1.ImagePullSecret) { o.Spec.Suspend = false })
	expectSecret(t, selected, "pull", registry)
	expectSecret(t, late, "pull", registry)
}

func TestRetainedSecretsOutliveTheirObject(t *testing.T) {
	t.Parallel()
	home, label := namespace(t), unique("label")
	deselected, selected := namespace(t, label, "yes"), namespace(t, label, "yes")
	made := newObject("pull", label, staticSource(t, home, registry))
	made.Spec.Target.DeletionPolicy = v1alpha1.DeletionRetain
	create(t, made)
	expectSecret(t, deselected, "pull", registry)
	secret := expectSecret(t, selected, "pull", registry)
	if len(secret.OwnerReferences) > 0 {
		t.Error("the garbage collector would remove it")
	}
	relabel(t, deselected, label, "no")
	expectReady(t, made.Name, 1)
	expectSecret(t, deselected, "pull", registry)

	update(t, made.Name, func(o *v1alpha1.ImagePullSecret) { o.Spec.Target.DeletionPolicy = v1alpha1.DeletionDelete })
	expectNoSecret(t, deselected, "pull")
	eventually(t, "an owner", func() error {
		secret, err := secretIn(t, selected, "pull")
		if err == nil && len(secret.OwnerReferences) != 1 {
			return errors.New("there is none")
		}
		return err
	})
}

// impsManager is the field manager of IMPS: its binary's name.
const impsManager = "manager"

func TestSecretsOfIMPSAreAdopted(t *testing.T) {
	t.Parallel()
	home, label := namespace(t), unique("label")
	selected := namespace(t, label, "yes")
	made := newObject("pull", label, staticSource(t, home, registry))
	made.Spec.Suspend = true // IMPS was here first
	create(t, made)
	copied := password()
	old := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: selected, Name: "pull",
			Labels:      map[string]string{v1alpha1.LabelOwnerUID: string(made.UID), "from-imps": "yes"},
			Annotations: map[string]string{v1alpha1.AnnotationIMPSLastApplied: copied},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.Kind, Name: made.Name, UID: made.UID,
			}},
		},
		Type:       corev1.SecretTypeDockerConfigJson,
		StringData: map[string]string{corev1.DockerConfigJsonKey: `{"auths":{"old.example.com":{"auth":"dTpw"}}}`},
	}
	if err := shared.api.Create(t.Context(), old, client.FieldOwner(impsManager)); err != nil {
		t.Fatal(err)
	}
	update(t, made.Name, func(o *v1alpha1.ImagePullSecret) { o.Spec.Suspend = false })
	adopted := expectSecret(t, selected, "pull", registry)
	if adopted.UID != old.UID {
		t.Error("the Secret was replaced, not adopted in place")
	}
	if _, found := adopted.Annotations[v1alpha1.AnnotationIMPSLastApplied]; found {
		t.Error("IMPS's copy of the credentials still stands in an annotation")
	}
	if _, found := adopted.Labels["from-imps"]; found {
		t.Error("a label that IMPS wrote and the spec does not name still stands")
	}
}

func TestLoginsAreRenewedAtHalfTheirLife(t *testing.T) {
	home, label := namespace(t), unique("label")
	selected, other := namespace(t, label, "yes"), namespace(t, label, "yes")
	account := newECRAccount(t)
	shared.cloud.SetTokenLifetime(8 * time.Second)
	t.Cleanup(func() { shared.cloud.SetTokenLifetime(12 * time.Hour) })
	calls := shared.cloud.Calls(fakecloud.ECR)
	made := object(t, "pull", label, source(t, home, v1alpha1.SecretTypeECR, account.data()))
	first := expectSecret(t, selected, "pull", account.host())
	expectSecret(t, other, "pull", account.host())
	expectReady(t, made.Name, 2)
	expires := get(t, made.Name).Status.ExpiresAt
	if expires == nil {
		t.Fatal("the status tells no expiry")
	}

	eventually(t, "renewal", func() error {
		now, err := secretIn(t, selected, "pull")
		if err != nil {
			return err
		}
		if string(now.Data[corev1.DockerConfigJsonKey]) == string(first.Data[corev1.DockerConfigJsonKey]) {
			return errors.New("the login is the first one")
		}
		if now.UID != first.UID {
			t.Fatal("the Secret was replaced")
		}
		return nil
	})
	if late := time.Now(); late.After(expires.Time) {
		t.Errorf("renewed at %s, after the expiry at %s", late, expires)
	}
	if made := shared.cloud.Calls(fakecloud.ECR) - calls; made != 2 {
		t.Errorf("%d exchanges for two namespaces and one renewal, want 2", made)
	}
}

func TestMetricsAndProbesTell(t *testing.T) {
	home, label := namespace(t), unique("label")
	namespace(t, label, "yes")
	account := newECRAccount(t)
	made := object(t, "pull", label, source(t, home, v1alpha1.SecretTypeECR, account.data()))
	expectReady(t, made.Name, 1)
	namespace(t, label, "yes")
	expectReady(t, made.Name, 2)
	for _, want := range []string{
		`imagepullsecret_credential_expiry_timestamp_seconds{credential="` + home,
		`imagepullsecret_credential_last_renewal_timestamp_seconds{`,
		`imagepullsecret_exchanges_total{provider="ecr",result="success"}`,
		`imagepullsecret_targets{imagepullsecret="` + made.Name + `",state="ready"} 2`,
		`imagepullsecret_target_writes_total{operation="apply",result="success"}`,
		`imagepullsecret_propagation_seconds_count`,
		`imagepullsecret_build_info{`,
	} {
		eventually(t, want, func() error {
			metrics, err := mainOperator.Metrics(t.Context())
			if err == nil && !strings.Contains(metrics, want) {
				return errors.New("no such metric")
			}
			return err
		})
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if status, body, err := mainOperator.Probe(t.Context(), path); err != nil || status != 200 {
			t.Errorf("%s: %d %s %v", path, status, body, err)
		}
	}
	remove(t, made)
	eventually(t, "metrics of what is gone", func() error {
		metrics, err := mainOperator.Metrics(t.Context())
		if err == nil && strings.Contains(metrics, `"`+made.Name+`"`) {
			return errors.New("still there")
		}
		return err
	})
}

func TestEventsTellOfChanges(t *testing.T) {
	t.Parallel()
	home, label := namespace(t), unique("label")
	namespace(t, label, "yes")
	made := object(t, "pull", label, v1alpha1.CredentialSource{Namespace: home, Name: "missing"})
	if event := expectEvent(t, made.Name, v1alpha1.ReasonSourceNotFound); event.Type != corev1.EventTypeWarning {
		t.Errorf("event is %s", event.Type)
	}
	document, _ := dockerConfig(registry)
	create(t, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: home, Name: "missing"}, Type: corev1.SecretTypeDockerConfigJson,
		StringData: map[string]string{corev1.DockerConfigJsonKey: document},
	})
	expectReady(t, made.Name, 1)
	expectEvent(t, made.Name, v1alpha1.ReasonReady)
}

// Logins that an object does not name any more reach no namespace, even while
// those that it names instead are not there yet.
func TestLoginsThatLeftTheSpecReachNoNewNamespace(t *testing.T) {
	t.Parallel()
	home, label := namespace(t), unique("label")
	first, second := namespace(t, label, "yes"), namespace(t)
	made := object(t, "pull", label, staticSource(t, home, "secret.example.com"))
	expectSecret(t, first, "pull", "secret.example.com")
	update(t, made.Name, func(o *v1alpha1.ImagePullSecret) {
		o.Spec.Registry.Credentials = []v1alpha1.CredentialSource{{Namespace: home, Name: "missing"}}
		o.Spec.Target.Namespaces.Names = []string{second}
	})
	expectCondition(t, made.Name, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSourceNotFound)
	witness := newObject("witness", "", staticSource(t, home, registry))
	witness.Spec.Target.Namespaces.Names = []string{second}
	create(t, witness)
	expectSecret(t, second, "witness", registry)
	expectNoSecret(t, second, "pull")
}

// An object that takes another Secret's name lets the old one go to who waits
// for it.
func TestARenamedWinnerLetsTheOtherIn(t *testing.T) {
	t.Parallel()
	home, label := namespace(t), unique("label")
	selected := namespace(t, label, "yes")
	older := object(t, "pull", label, staticSource(t, home, "older.example.com"))
	expectReady(t, older.Name, 1)
	waitForNextSecond(t, older)
	younger := object(t, "pull", label, staticSource(t, home, "younger.example.com"))
	expectCondition(t, younger.Name, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonProvidedByOther)
	update(t, older.Name, func(o *v1alpha1.ImagePullSecret) { o.Spec.Target.Secret.Name = "other" })
	expectSecret(t, selected, "pull", "younger.example.com")
	expectSecret(t, selected, "other", "older.example.com")
	expectReady(t, younger.Name, 1)
}

// waitForNextSecond waits until a new object is younger, by the API server's
// clock, than another one.
func waitForNextSecond(t *testing.T, older client.Object) {
	t.Helper()
	eventually(t, "a new second", func() error {
		probe := create(t, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: unique("probe")}})
		created, than := probe.CreationTimestamp, older.GetCreationTimestamp()
		if !than.Before(&created) {
			return errors.New("not yet")
		}
		return nil
	})
}

// While a selector can't be followed, what stands is kept up.
func TestABrokenExclusionStopsNoUpkeep(t *testing.T) {
	t.Parallel()
	home, label := namespace(t), unique("label")
	selected := namespace(t, label, "yes")
	ref := staticSource(t, home, registry)
	made := object(t, "pull", label, ref)
	expectReady(t, made.Name, 1)
	update(t, made.Name, func(o *v1alpha1.ImagePullSecret) { o.Spec.Target.Namespaces.Exclude.Names = []string{"["} })
	expectCondition(t, made.Name, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonInvalidSelector)
	document, _ := dockerConfig("rotated.example.com")
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ref.Namespace, Name: ref.Name}}
	patch := fmt.Sprintf(`{"stringData":{".dockerconfigjson":%q}}`, document)
	if err := shared.api.Patch(t.Context(), secret, client.RawPatch(types.MergePatchType, []byte(patch))); err != nil {
		t.Fatal(err)
	}
	expectSecret(t, selected, "pull", "rotated.example.com")
}
