package chart

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"

	"github.com/imagepullsecrets/operator/tests/cluster"
	"github.com/imagepullsecrets/operator/tests/operator"
)

// injectionAPI is what a cluster must know for Pods to be injected into.
const injectionAPI = "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy"

func TestPodInjectionIsASwitch(t *testing.T) {
	eachSwitched(t, "podInjection", injectionAPI, func(t *testing.T, rendered objects, want bool) {
		expectPolicy(t, rendered, "Mutating", "other-pod-injection", want)
	})
}

// eachSwitched renders the chart, as other, with the value that installs admission
// policies on and off, for a cluster that knows their kind and one that does not.
func eachSwitched(t *testing.T, value, kind string, check func(t *testing.T, rendered objects, want bool)) {
	t.Helper()
	on, off := "{fullnameOverride: other}", "{fullnameOverride: other, "+value+": {enabled: false}}"
	known := []string{"--api-versions", kind}
	for sentence, test := range map[string]struct {
		values string
		args   []string
		want   bool
	}{
		"on":                        {on, known, true},
		"off":                       {off, known, false},
		"on, of a cluster too old":  {on, nil, false},
		"off, of a cluster too old": {off, nil, false},
	} {
		t.Run(sentence, func(t *testing.T) {
			eachHelm(t, func(t *testing.T, h helm) { check(t, h.mustTemplate(t, test.values, test.args...), test.want) })
		})
	}
}

// expectPolicy checks whether an admission policy and its binding are rendered.
func expectPolicy(t *testing.T, rendered objects, sort, name string, want bool) {
	t.Helper()
	policy, binding := rendered[sort+"AdmissionPolicy "+name], rendered[sort+"AdmissionPolicyBinding "+name]
	if (policy != nil) != want || (binding != nil) != want {
		t.Fatalf("policy %s and its binding are rendered: %t and %t, want %t", name, policy != nil, binding != nil, want)
	}
	if want && field(t, binding, "spec", "policyName") != name {
		t.Errorf("the binding %s is of another policy", name)
	}
}

// The kind of the policy's parameters comes with the same release. Injection
// begins as soon as the API server knows both, and ends with the release.
func TestPodInjectionIsInstalledWithTheKindOfItsParameters(t *testing.T) {
	onCluster(t, func(t *testing.T, i installation) {
		operator.NeedInjection(t, i.config)
		printed := i.must(t, "", "install", name, chartDir)
		if strings.Contains(printed, "NO POD INJECTION") {
			t.Errorf("the notes deny that Pods are injected into:\n%s", printed)
		}
		selecting := imagePullSecret("selecting")
		err := unstructured.SetNestedStringSlice(selecting.Object, []string{"default"}, "spec", "target", "namespaces", "names")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := i.objects.Resource(imagePullSecrets).Create(t.Context(), selecting, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "Pods are given the name", func(context.Context) bool { return slices.Contains(listed(t, i.client), "pull") })
		i.must(t, "{podInjection: {enabled: false}}", "upgrade", name, chartDir)
		eventually(t, "Pods are not when the switch is off", func(context.Context) bool { return len(listed(t, i.client)) == 0 })
		i.must(t, "{podInjection: {enabled: true}}", "upgrade", name, chartDir)
		eventually(t, "Pods are again when it is on", func(context.Context) bool { return slices.Contains(listed(t, i.client), "pull") })
		i.must(t, "{rbac: {mode: namespaces, namespaces: [kube-system]}}", "upgrade", name, chartDir)
		eventually(t, "Pods are not where the operator has no rights", func(context.Context) bool { return len(listed(t, i.client)) == 0 })
		i.must(t, "{rbac: {mode: namespaces, namespaces: [kube-system, default]}}", "upgrade", name, chartDir)
		eventually(t, "Pods are where it has", func(context.Context) bool { return slices.Contains(listed(t, i.client), "pull") })

		i.uninstall(t)
		eventually(t, "Pods are not when the release is gone", func(context.Context) bool { return len(listed(t, i.client)) == 0 })
		policies, err := i.client.AdmissionregistrationV1().MutatingAdmissionPolicies().List(t.Context(), metav1.ListOptions{})
		if err != nil || len(policies.Items) > 0 {
			t.Errorf("uninstalling left %d policies: %v", len(policies.Items), err)
		}
	})
}

// listed are the names that a Pod lists which is made now.
func listed(t *testing.T, client kubernetes.Interface) []string {
	t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "asks"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "app"}}},
	}
	made, err := client.CoreV1().Pods("default").Create(t.Context(), pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	if err != nil {
		t.Fatalf("a Pod is refused: %v", err)
	}
	var names []string
	for _, reference := range made.Spec.ImagePullSecrets {
		names = append(names, reference.Name)
	}
	return names
}

// A cluster from before the API has everything else, and is told what it lacks;
// so is the operator.
func TestAClusterWithoutPodInjection(t *testing.T) {
	onCluster(t, func(t *testing.T, i installation) {
		printed := i.must(t, "", "install", name, chartDir)
		if !strings.Contains(printed, "NO POD INJECTION") {
			t.Errorf("the notes do not say that Pods are not injected into:\n%s", printed)
		}
		if args := i.deployment(t).Spec.Template.Spec.Containers[0].Args; !slices.Contains(args, "--pod-injection=false") {
			t.Errorf("the operator counts on it: %q", args)
		}
		printed = i.must(t, "{podInjection: {enabled: false}}", "upgrade", name, chartDir)
		if strings.Contains(printed, "NO POD INJECTION") {
			t.Errorf("the notes miss what is not wanted:\n%s", printed)
		}
		i.uninstall(t)
	}, withoutInjection(t)...)
}

// withoutInjection are the flags of an API server that can't inject, of whatever
// Kubernetes the tests use.
func withoutInjection(t *testing.T) []string {
	t.Helper()
	c, err := cluster.Start(t.Context(), cluster.Options{Progress: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	flags := operator.WithoutInjection(t, c.Config())
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	return flags
}
