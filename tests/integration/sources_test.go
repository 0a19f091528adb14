package integration

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/tests/fakecloud"
)

// auths is the part of a dockerconfigjson that matters.
type auths struct {
	Auths map[string]struct {
		Username string `json:"username"`
		Password string `json:"password"`
		Auth     string `json:"auth"`
	} `json:"auths"`
}

func authsOf(secret *corev1.Secret) (auths, error) {
	var document auths
	err := json.Unmarshal(secret.Data[corev1.DockerConfigJsonKey], &document)
	return document, err
}

func sameRegistries(secret *corev1.Secret, want []string) error {
	document, err := authsOf(secret)
	if err != nil {
		return err
	}
	got := slices.Sorted(maps.Keys(document.Auths))
	slices.Sort(want)
	if !slices.Equal(got, want) {
		return fmt.Errorf("it holds %v", got)
	}
	return nil
}

// password makes a secret that may be in no output.
func password() string {
	made := unique("correct-horse-battery-staple") + "!"
	secrets.Add(made)
	return made
}

// dockerConfig is a dockerconfigjson with one login, and its password.
func dockerConfig(registry string) (document, secret string) {
	secret = password()
	auth := base64.StdEncoding.EncodeToString([]byte("robot:" + secret))
	return fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, registry, auth), secret
}

// source makes a source Secret of a type and returns a reference to it.
func source(t *testing.T, namespace string, kind corev1.SecretType, data map[string]string) v1alpha1.CredentialSource {
	t.Helper()
	made := create(t, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: unique("source")},
		Type:       kind, StringData: data,
	})
	return v1alpha1.CredentialSource{Name: made.Name, Namespace: namespace}
}

// staticSource makes a source Secret with a login for one registry.
func staticSource(t *testing.T, namespace, registry string) v1alpha1.CredentialSource {
	t.Helper()
	document, _ := dockerConfig(registry)
	return source(t, namespace, corev1.SecretTypeDockerConfigJson, map[string]string{corev1.DockerConfigJsonKey: document})
}

// ecrAccount is an AWS account with a registry and a key that opens it.
type ecrAccount struct {
	ID, Region string
	Key        fakecloud.AccessKey
}

func newECRAccount(t *testing.T) ecrAccount {
	t.Helper()
	account := ecrAccount{ID: fmt.Sprintf("%012d", 100000000000+counter.Add(1)), Region: "eu-central-1"}
	account.Key = shared.cloud.AddAccessKey(account.ID, "puller")
	shared.cloud.GrantECR("arn:aws:iam::"+account.ID+":user/puller", account.ID)
	return account
}

func (a ecrAccount) host() string { return a.ID + ".dkr.ecr." + a.Region + ".amazonaws.com" }

func (a ecrAccount) data() map[string]string {
	return map[string]string{
		"accessKeyID": a.Key.ID, "secretKey": a.Key.Secret, "region": a.Region, "accountID": a.ID,
	}
}

// object makes an ImagePullSecret that selects the namespaces with a label.
func object(t *testing.T, secretName, label string, sources ...v1alpha1.CredentialSource) *v1alpha1.ImagePullSecret {
	t.Helper()
	return create(t, newObject(secretName, label, sources...))
}

func newObject(secretName, label string, sources ...v1alpha1.CredentialSource) *v1alpha1.ImagePullSecret {
	made := &v1alpha1.ImagePullSecret{ObjectMeta: metav1.ObjectMeta{Name: unique("imps")}}
	made.Spec.Registry.Credentials = sources
	made.Spec.Target.Secret.Name = secretName
	if label != "" {
		made.Spec.Target.Namespaces.Labels = []metav1.LabelSelector{{MatchLabels: map[string]string{label: "yes"}}}
	}
	return made
}

// Who calls AWS is the user of an access key, or the role that it assumes: each
// gets a token of his own, also with the same key in the same region.
func TestAnAccessKeyWithAndWithoutARoleAreTwoIdentities(t *testing.T) {
	t.Parallel()
	account, other := newECRAccount(t), newECRAccount(t)
	role := "arn:aws:iam::" + other.ID + ":role/pull"
	shared.cloud.AddRole(role, fakecloud.Trust{Principals: []string{account.Key.UserARN}})
	shared.cloud.GrantECR(role, other.ID)
	withRole := account.data()
	withRole["accountID"], withRole["roleArn"] = other.ID, role

	home, label := namespace(t), unique("label")
	selected := namespace(t, label, "yes")
	object(t, "pull", label, source(t, home, v1alpha1.SecretTypeECR, account.data()), source(t, home, v1alpha1.SecretTypeECR, withRole))
	expectSecret(t, selected, "pull", account.host(), other.host())
	expectPull(t, selected, "pull", account.host())
	expectPull(t, selected, "pull", other.host())
}
