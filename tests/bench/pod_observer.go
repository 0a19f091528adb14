package main

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"

	"github.com/imagepullsecrets/operator/internal/dockerconfig"
)

// podObserver follows Pods and Secrets by watches, and tells since when a Pod
// may pull: since it lists a Secret that stands beside it with a login for its
// image. A kubelet needs that and no more.
type podObserver struct {
	view
	places map[string]*place // by namespace
}

// place is what was seen in a namespace.
type place struct {
	logins map[string]dockerconfig.Logins // by the name of the Secret
	pods   map[string]*corev1.Pod         // by name
	// came is when the first Pod was seen, able when one was first seen that may
	// pull; zero before that.
	came, able time.Time
}

// observePods returns an observer that has seen what is there.
func observePods(ctx context.Context, api kubernetes.Interface) (*podObserver, error) {
	o := &podObserver{places: map[string]*place{}}
	o.state = o.describe
	secrets := informers.NewSharedInformerFactoryWithOptions(api, 0, informers.WithTweakListOptions(func(options *metav1.ListOptions) {
		options.FieldSelector = fields.OneTermEqualSelector("type", string(corev1.SecretTypeDockerConfigJson)).String()
	})).Core().V1().Secrets().Informer()
	if err := follow(ctx, secrets, "Secrets", o.secretStands, nil); err != nil {
		return nil, err
	}
	pods := informers.NewSharedInformerFactory(api, 0).Core().V1().Pods().Informer()
	return o, follow(ctx, pods, "Pods", o.podStands, nil)
}

func (o *podObserver) secretStands(object any) {
	if secret, ok := object.(*corev1.Secret); ok {
		// What can't be read has no login that a Pod could pull with.
		logins, _, _ := dockerconfig.Parse(secret.Data[corev1.DockerConfigJsonKey])
		o.note(secret.Namespace, func(p *place) { p.logins[secret.Name] = logins })
	}
}

func (o *podObserver) podStands(object any) {
	if pod, ok := object.(*corev1.Pod); ok {
		o.note(pod.Namespace, func(p *place) { p.pods[pod.Name] = pod })
	}
}

// note changes what was seen in a namespace.
func (o *podObserver) note(namespace string, do func(*place)) {
	now := time.Now()
	o.change(func() {
		at := o.places[namespace]
		if at == nil {
			at = &place{logins: map[string]dockerconfig.Logins{}, pods: map[string]*corev1.Pod{}}
			o.places[namespace] = at
		}
		do(at)
		if at.came.IsZero() && len(at.pods) > 0 {
			at.came = now
		}
		if at.able.IsZero() && at.mayPull() {
			at.able = now
		}
	})
}

// mayPull tells whether a Pod lists a Secret with a login for its image.
func (p *place) mayPull() bool {
	for _, pod := range p.pods {
		for _, listed := range pod.Spec.ImagePullSecrets {
			if p.logins[listed.Name].Match(pod.Spec.Containers[0].Image) {
				return true
			}
		}
	}
	return false
}

// secret is the state in which a namespace has a Secret.
func (o *podObserver) secret(namespace, name string) func() bool {
	return func() bool { return o.places[namespace] != nil && o.places[namespace].logins[name] != nil }
}

// awaitPod waits for the first Pod in a namespace and returns it, and when it was
// seen.
func (o *podObserver) awaitPod(ctx context.Context, namespace string) (pod *corev1.Pod, came time.Time, err error) {
	_, err = o.await(ctx, func() bool { return o.places[namespace] != nil && !o.places[namespace].came.IsZero() })
	if err != nil {
		return nil, time.Time{}, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, first := range o.places[namespace].pods {
		pod = first.DeepCopy()
	}
	return pod, o.places[namespace].came, nil
}

// awaitPull waits until a Pod in a namespace may pull, and returns when the first
// Pod was seen, and when one that may pull.
func (o *podObserver) awaitPull(ctx context.Context, namespace string) (came, able time.Time, err error) {
	_, err = o.await(ctx, func() bool { return o.places[namespace] != nil && !o.places[namespace].able.IsZero() })
	if err != nil {
		return came, able, fmt.Errorf("in namespace %s: %w", namespace, err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.places[namespace].came, o.places[namespace].able, nil
}

// describe says for a person how things stand.
func (o *podObserver) describe() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	pods, able := 0, 0
	for _, at := range o.places {
		pods += len(at.pods)
		if !at.able.IsZero() {
			able++
		}
	}
	return fmt.Sprintf("%d Pods were seen, one that may pull in %d namespaces", pods, able)
}
