// Package podrecovery evicts Pods that can't pull their images since they were
// made before the name of a Secret could reach them, so that their controller
// makes them anew: one Pod at a time, when its kubelet tells of it.
package podrecovery

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/imagepullsecrets/operator/internal/dockerconfig"
	"github.com/imagepullsecrets/operator/internal/grant"
	"github.com/imagepullsecrets/operator/internal/kube"
	"github.com/imagepullsecrets/operator/internal/metrics"
	"github.com/imagepullsecrets/operator/internal/rights"
)

const (
	// settling is how long after its Event a Pod is looked at: a kubelet
	// writes the Pod's status after it, and several Events of one failure.
	settling = time.Second
	// firstWait and firstRetry are the first of the growing waits for what is
	// missing, and after an eviction that failed.
	firstWait  = time.Second
	firstRetry = 5 * time.Second
	// deadline bounds one look at a Pod.
	deadline = time.Minute
)

// Pods are read and evicted; kube.Pods says what each method does.
type Pods interface {
	Pod(ctx context.Context, key types.NamespacedName) (*corev1.Pod, error)
	ServiceAccount(ctx context.Context, key types.NamespacedName) (*corev1.ServiceAccount, error)
	Evict(ctx context.Context, key types.NamespacedName, uid types.UID) error
}

// Scope knows what grants select; scope.Scope says what each method does.
type Scope interface {
	Namespace(ctx context.Context, name string) (*metav1.PartialObjectMetadata, error)
	Selects(ctx context.Context, g *grant.Grant, namespace *metav1.PartialObjectMetadata) (bool, error)
}

// Deps are what the controller needs. All are required.
type Deps struct {
	// Book and Board are shared with those who make and carry out grants.
	Book  *grant.Book
	Board *grant.Board
	Scope Scope
	Pods  Pods
	// WatchFailures begins to watch for Pods that can't pull, or ends it.
	WatchFailures func(wanted bool)
	// Injection: new Pods get the names of Secrets into their own list.
	Injection bool
	Recorder  events.EventRecorder
	Metrics   *metrics.Metrics
	Clock     clock.PassiveClock
}

// Controller evicts Pods. It must have one worker.
type Controller struct {
	Deps

	queue  kube.Queue
	memory memory
	// watching is held while it is decided whether to watch.
	watching sync.Mutex
	// reads and evictions bound how often the API server is asked.
	reads, evictions *rate.Limiter
}

// New returns a controller that does nothing until it is registered.
func New(d Deps) *Controller {
	return &Controller{Deps: d, reads: rate.NewLimiter(10, 20), evictions: rate.NewLimiter(1, 10)}
}

var _ reconcile.Reconciler = (*Controller)(nil)

// Start takes the controller's queue; it is a source of the controller.
func (c *Controller) Start(ctx context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	return c.queue.Start(ctx, queue)
}

// Failed looks at a Pod that can't pull an image.
func (c *Controller) Failed(pod types.NamespacedName) {
	c.queue.Add(priorityqueue.AddOpts{After: settling}, reconcile.Request{NamespacedName: pod})
}

// GrantsChanged watches for Pods that can't pull while a grant recovers them.
func (c *Controller) GrantsChanged() {
	c.watching.Lock()
	defer c.watching.Unlock()
	for _, g := range c.Book.All() {
		if g.Recovers() {
			c.WatchFailures(true)
			return
		}
	}
	c.WatchFailures(false)
}

// Reconcile looks at one Pod. An error means that it is worth another try soon.
func (c *Controller) Reconcile(ctx context.Context, request reconcile.Request) (ctrl.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	key := request.NamespacedName
	past, _ := c.memory.pods.get(key, c.Clock.Now())
	if early := past.NotBefore.Sub(c.Clock.Now()); early > 0 {
		return ctrl.Result{RequeueAfter: early}, nil
	}
	claims, err := c.claims(ctx, key.Namespace)
	if err != nil || len(claims) == 0 {
		return ctrl.Result{}, err
	}
	o, past, err := c.observe(ctx, key, claims, past)
	switch {
	case apierrors.IsNotFound(err):
		c.memory.pods.forget(key)
		return ctrl.Result{}, nil
	case rights.Missing(err):
		c.tellAskers(claims, err)
		return c.later(key, past, longestWait), nil
	case err != nil:
		return ctrl.Result{}, err
	}
	return c.carryOut(ctx, o, past, decide(o))
}

// carryOut does what the verdict says.
func (c *Controller) carryOut(ctx context.Context, o observation, past attempts, v verdict) (ctrl.Result, error) {
	key := keyOf(o.Pod)
	log.FromContext(ctx).V(1).Info("judged", "action", v.Action.String(), "why", v.Why)
	switch v.Action {
	case evict:
		return c.evict(ctx, o, past, v)
	case wait:
		pause := growing(firstWait, past.Waits)
		if v.ForAccount {
			pause = growing(firstWait, past.AccountWaits)
			past.AccountWaits++
		} else {
			past.Waits++
		}
		return c.later(key, past, pause), nil
	default:
		if v.Again {
			c.tellPod(o.Pod, v)
		}
		return ctrl.Result{}, nil
	}
}

