package chart

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/imagepullsecrets/operator/tests/cluster"
)

var (
	crds             = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	imagePullSecrets = schema.GroupVersionResource{Group: "images.banzaicloud.io", Version: "v1alpha1", Resource: "imagepullsecrets"}
)

const crdName = "imagepullsecrets.images.banzaicloud.io"

// installation is the chart on a real API server, in a namespace that takes
// restricted Pods only.
type installation struct {
	helm
	cluster *cluster.Cluster
	config  *rest.Config
	client  kubernetes.Interface
	objects dynamic.Interface
}

// onCluster runs a test with each Helm on a cluster that knows nothing of us,
// whose API server has further flags.
func onCluster(t *testing.T, test func(*testing.T, installation), flags ...string) {
	t.Helper()
	if err := buildTools(); err != nil {
		t.Fatal(err)
	}
	c, err := cluster.Start(t.Context(), cluster.Options{Progress: os.Stderr, APIServerArgs: flags})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	i := installation{cluster: c, config: c.Config()}
	if i.client, err = kubernetes.NewForConfig(i.config); err != nil {
		t.Fatal(err)
	}
	if i.objects, err = dynamic.NewForConfig(i.config); err != nil {
		t.Fatal(err)
	}
	makeNamespace(t, i.client, namespace, map[string]string{
		"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted",
	})
	eachHelm(t, func(t *testing.T, h helm) {
		i.helm = h
		i.env = append(i.env, "KUBECONFIG="+c.Kubeconfig())
		test(t, i)
		i.removeCRD(t)
	})
}

