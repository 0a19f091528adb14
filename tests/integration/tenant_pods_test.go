package integration

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// tellOf writes an Event as a kubelet does, as the tenant, about a Pod by its
// namespace and name. It lies in the tenant's namespace.
func (m *tenant) tellOf(t *testing.T, namespace, name string) error {
	t.Helper()
	return m.api.Create(t.Context(), &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: m.namespace, Name: unique("event")},
		InvolvedObject: corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: namespace, Name: name},
		Type:           corev1.EventTypeWarning, Reason: "Failed", Message: "Error: ImagePullBackOff",
		Source: corev1.EventSource{Component: "kubelet"}, FirstTimestamp: metav1.Now(), LastTimestamp: metav1.Now(), Count: 1,
	})
}

// tellAnewOf is tellOf by the newer kind of Events.
func (m *tenant) tellAnewOf(t *testing.T, namespace, name string) error {
	t.Helper()
	return m.api.Create(t.Context(), &eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: m.namespace, Name: unique("event")},
		Regarding:  corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: namespace, Name: name},
		Type:       corev1.EventTypeWarning, Reason: "Failed", Note: "Error: ImagePullBackOff", Action: "Pull",
		ReportingController: "kubelet", ReportingInstance: "kubelet", EventTime: metav1.NewMicroTime(time.Now()),
	})
}

// failing is the status of a Pod whose image can't be pulled.
func failing() corev1.PodStatus {
	return corev1.PodStatus{Phase: corev1.PodPending, ContainerStatuses: []corev1.ContainerStatus{
		{Name: "app", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff"}}},
	}}
}

// setFailing gives a Pod such a status, of which no Event tells.
func setFailing(t *testing.T, api client.Client, pod *corev1.Pod) error {
	t.Helper()
	before := pod.DeepCopy()
	pod.Status = failing()
	return api.Status().Patch(t.Context(), pod, client.MergeFrom(before))
}

// Nobody else's Pod is evicted for what a tenant tells of it, even if it could
// be: the victims' Pods can't pull, and their own kubelets have told nobody yet.
func TestTenantsHaveNobodysPodEvictedByTheirEvents(t *testing.T) {
	t.Parallel()
	victim, own := newTeam(t).ready(t), newTeam(t).ready(t)
	attacker := tenantOf(t, shared.cluster, own.namespace)
	stuck := victim.deploy(t, victim.spec())
	victim.carry(t, "pull")
	if err := setFailing(t, shared.api, stuck); err != nil {
		t.Fatal(err)
	}
	// The API server checks the namespace of the older kind only.
	if err := attacker.tellOf(t, victim.namespace, stuck.Name); !apierrors.IsInvalid(err) {
		t.Errorf("telling of a Pod of another namespace: %v", err)
	}
	if err := attacker.tellAnewOf(t, victim.namespace, stuck.Name); err != nil {
		t.Error(err)
	}
	for _, tell := range []func(*testing.T, string, string) error{attacker.tellOf, attacker.tellAnewOf} {
		for _, name := range []string{
			stuck.Name, "../../" + victim.namespace + "/pods/" + stuck.Name, victim.namespace + "/" + stuck.Name,
			"..", "%2e%2e%2f" + stuck.Name, stuck.Name + "?dryRun=All", "\n", "",
		} {
			if err := tell(t, attacker.namespace, name); err != nil && !apierrors.IsInvalid(err) {
				t.Errorf("telling of a Pod %q: %v", name, err)
			}
		}
	}
	expectLeft(t, stuck)
	backOff(t, stuck)
	expectEvicted(t, stuck) // it was not for want of a cause
}

// What a Pod's status says is its kubelet's to write: a tenant who tells of a Pod
// that runs, or that begins with a status of his, has it left.
func TestTenantsDoNotWriteTheStatusThatDecides(t *testing.T) {
	t.Parallel()
	m := newTeam(t).ready(t)
	m.carry(t, "foreign")
	attacker := tenantOf(t, shared.cluster, m.namespace)
	running := m.deploy(t, m.spec())
	m.carry(t, "foreign", "pull")
	expectForbidden(t, setFailing(t, attacker.api, running.DeepCopy()))

	pretending := controlled(m.spec(), "nobody")
	pretending.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "foreign"}}
	pretending.Status = failing()
	attacker.make(t, pretending)
	if len(pretending.Status.ContainerStatuses) > 0 {
		t.Errorf("the API server has taken the tenant's status: %+v", pretending.Status)
	}
	for _, pod := range []*corev1.Pod{running, pretending} {
		if err := attacker.tellOf(t, m.namespace, pod.Name); err != nil {
			t.Fatal(err)
		}
	}
	expectLeft(t, running, pretending)
}

// controlled is a Pod that says to have a controller of a UID, of a kind that
// nobody knows: the garbage collector leaves it.
func controlled(spec corev1.PodSpec, controller types.UID) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: unique("claims"), OwnerReferences: []metav1.OwnerReference{
			{APIVersion: "nobody.example.com/v1", Kind: "Nobody", Name: "nobody", UID: controller, Controller: new(true)},
		}},
		Spec: spec,
	}
}

// A Pod says itself who its controller is. One that names somebody else's does
// not use up the one eviction that the other's Pods have coming.
func TestTenantsPodsThatNameAnothersControllerTakeNothingFromIt(t *testing.T) {
	t.Parallel()
	victim, own := newTeam(t).ready(t), newTeam(t).ready(t)
	attacker := tenantOf(t, shared.cluster, own.namespace)
	first := victim.deploy(t, victim.spec())
	bait := controlled(own.spec(), metav1.GetControllerOf(first).UID)
	attacker.make(t, bait)
	own.carry(t, "pull")
	failPull(t, bait, "app")
	expectGone(t, bait)
	expectEventAbout(t, bait.UID, "EvictedForImagePullSecret", "Secret pull")

	// A Pod of the victim's that came after that eviction.
	remove(t, first)
	late := awaitPod(t, victim.namespace, first.Labels, first.UID)
	victim.carry(t, "pull")
	failPull(t, late, "app")
	expectEvicted(t, late)
}

// A Pod is evicted for an image that the Secret's login opens, not for one whose
// name merely looks so.
func TestTenantsPodsWithLookAlikeImagesAreLeft(t *testing.T) {
	t.Parallel()
	m := newTeam(t).ready(t)
	attacker := tenantOf(t, shared.cluster, m.namespace)
	var pods []*corev1.Pod
	for _, image := range []string{
		m.registry + ".evil.example/app", "evil.example/" + m.registry + "/app", m.registry + "@evil.example/app",
		m.registry + ":443@evil.example/app", "evil.example#" + m.registry + "/app", m.registry + "\n.evil.example/app",
		"//" + m.registry + "/app", "..", m.registry,
	} {
		spec := m.spec()
		spec.Containers[0].Image = image
		pod := controlled(spec, "nobody")
		attacker.make(t, pod)
		pods = append(pods, pod)
	}
	m.carry(t, "pull")
	for _, pod := range pods {
		failPull(t, pod, "app")
	}
	expectLeft(t, pods...)
}