// later has a Pod looked at again after a time, and not before, however often
// its kubelet tells of it.
func (c *Controller) later(key types.NamespacedName, past attempts, pause time.Duration) ctrl.Result {
	now := c.Clock.Now()
	past.NotBefore = now.Add(pause)
	c.memory.pods.put(key, past, now)
	return ctrl.Result{RequeueAfter: pause}
}

// claims returns the Secrets that Pods of a namespace may be evicted for, from
// caches: of the grants that want one Secret only the winner's counts.
func (c *Controller) claims(ctx context.Context, name string) ([]claim, error) {
	namespace, err := c.Scope.Namespace(ctx, name)
	if namespace == nil {
		return nil, err
	}
	var claims []claim
	seen := map[string]bool{}
	for _, g := range c.Book.Reaching(name) {
		if seen[g.SecretName] {
			continue
		}
		seen[g.SecretName] = true
		winner, err := c.winner(ctx, g.SecretName, namespace)
		if err != nil {
			return nil, err
		}
		if winner == nil || !winner.Recovers() {
			continue
		}
		made := claim{Grant: winner, Stands: c.Board.Holds(winner.Name, name)}
		if winner.Content != nil {
			// It was written by Marshal, so there is nothing to complain of.
			made.Logins, _, _ = dockerconfig.Parse(winner.Content.DockerConfigJSON)
		}
		claims = append(claims, made)
	}
	return claims, nil
}

// winner returns the grant that keeps the Secret of a name in a namespace, or
// nil.
func (c *Controller) winner(ctx context.Context, secretName string, namespace *metav1.PartialObjectMetadata) (*grant.Grant, error) {
	for _, g := range c.Book.ForSecret(types.NamespacedName{Namespace: namespace.Name, Name: secretName}) {
		if selected, err := c.Scope.Selects(ctx, g, namespace); selected || err != nil {
			return g, err
		}
	}
	return nil, nil
}

// observe reads what a verdict depends on from the API server, and returns with
// it what is remembered of this very Pod. The error is the API server's.
func (c *Controller) observe(ctx context.Context, key types.NamespacedName, claims []claim, past attempts) (observation, attempts, error) {
	o := observation{Claims: claims, Injection: c.Injection}
	if err := c.reads.Wait(ctx); err != nil {
		return o, past, err
	}
	var err error
	if o.Pod, err = c.Pods.Pod(ctx, key); err != nil {
		return o, past, err
	}
	if past.UID != o.Pod.UID {
		past = attempts{UID: o.Pod.UID}
	}
	o.Gone, o.AccountWaits = past.Gone, past.AccountWaits
	o.Evicted = c.evictedBefore(o.Pod, claims)
	if needsAccount(o) {
		account := types.NamespacedName{Namespace: key.Namespace, Name: o.Pod.Spec.ServiceAccountName}
		if o.Account, err = c.Pods.ServiceAccount(ctx, account); apierrors.IsNotFound(err) {
			o.Account, err = nil, nil
		}
	}
	return o, past, err
}

// evictedBefore tells when the first Pod of a Pod's controller was evicted, by
// the name of the Secret.
func (c *Controller) evictedBefore(pod *corev1.Pod, claims []claim) map[string]time.Time {
	owner := metav1.GetControllerOf(pod)
	if owner == nil {
		return nil
	}
	evicted := map[string]time.Time{}
	for _, claimed := range claims {
		name := claimed.Grant.SecretName
		if at, known := c.memory.evicted.get(cause{owner.UID, name}, c.Clock.Now()); known {
			evicted[name] = at
		}
	}
	return evicted
}

// evict evicts a Pod, and tells of it or of why it can't be.
func (c *Controller) evict(ctx context.Context, o observation, past attempts, v verdict) (ctrl.Result, error) {
	key := keyOf(o.Pod)
	if err := c.evictions.Wait(ctx); err != nil {
		return ctrl.Result{}, err
	}
	err := c.Pods.Evict(ctx, key, o.Pod.UID)
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return ctrl.Result{}, nil // it went by itself; should it be there, its kubelet will tell
	}
	c.Metrics.Evicted(resultOf(err))
	if err != nil {
		c.tellFailure(o.Pod, v, err)
		pause := growing(firstRetry, past.Failures)
		past.Failures++
		return c.later(key, past, pause), nil
	}
	now := c.Clock.Now()
	past.Gone = true
	c.memory.pods.put(key, past, now)
	if owner := metav1.GetControllerOf(o.Pod); owner != nil {
		c.memory.evicted.first(cause{owner.UID, v.Grant.SecretName}, c.evictedAt(ctx, key, o.Pod.UID), now)
	}
	c.tellEviction(o.Pod, v)
	return ctrl.Result{}, nil
}

// evictedAt returns when a Pod was evicted, just now: by the API server's clock,
// by which Pods are dated, or by ours if the Pod has gone already.
func (c *Controller) evictedAt(ctx context.Context, key types.NamespacedName, uid types.UID) time.Time {
	pod, err := c.Pods.Pod(ctx, key)
	if err != nil || pod.UID != uid || pod.DeletionTimestamp.IsZero() {
		return c.Clock.Now()
	}
	return kube.DeletedAt(pod)
}

func keyOf(pod *corev1.Pod) types.NamespacedName {
	return types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}
}
