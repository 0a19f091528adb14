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
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
)

// restartTargets is how many namespaces have the Secret.
const restartTargets = 50

// What runs the operator, and what it talks to, is restarted while a login
// changes: no Secret is ever missing or without the login that images need, and
// all end with the new content.
func TestRestartsLoseNoSecret(t *testing.T) {
	lap := newLaps(t)
	installByHelm(t, "")
	namespaces := make([]string, restartTargets)
	for i := range namespaces {
		namespaces[i] = makeNamespace(t, "team-")
	}
	sample := applySample(t)
	eventually(t, "every namespace has the Secret", func(ctx context.Context) error {
		return haveSecret(ctx, sample, namespaces, shared.registry.Host())
	})
	lap(fmt.Sprintf("%d namespaces have the Secret", restartTargets))

	image, turn := pushPause(t, "team/app:2"), 0
	for what, restart := range map[string]func(context.Context) error{
		"kubelet and containerd": shared.cluster.RestartNode,
		"the API server":         restartAPIServer,
	} {
		t.Run(what, func(t *testing.T) {
			lap := newLaps(t)
			missing := watchSecrets(t, sample, namespaces)
			turn++
			added := fmt.Sprintf("beside-%d.example.com", turn)
			restarted := make(chan error, 1)
			go func() { restarted <- restart(t.Context()) }()
			eventually(t, "the login is changed", func(ctx context.Context) error { return addRegistry(ctx, sample, added) })
			if err := <-restarted; err != nil {
				t.Fatal(err)
			}
			lap("restarted")
			eventually(t, "every namespace has the new content", func(ctx context.Context) error {
				return haveSecret(ctx, sample, namespaces, added)
			})
			lap("converged")
			deployment := makeDeployment(t, makeNamespace(t, "team-after-"), podSpec(image))
			// Not at the first attempt: after an API server's restart, client-go
			// takes its time before it watches again, and the Pod may be replaced.
			podOf(t, deployment, isReadyPod)
			lap("a Pod in a new namespace runs")
			if err := missing(); err != nil {
				t.Errorf("in between a Secret was not as it should be: %v", err)
			}
		})
	}
}

func restartAPIServer(ctx context.Context) error {
	if err := shared.cluster.StopAPIServer(); err != nil {
		return err
	}
	return shared.cluster.StartAPIServer(ctx)
}

// haveSecret is nil if the Secret of each namespace has a login for a registry.
func haveSecret(ctx context.Context, sample *v1alpha1.ImagePullSecret, namespaces []string, registry string) error {
	var all corev1.SecretList
	if err := shared.api.List(ctx, &all, client.MatchingFields{"metadata.name": sample.Spec.Target.Secret.Name}); err != nil {
		return err
	}
	content := map[string]string{}
	for _, secret := range all.Items {
		content[secret.Namespace] = string(secret.Data[corev1.DockerConfigJsonKey])
	}
	for _, namespace := range namespaces {
		if !strings.Contains(content[namespace], registry) {
			return fmt.Errorf("%w: %s in %s", errNoLogin, registry, namespace)
		}
	}
	return nil
}

var errNoLogin = errors.New("there is no login")

// watchSecrets looks at the Secrets again and again until the returned function
// is called, which says what was missing. An API server that is away tells
// nothing.
func watchSecrets(t *testing.T, sample *v1alpha1.ImagePullSecret, namespaces []string) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	seen := make(chan error, 1)
	go func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			if err := haveSecret(ctx, sample, namespaces, shared.registry.Host()); errors.Is(err, errNoLogin) {
				seen <- err
				return
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				seen <- nil
				return
			}
		}
	}()
	return func() error {
		cancel()
		return <-seen
	}
}

// addRegistry adds a login for another registry to the sample's source.
func addRegistry(ctx context.Context, sample *v1alpha1.ImagePullSecret, registry string) error {
	reference := sample.Spec.Registry.Credentials[0]
	var source corev1.Secret
	if err := shared.api.Get(ctx, client.ObjectKey{Namespace: reference.Namespace, Name: reference.Name}, &source); err != nil {
		return err
	}
	content := string(source.Data[corev1.DockerConfigJsonKey])
	source.Data[corev1.DockerConfigJsonKey] = []byte(strings.Replace(content, `{"auths":{`,
		fmt.Sprintf(`{"auths":{%q:{"username":"u","password":"p"},`, registry), 1))
	return shared.api.Update(ctx, &source)
}
