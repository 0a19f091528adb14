package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
)

// plainWriters is how many requests the plain client has under way at a time,
// as many as the operator by default.
const plainWriters = 16

// plainClient is the yardstick: it does what must be done and nothing else. It
// is the administrator, whom priority and fairness never make wait.
type plainClient struct {
	api      kubernetes.Interface
	progress *progress
	owner    *v1alpha1.ImagePullSecret
}

func newPlainClient(config *rest.Config, progress *progress) (*plainClient, error) {
	api, err := kubernetes.NewForConfig(config)
	return &plainClient{api: api, progress: progress}, err
}

// document is a dockerconfigjson as the operator writes it; its password
// depends on version, its length does not.
func document(version int) []byte {
	password := fmt.Sprintf("a-password-of-usual-length-%06d", version)
	auth := base64.StdEncoding.EncodeToString([]byte("robot:" + password))
	return fmt.Appendf(nil, `{"auths":{"registry.example.com":{"username":"robot","password":%q,"auth":%q}}}`, password, auth)
}

// secret is a Secret like the operator's in every respect but its name and the
// last letter of the label's key, so that the operator has nothing to do with
// it.
func (c *plainClient) secret(namespace string, version int) *corev1ac.SecretApplyConfiguration {
	return corev1ac.Secret(plainSecret, namespace).
		WithType(corev1.SecretTypeDockerConfigJson).
		WithLabels(map[string]string{strings.TrimSuffix(v1alpha1.LabelOwnerUID, "d") + "x": string(c.owner.UID)}).
		WithAnnotations(map[string]string{v1alpha1.AnnotationContentHash: fmt.Sprintf("%032d", version)}).
		WithData(map[string][]byte{corev1.DockerConfigJsonKey: document(version)}).
		WithOwnerReferences(metav1ac.OwnerReference().WithAPIVersion(v1alpha1.GroupVersion.String()).
			WithKind(v1alpha1.Kind).WithName(c.owner.Name).WithUID(c.owner.UID))
}

// apply writes the Secret of one namespace.
func (c *plainClient) apply(ctx context.Context, namespace string, version int) error {
	_, err := c.api.CoreV1().Secrets(namespace).Apply(ctx, c.secret(namespace, version), metav1.ApplyOptions{FieldManager: "plain"})
	return err
}

// applyAll writes the Secrets of n namespaces.
func (c *plainClient) applyAll(ctx context.Context, n, version int) error {
	return c.each(ctx, n, nil, func(i int) error { return c.apply(ctx, namespaceName(i), version) })
}

// deleteAll deletes the Secrets of n namespaces.
func (c *plainClient) deleteAll(ctx context.Context, n int) error {
	return c.each(ctx, n, nil, func(i int) error {
		return c.api.CoreV1().Secrets(namespaceName(i)).Delete(ctx, plainSecret, metav1.DeleteOptions{})
	})
}

func namespaceName(i int) string { return fmt.Sprintf("bench-%05d", i) }

// createNamespaces makes the n namespaces that are selected.
func (c *plainClient) createNamespaces(ctx context.Context, n int) error {
	return c.filling(ctx, "creating namespaces", n, func(i int) error {
		return c.createNamespace(ctx, namespaceName(i), map[string]string{targetLabel: "yes"})
	})
}

func (c *plainClient) createNamespace(ctx context.Context, name string, labels map[string]string) error {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
	_, err := c.api.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{})
	return err
}

// createForeignSecrets makes the Secrets from number first to last, of 4 KiB
// each, spread over n namespaces.
func (c *plainClient) createForeignSecrets(ctx context.Context, n, first, last int) error {
	content := []byte(strings.Repeat("foreign ", 512))
	return c.filling(ctx, "creating foreign Secrets", last-first, func(i int) error {
		namespace, number := namespaceName((first+i)%n), (first+i)/n
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("foreign-%d", number)}, Data: map[string][]byte{"content": content}}
		_, err := c.api.CoreV1().Secrets(namespace).Create(ctx, secret, metav1.CreateOptions{})
		return err
	})
}

// createPods makes count Pods, spread over n namespaces. No node runs them.
func (c *plainClient) createPods(ctx context.Context, n, count int) error {
	return c.filling(ctx, "creating Pods", count, func(i int) error {
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{
				Name:   fmt.Sprintf("worker-6d4cf56db6-%05d", i/n),
				Labels: map[string]string{podLabel: "yes", "app.kubernetes.io/name": "worker", "pod-template-hash": "6d4cf56db6"},
			},
			Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "worker", Image: "registry.example.com/worker:1"}}},
		}
		_, err := c.api.CoreV1().Pods(namespaceName(i%n)).Create(ctx, pod, metav1.CreateOptions{})
		return err
	})
}

// filling does something n times and tells how far it is.
func (c *plainClient) filling(ctx context.Context, what string, n int, do func(i int) error) error {
	var done atomic.Int64
	state := func() string { return fmt.Sprintf("%d of %d", done.Load(), n) }
	return c.progress.during(what, state, func() error { return c.each(ctx, n, &done, do) })
}

// each calls do for 0 to n-1 from several goroutines, counts in done if it is
// given, and returns the first error.
func (c *plainClient) each(ctx context.Context, n int, done *atomic.Int64, do func(i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var writers sync.WaitGroup
	for range plainWriters {
		writers.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := do(i); err != nil {
					cancel(err)
				}
				if done != nil {
					done.Add(1)
				}
			}
		})
	}
	writers.Wait()
	return context.Cause(ctx)
}
