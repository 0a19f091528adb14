package chart

import (
	"context"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"
)

// injectionAPI is what a cluster must know for Pods to be injected into.
const injectionAPI = "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy"

func TestPodInjectionIsASwitch(t *testing.T) {
	const policy, binding = "MutatingAdmissionPolicy other-pod-injection", "MutatingAdmissionPolicyBinding other-pod-injection"
	for sentence, test := range map[string]struct {
		values string
		args   []string
		want   bool
	}{
		"on":                        {"{fullnameOverride: other}", []string{"--api-versions", injectionAPI}, true},
		"off":                       {"{fullnameOverride: other, podInjection: {enabled: false}}", []string{"--api-versions", injectionAPI}, false},
		"on, of a cluster too old":  {"{fullnameOverride: other}", nil, false},
		"off, of a cluster too old": {"{fullnameOverride: other, podInjection: {enabled: false}}", nil, false},
	} {
		t.Run(sentence, func(t *testing.T) {
			eachHelm(t, func(t *testing.T, h helm) {
				rendered := h.mustTemplate(t, test.values, test.args...)
				if (rendered[policy] != nil) != test.want || (rendered[binding] != nil) != test.want {
					t.Fatalf("policy and binding are rendered: %t and %t, want %t", rendered[policy] != nil, rendered[binding] != nil, test.want)
				}
				if test.want && field(t, rendered[binding], "spec", "policyName") != "other-pod-injection" {
					t.Error("the binding is of another policy")
				}
			})
		})
	}
}

// The kind of the policy's parameters comes with the same release. Injection
// begins as soon as the API server knows both, and ends with the release.
func TestPodInjectionIsInstalledWithTheKindOfItsParameters(t *testing.T) {
	onCluster(t, func(t *testing.T, i installation) {
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

// A cluster from before the API has everything else, and is told what it lacks.
func TestAClusterWithoutPodInjection(t *testing.T) {
	onCluster(t, func(t *testing.T, i installation) {
		printed := i.must(t, "", "install", name, chartDir)
		if !strings.Contains(printed, "NO POD INJECTION") {
			t.Errorf("the notes do not say that Pods are not injected into:\n%s", printed)
		}
		printed = i.must(t, "{podInjection: {enabled: false}}", "upgrade", name, chartDir)
		if strings.Contains(printed, "NO POD INJECTION") {
			t.Errorf("the notes miss what is not wanted:\n%s", printed)
		}
		i.uninstall(t)
	}, "--disable-admission-plugins=MutatingAdmissionPolicy",
		"--runtime-config=admissionregistration.k8s.io/v1/mutatingadmissionpolicies=false,admissionregistration.k8s.io/v1/mutatingadmissionpolicybindings=false")
}
