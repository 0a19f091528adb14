package integration

import (
	"context"
	"fmt"
	"slices"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/tests/failingpull"
	"github.com/imagepullsecrets/operator/tests/operator"
)

// team is a namespace that a Secret named pull stands in, or will, with a login
// for a registry of its own; and a node for its Pods, whose kubelet is the test.
type team struct {
	namespace, registry, node string
	imps                      *v1alpha1.ImagePullSecret
}

// newTeam makes a team whose ImagePullSecret is changed first. The name of the
// Secret reaches no Pod yet.
func newTeam(t *testing.T, changes ...func(*v1alpha1.ImagePullSecret)) *team {
	t.Helper()
	label := unique("label")
	made := &team{namespace: namespace(t, label, "yes"), registry: unique("registry") + ".example.com", node: unique("node")}
	create(t, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: made.node}})
	made.imps = newObject("pull", label, staticSource(t, namespace(t), made.registry))
	made.imps.Spec.Target.Pods = v1alpha1.PodsNone // or the policy would give it to all
	for _, change := range changes {
		change(made.imps)
	}
	create(t, made.imps)
	awaitAccount(t, made.namespace)
	return made
}

// ready waits for the Secret and returns the team.
func (m *team) ready(t *testing.T) *team {
	t.Helper()
	expectSecret(t, m.namespace, "pull", m.registry)
	return m
}

// awaitAccount waits for the ServiceAccount default, without which there is no Pod.
func awaitAccount(t *testing.T, namespace string) {
	t.Helper()
	eventually(t, "the ServiceAccount default in "+namespace, func() error {
		return shared.api.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "default"}, &corev1.ServiceAccount{})
	})
}

func recovery(policy v1alpha1.PodRecovery) func(*v1alpha1.ImagePullSecret) {
	return func(o *v1alpha1.ImagePullSecret) { o.Spec.Target.PodRecovery = policy }
}

// carry makes names those that the ServiceAccount default carries. They count as
// a person's: the operator takes away what it finds on its own record and no
// object asks for.
func (m *team) carry(t *testing.T, names ...string) {
	t.Helper()
	setListed(t, m.namespace, "default", names...)
}

// spec is that of a Pod with one container, whose image is in the registry.
func (m *team) spec() corev1.PodSpec {
	return corev1.PodSpec{NodeName: m.node, Containers: []corev1.Container{{Name: "app", Image: m.registry + "/app:v1"}}}
}

// deploy makes a Deployment of one Pod and returns the Pod.
func (m *team) deploy(t *testing.T, spec corev1.PodSpec) *corev1.Pod {
	t.Helper()
	labels := map[string]string{"app": unique("app")}
	create(t, &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: m.namespace, Name: labels["app"]},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: spec},
		},
	})
	return awaitPod(t, m.namespace, labels, "")
}

// awaitPod waits for a Pod with labels, other than that of a UID.
func awaitPod(t *testing.T, namespace string, labels map[string]string, other types.UID) *corev1.Pod {
	t.Helper()
	var found corev1.Pod
	eventually(t, fmt.Sprintf("a Pod %v in %s", labels, namespace), func() error {
		var pods corev1.PodList
		if err := shared.api.List(t.Context(), &pods, client.InNamespace(namespace), client.MatchingLabels(labels)); err != nil {
			return err
		}
		for _, pod := range pods.Items {
			if pod.UID != other && pod.DeletionTimestamp.IsZero() {
				found = pod
				return nil
			}
		}
		return fmt.Errorf("there are %d Pods", len(pods.Items))
	})
	return &found
}

// failPull does what the kubelet does when a container's image can't be pulled.
func failPull(t *testing.T, pod *corev1.Pod, container string) {
	t.Helper()
	if err := failingpull.Tell(t.Context(), shared.api, pod, container); err != nil {
		t.Fatal(err)
	}
}

