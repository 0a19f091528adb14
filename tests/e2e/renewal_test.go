//go:build e2e

package e2e

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/tests/federation"
)

const (
	rotatedSecret = "rotated"
	rotatedLife   = 20 * time.Second // of its login, half of which passes until it is renewed
	renewals      = 3
)

// The operator gets a login in the cloud with a ServiceAccount's token, and a
// new one again and again, while one Pod after the other starts: no Pod is
// refused its image.
func TestALoginIsRenewedWhilePodsStart(t *testing.T) {
	inEveryWay(t, func(t *testing.T, w way) {
		lap := newLaps(t)
		shared.cloud.SetTokenLifetime(rotatedLife)
		t.Cleanup(func() { shared.cloud.SetTokenLifetime(12 * time.Hour) })
		makeSource(t)
		w.install(t, "identities: [{namespace: "+sourceNamespace+", name: image-puller, create: true}]")
		lap("installed")

		id := federation.Identity{Issuer: shared.cluster.Issuer(), Namespace: sourceNamespace, Name: "image-puller"}
		source := federation.ECR(shared.cloud, id, number())
		object := &v1alpha1.ImagePullSecret{
			ObjectMeta: metav1.ObjectMeta{Name: rotatedSecret},
			Spec: v1alpha1.ImagePullSecretSpec{
				Registry: v1alpha1.RegistryConfig{Credentials: []v1alpha1.CredentialSource{source.Entry}},
				Target: v1alpha1.TargetConfig{
					Secret:     v1alpha1.TargetSecretConfig{Name: rotatedSecret},
					Namespaces: v1alpha1.NamespaceSelector{Names: []string{"team-*"}},
				},
			},
		}
		create(t, object)
		isReady(t, object)
		lap("a token of its ServiceAccount is exchanged, and the object is ready")

		namespace, image := makeNamespace(t, "team-"), pushToECR(t, source.Registry)
		started, logins := 0, map[string]bool{}
		for len(logins) <= renewals {
			pod := makePod(t, namespace, image, rotatedSecret)
			isPulledAtOnce(t, pod)
			started++
			logins[secretContent(t, namespace, rotatedSecret)] = true
			if err := shared.api.Delete(t.Context(), pod); err != nil {
				t.Fatal(err)
			}
		}
		lap("renewed three times")
		t.Logf("%d Pods were started, one after the other", started)
	})
}

func secretContent(t *testing.T, namespace, name string) string {
	t.Helper()
	var secret corev1.Secret
	if err := shared.api.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, &secret); err != nil {
		t.Fatal(err)
	}
	return string(secret.Data[corev1.DockerConfigJsonKey])
}
