// Package podrecovery evicts Pods that can't pull their images since they were
// made before the name of a Secret could reach them, so that their controller
// makes them anew: one Pod at a time, when its kubelet tells of it.
package podrecovery

import (
	"context"
	"maps"
	"slices"
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

	"github.com/imagepullsecrets/operator/api/v1alpha1"
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
	// Rights tells where the operator's rights are.
	Rights   rights.Mode
	Recorder events.EventRecorder
	Metrics  *metrics.Metrics
	Clock    clock.PassiveClock
}

// Controller evicts Pods. It must have one worker.
type Controller struct {
	Deps

	queue  kube.Queue
	memory memory
	shares shares
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

// Failed looks at a Pod that can't pull an image, when it is its namespace's
// turn. A kubelet tells of it several times.
func (c *Controller) Failed(pod types.NamespacedName) {
	now := c.Clock.Now()
	if _, waits := c.memory.queued.get(pod, now); waits {
		return
	}
	if turn, ok := c.shares.turn(pod.Namespace, now); ok {
		c.memory.queued.put(pod, struct{}{}, now)
		c.queue.Add(priorityqueue.AddOpts{After: settling + turn}, reconcile.Request{NamespacedName: pod})
	}
}

// GrantsChanged watches for Pods that can't pull while a grant recovers them.
func (c *Controller) GrantsChanged() {
	c.watching.Lock()
	defer c.watching.Unlock()
	c.WatchFailures(c.Book.Recovers())
}

// Reconcile looks at one Pod. An error means that it is worth another try soon.
func (c *Controller) Reconcile(ctx context.Context, request reconcile.Request) (ctrl.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	key := request.NamespacedName
	c.memory.queued.forget(key)
	past, _ := c.memory.pods.get(key, c.Clock.Now())
	if early := past.NotBefore.Sub(c.Clock.Now()); early > 0 {
		return ctrl.Result{RequeueAfter: early}, nil
	}
	o, err := c.known(ctx, key.Namespace)
	if err != nil || len(o.Claims) == 0 {
		return ctrl.Result{}, err
	}
	o, past, err = c.observe(ctx, key, o, past)
	switch {
	case apierrors.IsNotFound(err):
		c.memory.pods.forget(key)
		return ctrl.Result{}, nil
	case rights.Missing(err):
		c.tellAskers(o.Claims, key.Namespace, err)
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

// known returns what caches tell of a namespace: the Secrets that its Pods may be
// evicted for, and the names that they are injected. Of the grants that want one
// Secret only the winner's counts.
func (c *Controller) known(ctx context.Context, name string) (observation, error) {
	o := observation{Injection: c.Injection}
	namespace, err := c.Scope.Namespace(ctx, name)
	if namespace == nil {
		return o, err
	}
	wanted := map[string][]*grant.Grant{} // by the name of the Secret
	for _, g := range c.Book.Reaching(name) {
		selected, err := c.Scope.Selects(ctx, g, namespace)
		if err != nil {
			return o, err
		}
		if !selected {
			continue
		}
		wanted[g.SecretName] = append(wanted[g.SecretName], g)
		if c.Injection && g.Pods == v1alpha1.PodsInject {
			o.Injected = append(o.Injected, g.SecretName)
		}
	}
	for _, secretName := range slices.Sorted(maps.Keys(wanted)) {
		if g := c.winner(types.NamespacedName{Namespace: name, Name: secretName}, wanted[secretName]); g != nil && g.Recovers() {
			o.Claims = append(o.Claims, c.claim(g, name))
		}
	}
	return o, nil
}

// winner returns which of the grants that want a Secret keeps it; nil if they
// have just gone.
func (c *Controller) winner(secret types.NamespacedName, among []*grant.Grant) *grant.Grant {
	for _, g := range c.Book.ForSecret(secret) {
		if slices.Contains(among, g) {
			return g
		}
	}
	return nil
}

func (c *Controller) claim(g *grant.Grant, namespace string) claim {
	made := claim{Grant: g, Stands: c.Board.Holds(g.Name, namespace)}
	if g.Content != nil {
		// It was written by Marshal, so there is nothing to complain of.
		made.Logins, _, _ = dockerconfig.Parse(g.Content.DockerConfigJSON)
	}
	return made
}

// observe adds to what is known what a verdict depends on from the API server,
// and returns with it what is remembered of this very Pod. The error is the API
// server's.
func (c *Controller) observe(ctx context.Context, key types.NamespacedName, o observation, past attempts) (observation, attempts, error) {
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
	o.Evicted = c.evictedBefore(o.Pod, o.Claims)
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
		if at, known := c.memory.evicted.get(cause{pod.Namespace, owner.UID, name}, c.Clock.Now()); known {
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
		c.memory.evicted.first(cause{key.Namespace, owner.UID, v.Grant.SecretName}, c.evictedAt(ctx, key, o.Pod.UID), now)
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
