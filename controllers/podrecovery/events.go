package podrecovery

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/imagepullsecrets/operator/internal/exchange"
	"github.com/imagepullsecrets/operator/internal/rights"
)

// Reasons of events, which image-pull-secrets-provisioner gave as well.
const (
	reasonEvicted = "EvictedForImagePullSecret"
	reasonFailed  = "FailedEvictionForImagePullSecret"
)

// actionEvict is what events say was done or tried.
const actionEvict = "Evict"

// longestImage is how much of an image's name is told; a registry's own limit
// is less.
const longestImage = 300

// tellEviction tells of an eviction, on the Pod and on its controller.
func (c *Controller) tellEviction(pod *corev1.Pod, v verdict) {
	note := fmt.Sprintf("evicted Pod %s, which could not pull %.*s: it came before the name of Secret %s could reach it",
		pod.Name, longestImage, v.Image, v.Grant.SecretName)
	c.tell(pod, corev1.EventTypeNormal, reasonEvicted, note)
}

// tellFailure tells why a Pod can't be evicted, once for each cause.
func (c *Controller) tellFailure(pod *corev1.Pod, v verdict, err error) {
	result := resultOf(err)
	var why string
	switch result {
	case resultBudget:
		why = fmt.Sprintf("a PodDisruptionBudget does not allow it now, so that it is tried again: %s", foreign(err))
	case resultForbidden:
		why = fmt.Sprintf("the operator may not: add to %s of its ServiceAccount the rule %s (chart: podRecovery.enabled)", c.Rights.Role(pod.Namespace), rights.ForEviction)
	default:
		if apierrors.IsTooManyRequests(err) {
			return // the API server is busy, which is no matter of the Pod's
		}
		why = fmt.Sprintf("the API server refuses, and it is tried again: %s", foreign(err))
	}
	if !c.memory.told.first(happening{pod.UID, result}, struct{}{}, c.Clock.Now()) {
		return
	}
	note := fmt.Sprintf("evicting Pod %s, which can't pull %.*s for it lacks Secret %s: %s",
		pod.Name, longestImage, v.Image, v.Grant.SecretName, why)
	c.tell(pod, corev1.EventTypeWarning, reasonFailed, note)
}

// tellPod tells a Pod, once, that it is not evicted since that did not help
// before.
func (c *Controller) tellPod(pod *corev1.Pod, v verdict) {
	if !c.memory.told.first(happening{pod.UID, "again"}, struct{}{}, c.Clock.Now()) {
		return
	}
	c.Recorder.Eventf(referenceTo(pod), nil, corev1.EventTypeWarning, reasonFailed, actionEvict, "%s",
		fmt.Sprintf("not evicted, though it can't pull %.*s: %s; see that new Pods get that name", longestImage, v.Image, v.Why))
}

// tell tells something on a Pod and on its controller.
func (c *Controller) tell(pod *corev1.Pod, kind, reason, note string) {
	c.Recorder.Eventf(referenceTo(pod), nil, kind, reason, actionEvict, "%s", note)
	if owner := metav1.GetControllerOf(pod); owner != nil {
		c.Recorder.Eventf(&corev1.ObjectReference{
			APIVersion: owner.APIVersion, Kind: owner.Kind, Namespace: pod.Namespace, Name: owner.Name, UID: owner.UID,
		}, nil, kind, reason, actionEvict, "%s", note)
	}
}

func referenceTo(pod *corev1.Pod) *corev1.ObjectReference {
	return &corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID}
}

// WatchRefused tells those who want Pods to be recovered that the API server
// does not let it be known which ones fail, in a namespace or for "" in any.
func (c *Controller) WatchRefused(ctx context.Context, namespace string, err error) {
	if namespace != "" {
		if there, _ := c.Scope.Namespace(ctx, namespace); there == nil {
			return // no right is in a namespace that is not there
		}
	}
	var claims []claim
	for _, g := range c.Book.All() {
		if g.Recovers() {
			claims = append(claims, claim{Grant: g})
		}
	}
	c.tellAskers(claims, namespace, err)
}

// tellAskers tells the objects on whose behalf Pods are recovered which rights
// are missing for it, once.
func (c *Controller) tellAskers(claims []claim, namespace string, err error) {
	note := fmt.Sprintf("Pods that came before Secrets can't be found or looked at: %s: "+
		"add to %s of the operator's ServiceAccount the rules %s, %s, %s and %s (chart: podRecovery.enabled), or run it with --pod-recovery=false",
		foreign(err), c.Rights.Role(namespace), rights.ForPodEvents, rights.ForPod, rights.ForPodsAccount, rights.ForEviction)
	for _, told := range claims {
		g := told.Grant
		if g.Owner == nil {
			continue // nobody who could be told in the cluster
		}
		if c.memory.told.first(happening{g.UID, "rights"}, struct{}{}, c.Clock.Now()) {
			c.Recorder.Eventf(&corev1.ObjectReference{
				APIVersion: g.Owner.APIVersion, Kind: g.Owner.Kind, Namespace: g.Namespace, Name: g.Owner.Name, UID: g.Owner.UID,
			}, nil, corev1.EventTypeWarning, reasonFailed, actionEvict, "%s", note)
		}
	}
}

// foreign returns an error's text fit for showing: admission may have put
// anything into it.
func foreign(err error) string { return exchange.NewScrubber().Describe(err.Error()) }

// Results of evictions, for metrics.
const (
	resultSuccess   = "success"
	resultBudget    = "disruption_budget"
	resultForbidden = "forbidden"
	resultError     = "error"
)

// resultOf names an eviction's outcome.
func resultOf(err error) string {
	switch {
	case err == nil:
		return resultSuccess
	case apierrors.HasStatusCause(err, policyv1.DisruptionBudgetCause):
		return resultBudget
	case rights.Missing(err):
		return resultForbidden
	default:
		return resultError
	}
}

// String names the action for logs.
func (a action) String() string {
	switch a {
	case skip:
		return "skip"
	case wait:
		return "wait"
	case evict:
		return "evict"
	default:
		return "unknown"
	}
}
