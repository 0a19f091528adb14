// Package kubelet asks the kubelet's own code which logins it takes out of a
// Secret for an image, and holds this project's reading of the same documents
// against it.
package kubelet

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/credentialprovider"
	"k8s.io/kubernetes/pkg/credentialprovider/secrets"
	"k8s.io/kubernetes/pkg/util/parsers"

	"github.com/imagepullsecrets/operator/internal/dockerconfig"
)

func TestMain(m *testing.M) {
	klog.SetLogger(logr.Discard()) // it names every key that it can't parse
	os.Exit(m.Run())
}

// entries are the entries of a dockerconfigjson's auths, as JSON, by key.
type entries map[string]json.RawMessage

// document returns the dockerconfigjson of entries.
func (e entries) document() []byte {
	document, err := json.Marshal(map[string]any{"auths": e})
	if err != nil {
		panic(err)
	}
	return document
}

// entry returns an entry with a login.
func entry(user, password string) json.RawMessage {
	return object("username", user, "password", password)
}

// entryWithAuth returns an entry with a login in its auth.
func entryWithAuth(user, password string) json.RawMessage {
	return object("auth", base64.StdEncoding.EncodeToString([]byte(user+":"+password)))
}

// object returns a JSON object of texts: names and values in turn.
func object(fields ...string) json.RawMessage {
	made := map[string]string{}
	for i := 0; i < len(fields); i += 2 {
		made[fields[i]] = fields[i+1]
	}
	encoded, err := json.Marshal(made)
	if err != nil {
		panic(err)
	}
	return encoded
}

// keyring is what the kubelet makes of the pull secrets of a Pod, each given
// by its dockerconfigjson. With an error, the Pod can pull nothing.
func keyring(documents ...[]byte) (credentialprovider.DockerKeyring, error) {
	var pullSecrets []corev1.Secret
	for i, document := range documents {
		pullSecrets = append(pullSecrets, corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: fmt.Sprintf("pull-%d", i)},
			Type:       corev1.SecretTypeDockerConfigJson,
			Data:       map[string][]byte{corev1.DockerConfigJsonKey: document},
		})
	}
	return secrets.MakeDockerKeyring(pullSecrets, credentialprovider.UnionDockerKeyring{})
}

// nameOf returns the name that the kubelet looks an image up by; it is false
// for what the kubelet takes for no image.
func nameOf(image string) (string, bool) {
	name, _, _, err := parsers.ParseImageName(image)
	return name, err == nil
}

// lookup returns the logins that the kubelet tries for an image, in order. The
// image must be one.
func lookup(t *testing.T, k credentialprovider.DockerKeyring, image string) []dockerconfig.Login {
	t.Helper()
	name, ok := nameOf(image)
	if !ok {
		t.Fatalf("the kubelet takes %q for no image", image)
	}
	found, _ := k.Lookup(name)
	var logins []dockerconfig.Login
	for _, credential := range found {
		logins = append(logins, dockerconfig.Login{Username: credential.Username, Password: credential.Password})
	}
	return logins
}

// mustKeyring is keyring for documents that the kubelet must be able to read.
func mustKeyring(t *testing.T, documents ...[]byte) credentialprovider.DockerKeyring {
	t.Helper()
	k, err := keyring(documents...)
	if err != nil {
		t.Fatalf("the kubelet can't read the Secret, so that the Pod could pull nothing: %v", err)
	}
	return k
}
