package integration

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/tests/operator"
)

// The policy injects on its own: in these tests no operator runs, as when it is
// down.

// newPod is a Pod that no node will run; more may be nil.
func newPod(namespace string, more func(*corev1.Pod)) *corev1.Pod {
	made := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: unique("pod")},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: registry + "/app"}}},
	}
	if more != nil {
		more(made)
	}
	return made
}

// listing makes a Pod list Secrets of its own.
func listing(names ...string) func(*corev1.Pod) {
	return func(pod *corev1.Pod) {
		for _, name := range names {
			pod.Spec.ImagePullSecrets = append(pod.Spec.ImagePullSecrets, corev1.LocalObjectReference{Name: name})
		}
	}
}

// listed are the names that a Pod lists.
func listed(pod *corev1.Pod) []string {
	names := []string{}
	for _, reference := range pod.Spec.ImagePullSecrets {
		names = append(names, reference.Name)
	}
	return names
}

// inject makes an object that selects namespaces by name, and whose Secret has
// a name.
func inject(t *testing.T, secret string, change func(*v1alpha1.TargetConfig), namespaces ...string) *v1alpha1.ImagePullSecret {
	t.Helper()
	made := newObject(secret, "")
	made.Spec.Target.Namespaces.Names = namespaces
	if change != nil {
		change(&made.Spec.Target)
	}
	return create(t, made)
}

const witnessPrefix = "witness-"

// awaitPolicy waits until the policy knows every object that was written until
// now: the API server learns of them in their order.
func awaitPolicy(t *testing.T, namespace string) {
	t.Helper()
	secret := unique(strings.TrimSuffix(witnessPrefix, "-"))
	inject(t, secret, nil, namespace)
	eventually(t, "the policy injects", func() error {
		pod := newPod(namespace, nil)
		if err := shared.api.Create(t.Context(), pod, client.DryRunAll); err != nil {
			return err
		}
		if !slices.Contains(listed(pod), secret) {
			return fmt.Errorf("a Pod lists %q", listed(pod))
		}
		return nil
	})
}

// given is what a Pod lists that is made when the policy knows everything that
// was written until now.
func given(t *testing.T, pod *corev1.Pod) []string {
	t.Helper()
	awaitPolicy(t, pod.Namespace)
	if err := shared.api.Create(t.Context(), pod); err != nil {
		t.Fatalf("a Pod is refused: %v", err)
	}
	return withoutWitnesses(pod)
}

func withoutWitnesses(pod *corev1.Pod) []string {
	return slices.DeleteFunc(listed(pod), func(name string) bool { return strings.HasPrefix(name, witnessPrefix) })
}

func expectGiven(t *testing.T, pod *corev1.Pod, want ...string) {
	t.Helper()
	if got := given(t, pod); !slices.Equal(got, want) {
		t.Errorf("the Pod lists %q, want %q", got, want)
	}
}

func TestInjectionIntoPods(t *testing.T) {
	operator.NeedInjection(t, shared.cluster.Config())
	ownCluster(t, withAllRights)
	t.Run("given", podsAreGivenNames)
	t.Run("not refused", nothingIsRefused)
	t.Run("strict ServiceAccounts", strictServiceAccounts)
}