// backOff is what the kubelet tells again and again of a Pod that it has told of.
func backOff(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	if err := failingpull.TellAgain(t.Context(), shared.api, pod, "app"); err != nil {
		t.Fatal(err)
	}
}

// expectEvicted is expectEvictedFor the Secret of a team.
func expectEvicted(t *testing.T, pod *corev1.Pod) *corev1.Pod {
	t.Helper()
	return expectEvictedFor(t, pod, "pull")
}

// expectEvictedFor waits until a Pod was evicted for the sake of a Secret, lets it
// go, as the kubelet does, and returns the one that its controller makes in its
// place.
func expectEvictedFor(t *testing.T, pod *corev1.Pod, secret string) *corev1.Pod {
	t.Helper()
	expectGone(t, pod)
	owner := metav1.GetControllerOf(pod)
	expectEventAbout(t, pod.UID, "EvictedForImagePullSecret", "could not pull ", "Secret "+secret)
	expectEventAbout(t, owner.UID, "EvictedForImagePullSecret", pod.Name)
	return awaitPod(t, pod.Namespace, pod.Labels, pod.UID)
}

// expectGone waits until a Pod is being deleted by an eviction, and deletes it.
func expectGone(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	eventuallyLong(t, "the eviction of Pod "+pod.Name, func() error {
		now := &corev1.Pod{}
		if err := shared.api.Get(t.Context(), client.ObjectKeyFromObject(pod), now); err != nil {
			return err
		}
		for _, condition := range now.Status.Conditions {
			// The API server's mark of an eviction, unlike a deletion.
			if condition.Type == corev1.DisruptionTarget && condition.Reason == "EvictionByEvictionAPI" && !now.DeletionTimestamp.IsZero() {
				return nil
			}
		}
		return fmt.Errorf("it stands, with %v", now.Spec.ImagePullSecrets)
	})
	remove(t, pod)
}

// expectLeft checks that a Pod was looked at and left: another one, of which
// the kubelet tells later, is evicted by then.
func expectLeft(t *testing.T, pods ...*corev1.Pod) {
	t.Helper()
	witness := newTeam(t).ready(t)
	later := witness.deploy(t, witness.spec())
	witness.carry(t, "pull")
	failPull(t, later, "app")
	expectEvicted(t, later)
	for _, pod := range pods {
		now := &corev1.Pod{}
		if err := shared.api.Get(t.Context(), client.ObjectKeyFromObject(pod), now); err != nil || now.UID != pod.UID || !now.DeletionTimestamp.IsZero() {
			t.Errorf("Pod %s was not left: %v, deleted %v", pod.Name, err, now.DeletionTimestamp)
		}
	}
}

// expectEventAbout waits for an event about the object of a UID that says
// something, and returns its note.
func expectEventAbout(t *testing.T, uid types.UID, reason string, says ...string) string {
	t.Helper()
	var note string
	eventuallyLong(t, fmt.Sprintf("event %s about %s", reason, uid), func() error {
		notes := notesAbout(t, uid, reason)
		for _, note = range notes {
			if containsAll(note, says) {
				return nil
			}
		}
		return fmt.Errorf("there are %q", notes)
	})
	return note
}

// notesAbout are the notes of the events about an object that have a reason, one
// for each time that it was told.
func notesAbout(t *testing.T, uid types.UID, reason string) []string {
	t.Helper()
	var list eventsv1.EventList
	if err := shared.api.List(t.Context(), &list); err != nil {
		t.Fatal(err)
	}
	var notes []string
	for _, event := range list.Items {
		if event.Regarding.UID != uid || event.Reason != reason {
			continue
		}
		notes = append(notes, event.Note)
		if event.Series != nil {
			notes = slices.Concat(notes, slices.Repeat([]string{event.Note}, int(event.Series.Count)-1))
		}
	}
	return notes
}

