package integration

import (
	"context"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
)

const registry = "registry.example.com"

func TestNamespacesAreSelectedByAnyRule(t *testing.T) {
	t.Parallel()
	home, prefix := namespace(t), unique("glob")
	byName, byLabel, byAnnotation, byNothing := namespace(t), namespace(t, prefix, "yes"), annotatedNamespace(t, prefix, "a value / of any length"), namespace(t)
	byGlob := create(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: prefix + "-team-a"}}).Name

	made := newObject("pull", "", staticSource(t, home, registry))
	made.Spec.Target.Namespaces = v1alpha1.NamespaceSelector{
		Names:       []string{byName, prefix + "-team-*"},
		Labels:      []metav1.LabelSelector{{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: prefix, Operator: metav1.LabelSelectorOpExists}}}},
		Annotations: []v1alpha1.AnnotationSelector{{MatchAnnotations: map[string]string{prefix: "a value / of any length"}}},
	}
	create(t, made)
	for _, selected := range []string{byName, byLabel, byAnnotation, byGlob} {
		expectSecret(t, selected, "pull", registry)
	}
	expectReady(t, made.Name, 4)
	expectNoSecret(t, byNothing, "pull")
}

func annotatedNamespace(t *testing.T, annotations ...string) string {
	t.Helper()
	return create(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: unique("ns"), Annotations: pairs(annotations)}}).Name
}

func TestExclusionWins(t *testing.T) {
	t.Parallel()
	home, label := namespace(t), unique("label")
	kept, excluded := namespace(t, label, "yes"), namespace(t, label, "yes", "stage", label)
	made := newObject("pull", label, staticSource(t, home, registry))
	made.Spec.Target.Namespaces.Exclude.Labels = []metav1.LabelSelector{{MatchLabels: map[string]string{"stage": label}}}
	create(t, made)
	expectSecret(t, kept, "pull", registry)
	expectReady(t, made.Name, 1)
	expectNoSecret(t, excluded, "pull")

	relabel(t, kept, "stage", label)
	expectNoSecret(t, kept, "pull")
	relabel(t, excluded, "stage", "other")
	expectSecret(t, excluded, "pull", registry)
}

// relabel sets a label of a namespace.
func relabel(t *testing.T, name, label, value string) {
	t.Helper()
	object := &corev1.Namespace{}
	if err := shared.api.Get(t.Context(), client.ObjectKey{Name: name}, object); err != nil {
		t.Fatal(err)
	}
	before := object.DeepCopy()
	if object.Labels == nil {
		object.Labels = map[string]string{}
	}
	object.Labels[label] = value
	if err := shared.api.Patch(t.Context(), object, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
}

func TestADeselectedNamespaceLosesItsSecretAndNoOther(t *testing.T) {
	t.Parallel()
	home, label := namespace(t), unique("label")
	selected := namespace(t, label, "yes")
	bystander := create(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: selected, Name: "bystander"}})
	made := object(t, "pull", label, staticSource(t, home, registry))
	expectSecret(t, selected, "pull", registry)

	relabel(t, selected, label, "no")
	expectNoSecret(t, selected, "pull")
	expectReady(t, made.Name, 0)
	if _, err := secretIn(t, selected, bystander.Name); err != nil {
		t.Errorf("the bystander: %v", err)
	}
}

func TestNamespacesAreSelectedByTheirPods(t *testing.T) {
	t.Parallel()
	home, label := namespace(t), unique("label")
	workload := namespace(t)
	made := newObject("pull", "", staticSource(t, home, registry))
	made.Spec.Target.NamespacesWithPods = v1alpha1.PodSelector{
		Labels:      []metav1.LabelSelector{{MatchLabels: map[string]string{label: "yes"}}},
		Annotations: []v1alpha1.AnnotationSelector{{MatchAnnotations: map[string]string{"inject": label}}},
	}
	create(t, made)
	expectReady(t, made.Name, 0)
	expectNoSecret(t, workload, "pull")

	labelled := pod(t, workload, metav1.ObjectMeta{Labels: map[string]string{label: "yes"}})
	expectSecret(t, workload, "pull", registry)
	annotated := pod(t, workload, metav1.ObjectMeta{Annotations: map[string]string{"inject": label}})
	remove(t, labelled)
	remove(t, annotated)
	expectNoSecret(t, workload, "pull")

	finished := pod(t, workload, metav1.ObjectMeta{Labels: map[string]string{label: "yes"}})
	expectSecret(t, workload, "pull", registry)
	finished.Status.Phase = corev1.PodSucceeded
	if err := shared.api.Status().Update(t.Context(), finished); err != nil {
		t.Fatal(err)
	}
	expectNoSecret(t, workload, "pull")
}

