package integration

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
)

func TestSecretsStandWhereTheyAreSelected(t *testing.T) {
	label := unique("label")
	home, selected, other := namespace(t), namespace(t, label, "yes"), namespace(t)
	account := newECRAccount(t)
	imps := object(t, "pull", label,
		staticSource(t, home, "registry.example.com"),
		source(t, home, v1alpha1.SecretTypeECR, account.data()))

	secret := expectSecret(t, selected, "pull", "registry.example.com", account.host())
	if secret.Type != corev1.SecretTypeDockerConfigJson {
		t.Errorf("type is %s", secret.Type)
	}
	expectNoSecret(t, other, "pull")
	expectReady(t, imps.Name, 1)

	later := namespace(t, label, "yes")
	expectSecret(t, later, "pull", "registry.example.com", account.host())
	expectReady(t, imps.Name, 2)

	if err := shared.api.Delete(t.Context(), imps); err != nil {
		t.Fatal(err)
	}
	expectNoSecret(t, selected, "pull")
	expectNoSecret(t, later, "pull")
}