func TestAPodThatCameTooEarlyIsMadeAnew(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		spec   func(*team, *corev1.PodSpec)
		before []string // names that the ServiceAccount carries before the Pod comes
		fails  string
		attach bool // by the operator
	}{
		"a Pod of a Deployment": {spec: func(*team, *corev1.PodSpec) {}, fails: "app"},
		"one with the names that its ServiceAccount had": {
			spec: func(*team, *corev1.PodSpec) {}, before: []string{"foreign"}, fails: "app"},
		"one whose init container can't pull": {spec: func(m *team, s *corev1.PodSpec) {
			s.InitContainers = []corev1.Container{{Name: "init", Image: m.registry + "/init"}}
			s.Containers[0].Image = "public.example.com/app"
		}, fails: "init"},
		"a running Pod whose second container can't pull": {spec: func(m *team, s *corev1.PodSpec) {
			s.Containers = append(s.Containers, corev1.Container{Name: "second", Image: m.registry + "/second"})
		}, fails: "second"},
		"one whose ServiceAccount the operator attaches to": {
			spec: func(*team, *corev1.PodSpec) {}, before: []string{"foreign"}, fails: "app", attach: true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newTeam(t).ready(t)
			m.carry(t, c.before...)
			spec := m.spec()
			c.spec(m, &spec)
			early := m.deploy(t, spec)
			if c.attach {
				update(t, m.imps.Name, func(o *v1alpha1.ImagePullSecret) {
					o.Spec.Target.ServiceAccounts = accountsNamed("default")
				})
			} else {
				m.carry(t, append(c.before, "pull")...)
			}
			failPull(t, early, c.fails)
			late := expectEvicted(t, early)
			if !slices.Contains(late.Spec.ImagePullSecrets, corev1.LocalObjectReference{Name: "pull"}) {
				t.Errorf("the new Pod has %v", late.Spec.ImagePullSecrets)
			}
			if told := notesAbout(t, early.UID, "EvictedForImagePullSecret"); len(told) != 1 {
				t.Errorf("told %d times: %q", len(told), told)
			}
		})
	}
}

func TestPodsThatAnEvictionWouldNotHelpAreLeft(t *testing.T) {
	t.Parallel()
	m := newTeam(t).ready(t)
	elsewhere := m.spec()
	elsewhere.Containers[0].Image = "elsewhere.example.com/app"
	ownList := m.spec()
	ownList.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "own"}}
	left := []*corev1.Pod{m.deploy(t, elsewhere), m.deploy(t, ownList), m.bare(t)}
	m.carry(t, "pull")

	none := newTeam(t, recovery(v1alpha1.RecoveryNone)).ready(t)
	left = append(left, none.deploy(t, none.spec()))
	none.carry(t, "pull")

	unattached := newTeam(t).ready(t)
	left = append(left, unattached.deploy(t, unattached.spec()))
	for _, pod := range left {
		failPull(t, pod, "app")
	}
	expectLeft(t, left...)
}

// bare makes a Pod that no controller knows.
func (m *team) bare(t *testing.T) *corev1.Pod {
	t.Helper()
	return create(t, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: m.namespace, Name: unique("bare")}, Spec: m.spec()})
}

func TestABarePodIsEvictedIfAskedFor(t *testing.T) {
	t.Parallel()
	m := newTeam(t, recovery(v1alpha1.RecoveryEvictAll)).ready(t)
	pod := m.bare(t)
	m.carry(t, "pull")
	failPull(t, pod, "app")
	expectGone(t, pod)
	expectEventAbout(t, pod.UID, "EvictedForImagePullSecret", "Secret pull")
}

