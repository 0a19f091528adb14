package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/tests/failingpull"
)

const (
	// runner is the ServiceAccount of the Pods of figure i. For one that it
	// was given by name the API server does not wait, as it does for
	// "default" in a namespace that is just made, by 0.1 s at a time.
	runner = "runner"
	// attachLabel is on a ServiceAccount that is selected.
	attachLabel = "bench.example.com/attach"
	// appContainer is a Pod's only container.
	appContainer = "app"
)

// pullCase is one order in which a Pod, the name of a Secret and the Secret come.
type pullCase struct {
	name   string
	target func(*v1alpha1.TargetConfig)
	// attached and stands: the Pod comes when its ServiceAccount has the name,
	// and when the Secret stands.
	attached, stands bool
}

// measurePulling takes figure i: from the creation of a Pod until it may pull, as
// podObserver tells, or the one that is made in its place.
func (b *bench) measurePulling(ctx context.Context, w *world) error {
	if err := w.ungrant(ctx); err != nil { // whatever stands
		return err
	}
	watching, stop := context.WithCancel(ctx)
	defer stop()
	s := &pullSampler{world: w}
	var err error
	if s.accounts, err = observeAccounts(watching, w.admin, targetSecret); err != nil {
		return err
	}
	if s.pods, err = observePods(watching, w.admin); err != nil {
		return err
	}
	for _, c := range []pullCase{
		{name: "injected, into a new namespace", target: byNamespaceLabel},
		{name: "ServiceAccount first, in a new namespace", target: byAccountLabel, attached: true},
		{name: "Secret first, injected", target: byNamespaceLabel, stands: true},
		{name: "Secret first, attached", target: byAccountLabel, attached: true, stands: true},
	} {
		if err := s.during(ctx, c.target, func() error { return s.take(ctx, c) }); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return s.during(ctx, byAccountLabel, func() error { return s.takeStuck(ctx) })
}

// byAccountLabel selects the labelled namespaces, and in them the labelled
// ServiceAccounts instead of Pods.
func byAccountLabel(target *v1alpha1.TargetConfig) {
	byNamespaceLabel(target)
	target.Pods = v1alpha1.PodsNone
	target.ServiceAccounts.Labels = []metav1.LabelSelector{{MatchLabels: map[string]string{attachLabel: "yes"}}}
}

// pullSampler makes Pods and waits until they may pull.
type pullSampler struct {
	*world
	accounts *accountObserver
	pods     *podObserver
	// early counts Pods that were made anew since they were made without the
	// name, and late the operator's Pods that were there before their Secret.
	early, late int
}

// during takes samples while an ImagePullSecret is there.
func (s *pullSampler) during(ctx context.Context, target func(*v1alpha1.TargetConfig), take func() error) error {
	if err := s.grantAll(ctx, target); err != nil {
		return err
	}
	return errors.Join(take(), s.cleanSamples(ctx), s.ungrant(ctx))
}

// take takes the samples of a case.
func (s *pullSampler) take(ctx context.Context, c pullCase) error {
	if err := s.awaitInjection(ctx, !c.attached); err != nil {
		return err
	}
	s.early, s.late = 0, 0
	var operator, plain struct{ pod, whole []time.Duration }
	err := s.inTurn("Pods, "+c.name, func(isPlain bool) error {
		pod, whole, err := s.sample(ctx, c, isPlain)
		into := &operator
		if isPlain {
			into = &plain
		}
		into.pod, into.whole = append(into.pod, pod), append(into.whole, whole)
		return err
	})
	if err != nil {
		return err
	}
	note := fmt.Sprintf("; %d Pods before their Secret", s.late)
	if c.attached {
		note += fmt.Sprintf("; %d Pods were made without the name that their ServiceAccount had, and again", s.early)
	} else {
		s.results.exactly("i", s.n, "Pods without the name, "+c.name, s.early, 0)
	}
	s.results.compared("i", s.n, "Pod to may pull, "+c.name, operator.pod, plain.pod, note)
	if !c.stands {
		s.results.compared("i", s.n, "namespace to may pull, "+c.name, operator.whole, plain.whole, "")
	}
	return nil
}

// awaitInjection waits until the API server gives the name to Pods, or no longer.
func (s *pullSampler) awaitInjection(ctx context.Context, wanted bool) error {
	return until(ctx, func() (bool, error) {
		in := namespaceName(0)
		probe, err := s.admin.CoreV1().Pods(in).Create(ctx, newPod("probe", "default"), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err == nil && podLists(probe, targetSecret) == wanted, err
	})
}

// sample has the operator serve one Pod in a namespace of its own, or the plain
// client. pod is the time since the Pod's creation was asked for until a watch
// showed that it may pull, whole that since the namespace's.
func (s *pullSampler) sample(ctx context.Context, c pullCase, plain bool) (pod, whole time.Duration, err error) {
	namespace, labels := s.nextSample(plain)
	begin := time.Now()
	if err := s.plain.createNamespace(ctx, namespace, labels); err != nil {
		return 0, 0, err
	}
	account := newRunner()
	account.Labels = map[string]string{attachLabel: "yes"}
	if err := s.prepare(ctx, c, namespace, account, plain); err != nil {
		return 0, 0, err
	}
	created, err := s.createPod(ctx, c, namespace, plain)
	if err != nil {
		return 0, 0, err
	}
	came, able, err := s.pods.awaitPull(ctx, namespace)
	if !plain && able.After(came) {
		s.late++
	}
	return able.Sub(created), able.Sub(begin), err
}

// prepare makes what is there before the Pod, or waits until the operator has.
func (s *pullSampler) prepare(ctx context.Context, c pullCase, namespace string, account *corev1.ServiceAccount, plain bool) error {
	if plain && c.attached {
		account.ImagePullSecrets = []corev1.LocalObjectReference{{Name: plainSecret}}
	}
	if _, err := s.admin.CoreV1().ServiceAccounts(namespace).Create(ctx, account, metav1.CreateOptions{}); err != nil {
		return err
	}
	if plain {
		if err := s.plain.apply(ctx, namespace, 0); err != nil {
			return err
		}
	} else if c.attached {
		if _, err := s.accounts.await(ctx, s.accounts.has(namespace, runner)); err != nil {
			return err
		}
	}
	if !c.stands {
		return nil
	}
	_, err := s.pods.await(ctx, s.pods.secret(namespace, secretOf(plain)))
	time.Sleep(pause)
	return err
}

// createPod makes a Pod that has the name of its Secret, and returns when it was
// asked for. The plain client lists the name itself where ServiceAccounts have
// none. One that comes without the name is counted, and made again.
func (s *pullSampler) createPod(ctx context.Context, c pullCase, namespace string, plain bool) (created time.Time, err error) {
	pods := s.admin.CoreV1().Pods(namespace)
	for i := 0; ; i++ {
		asked := newPod(fmt.Sprintf("app-%d", i), runner)
		if plain && !c.attached {
			asked.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: plainSecret}}
		}
		created = time.Now()
		pod, err := pods.Create(ctx, asked, metav1.CreateOptions{})
		if err != nil || podLists(pod, secretOf(plain)) {
			return created, err
		}
		s.early++
		if err := pods.Delete(ctx, pod.Name, metav1.DeleteOptions{}); err != nil {
			return created, err
		}
	}
}