// pod makes a Pod that no node will run.
func pod(t *testing.T, namespace string, metadata metav1.ObjectMeta) *corev1.Pod {
	t.Helper()
	metadata.Namespace, metadata.Name = namespace, unique("pod")
	return create(t, &corev1.Pod{
		ObjectMeta: metadata,
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: registry + "/app"}}},
	})
}

func remove(t *testing.T, object client.Object) {
	t.Helper()
	if err := shared.api.Delete(t.Context(), object, client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
}

func TestAnEmptySelectorSelectsAllAndNoRuleNothing(t *testing.T) {
	t.Parallel()
	home := namespace(t)
	nothing := object(t, unique("pull"), "", staticSource(t, home, registry))
	expectCondition(t, nothing.Name, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonNothingSelected)

	everything := newObject(unique("everywhere"), "", staticSource(t, home, registry))
	everything.Spec.Target.Namespaces.Labels = []metav1.LabelSelector{{}}
	everything.Spec.Target.Pods = v1alpha1.PodsNone // other tests have Pods everywhere
	create(t, everything)
	for _, anywhere := range []string{home, "default", "kube-system"} {
		expectSecret(t, anywhere, everything.Spec.Target.Secret.Name, registry)
	}
}

func TestATerminatingNamespaceIsNoFailure(t *testing.T) {
	t.Parallel()
	home, label := namespace(t), unique("label")
	stays, goes := namespace(t, label, "yes"), namespace(t, label, "yes")
	release := hold(t, goes)
	made := object(t, "pull", label, staticSource(t, home, registry))
	expectReady(t, made.Name, 2)
	remove(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: goes}})
	expectReady(t, made.Name, 1)
	expectSecret(t, stays, "pull", registry)
	if err := release(); err != nil {
		t.Error(err)
	}
}

// hold keeps a namespace, once it is deleted, in its termination by a finalizer
// until release is called, or the test ends.
func hold(t *testing.T, namespace string) (release func() error) {
	t.Helper()
	held := create(t, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "held", Finalizers: []string{"example.com/hold"}}})
	release = func() error {
		return shared.api.Patch(context.Background(), held, client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`)))
	}
	t.Cleanup(func() { _ = release() })
	return release
}

// Nothing that keeps a namespace from its Secret keeps it in another one.
func TestADeselectedNamespaceLosesItsSecretWhileOthersFail(t *testing.T) {
	t.Parallel()
	home, label := namespace(t), unique("label")
	taken, goes, leaves := namespace(t, label, "yes"), namespace(t, label, "yes"), namespace(t, label, "yes")
	secret := foreign["logins"](t, taken)
	secret.Namespace, secret.Name = taken, "pull"
	stood := create(t, secret)
	hold(t, goes)
	made := object(t, "pull", label, staticSource(t, home, registry))
	expectCounts(t, made.Name, v1alpha1.TargetCounts{Selected: 3, Ready: 2, Failing: 1})
	remove(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: goes}})
	expectConflict(t, made.Name, stood, leaves, "is not kept by this operator")

	relabel(t, leaves, label, "no")
	expectNoSecret(t, leaves, "pull")
	expectCounts(t, made.Name, v1alpha1.TargetCounts{Selected: 1, Failing: 1})
	expectCondition(t, made.Name, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonConflict)
	if managed := get(t, made.Name).Status.ManagedNamespaces; len(managed) > 0 {
		t.Errorf("managedNamespaces are %v", managed)
	}
	expectUntouched(t, stood)
}

// expectCounts waits until an object tells of so many namespaces.
func expectCounts(t *testing.T, name string, want v1alpha1.TargetCounts) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s tells of %+v", name, want), func() error {
		if status := get(t, name).Status; status.Targets != want {
			return fmt.Errorf("its status is %+v", status)
		}
		return nil
	})
}
