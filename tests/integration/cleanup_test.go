package integration

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/tests/cluster"
	"github.com/imagepullsecrets/operator/tests/federation"
	"github.com/imagepullsecrets/operator/tests/operator"
)

// cleanupRules are the rights that the chart gives to the Pod that cleans up;
// TestHooksDoTheirWork of tests/chart shows that those are enough.
var cleanupRules = []rbacv1.PolicyRule{
	{APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: []string{"imagepullsecrets"}, Verbs: []string{"list", "delete"}},
	{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"list", "delete"}},
	{APIGroups: []string{""}, Resources: []string{"serviceaccounts"}, Verbs: []string{"get", "list", "patch"}},
	{APIGroups: []string{"apps"}, Resources: []string{"deployments/scale"}, Verbs: []string{"patch"}},
	{APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, Verbs: []string{"get", "delete"}},
}

// Everything goes that the operator made, and nothing else.
func TestCleaningUp(t *testing.T) {
	own := ownCluster(t, withAllRights)
	trusted(t, own)
	withRights(t, "cleanup", cleanupRules...)
	updater, args := annotatedRights(t, own), annotatedArgs()
	args = append(args, "--leader-elect", fmt.Sprintf("--chainguard-allow=%s-0=*", updaterNamespace))
	process := runOperator(t, own, args...)
	deployed(t)

	home, label := namespace(t), unique("label")
	ref := staticSource(t, home, registry)
	team := namespace(t, label, "yes")
	user := account(t, team, []string{"mine"})
	app := accountFor(t, own, "app")
	attach := func(name string, policy v1alpha1.DeletionPolicy) {
		made := newObject(name, label, ref)
		made.Spec.Target.DeletionPolicy = policy
		made.Spec.Target.ServiceAccounts.Names = []string{user.Name}
		create(t, made)
	}
	attach("kept", v1alpha1.DeletionRetain)
	expectAttached(t, user, "kept", "mine", "kept")
	attach("pull", v1alpha1.DeletionDelete)
	// The second one is denied: it has an entry without a Secret.
	role := federation.ECR(shared.cloud, app, number())
	annotateAccount(t, app, forRole(role, federation.ECR(shared.cloud, federation.Identity{Namespace: "other", Name: "other"}, number())))
	users := asking(t, 0, corev1.SecretTypeDockerConfigJson, map[string]string{corev1.DockerConfigJsonKey: loginsFor("mine.example")}, chainguardIdentity(updater))

	expectSecret(t, team, "pull", registry)
	expectSecret(t, team, "kept", registry)
	expectAttached(t, user, "kept,pull", "mine", "kept", "pull")
	expectPull(t, app.Namespace, "imagepullsecret-app", role.Registry)
	expectListed(t, app, "imagepullsecret-app", "imagepullsecret-app-1")
	expectSecret(t, users.Namespace, users.Name, "mine.example", "cgr.dev")

	well, output := cleanUp(t, own, process)
	if !well || !strings.Contains(output, "nothing is left") || !strings.Contains(output, `"name":"kept"`) {
		t.Errorf("it ended well: %t, and put out:\n%s", well, output)
	}
	expectOnlyRetained(t, team)
	expectAttached(t, user, "kept", "mine", "kept")
	expectListed(t, app)
	expectSecret(t, users.Namespace, users.Name, "mine.example", "cgr.dev")

	t.Run("again finds nothing, and what can't go is named", func(t *testing.T) {
		if well, output := cleanUp(t, own, nil); !well {
			t.Errorf("a second time:\n%s", output)
		}
		held := newObject("pull", "", ref)
		held.Finalizers = []string{"example.com/held"}
		create(t, held)
		well, output := cleanUp(t, own, nil, "--timeout=2s")
		if want := fmt.Sprintf("1 are left: ImagePullSecret %s, which waits for whoever set the finalizers example.com/held", held.Name); well || !strings.Contains(output, want) {
			t.Errorf("it ended well: %t; want %q in:\n%s", well, want, output)
		}
		update(t, held.Name, func(o *v1alpha1.ImagePullSecret) { o.Finalizers = nil })
	})
}

