//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
)

// restartTargets is how many namespaces have the Secret.
const restartTargets = 500

// The leader is killed, and what runs the operator and what it talks to are
// restarted, each in the middle of a rotation: no Secret is ever missing or
// without the login that images need, and all end with the new content.
func TestLossesInTheMiddleOfARotationLoseNoSecret(t *testing.T) {
	inEveryWay(t, func(t *testing.T, w way) {
		lap := newLaps(t)
		makeSource(t)
		w.install(t, "replicas: 2")
		namespaces := make([]string, restartTargets)
		for i := range namespaces {
			namespaces[i] = makeNamespace(t, "team-")
		}
		sample := applySample(t)
		targets := followTargets(t, sample, namespaces)
		targets.await(t, shared.registry.Host())
		lap(fmt.Sprintf("installed, and %d namespaces have the Secret", restartTargets))

		image := pushPause(t, "team/app:2")
		for what, lose := range map[string]func(context.Context) error{
			"the leader is killed":             killLeader,
			"kubelet and containerd restarted": shared.cluster.RestartNode,
			"the API server restarted":         restartAPIServer,
		} {
			t.Run(what, func(t *testing.T) {
				lap := newLaps(t)
				added := beginRotation(t, sample, targets)
				if err := lose(t.Context()); err != nil {
					t.Fatal(err)
				}
				lap(what)
				targets.await(t, added)
				lap("every Secret is new")
				deployment := makeDeployment(t, makeNamespace(t, "team-after-"), podSpec(image))
				// Not at the first attempt: after an API server's restart, client-go
				// takes its time before it watches again, and the Pod may be replaced.
				podOf(t, deployment, isReadyPod)
				lap("a Pod in a new namespace runs")
			})
		}
		if err := targets.stop(); err != nil {
			t.Errorf("in between a Secret was not as it should be: %v", err)
		}
	})
}

// beginRotation adds a login for another registry, and returns while some of the
// Secrets have it and others do not.
func beginRotation(t *testing.T, sample *v1alpha1.ImagePullSecret, targets *targets) (added string) {
	t.Helper()
	for range 5 {
		added = fmt.Sprintf("beside-%d.example.com", number())
		addRegistry(t, sample, added)
		targets.awaitFirst(t, added)
		if rotated := targets.count(added); rotated < restartTargets {
			t.Logf("%d of %d Secrets are new now", rotated, restartTargets)
			return added
		}
	}
	t.Fatal("each rotation was over before anything could happen in its middle")
	return ""
}

func restartAPIServer(ctx context.Context) error {
	if err := shared.cluster.StopAPIServer(); err != nil {
		return err
	}
	return shared.cluster.StartAPIServer(ctx)
}

// killLeader kills the process that leads, which leaves its Lease behind.
func killLeader(ctx context.Context) error {
	pod, err := leader(ctx)
	if err != nil {
		return err
	}
	_, container, _ := strings.Cut(pod.Status.ContainerStatuses[0].ContainerID, "://")
	process, err := processOf(container)
	if err != nil {
		return err
	}
	return syscall.Kill(process, syscall.SIGKILL)
}

// leader is the operator's Pod that leads.
func leader(ctx context.Context) (*corev1.Pod, error) {
	var lease coordinationv1.Lease
	if err := shared.api.Get(ctx, client.ObjectKey{Namespace: operatorNamespace, Name: operatorName}, &lease); err != nil {
		return nil, err
	}
	name, _, _ := strings.Cut(ptr.Deref(lease.Spec.HolderIdentity, ""), "_")
	if name == "" {
		return nil, errors.New("nobody leads")
	}
	var pod corev1.Pod
	return &pod, shared.api.Get(ctx, client.ObjectKey{Namespace: operatorNamespace, Name: name}, &pod)
}

// processOf finds a container's process by the control group that it is in.
func processOf(container string) (int, error) {
	groups, err := filepath.Glob("/proc/[0-9]*/cgroup")
	if err != nil {
		return 0, err
	}
	for _, path := range groups {
		content, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(content), container) {
			continue // it has ended, or is another's
		}
		return strconv.Atoi(filepath.Base(filepath.Dir(path)))
	}
	return 0, errors.New("no process is in the control group of container " + container)
}

// addRegistry adds a login for another registry to the sample's source.
func addRegistry(t *testing.T, sample *v1alpha1.ImagePullSecret, registry string) {
	t.Helper()
	reference := sample.Spec.Registry.Credentials[0]
	var source corev1.Secret
	if err := shared.api.Get(t.Context(), client.ObjectKey{Namespace: reference.Namespace, Name: reference.Name}, &source); err != nil {
		t.Fatal(err)
	}
	content := string(source.Data[corev1.DockerConfigJsonKey])
	source.Data[corev1.DockerConfigJsonKey] = []byte(strings.Replace(content, `{"auths":{`,
		fmt.Sprintf(`{"auths":{%q:{"username":"u","password":"p"},`, registry), 1))
	if err := shared.api.Update(t.Context(), &source); err != nil {
		t.Fatal(err)
	}
}