// Only a Pod that runs is guarded by a budget: Kubernetes evicts one that is
// Pending in any case.
func TestADisruptionBudgetIsRespected(t *testing.T) {
	t.Parallel()
	m := newTeam(t).ready(t)
	spec := m.spec()
	spec.Containers = append(spec.Containers, corev1.Container{Name: "second", Image: m.registry + "/second"})
	pod := m.deploy(t, spec)
	budget := create(t, &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Namespace: m.namespace, Name: "budget"},
		Spec: policyv1.PodDisruptionBudgetSpec{
			MaxUnavailable: new(intstr.FromInt32(0)), Selector: &metav1.LabelSelector{MatchLabels: pod.Labels},
		},
	})
	m.carry(t, "pull")
	failPull(t, pod, "second")
	owner := metav1.GetControllerOf(pod)
	for _, uid := range []types.UID{pod.UID, owner.UID} {
		expectEventAbout(t, uid, "FailedEvictionForImagePullSecret", "PodDisruptionBudget", "Secret pull", m.registry+"/second")
	}
	expectLeft(t, pod)

	before := budget.DeepCopy()
	budget.Spec.UnhealthyPodEvictionPolicy = new(policyv1.AlwaysAllow)
	if err := shared.api.Patch(t.Context(), budget, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
	expectEvicted(t, pod)
	if told := notesAbout(t, pod.UID, "FailedEvictionForImagePullSecret"); len(told) != 1 {
		t.Errorf("told %d times: %q", len(told), told)
	}
}

// A Deployment that names in its template just what its ServiceAccount had
// before makes Pods that never get the name.
func TestAPodThatWasMadeAnewInVainIsLeftAndTold(t *testing.T) {
	t.Parallel()
	m := newTeam(t).ready(t)
	spec := m.spec()
	spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "foreign"}}
	first := m.deploy(t, spec)
	m.carry(t, "foreign", "pull")
	failPull(t, first, "app")
	second := expectEvicted(t, first)
	failPull(t, second, "app")
	expectEventAbout(t, second.UID, "FailedEvictionForImagePullSecret", "it came after another one", "Secret pull")
	backOff(t, second)
	expectLeft(t, second)
	if told := notesAbout(t, second.UID, "FailedEvictionForImagePullSecret"); len(told) != 1 {
		t.Errorf("told %d times: %q", len(told), told)
	}
}

func TestAPodIsNotEvictedBeforeTheSecretIsThere(t *testing.T) {
	t.Parallel()
	var ref v1alpha1.CredentialSource
	m := newTeam(t, func(o *v1alpha1.ImagePullSecret) {
		ref = v1alpha1.CredentialSource{Namespace: o.Spec.Registry.Credentials[0].Namespace, Name: unique("late")}
		o.Spec.Registry.Credentials[0] = ref
	})
	pod := m.deploy(t, m.spec())
	m.carry(t, "pull")
	failPull(t, pod, "app")
	expectLeft(t, pod)
	makeSource(t, ref, m.registry)
	expectEvicted(t, pod)
}

// recoveryRules are the rights that recovery takes.
func recoveryRules() map[string]rbacv1.PolicyRule {
	core := func(resource string, verbs ...string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{resource}, Verbs: verbs}
	}
	return map[string]rbacv1.PolicyRule{
		"events": core("events", "list", "watch"), "pods": core("pods", "get"),
		"accounts": core("serviceaccounts", "get"), "evictions": core("pods/eviction", "create"),
	}
}