func podsAreGivenNames(t *testing.T) {
	t.Run("a Pod keeps its own entries and their order", func(t *testing.T) {
		in := namespace(t)
		inject(t, "ours", nil, in)
		expectGiven(t, newPod(in, listing("z", "a")), "z", "a", "ours")
		expectGiven(t, newPod(in, nil), "ours")
	})
	t.Run("nothing is listed twice", func(t *testing.T) {
		in := namespace(t)
		inject(t, "ours", nil, in)
		inject(t, "ours", nil, in)
		expectGiven(t, newPod(in, nil), "ours")
		expectGiven(t, newPod(in, listing("ours", "own")), "ours", "own")
	})
	t.Run("an entry without a name does no harm", func(t *testing.T) {
		in := namespace(t)
		inject(t, "ours", nil, in)
		expectGiven(t, newPod(in, listing("")), "", "ours")
	})
	t.Run("the entries of its ServiceAccount come first", func(t *testing.T) {
		in := namespace(t)
		inject(t, "ours", nil, in)
		account := create(t, &corev1.ServiceAccount{
			ObjectMeta:       metav1.ObjectMeta{Namespace: in, Name: "pulls"},
			ImagePullSecrets: []corev1.LocalObjectReference{{Name: "z"}, {Name: "a"}},
		})
		expectGiven(t, newPod(in, func(pod *corev1.Pod) { pod.Spec.ServiceAccountName = account.Name }), "z", "a", "ours")
	})
	t.Run("pods: None opts an object out", func(t *testing.T) {
		in := namespace(t)
		inject(t, "others", nil, in)
		made := inject(t, "ours", func(target *v1alpha1.TargetConfig) { target.Pods = v1alpha1.PodsNone }, in)
		expectGiven(t, newPod(in, nil), "others")
		update(t, made.Name, func(o *v1alpha1.ImagePullSecret) { o.Spec.Target.Pods = v1alpha1.PodsInject })
		if got := given(t, newPod(in, nil)); !slices.Contains(got, "ours") {
			t.Errorf("with pods: Inject the Pod lists %q", got)
		}
	})
	t.Run("exclusion wins", func(t *testing.T) {
		in := namespace(t, "stage", "closed")
		inject(t, "ours", func(target *v1alpha1.TargetConfig) {
			everything := []metav1.LabelSelector{{}}
			target.Namespaces.Labels, target.NamespacesWithPods.Labels = everything, everything
			target.Namespaces.Exclude.Labels = []metav1.LabelSelector{{MatchLabels: map[string]string{"stage": "closed"}}}
		}, in)
		expectGiven(t, newPod(in, nil))
	})
	t.Run("a Pod's own labels and annotations count, not those of others", func(t *testing.T) {
		in, key := namespace(t), unique("key")
		inject(t, "ours", func(target *v1alpha1.TargetConfig) {
			target.NamespacesWithPods.Labels = []metav1.LabelSelector{{MatchLabels: map[string]string{key: "yes"}}}
			target.NamespacesWithPods.Annotations = []v1alpha1.AnnotationSelector{{MatchAnnotations: map[string]string{key: "yes"}}}
		})
		expectGiven(t, newPod(in, func(pod *corev1.Pod) { pod.Labels = map[string]string{key: "yes"} }), "ours")
		expectGiven(t, newPod(in, func(pod *corev1.Pod) { pod.Annotations = map[string]string{key: "yes"} }), "ours")
		expectGiven(t, newPod(in, func(pod *corev1.Pod) { pod.Labels = map[string]string{key: "no"} }))
	})
	t.Run("labels that other policies add count", func(t *testing.T) {
		in := namespace(t)
		var keys []string
		for range 4 { // one alone may happen to be evaluated before ours
			keys = append(keys, labelPods(t, in))
		}
		inject(t, "ours", func(target *v1alpha1.TargetConfig) {
			all := metav1.LabelSelector{}
			for _, key := range keys {
				all.MatchExpressions = append(all.MatchExpressions, metav1.LabelSelectorRequirement{Key: key, Operator: metav1.LabelSelectorOpExists})
			}
			target.NamespacesWithPods.Labels = []metav1.LabelSelector{all}
		})
		eventually(t, "the other policies label", func() error {
			pod := newPod(in, nil)
			if err := shared.api.Create(t.Context(), pod, client.DryRunAll); err != nil || len(pod.Labels) < len(keys) {
				return fmt.Errorf("there are %d labels: %w", len(pod.Labels), err)
			}
			return nil
		})
		expectGiven(t, newPod(in, func(pod *corev1.Pod) { pod.Labels = map[string]string{"app": "shop"} }), "ours")
	})
	t.Run("an object that is being deleted injects nothing", func(t *testing.T) {
		in := namespace(t)
		made := inject(t, "ours", nil, in)
		update(t, made.Name, func(o *v1alpha1.ImagePullSecret) { o.Finalizers = []string{"example.com/hold"} })
		t.Cleanup(func() {
			patch := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`))
			if err := shared.api.Patch(context.Background(), made, patch); err != nil {
				t.Error(err)
			}
		})
		expectGiven(t, newPod(in, nil), "ours")
		remove(t, made)
		expectGiven(t, newPod(in, nil))
	})
	t.Run("a Deployment's Pods are given the name", func(t *testing.T) {
		in := namespace(t)
		inject(t, "ours", nil, in)
		awaitPolicy(t, in)
		expectInjectedDeployment(t, in, "ours")
	})
}

// labelPods has the API server label all Pods of a namespace, by another policy
// than ours, and returns the label's key.
func labelPods(t *testing.T, namespace string) string {
	t.Helper()
	key := unique("label")
	create(t, &admissionv1.MutatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: key},
		Spec: admissionv1.MutatingAdmissionPolicySpec{
			ReinvocationPolicy: admissionv1.NeverReinvocationPolicy,
			MatchConstraints: &admissionv1.MatchResources{
				NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: namespace}},
				ResourceRules: []admissionv1.NamedRuleWithOperations{{RuleWithOperations: admissionv1.RuleWithOperations{
					Operations: []admissionv1.OperationType{admissionv1.Create},
					Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
				}}},
			},
			Mutations: []admissionv1.Mutation{{
				PatchType: admissionv1.PatchTypeApplyConfiguration,
				ApplyConfiguration: &admissionv1.ApplyConfiguration{
					Expression: `Object{metadata: Object.metadata{labels: {"` + key + `": "x"}}}`,
				},
			}},
		},
	})
	create(t, &admissionv1.MutatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: key},
		Spec:       admissionv1.MutatingAdmissionPolicyBindingSpec{PolicyName: key},
	})
	return key
}

// expectInjectedDeployment makes a Deployment and looks at what its Pods list.
func expectInjectedDeployment(t *testing.T, in, want string) {
	t.Helper()
	labels := map[string]string{"app": "shop"}
	create(t, &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: in, Name: "shop"},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: newPod(in, nil).Spec},
		},
	})
	var pods corev1.PodList
	eventually(t, "the Deployment's Pod", func() error {
		if err := shared.api.List(t.Context(), &pods, client.InNamespace(in), client.MatchingLabels(labels)); err != nil {
			return err
		}
		if len(pods.Items) != 1 {
			return fmt.Errorf("there are %d", len(pods.Items))
		}
		return nil
	})
	if got := withoutWitnesses(&pods.Items[0]); !slices.Equal(got, []string{want}) {
		t.Errorf("the Deployment's Pod lists %q, want %q", got, want)
	}
}

// No request about a Pod is refused because of the policy.
func nothingIsRefused(t *testing.T) {
	t.Run("a mirror Pod, which must not list a Secret", func(t *testing.T) {
		in := namespace(t)
		inject(t, "ours", nil, in)
		expectGiven(t, newPod(in, func(pod *corev1.Pod) {
			pod.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x"}
			pod.Spec.NodeName = "node"
		}))
	})
	t.Run("changes of a Pod that was there before, and its eviction", func(t *testing.T) {
		in := namespace(t)
		before := create(t, newPod(in, nil))
		inject(t, "ours", nil, in)
		awaitPolicy(t, in)
		patch := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"labels":{"a":"b"}}}`))
		if err := shared.api.Patch(t.Context(), before, patch); err != nil {
			t.Errorf("labelling: %v", err)
		}
		if len(before.Spec.ImagePullSecrets) > 0 {
			t.Errorf("it lists %q", listed(before))
		}
		if err := shared.api.SubResource("eviction").Create(t.Context(), before, &policyv1.Eviction{}); err != nil {
			t.Errorf("evicting: %v", err)
		}
	})
	t.Run("a Pod beside an object that costs too much", func(t *testing.T) {
		in := namespace(t)
		var names []string
		for i := range 999 {
			names = append(names, fmt.Sprintf("*%0252d", i))
		}
		inject(t, "too-much", nil, append(names, in)...)
		inject(t, "ours", nil, in)
		expectGiven(t, newPod(in, listing("own")), "own", "ours")
	})
	t.Run("a Pod beside an object that is large", func(t *testing.T) {
		in := namespace(t)
		inject(t, "large", func(target *v1alpha1.TargetConfig) { fill(target, in) })
		expectGiven(t, newPod(in, nil), "large")
	})
}

