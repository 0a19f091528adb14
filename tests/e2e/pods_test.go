//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// pushPause puts an image into the private registry whose program waits, and
// returns its reference.
func pushPause(t *testing.T, repository string) string {
	t.Helper()
	image, err := shared.cluster.PauseImage()
	if err != nil {
		t.Fatal(err)
	}
	reference, err := shared.registry.Push(t.Context(), image, repository)
	if err != nil {
		t.Fatal(err)
	}
	return reference
}

// makeNamespace makes a namespace that goes with the test, and returns its name.
func makeNamespace(t *testing.T, prefix string) string {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: prefix}}
	create(t, namespace)
	return namespace.Name
}

// create makes an object, which goes with the test. What another test may want
// by the same name is waited for.
func create(t *testing.T, object client.Object) {
	t.Helper()
	if err := shared.api.Create(t.Context(), object); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := shared.api.Delete(context.Background(), object)
		if client.IgnoreNotFound(err) != nil {
			t.Error(err)
		}
		if object.GetGenerateName() != "" {
			return
		}
		wait(context.Background(), t, object.GetName()+" is gone", func(ctx context.Context) error {
			err := shared.api.Get(ctx, client.ObjectKeyFromObject(object), object)
			if apierrors.IsNotFound(err) {
				return nil
			}
			return errors.Join(err, errors.New("it is there"))
		})
	})
}

// createLogin makes a Secret with the private registry's login.
func createLogin(t *testing.T, namespace, name string) {
	t.Helper()
	create(t, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Type:       corev1.SecretTypeDockerConfigJson,
		StringData: map[string]string{corev1.DockerConfigJsonKey: dockerConfig()},
	})
}

// dockerConfig has the private registry's login.
func dockerConfig() string {
	return fmt.Sprintf(`{"auths":{%q:{"username":%q,"password":%q}}}`, shared.registry.Host(), login.Username, login.Password)
}

// podSpec is of one container that pulls an image each time it starts: an image
// that another Pod has pulled is no proof.
func podSpec(image string, pullSecrets ...string) corev1.PodSpec {
	spec := corev1.PodSpec{
		Containers: []corev1.Container{{Name: "app", Image: image, ImagePullPolicy: corev1.PullAlways}},
		// Pods need not wait for a program that has nothing to end.
		TerminationGracePeriodSeconds: new(int64(1)),
	}
	for _, name := range pullSecrets {
		spec.ImagePullSecrets = append(spec.ImagePullSecrets, corev1.LocalObjectReference{Name: name})
	}
	return spec
}

func makePod(t *testing.T, namespace, image string, pullSecrets ...string) *corev1.Pod {
	t.Helper()
	// A Pod is refused while its namespace has no ServiceAccount.
	eventually(t, "the namespace has its ServiceAccount", func(ctx context.Context) error {
		return shared.api.Get(ctx, client.ObjectKey{Namespace: namespace, Name: "default"}, &corev1.ServiceAccount{})
	})
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: "app-"},
		Spec:       podSpec(image, pullSecrets...),
	}
	create(t, pod)
	return pod
}

// isPulledAtOnce waits until a Pod runs, and checks that no pull failed.
func isPulledAtOnce(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	eventually(t, "the Pod runs", func(ctx context.Context) error { return runs(ctx, pod) })
	events, err := eventsOf(t.Context(), pod)
	if err != nil {
		t.Fatal(err)
	}
	pulled := false
	for _, event := range events {
		switch event.Reason {
		case "Pulled":
			pulled = true
		case "Failed", "BackOff", "FailedToRetrieveImagePullSecret":
			t.Errorf("the Pod's image was not pulled at its first attempt: %s", event.Message)
		}
	}
	if !pulled {
		t.Errorf("no event tells of the pull: %s", listed(events))
	}
}

// runs is nil once all containers of a Pod do, and reads the Pod anew.
func runs(ctx context.Context, pod *corev1.Pod) error {
	if err := shared.api.Get(ctx, client.ObjectKeyFromObject(pod), pod); err != nil {
		return err
	}
	if isReadyPod(pod) {
		return nil
	}
	events, err := eventsOf(ctx, pod)
	return errors.Join(err, fmt.Errorf("it is %s, and its events are %s", pod.Status.Phase, listed(events)))
}

func isReadyPod(pod *corev1.Pod) bool {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

// eventsOf returns the Events about a Pod.
func eventsOf(ctx context.Context, pod *corev1.Pod) ([]corev1.Event, error) {
	var all corev1.EventList
	if err := shared.api.List(ctx, &all, client.InNamespace(pod.Namespace),
		client.MatchingFields{"involvedObject.uid": string(pod.UID)}); err != nil {
		return nil, err
	}
	return all.Items, nil
}

func listed(events []corev1.Event) string {
	lines := make([]string, 0, len(events))
	for _, event := range events {
		lines = append(lines, event.Reason+": "+event.Message)
	}
	return strings.Join(lines, "; ")
}

// patience is how long a condition is waited for.
const patience = 3 * time.Minute

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func(context.Context) error) {
	t.Helper()
	wait(t.Context(), t, what, holds)
}

// wait is eventually for when the test is over.
func wait(ctx context.Context, t *testing.T, what string, holds func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		err := holds(ctx)
		if err == nil {
			return
		}
		if ctx.Err() == nil { // or it is only about the end of patience
			last = err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("it did not come to pass in %s: %s: %v", patience, what, last)
		}
	}
}
