package integration

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/tests/operator"
)

// What the documentation of IMPS calls things. Its three objects are in
// testdata, unchanged; all have the same name, so that the tests of this file
// follow one another.
const (
	seedObject     = "imps"
	seedSecret     = "istio-pull-secret"
	seedHome       = "registry-access"
	seedSource     = "registry--https-index.docker.io-v1-pull-secret-5cbe024b"
	seedUpperCase  = "registry--999653XXXXX.dkr.ecr.eu-central-1.amazonaws.com-pull-secret-5e3481fc"
	seedRegistry   = "https://index.docker.io/v1/"
	seedAnnotation = "sidecar.istio.io/inject"
	seedLabel      = "istio.io/rev"
)

var seedNames = []string{"backyards-registry-access", "backyards-system", "backyards-canary", "cert-manager", "istio-system"}

func TestSeedsThatSelectByAnnotations(t *testing.T) {
	makeSeedSource(t)
	selected := annotatedNamespace(t, seedAnnotation, "true")
	otherwise := annotatedNamespace(t, seedAnnotation, "false")
	byPod := namespace(t)
	applySeed(t, "imps-by-annotations.yaml")

	expectSecret(t, selected, seedSecret, seedRegistry)
	expectReady(t, seedObject, 1)
	makePod(t, byPod, nil, map[string]string{seedAnnotation: "false"})
	makePod(t, byPod, nil, map[string]string{seedAnnotation: "true"})
	expectSecret(t, byPod, seedSecret, seedRegistry)
	expectReady(t, seedObject, 2)
	expectNoSecret(t, otherwise, seedSecret)
}

func TestSeedsThatSelectByNames(t *testing.T) {
	makeSeedSource(t)
	makeSeedNamespaces(t)
	other := namespace(t)
	applySeed(t, "imps-by-names.yaml")

	for _, name := range seedNames {
		expectSecret(t, name, seedSecret, seedRegistry)
	}
	expectNoSecret(t, other, seedSecret)
	message := expectCondition(t, seedObject, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSourceNotFound)
	if want := "Secret " + seedHome + "/" + seedUpperCase + " does not exist"; !strings.Contains(message, want) {
		t.Errorf("Ready says %q", message)
	}
	expectCondition(t, seedObject, v1alpha1.ConditionTargetsReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if status := get(t, seedObject).Status; status.Targets.Ready != int32(len(seedNames)) ||
		status.SourceSecretStatus[seedHome+"."+seedSource] != "Ok" {
		t.Errorf("status is %+v", status)
	}
}

func TestSeedsThatSelectByAnyRule(t *testing.T) {
	makeSeedSource(t)
	makeSeedNamespaces(t)
	byRule := map[string]string{
		"an annotation":       annotatedNamespace(t, seedAnnotation, "true"),
		"another annotation":  annotatedNamespace(t, "backyards.banzaicloud.io/image-registry-access", "true"),
		"a label, any value":  namespace(t, seedLabel, "1-27"),
		"a name":              "cert-manager",
		"a Pod's annotation":  namespaceWithPod(t, nil, map[string]string{seedAnnotation: "true"}),
		"a Pod's label":       namespaceWithPod(t, map[string]string{seedLabel: ""}, nil),
		"a name and its Pods": "istio-system",
	}
	makePod(t, "istio-system", map[string]string{seedLabel: "default"}, nil)
	others := []string{annotatedNamespace(t, seedAnnotation, "yes"), namespaceWithPod(t, map[string]string{"app": "web"}, nil)}
	applySeed(t, "imps-by-any-rule.yaml")

	message := expectCondition(t, seedObject, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonNoCredentials)
	if !strings.Contains(message, "spec.registry.credentials is empty") {
		t.Errorf("Ready says %q", message)
	}
	update(t, seedObject, func(object *v1alpha1.ImagePullSecret) {
		object.Spec.Registry.Credentials = []v1alpha1.CredentialSource{{Name: seedSource, Namespace: seedHome}}
	})
	for rule, selected := range byRule {
		t.Log("selected by", rule)
		expectSecret(t, selected, seedSecret, seedRegistry)
	}
	expectReady(t, seedObject, int32(5+len(byRule)-2)) // five by name, two of which are listed above
	for _, other := range others {
		expectNoSecret(t, other, seedSecret)
	}
}

// applySeed applies one of IMPS's objects as kubectl apply --server-side does,
// and removes it and its Secrets after the test.
func applySeed(t *testing.T, file string) {
	t.Helper()
	if err := applyFile(t.Context(), shared.api, filepath.Join("testdata", file)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeSeed(t) })
}

// removeSeed deletes the object and waits until it and its Secrets are gone.
func removeSeed(t *testing.T) {
	object := &v1alpha1.ImagePullSecret{ObjectMeta: metav1.ObjectMeta{Name: seedObject}}
	if err := shared.api.Delete(context.Background(), object); err != nil {
		t.Error(err)
	}
	eventuallyLong(t, "the object and its Secrets gone", func() error {
		var secrets corev1.SecretList
		if err := shared.api.List(context.Background(), &secrets, client.HasLabels{v1alpha1.LabelOwnerUID}); err != nil {
			return err
		}
		for _, secret := range secrets.Items {
			if secret.Name == seedSecret {
				return fmt.Errorf("there is one in %s", secret.Namespace)
			}
		}
		return nil
	})
}

func makeSeedSource(t *testing.T) {
	t.Helper()
	makeNamespace(t, seedHome)
	document, _ := dockerConfig(seedRegistry)
	create(t, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: seedHome, Name: seedSource},
		Type:       corev1.SecretTypeDockerConfigJson, StringData: map[string]string{corev1.DockerConfigJsonKey: document},
	})
}

func makeSeedNamespaces(t *testing.T) {
	t.Helper()
	for _, name := range seedNames {
		makeNamespace(t, name)
	}
}

// makeNamespace makes a namespace of a name that is not the test's own, so
// that it may be there already, and stays: namespaces take a while to go.
func makeNamespace(t *testing.T, name string) {
	t.Helper()
	err := shared.api.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
}

func namespaceWithPod(t *testing.T, labels, annotations map[string]string) string {
	t.Helper()
	name := namespace(t)
	makePod(t, name, labels, annotations)
	return name
}

// makePod makes a Pod as soon as the namespace has its ServiceAccount. It never
// runs, for there is no node.
func makePod(t *testing.T, namespace string, labels, annotations map[string]string) {
	t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: unique("pod"), Labels: labels, Annotations: annotations},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "registry.example.com/app"}}},
	}
	eventually(t, "Pod in "+namespace, func() error { return shared.api.Create(t.Context(), pod) })
	t.Cleanup(func() { _ = shared.api.Delete(context.Background(), pod, client.GracePeriodSeconds(0)) })
}

// applyFile applies a file as kubectl apply --server-side does.
func applyFile(ctx context.Context, api client.Client, file string) error {
	document, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := operator.Apply(ctx, api, document); err != nil {
		return fmt.Errorf("applying %s: %w", file, err)
	}
	return nil
}