// fill fills each list of a target. Nothing matches but the last name.
func fill(target *v1alpha1.TargetConfig, last string) {
	namespaces, pods := &target.Namespaces, &target.NamespacesWithPods
	for i := range 1000 {
		namespaces.Exclude.Names = append(namespaces.Exclude.Names, fmt.Sprintf("team-%03d-*-staging", i))
	}
	namespaces.Names = append(slices.Clone(namespaces.Exclude.Names[1:]), last)
	for i := range 100 {
		value := fmt.Sprintf("value-%d", i)
		expressions := []metav1.LabelSelectorRequirement{
			{Key: "example.com/cost-centre", Operator: metav1.LabelSelectorOpNotIn, Values: []string{value, "a", "b", "c"}},
			{Key: "example.com/owner", Operator: metav1.LabelSelectorOpIn, Values: []string{value, "d", "e", "f"}},
		}
		byLabel := metav1.LabelSelector{MatchLabels: map[string]string{"example.com/tier": value}, MatchExpressions: expressions}
		byAnnotation := v1alpha1.AnnotationSelector{MatchAnnotations: byLabel.MatchLabels, MatchExpressions: expressions}
		for _, list := range []*[]metav1.LabelSelector{&namespaces.Labels, &namespaces.Exclude.Labels, &pods.Labels} {
			*list = append(*list, byLabel)
		}
		for _, list := range []*[]v1alpha1.AnnotationSelector{&namespaces.Annotations, &namespaces.Exclude.Annotations, &pods.Annotations} {
			*list = append(*list, byAnnotation)
		}
	}
}

// A ServiceAccount may allow nothing but what it lists itself, which no policy
// can see: the documentation says what to do.
func strictServiceAccounts(t *testing.T) {
	in := namespace(t)
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{
		Namespace: in, Name: "strict", Annotations: map[string]string{"kubernetes.io/enforce-mountable-secrets": "true"},
	}}
	create(t, account)
	inject(t, "ours", nil, in)
	strict := func() *corev1.Pod {
		return newPod(in, func(pod *corev1.Pod) { pod.Spec.ServiceAccountName = account.Name })
	}
	eventually(t, "the Pod is refused", func() error {
		if err := shared.api.Create(t.Context(), strict(), client.DryRunAll); !apierrors.IsForbidden(err) {
			return fmt.Errorf("the answer is %v", err) //nolint:errorlint // it may be nil
		}
		return nil
	})
	account.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "ours"}}
	if err := shared.api.Update(t.Context(), account); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the Pod is taken", func() error { return shared.api.Create(t.Context(), strict(), client.DryRunAll) })
}
