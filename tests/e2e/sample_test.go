//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/tests/operator"
)

// sourceNamespace is where the samples read credentials.
const sourceNamespace = "registry-access"

// readSample reads the sample with a static login.
func readSample(t *testing.T) *v1alpha1.ImagePullSecret {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(operator.Root(), "config", "samples", "images_v1alpha1_imagepullsecret_static.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	sample := &v1alpha1.ImagePullSecret{}
	if err := yaml.UnmarshalStrict(content, sample); err != nil {
		t.Fatal(err)
	}
	return sample
}

// makeSource makes what the sample reads: here, the private registry's login.
func makeSource(t *testing.T) {
	t.Helper()
	source := readSample(t).Spec.Registry.Credentials[0]
	create(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: source.Namespace}})
	createLogin(t, source.Namespace, source.Name)
}

// applySample makes the sample, whose source makeSource made, and returns when
// it is ready.
func applySample(t *testing.T) *v1alpha1.ImagePullSecret {
	t.Helper()
	sample := readSample(t)
	create(t, sample)
	isReady(t, sample)
	return sample
}

// isReady waits until an ImagePullSecret is.
func isReady(t *testing.T, object *v1alpha1.ImagePullSecret) {
	t.Helper()
	eventually(t, object.Name+" is ready", func(ctx context.Context) error {
		if err := shared.api.Get(ctx, client.ObjectKeyFromObject(object), object); err != nil {
			return err
		}
		if meta.IsStatusConditionTrue(object.Status.Conditions, v1alpha1.ConditionReady) {
			return nil
		}
		return fmt.Errorf("its conditions are %v", object.Status.Conditions)
	})
}