// An operator without the rights that recovery takes says so, and recovers Pods
// once it has them. One that is not to recover Pods does not miss them.
func TestRecoveryWithoutItsRightsIsTold(t *testing.T) {
	own := ownCluster(t, withoutRights)
	home, label := namespace(t), unique("label")
	grantRules(t, shared.api, "others", append(namedRules("pull", "source"), rbacv1.PolicyRule{
		APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"list", "watch"},
	})...)
	ref := v1alpha1.CredentialSource{Namespace: home, Name: "source"}
	m := &team{namespace: namespace(t, label, "yes"), registry: registry, node: "node"}
	create(t, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: m.node}})
	makeSource(t, ref, registry)
	awaitAccount(t, m.namespace)
	m.imps = object(t, "pull", label, ref)
	endInjection(t, m)
	pod := m.deploy(t, m.spec())
	m.carry(t, "pull")
	failPull(t, pod, "app")

	const worker = `controller_runtime_max_concurrent_reconciles{controller="podrecovery"}`
	off := runOperator(t, own, "--target-secret-names=pull", "--disable-pod-eviction")
	m.ready(t)
	if workers := metric(t, off, worker); workers != 0 {
		t.Errorf("an operator that is not to recover Pods has %v workers for it", workers)
	}
	if err := off.Stop(); err != nil {
		t.Fatal(err)
	}
	if told := notesAbout(t, m.imps.UID, "FailedEvictionForImagePullSecret"); len(told) > 0 {
		t.Errorf("and misses rights: %q", told)
	}

	on := runOperator(t, own, "--target-secret-names=pull")
	expectEventAbout(t, m.imps.UID, "FailedEvictionForImagePullSecret",
		`{apiGroups: [""], resources: [events], verbs: [list, watch]}`, `{apiGroups: [""], resources: [pods/eviction], verbs: [create]}`)
	if workers := metric(t, on, worker); workers != 1 {
		t.Errorf("%v workers for recovery", workers)
	}
	rules := recoveryRules()
	grantRules(t, shared.api, "reading", rules["events"], rules["pods"], rules["accounts"])
	for _, uid := range []types.UID{pod.UID, metav1.GetControllerOf(pod).UID} {
		expectEventAbout(t, uid, "FailedEvictionForImagePullSecret", `the rule {apiGroups: [""], resources: [pods/eviction], verbs: [create]}`)
	}
	grantRules(t, shared.api, "evicting", rules["evictions"])
	expectEvicted(t, pod)
	eventually(t, "the eviction is counted, once the API server has answered", func() error {
		if evicted := metric(t, on, `imagepullsecret_pod_evictions_total{result="success"}`); evicted != 1 {
			return fmt.Errorf("%v are", evicted)
		}
		return nil
	})
	expectInjectionTrusted(t, func() {
		if err := on.Stop(); err != nil {
			t.Fatal(err)
		}
		runOperator(t, own, "--target-secret-names=pull", "--pod-injection")
	}, m)
}

// endInjection takes the policy out of force that gives Pods the name, if there
// is one.
func endInjection(t *testing.T, m *team) {
	t.Helper()
	injects, err := operator.Injects(shared.cluster.Config())
	if err != nil {
		t.Fatal(err)
	}
	if !injects {
		return
	}
	binding := &admissionregistrationv1.MutatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: "imagepullsecret-operator-pod-injection"}}
	if err := shared.api.Delete(t.Context(), binding); err != nil {
		t.Fatal(err)
	}
	eventually(t, "Pods without the name", func() error {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: m.namespace, Name: "probe"}, Spec: m.spec()}
		if err := shared.api.Create(t.Context(), pod, client.DryRunAll); err != nil {
			return err
		}
		if len(pod.Spec.ImagePullSecrets) > 0 {
			return fmt.Errorf("a Pod has %v", pod.Spec.ImagePullSecrets)
		}
		return nil
	})
}

// expectInjectionTrusted checks that a Pod with a list of its own is evicted by
// an operator that is told of injection, and, as there is none in fact, not
// again.
func expectInjectionTrusted(t *testing.T, restart func(), m *team) {
	t.Helper()
	spec := m.spec()
	spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "own"}}
	first := m.deploy(t, spec)
	restart()
	failPull(t, first, "app")
	second := expectEvicted(t, first)
	failPull(t, second, "app")
	expectEventAbout(t, second.UID, "FailedEvictionForImagePullSecret", "it came after another one")
	now := &corev1.Pod{}
	if err := shared.api.Get(context.Background(), client.ObjectKeyFromObject(second), now); err != nil || !now.DeletionTimestamp.IsZero() {
		t.Errorf("the second Pod was not left: %v", apierrors.ReasonForError(err))
	}
}
