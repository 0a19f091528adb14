//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/tests/federation"
)

const annotatedName = "puller" // of the annotated ServiceAccount

// The first journey of everyone: install, make one object, and images are
// pulled, those of Pods that were too early included. And its end: nothing is
// left, if that was asked for.
func TestInstalledByHelmItGetsPrivateImagesPulled(t *testing.T) {
	inEveryWay(t, func(t *testing.T, w way) {
		lap := newLaps(t)
		image := pushPause(t, "team/app:1")
		early := makeDeployment(t, makeNamespace(t, "team-early-"), podSpec(image))
		tooEarly := podOf(t, early, func(pod *corev1.Pod) bool { return isWaitingFor(pod, "ImagePullBackOff", "ErrImagePull") })
		lap("a Pod without a login fails to pull")

		makeSource(t)
		const annotated = "annotatedServiceAccounts: {enabled: true}"
		w.install(t, annotated)
		lap("helm install until the operator is ready")
		logStartup(t)

		applySample(t)
		lap("the sample is ready")

		another := podOf(t, early, func(pod *corev1.Pod) bool { return pod.UID != tooEarly.UID })
		isPulledAtOnce(t, another)
		lap("the Pod that came too early is replaced, and runs")

		late := makeDeployment(t, makeNamespace(t, "team-late-"), podSpec(image))
		isPulledAtOnce(t, podOf(t, late, isAnyPod))
		lap("a Pod in a new namespace runs, its image pulled at the first attempt")

		namespace, ecr := annotatedAccount(t)
		spec := podSpec(pushToECR(t, ecr))
		spec.ServiceAccountName = annotatedName
		isPulledAtOnce(t, podOf(t, makeDeployment(t, namespace, spec), isAnyPod))
		lap("a Pod runs whose ServiceAccount is annotated with a role of AWS")
		expectNoErrors(t)

		w.release(t, "upgrade", current, annotated+"\nuninstall: {cleanUp: true}")
		w.uninstall(t.Context(), t)
		expectNothing(t)
		lap("helm uninstall with clean-up, and nothing is left")
	})
}

// logStartup tells how long the operator's container ran until its Pod was
// ready, which Kubernetes notes in whole seconds.
func logStartup(t *testing.T) {
	t.Helper()
	var pods corev1.PodList
	if err := shared.api.List(t.Context(), &pods, client.InNamespace(operatorNamespace)); err != nil {
		t.Fatal(err)
	}
	for _, pod := range pods.Items {
		for _, condition := range pod.Status.Conditions {
			if running := pod.Status.ContainerStatuses[0].State.Running; condition.Type == corev1.PodReady && running != nil {
				t.Logf("%6.1f s  of which from the container's start until the Pod is ready",
					condition.LastTransitionTime.Sub(running.StartedAt.Time).Seconds())
			}
		}
	}
}

// expectNoErrors checks that nothing that the operator logged is an error.
func expectNoErrors(t *testing.T) {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(shared.cluster.Dir(), "pods", operatorNamespace+"_"+operatorName+"-*", "*", "*.log"))
	if err != nil || len(logs) == 0 {
		t.Fatalf("found no logs of the operator's Pods (%v)", err)
	}
	for _, path := range logs {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(content)) {
			if strings.Contains(line, `"level":"error"`) {
				t.Errorf("the operator logged %s", line)
			}
		}
	}
}

// expectNothing checks that nothing of what the operator made is there.
func expectNothing(t *testing.T) {
	t.Helper()
	var objects v1alpha1.ImagePullSecretList
	var secrets, own corev1.SecretList
	var accounts corev1.ServiceAccountList
	if err := errors.Join(
		shared.api.List(t.Context(), &objects),
		shared.api.List(t.Context(), &secrets, client.HasLabels{v1alpha1.LabelOwnerUID}),
		shared.api.List(t.Context(), &own, client.InNamespace(operatorNamespace)),
		shared.api.List(t.Context(), &accounts),
	); err != nil {
		t.Fatal(err)
	}
	for _, object := range objects.Items {
		t.Errorf("ImagePullSecret %s is left", object.Name)
	}
	for _, secret := range secrets.Items {
		t.Errorf("Secret %s/%s is left", secret.Namespace, secret.Name)
	}
	for _, secret := range own.Items {
		if secret.Name != operatorLogin {
			t.Errorf("Secret %s is left in the operator's namespace", secret.Name)
		}
	}
	for _, account := range accounts.Items {
		if len(account.ImagePullSecrets) > 0 || account.Annotations[v1alpha1.AnnotationAttached] != "" {
			t.Errorf("ServiceAccount %s/%s lists %v", account.Namespace, account.Name, account.ImagePullSecrets)
		}
	}
}

