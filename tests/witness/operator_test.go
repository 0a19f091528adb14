package witness

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/tests/federation"
	"github.com/imagepullsecrets/operator/tests/operator"
)

// patience is how long the operator may take from its start to the Secret.
const patience = time.Minute

// operatorsSecret runs the operator with one ImagePullSecret that has all
// sources, and returns the dockerconfigjson that it wrote.
func operatorsSecret(t *testing.T, sources []federation.Source) []byte {
	t.Helper()
	startOperator(t)
	object := &v1alpha1.ImagePullSecret{ObjectMeta: metav1.ObjectMeta{Name: "every-kind"}}
	for _, source := range sources {
		object.Spec.Registry.Credentials = append(object.Spec.Registry.Credentials, source.Entry)
	}
	object.Spec.Target.Secret.Name = "pull"
	object.Spec.Target.Namespaces.Names = []string{"default"}
	if err := shared.api.Create(t.Context(), object); err != nil {
		t.Fatal(err)
	}
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		err := shared.api.Get(ctx, client.ObjectKeyFromObject(object), object)
		return meta.IsStatusConditionTrue(object.Status.Conditions, v1alpha1.ConditionReady), err
	})
	if err != nil {
		t.Fatalf("waiting until every source has given its login: %v; the conditions are %+v", err, object.Status.Conditions)
	}
	secret := &corev1.Secret{}
	if err := shared.api.Get(t.Context(), client.ObjectKey{Namespace: "default", Name: "pull"}, secret); err != nil {
		t.Fatal(err)
	}
	return secret.Data[corev1.DockerConfigJsonKey]
}

// startOperator builds the operator and runs it until the test ends, when its log
// is searched for what no log may hold.
func startOperator(t *testing.T) {
	t.Helper()
	binary, err := operator.Build(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig, err := shared.cluster.ServiceAccountKubeconfig(t.Context(), operator.Namespace, operator.ServiceAccount)
	if err != nil {
		t.Fatal(err)
	}
	// It outlives the test's context, to be stopped well.
	process, err := operator.Start(context.Background(), operator.Options{
		Binary: binary, Kubeconfig: kubeconfig, Env: shared.cloud.Env(),
		Args: []string{"--log-level=debug"}, // so that a secret has every chance to be logged
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := process.Stop(); err != nil {
			t.Error(err)
		}
		expectNoLeak(t, process.Log())
	})
}

// expectNoLeak checks that none of the tokens that the cloud issued or was shown
// stands in an operator's log.
func expectNoLeak(t *testing.T, log string) {
	t.Helper()
	secrets := shared.cloud.Secrets()
	if log == "" || secrets.Len() == 0 {
		t.Errorf("%d secrets were searched for in %d bytes of the operator's log", secrets.Len(), len(log))
	}
	if leaks := secrets.In(log); len(leaks) > 0 {
		t.Errorf("%d parts of secrets stand in the operator's log", len(leaks))
	}
}