// removeCRD makes the cluster forget us, for the next Helm.
func (i installation) removeCRD(t *testing.T) {
	t.Helper()
	if err := i.objects.Resource(crds).Delete(t.Context(), crdName, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the CRD is gone", func(ctx context.Context) bool {
		_, err := i.objects.Resource(crds).Get(ctx, crdName, metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
}

// must runs Helm in the operator's namespace; it returns what Helm printed,
// warnings included.
func (i installation) must(t *testing.T, values string, args ...string) string {
	t.Helper()
	stdout, stderr, err := i.run(values, append(args, "--namespace", namespace)...)
	if err != nil {
		t.Fatal(err)
	}
	return stdout + stderr
}

// uninstall runs helm uninstall, which takes no values.
func (i installation) uninstall(t *testing.T) {
	t.Helper()
	if _, _, err := execute(i.env, "", i.path, "uninstall", name, "--namespace", namespace); err != nil {
		t.Fatal(err)
	}
}

func TestInstallUpgradeUninstall(t *testing.T) {
	onCluster(t, func(t *testing.T, i installation) {
		printed := i.must(t, "", "install", name, chartDir)
		if strings.Contains(printed, "would violate PodSecurity") {
			t.Errorf("Pod security warns:\n%s", printed)
		}
		if !strings.Contains(printed, "kubectl -n "+namespace+" rollout status deployment/"+name) {
			t.Errorf("the notes do not say how to see whether it runs:\n%s", printed)
		}
		i.checkPodSecurity(t)

		i.must(t, "log: {level: debug}", "upgrade", name, chartDir)
		if args := i.deployment(t).Spec.Template.Spec.Containers[0].Args; !slices.Contains(args, "--log-level=debug") {
			t.Errorf("the upgrade did not reach the Deployment: %q", args)
		}

		sample := imagePullSecret("kept")
		if _, err := i.objects.Resource(imagePullSecrets).Create(t.Context(), sample, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		i.uninstall(t)
		if _, err := i.objects.Resource(imagePullSecrets).Get(t.Context(), "kept", metav1.GetOptions{}); err != nil {
			t.Errorf("uninstalling took the CRD or its objects away: %v", err)
		}
		_, err := i.client.AppsV1().Deployments(namespace).Get(t.Context(), name, metav1.GetOptions{})
		if !apierrors.IsNotFound(err) {
			t.Errorf("uninstalling left the Deployment: %v", err)
		}

		// The CRD that was kept is the next release's again.
		i.must(t, "", "install", name, chartDir)
		i.uninstall(t)
	})
}

// checkPodSecurity lets the API server judge a Pod of the Deployment, and one
// that asks for more, to see that it judges at all.
func (i installation) checkPodSecurity(t *testing.T) {
	t.Helper()
	template := i.deployment(t).Spec.Template
	pod := &corev1.Pod{ObjectMeta: template.ObjectMeta, Spec: template.Spec}
	pod.Name = "judged"
	dryRun := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}
	if _, err := i.client.CoreV1().Pods(namespace).Create(t.Context(), pod, dryRun); err != nil {
		t.Errorf("Pod security level restricted refuses the operator's Pod: %v", err)
	}
	pod.Spec.Containers[0].SecurityContext = nil
	if _, err := i.client.CoreV1().Pods(namespace).Create(t.Context(), pod, dryRun); !apierrors.IsForbidden(err) {
		t.Errorf("Pod security is not at work: a Pod without security context was answered with %v", err)
	}
}

func (i installation) deployment(t *testing.T) *appsv1.Deployment {
	t.Helper()
	deployment, err := i.client.AppsV1().Deployments(namespace).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return deployment
}

// The chart brings the kind and the first object of it. Helm 4 makes both at
// once, by a hook; Helm 3 makes the object with the next upgrade, and says so.
// From then on it is a part of the release like any other.
func TestFirstImagePullSecret(t *testing.T) {
	values := func(target string) string {
		return "{defaultConfig: {enabled: true, targetSecretName: " + target + ", namespaces: {names: [team-*]}}," +
			" defaultSecret: {enabled: true, type: kubernetes.io/dockercfg, stringData: {.dockercfg: '{}'}}}"
	}
	onCluster(t, func(t *testing.T, i installation) {
		printed := i.must(t, values("first"), "install", name, chartDir)
		if i.hooks {
			i.checkFirst(t, "first")
		} else if !strings.Contains(printed, "ONE MORE STEP") {
			t.Errorf("the notes do not say that the ImagePullSecret is missing:\n%s", printed)
		}
		i.must(t, values("second"), "upgrade", name, chartDir)
		i.checkFirst(t, "second")
		i.must(t, values("third"), "upgrade", name, chartDir)
		i.checkFirst(t, "third")

		i.uninstall(t)
		_, err := i.objects.Resource(imagePullSecrets).Get(t.Context(), name+"-default", metav1.GetOptions{})
		if !apierrors.IsNotFound(err) {
			t.Errorf("uninstalling left the first ImagePullSecret: %v", err)
		}
	})
}

// checkFirst checks the first ImagePullSecret's target and source.
func (i installation) checkFirst(t *testing.T, target string) {
	t.Helper()
	first, err := i.objects.Resource(imagePullSecrets).Get(t.Context(), name+"-default", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got, _, _ := unstructured.NestedString(first.Object, "spec", "target", "secret", "name"); got != target {
		t.Errorf("the first ImagePullSecret's target is %q, want %q", got, target)
	}
	credentials, _, _ := unstructured.NestedSlice(first.Object, "spec", "registry", "credentials")
	if len(credentials) != 1 || credentials[0].(map[string]any)["name"] != name+"-default" {
		t.Errorf("its source is %v, want the default Secret", credentials)
	}
	if _, err := i.client.CoreV1().Secrets(namespace).Get(t.Context(), name+"-default", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
}

// The API server itself enforces mode named: create, read and watch of other
// Secrets are refused, by the roles alone: there is no fence here.
func TestModeNamedIsEnforced(t *testing.T) {
	onCluster(t, func(t *testing.T, i installation) {
		i.must(t, "{rbac: {mode: named, targetSecretNames: [pull]}, fence: {enabled: false}}", "install", name, chartDir)
		operator := i.asOperator(t)
		apply := func(secret, in string) error {
			_, err := operator.CoreV1().Secrets(in).Apply(t.Context(), corev1ac.Secret(secret, in),
				metav1.ApplyOptions{FieldManager: "test", Force: true})
			return err
		}
		list := func(selector string) error {
			_, err := operator.CoreV1().Secrets("").List(t.Context(), metav1.ListOptions{FieldSelector: selector})
			return err
		}
		eventually(t, "the role is in force", func(context.Context) bool { return apply("pull", "default") == nil })
		areAllowed(t, map[string]error{
			"listing Secrets of that name everywhere":     list("metadata.name=pull"),
			"writing its own Secret in its own namespace": apply("imagepullsecret-operator-leases-31", namespace),
		})
		areRefused(t, map[string]error{
			"writing a Secret of another name":              apply("other", "default"),
			"listing all Secrets":                           list(""),
			"writing its own Secret in another namespace":   apply("imagepullsecret-operator-leases-0", "default"),
			"writing a Secret that only looks like its own": apply("imagepullsecret-operator-leases-32", namespace),
		})
		i.uninstall(t)
	})
}

// asOperator is a client with the rights of the operator's ServiceAccount.
func (i installation) asOperator(t *testing.T) kubernetes.Interface {
	t.Helper()
	config := rest.CopyConfig(i.config)
	config.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:" + namespace + ":" + name}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// areAllowed checks that the API server did what was asked of it.
func areAllowed(t *testing.T, answers map[string]error) {
	t.Helper()
	for what, err := range answers {
		if err != nil {
			t.Errorf("%s is refused: %v", what, err)
		}
	}
}

// areRefused checks that the API server refused what was asked of it.
func areRefused(t *testing.T, answers map[string]error) {
	t.Helper()
	for what, err := range answers {
		if !apierrors.IsForbidden(err) {
			t.Errorf("%s is not refused: %v", what, err)
		}
	}
}

// imagePullSecret is one that selects nothing.
func imagePullSecret(name string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "images.banzaicloud.io/v1alpha1", "kind": "ImagePullSecret",
		"metadata": map[string]any{"name": name},
		"spec":     map[string]any{"target": map[string]any{"secret": map[string]any{"name": "pull"}}},
	}}
}

func makeNamespace(t *testing.T, client kubernetes.Interface, name string, labels map[string]string) {
	t.Helper()
	object := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
	if _, err := client.CoreV1().Namespaces().Create(t.Context(), object, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// patience is how long a condition is waited for: the API server itself takes up
// to a minute for the objects of a CRD that goes, before it tries again.
const patience = 3 * time.Minute

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func(context.Context) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !holds(ctx) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("it did not come to pass in %s: %s", patience, what)
		}
	}
}
