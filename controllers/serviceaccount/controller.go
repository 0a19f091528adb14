// Package serviceaccount attaches Secrets to ServiceAccounts: it looks at one
// ServiceAccount at a time, finds the grants that select it, and keeps the
// names of their Secrets in its imagePullSecrets, whatever else stands there.
package serviceaccount

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/internal/grant"
	"github.com/imagepullsecrets/operator/internal/kube"
	"github.com/imagepullsecrets/operator/internal/metrics"
	"github.com/imagepullsecrets/operator/internal/rights"
)

// Scope tells which namespaces grants select; scope.Scope says what each method
// does.
type Scope interface {
	Namespace(ctx context.Context, name string) (*metav1.PartialObjectMetadata, error)
	Selected(ctx context.Context, g *grant.Grant) ([]string, error)
	Selects(ctx context.Context, g *grant.Grant, namespace *metav1.PartialObjectMetadata) (bool, error)
}

// Writer changes ServiceAccounts; kube.ServiceAccounts says what each method
// does.
type Writer interface {
	Get(ctx context.Context, key types.NamespacedName) (*corev1.ServiceAccount, error)
	Attach(ctx context.Context, key types.NamespacedName, version string, secrets []corev1.LocalObjectReference, attached string) (string, error)
}

// SecretReader reads the metadata of target Secrets from a cache.
type SecretReader interface {
	Get(ctx context.Context, key types.NamespacedName) (*metav1.PartialObjectMetadata, error)
	// Stands tells whether a grant's Secret is in a namespace, kept for it.
	Stands(ctx context.Context, g *grant.Grant, namespace string) bool
}

// Deps are what the controller needs. All are required.
type Deps struct {
	// Book is shared with those who make grants.
	Book *grant.Book
	// Prime puts every grant into the Book, if that was not done yet.
	Prime func(context.Context) error
	// Board is for ServiceAccounts alone.
	Board *grant.Board
	Scope Scope
	// Secrets tells which Secrets stand, and outlive what they were made for.
	Secrets SecretReader
	Writer  Writer
	// NewAccounts makes caches for ServiceAccounts as
	// kube.TransformServiceAccount leaves them. They are started when they are
	// needed.
	NewAccounts func() ([]kube.Place, error)
	// Within are the only namespaces where the operator has rights; empty for
	// all.
	Within []string
	// Rights tells where these are.
	Rights rights.Mode
	// Handlers are told of ServiceAccounts too, from when they are watched.
	Handlers []toolscache.ResourceEventHandler
	// Live lists metadata from the API server itself.
	Live     client.Reader
	Recorder events.EventRecorder
	Metrics  *metrics.Metrics
	Clock    clock.PassiveClock
	// ResyncInterval is how often everything is looked at without a cause.
	ResyncInterval time.Duration
	// TargetNames are the only names of Secrets that are kept; empty for any.
	// Others are left where they stand, whoever has them on record.
	TargetNames []string
}

// Controller keeps the names of Secrets in ServiceAccounts.
type Controller struct {
	Deps

	queue    kube.Queue
	accounts accounts
	memory   memory
	brought  brought
}

// New returns a controller that does nothing until it is registered.
func New(d Deps) *Controller { return &Controller{Deps: d} }

var _ reconcile.Reconciler = (*Controller)(nil)

const (
	// attempts is how often a write is tried again at once that another
	// writer was faster than.
	attempts = 5
	// afterRace is when it is tried again after that.
	afterRace = time.Second
	// revisit is when a ServiceAccount is looked at again that could not be
	// written for a reason that no watch would tell the end of.
	revisit = time.Minute
	// takeOver is when one is whose entry may be inherited with its Secret, of
	// which nothing tells that it was taken over.
	takeOver = 10 * time.Second
)