// deployed makes a Deployment as the chart does, of which there is no node to
// run a Pod.
func deployed(t *testing.T) {
	t.Helper()
	labels := map[string]string{"app": operator.ServiceAccount}
	create(t, &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: operator.Namespace, Name: operator.ServiceAccount},
		Spec: appsv1.DeploymentSpec{
			Replicas: ptr.To[int32](1), Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "manager", Image: "operator"}}},
			},
		},
	})
}

// cleanUp cleans up to the end, and stops the operator, if there is one, when its
// Deployment is to run none, as a kubelet does.
func cleanUp(t *testing.T, own *cluster.Cluster, process *operator.Process, args ...string) (well bool, output string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	command := exec.CommandContext(ctx, shared.binary, append([]string{"cleanup", "--timeout=2m", "--kubeconfig=" + kubeconfigOf(t, own, "cleanup")}, args...)...)
	command.Env = []string{"GOCOVERDIR=" + t.TempDir()}
	var printed bytes.Buffer
	command.Stdout, command.Stderr = &printed, &printed
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	if process != nil {
		eventuallyLong(t, "the operator is stopped", func() error {
			found := &appsv1.Deployment{}
			err := shared.api.Get(t.Context(), client.ObjectKey{Namespace: operator.Namespace, Name: operator.ServiceAccount}, found)
			if err == nil && *found.Spec.Replicas != 0 {
				err = fmt.Errorf("the Deployment is to run %d", *found.Spec.Replicas)
			}
			return err
		})
		if err := process.Stop(); err != nil {
			t.Errorf("stopping the operator: %v", err)
		}
	}
	err := command.Wait()
	if leaks := leaked(printed.String()); len(leaks) > 0 {
		t.Errorf("%d parts of secrets stand in what it put out", len(leaks))
	}
	return err == nil, printed.String()
}

// expectOnlyRetained looks for what the operator keeps: of it there must be the
// retained Secret, and nothing else.
func expectOnlyRetained(t *testing.T, team string) {
	t.Helper()
	var objects v1alpha1.ImagePullSecretList
	var secrets corev1.SecretList
	var leases coordinationv1.LeaseList
	for _, list := range []client.ObjectList{&objects, &secrets, &leases} {
		if err := shared.api.List(t.Context(), list); err != nil {
			t.Fatal(err)
		}
	}
	for _, secret := range secrets.Items {
		if _, ours := secret.Labels[v1alpha1.LabelOwnerUID]; ours && (secret.Namespace != team || secret.Name != "kept") ||
			strings.HasPrefix(string(secret.Type), v1alpha1.GroupVersion.Group) {
			t.Errorf("Secret %s/%s is left", secret.Namespace, secret.Name)
		}
	}
	if _, err := secretIn(t, team, "kept"); err != nil {
		t.Errorf("the retained Secret: %v", err)
	}
	for _, lease := range leases.Items {
		if lease.Namespace == operator.Namespace {
			t.Errorf("Lease %s is left", lease.Name)
		}
	}
	if len(objects.Items) > 0 {
		t.Errorf("%d ImagePullSecrets are left", len(objects.Items))
	}
}

// A check runs as the operator's ServiceAccount and finds nothing wrong; as one
// without rights it names each that is missing.
func TestACheckTellsWhetherTheInstallationWorks(t *testing.T) {
	well, output := checked(t, "manager")
	if !well || strings.Contains(output, "FAIL") || !strings.Contains(output, "the operator answers at ") {
		t.Errorf("it ended well: %t:\n%s", well, output)
	}
	create(t, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: operator.Namespace, Name: "stranger"}})
	well, output = checked(t, "stranger")
	for _, want := range []string{"ok    ImagePullSecret is served", "FAIL  the right to patch imagepullsecrets/status: is missing", "FAIL  the right to patch serviceaccounts: is missing"} {
		if well || !strings.Contains(output, want) {
			t.Errorf("it ended well: %t; want %q in:\n%s", well, want, output)
		}
	}
}

// checked runs a check as a ServiceAccount; of the operator it is manager.
func checked(t *testing.T, account string) (well bool, output string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), shared.binary, "check",
		"--kubeconfig="+kubeconfigOf(t, shared.cluster, account), "--metrics-url="+mainOperator.MetricsURL())
	command.Env = []string{"GOCOVERDIR=" + t.TempDir()}
	text, err := command.CombinedOutput()
	return err == nil, string(text)
}