// takeStuck takes the samples of Pods that come before the name reaches their
// ServiceAccount. The operator evicts one in a second, after ten at once, and
// looks at each a second after its kubelet told of it, so that none waits for
// another.
func (s *pullSampler) takeStuck(ctx context.Context) error {
	if err := s.awaitInjection(ctx, false); err != nil {
		return err
	}
	var operator, plain []time.Duration
	err := s.inTurn("Pods, stuck and recovered", func(isPlain bool) error {
		took, err := s.sampleStuck(ctx, isPlain)
		if isPlain {
			plain = append(plain, took)
		} else {
			operator = append(operator, took)
		}
		return err
	})
	if err != nil {
		return err
	}
	s.results.compared("i", s.n, "Pod to may pull, stuck and recovered", operator, plain,
		"; the plain client evicts as soon as the kubelet has told, the operator a second later")
	return nil
}

// sampleStuck has a Deployment make a Pod beside a Secret whose name comes too
// late, and returns the time since that Pod was seen until one was seen that may
// pull. It does the kubelet's part. No node has the Pods: there they would
// be deleted only when their kubelet has ended them, but replaced at once too.
func (s *pullSampler) sampleStuck(ctx context.Context, plain bool) (time.Duration, error) {
	namespace, labels := s.nextSample(plain)
	if err := s.plain.createNamespace(ctx, namespace, labels); err != nil {
		return 0, err
	}
	if err := s.prepare(ctx, pullCase{stands: true}, namespace, newRunner(), plain); err != nil {
		return 0, err
	}
	if _, err := s.admin.AppsV1().Deployments(namespace).Create(ctx, newDeployment(), metav1.CreateOptions{}); err != nil {
		return 0, err
	}
	pod, came, err := s.pods.awaitPod(ctx, namespace)
	if err != nil {
		return 0, err
	}
	late := fmt.Sprintf(`{"metadata":{"labels":{%q:"yes"}}}`, attachLabel)
	if plain {
		late = fmt.Sprintf(`{"imagePullSecrets":[{"name":%q}]}`, plainSecret)
	}
	_, err = s.admin.CoreV1().ServiceAccounts(namespace).Patch(ctx, runner, types.MergePatchType, []byte(late), metav1.PatchOptions{})
	if err = errors.Join(err, failingpull.Tell(ctx, s.objects, pod, appContainer)); err != nil {
		return 0, err
	}
	if plain {
		eviction := &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: pod.Name}}
		if err := s.admin.PolicyV1().Evictions(namespace).Evict(ctx, eviction); err != nil {
			return 0, err
		}
	}
	_, able, err := s.pods.awaitPull(ctx, namespace)
	return able.Sub(came), err
}

// secretOf is the name of the Secret that Pods are to list.
func secretOf(plain bool) string {
	if plain {
		return plainSecret
	}
	return targetSecret
}

func podLists(pod *corev1.Pod, secret string) bool {
	return slices.Contains(pod.Spec.ImagePullSecrets, corev1.LocalObjectReference{Name: secret})
}

func newRunner() *corev1.ServiceAccount {
	return &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: runner}}
}

// newPod is a Pod whose image is in the registry of the plain client's and the
// source's login.
func newPod(name, account string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": appContainer}},
		Spec: corev1.PodSpec{
			ServiceAccountName: account,
			Containers:         []corev1.Container{{Name: appContainer, Image: "registry.example.com/app:v1"}},
		},
	}
}

// newDeployment is one of a single such Pod.
func newDeployment() *appsv1.Deployment {
	pod := newPod("", runner)
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: appContainer},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: pod.Labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: pod.ObjectMeta, Spec: pod.Spec},
		},
	}
}