// Reconcile looks at one ServiceAccount. An error means that it is worth
// another try soon.
func (c *Controller) Reconcile(ctx context.Context, request reconcile.Request) (ctrl.Result, error) {
	key := request.NamespacedName
	// Nobody's entry is taken away before all grants are known.
	if err := c.Prime(ctx); err != nil {
		return ctrl.Result{}, err
	}
	account, err := c.newest(ctx, key)
	for range attempts {
		if apierrors.IsNotFound(err) {
			c.memory.forget(key)
			c.report(key, nil)
			return ctrl.Result{}, nil
		}
		if err != nil {
			return ctrl.Result{}, err
		}
		if result, err := c.attempt(ctx, account); !apierrors.IsConflict(err) {
			return result, err
		}
		account, err = c.Writer.Get(ctx, key)
	}
	return ctrl.Result{RequeueAfter: jittered(afterRace)}, err
}

// attempt makes a ServiceAccount what it is to be. The error is a conflict if
// another writer was faster; then nothing was done.
func (c *Controller) attempt(ctx context.Context, account *corev1.ServiceAccount) (ctrl.Result, error) {
	key := client.ObjectKeyFromObject(account)
	namespace, err := c.Scope.Namespace(ctx, key.Namespace)
	if err != nil {
		return ctrl.Result{}, err
	}
	if namespace == nil || !account.DeletionTimestamp.IsZero() {
		c.report(key, nil)
		return ctrl.Result{}, nil
	}
	o := c.observe(ctx, account, namespace)
	p := decide(o)
	log.FromContext(ctx).V(1).Info("planned", "add", p.Added, "remove", p.Removed, "held", len(o.Held))
	if err = c.write(ctx, account, p); apierrors.IsConflict(err) {
		return ctrl.Result{}, err
	}
	return c.conclude(ctx, key, o, p, err)
}

// newest returns a ServiceAccount from the cache, or from the API server if the
// cache has yet to see our own last write. The error may be a NotFound.
func (c *Controller) newest(ctx context.Context, key types.NamespacedName) (*corev1.ServiceAccount, error) {
	account := c.accounts.get(key)
	if account == nil {
		return nil, apierrors.NewNotFound(corev1.Resource("serviceaccounts"), key.Name)
	}
	if c.memory.ahead(key, account.ResourceVersion) {
		return c.Writer.Get(ctx, key)
	}
	return account, nil
}

// observe reads what a plan depends on, from caches and memory only.
func (c *Controller) observe(ctx context.Context, account *corev1.ServiceAccount, namespace *metav1.PartialObjectMetadata) observation {
	key := client.ObjectKeyFromObject(account)
	o := observation{Secrets: account.ImagePullSecrets, Recorded: Recorded(account.Annotations), Retained: map[string]bool{}}
	for _, g := range c.Book.Reaching(key.Namespace) {
		if selected := selects(g, account); selected || slices.Contains(o.Recorded, g.SecretName) {
			here, err := c.Scope.Selects(ctx, g, namespace)
			o.Claims = append(o.Claims, claim{
				Grant: g, Namespace: here, Account: here && selected,
				// Whoever ends the error brings the grant here again.
				Unsure: g.Unsure || err != nil,
				Ours:   g.InheritsEntries && c.Secrets.Stands(ctx, g, key.Namespace),
			})
		}
	}
	for _, name := range o.Recorded {
		if len(c.TargetNames) > 0 && !slices.Contains(c.TargetNames, name) {
			o.Retained[name] = true
			continue
		}
		retained, known := c.retained(ctx, types.NamespacedName{Namespace: key.Namespace, Name: name})
		o.Retained[name] = retained || !known
		o.Unknown = o.Unknown || !known
	}
	wanted, now := o.wanted(), c.Clock.Now()
	var news []string
	o.Held, news = c.memory.look(key, account.UID, wanted, o.missing(wanted), now)
	for _, name := range news {
		c.warn(account, contested(key, name))
	}
	return o
}