// annotatedAccount makes a ServiceAccount in a namespace of its own that asks for
// a login to ECR by its annotations, and returns the registry once Pods get that.
func annotatedAccount(t *testing.T) (namespace, ecr string) {
	t.Helper()
	id := federation.Identity{Issuer: shared.cluster.Issuer(), Namespace: makeNamespace(t, "annotated-"), Name: annotatedName}
	source := federation.AWSRegion{Partition: "aws", Name: "eu-central-1", Domain: "amazonaws.com"}.ECR(shared.cloud, id, number())
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: id.Namespace, Name: id.Name, Annotations: map[string]string{
		v1alpha1.AnnotationAccountRegistry: source.Registry,
		v1alpha1.AnnotationAWSRoleARN:      string(source.Entry.ECR.RoleARN),
	}}}
	create(t, account)
	eventually(t, "the ServiceAccount lists its Secret", func(ctx context.Context) error {
		if err := shared.api.Get(ctx, client.ObjectKeyFromObject(account), account); err != nil {
			return err
		}
		for _, listed := range account.ImagePullSecrets {
			return shared.api.Get(ctx, client.ObjectKey{Namespace: id.Namespace, Name: listed.Name}, &corev1.Secret{})
		}
		return errors.New("it lists none")
	})
	return id.Namespace, source.Registry
}

// pushToECR puts an image into a registry of the cloud whose program waits.
func pushToECR(t *testing.T, ecr string) (reference string) {
	t.Helper()
	image, err := shared.cluster.PauseImage()
	if err != nil {
		t.Fatal(err)
	}
	reference = ecr + "/team/app:1"
	if err := shared.cloud.PutImage(t.Context(), reference, image); err != nil {
		t.Fatal(err)
	}
	return reference
}

// newLaps returns a function that logs the time since it was called before.
func newLaps(t *testing.T) func(what string) {
	begin := time.Now()
	return func(what string) {
		t.Logf("%6.1f s  %s", time.Since(begin).Seconds(), what)
		begin = time.Now()
	}
}

func makeDeployment(t *testing.T, namespace string, spec corev1.PodSpec) *appsv1.Deployment {
	t.Helper()
	labels := map[string]string{"app": "app"}
	deployment := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "app"},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: spec},
		},
	}
	create(t, deployment)
	return deployment
}

// podOf returns a Pod of a Deployment once one is as wanted.
func podOf(t *testing.T, deployment *appsv1.Deployment, wanted func(*corev1.Pod) bool) *corev1.Pod {
	t.Helper()
	var found *corev1.Pod
	eventually(t, "the Deployment has a Pod as wanted", func(ctx context.Context) error {
		var pods corev1.PodList
		if err := shared.api.List(ctx, &pods, client.InNamespace(deployment.Namespace),
			client.MatchingLabels(deployment.Spec.Selector.MatchLabels)); err != nil {
			return err
		}
		var seen []string
		for i := range pods.Items {
			pod := &pods.Items[i]
			if wanted(pod) {
				found = pod
				return nil
			}
			events, err := eventsOf(ctx, pod)
			if err != nil {
				return err
			}
			seen = append(seen, pod.Name+" ("+listed(events)+")")
		}
		return fmt.Errorf("its Pods are %v", seen)
	})
	return found
}

func isAnyPod(*corev1.Pod) bool { return true }

// isWaitingFor says whether a container of a Pod waits for one of these reasons.
func isWaitingFor(pod *corev1.Pod, reasons ...string) bool {
	for _, status := range pod.Status.ContainerStatuses {
		for _, reason := range reasons {
			if status.State.Waiting != nil && status.State.Waiting.Reason == reason {
				return true
			}
		}
	}
	return false
}
