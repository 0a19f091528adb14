package kube

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
)

// Pods reads and evicts Pods, each by its name. Its errors are the API server's.
type Pods struct{ core corev1client.CoreV1Interface }

// NewPods returns Pods that ask the API server through core.
func NewPods(core corev1client.CoreV1Interface) *Pods { return &Pods{core: core} }

// Pod reads a Pod.
func (p *Pods) Pod(ctx context.Context, key types.NamespacedName) (*corev1.Pod, error) {
	return p.core.Pods(key.Namespace).Get(ctx, key.Name, metav1.GetOptions{})
}

// ServiceAccount reads a ServiceAccount.
func (p *Pods) ServiceAccount(ctx context.Context, key types.NamespacedName) (*corev1.ServiceAccount, error) {
	return p.core.ServiceAccounts(key.Namespace).Get(ctx, key.Name, metav1.GetOptions{})
}

// Evict evicts a Pod if it is still the one of that UID; otherwise the error is
// a Conflict. A refusal is returned as it comes: the client's own way of
// trying again would hold up everything else for as long as a
// PodDisruptionBudget lasts.
func (p *Pods) Evict(ctx context.Context, key types.NamespacedName, uid types.UID) error {
	return p.core.RESTClient().Post().AbsPath("/api/v1").
		Namespace(key.Namespace).Resource("pods").Name(key.Name).SubResource("eviction").
		Body(&policyv1.Eviction{
			ObjectMeta:    metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name},
			DeleteOptions: &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}},
		}).
		MaxRetries(0).Do(ctx).Error()
}

// DeletedAt returns when a Pod was asked to go, by the API server's own clock,
// to the second; the zero time if it was not. A Pod's deletionTimestamp is
// when its grace period ends.
func DeletedAt(pod *corev1.Pod) time.Time {
	if pod.DeletionTimestamp.IsZero() {
		return time.Time{}
	}
	at := pod.DeletionTimestamp.Time
	if grace := pod.DeletionGracePeriodSeconds; grace != nil {
		at = at.Add(-time.Duration(*grace) * time.Second)
	}
	return at
}