// retained tells whether a Secret is ours and outlives what it was made for;
// known is false while the Secrets of its namespace may not be read.
func (c *Controller) retained(ctx context.Context, key types.NamespacedName) (retained, known bool) {
	secret, err := c.Secrets.Get(ctx, key)
	if err != nil {
		return false, apierrors.IsNotFound(err)
	}
	return secret.Labels[v1alpha1.LabelOwnerUID] != "" && len(secret.OwnerReferences) == 0, true
}

// selects tells whether a grant selects a ServiceAccount, if it does its
// namespace.
func selects(g *grant.Grant, account *corev1.ServiceAccount) bool {
	return g.Accounts.Select(account.Name, account.Labels, account.Annotations)
}

// write makes a ServiceAccount, as it was read, what the plan says.
func (c *Controller) write(ctx context.Context, account *corev1.ServiceAccount, p plan) error {
	if !p.Change {
		return nil
	}
	key := client.ObjectKeyFromObject(account)
	version, err := c.Writer.Attach(ctx, key, account.ResourceVersion, p.Secrets, record(p.Recorded))
	c.Metrics.Attached(metrics.ResultOf(err))
	if err == nil {
		c.memory.wrote(key, account.UID, version, p, c.Clock.Now())
	}
	return err
}

// conclude tells the board how a ServiceAccount stands after a write that ended
// with err, and says when to look again without being asked to.
func (c *Controller) conclude(ctx context.Context, key types.NamespacedName, o observation, p plan, err error) (ctrl.Result, error) {
	failure, err := failureOf(c.Rights, key, err)
	if failure.State == grant.Failing && len(p.Removed) > 0 {
		log.FromContext(ctx).Info("names that are not wanted any more may stay", "names", p.Removed, "reason", failure.Reason, "message", failure.Message)
	}
	outcomes := map[string]grant.Outcome{}
	for _, claim := range o.Claims {
		switch name := claim.Grant.SecretName; {
		case claim.Grant.Suspended:
			outcomes[claim.Grant.Name] = grant.Outcome{} // stays as it is
		case !claim.wants():
		case !stands(p.Secrets, name):
			outcomes[claim.Grant.Name] = contestedOutcome(key, name)
		case failure.State != grant.Held && !stands(o.Secrets, name):
			outcomes[claim.Grant.Name] = failure
		default:
			outcomes[claim.Grant.Name] = grant.Outcome{State: grant.Held}
		}
	}
	c.report(key, outcomes)
	if err != nil {
		return ctrl.Result{}, err
	}
	return ctrl.Result{RequeueAfter: c.next(o, failure)}, nil
}

// report tells the board what became of the grants, by name, that want their
// Secret attached to a ServiceAccount; others do not.
func (c *Controller) report(key types.NamespacedName, outcomes map[string]grant.Outcome) {
	for _, g := range c.Book.Reaching(key.Namespace) {
		switch outcome, wanted := outcomes[g.Name]; {
		case !wanted:
			c.Board.Forget(g.Name, key.String())
		case outcome.State != 0:
			c.Board.Record(g.Name, key.String(), outcome)
		}
	}
}

// next is when to look at a ServiceAccount again without a cause; 0 for never.
func (c *Controller) next(o observation, failure grant.Outcome) time.Duration {
	var next time.Duration
	switch {
	case slices.ContainsFunc(o.unrecorded(), func(c claim) bool { return !c.Ours }):
		next = jittered(takeOver)
	case failure.State == grant.Failing, o.Unknown:
		next = jittered(revisit)
	}
	now := c.Clock.Now()
	for _, until := range o.Held {
		// Not 0, which would be never.
		if wait := max(until.Sub(now), time.Millisecond); next == 0 || wait < next {
			next = wait
		}
	}
	return next
}

// jittered is a time up to a fifth shorter, so that many are not due at once.
func jittered(wait time.Duration) time.Duration {
	return wait - time.Duration(rand.Int64N(int64(wait/5)))
}
