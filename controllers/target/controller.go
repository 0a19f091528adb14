// Package target keeps single Secrets: it looks at one namespace and Secret
// name at a time, finds the grant that wins there, and makes the Secret what
// that grant wants.
package target

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/imagepullsecrets/operator/internal/dockerconfig"
	"github.com/imagepullsecrets/operator/internal/grant"
	"github.com/imagepullsecrets/operator/internal/kube"
	"github.com/imagepullsecrets/operator/internal/metrics"
	"github.com/imagepullsecrets/operator/internal/rights"
	"github.com/imagepullsecrets/operator/internal/scope"
)

// revisit is when a Secret is looked at again that could not be written for a
// reason that no watch would tell the end of, such as a foreign Secret.
const revisit = time.Minute

// Writer writes Secrets; kube.Targets says what each method does.
type Writer interface {
	Apply(ctx context.Context, desired *corev1ac.SecretApplyConfiguration, takeOver bool) (string, error)
	Get(ctx context.Context, key types.NamespacedName) (*metav1.PartialObjectMetadata, error)
	Refresh(ctx context.Context, key types.NamespacedName, logins dockerconfig.Logins, hash string) (string, error)
	Delete(ctx context.Context, key types.NamespacedName, uid types.UID) error
	InheritFromIMPS(ctx context.Context, key types.NamespacedName) error
}

// SecretReader reads the metadata of target Secrets from a cache. A NotFound
// means that the cache holds none: where only our own Secrets are cached, a
// foreign one may exist.
type SecretReader interface {
	Get(ctx context.Context, key types.NamespacedName) (*metav1.PartialObjectMetadata, error)
}

// Deps are what the controller needs. All are required.
type Deps struct {
	// Book and Board are shared with those who make grants.
	Book  *grant.Book
	Board *grant.Board
	// Scope tells which namespaces grants select.
	Scope   *scope.Scope
	Secrets SecretReader
	Writer  Writer
	// Rights tells where those on Secrets are.
	Rights  rights.Mode
	Metrics *metrics.Metrics
	Clock   clock.PassiveClock
}

// Controller keeps single Secrets.
type Controller struct {
	Deps

	queue    kube.Queue
	arrivals arrivals
	written  writeLog
}

// New returns a controller that does nothing until it is registered.
func New(d Deps) *Controller { return &Controller{Deps: d} }

var _ reconcile.Reconciler = (*Controller)(nil)

// Reconcile looks at the Secret of one namespace and name. An error means that
// it is worth another try soon.
func (c *Controller) Reconcile(ctx context.Context, request reconcile.Request) (ctrl.Result, error) {
	key := request.NamespacedName
	o, err := c.observe(ctx, key)
	if err != nil {
		return ctrl.Result{}, err
	}
	if o.Unreadable != nil {
		return c.unreadable(key, o)
	}
	p := decide(o)
	if p.Action == apply && c.written.ahead(key, p.Grant.Content.Hash, c.Clock.Now()) {
		// The cache has yet to see our own write; its event brings us back.
		return ctrl.Result{RequeueAfter: trustWrites}, nil
	}
	log.FromContext(ctx).V(1).Info("planned", "action", p.Action.String(), "why", p.Why)
	outcome, err := c.carryOut(ctx, key, p, o.Secret)
	c.report(key, o.Claims, p, outcome)
	return after(p, outcome), err
}

// unreadable tells whoever wants a Secret of which the API server does not let
// anything be known.
func (c *Controller) unreadable(key types.NamespacedName, o observation) (ctrl.Result, error) {
	outcome, err := c.outcome(key, o.Unreadable)
	p := plan{Action: wait}
	c.report(key, o.Claims, p, outcome)
	return after(p, outcome), err
}

// after returns when to look again without being asked to.
func after(p plan, outcome grant.Outcome) ctrl.Result {
	if outcome.State == grant.Failing || (p.Action == wait && p.Grant.Content != nil) {
		return ctrl.Result{RequeueAfter: revisit - time.Duration(rand.Int64N(int64(revisit/5)))}
	}
	return ctrl.Result{}
}

// observe reads what a plan depends on, from caches only.
func (c *Controller) observe(ctx context.Context, key types.NamespacedName) (observation, error) {
	o := observation{Key: key}
	namespace, err := c.Scope.Namespace(ctx, key.Namespace)
	if err != nil {
		return o, err
	}
	o.NamespaceActive = namespace != nil
	secret, err := c.Secrets.Get(ctx, key)
	switch {
	case err == nil:
		o.Secret = existingFrom(secret)
		c.written.saw(key, secret.ResourceVersion)
		o.Keeper = c.keeper(o.Secret)
	case rights.Missing(err):
		o.Unreadable = err
	case !apierrors.IsNotFound(err):
		return o, err
	}
	if !o.NamespaceActive {
		return o, nil
	}
	o.Claims, err = c.claims(ctx, key, namespace, o.Keeper)
	return o, err
}

func existingFrom(secret *metav1.PartialObjectMetadata) existing {
	return existing{
		Found: true, Terminating: !secret.DeletionTimestamp.IsZero(), Intact: kube.Intact(secret),
		UID: secret.UID, Labels: secret.Labels, Annotations: secret.Annotations, Owners: secret.OwnerReferences,
	}
}

func (c *Controller) keeper(secret existing) *grant.Grant {
	if !secret.ours() {
		return nil
	}
	return c.Book.ByUID(types.UID(secret.Labels[ownerUID]))
}

// claims returns the grants that want the Secret, the winner first. A keeper
// that can't follow its selectors keeps what it has.
func (c *Controller) claims(ctx context.Context, key types.NamespacedName, namespace *metav1.PartialObjectMetadata, keeper *grant.Grant) ([]*grant.Grant, error) {
	var claims []*grant.Grant
	for _, g := range c.Book.ForSecret(key) {
		selected, err := c.Scope.Selects(ctx, g, namespace)
		if err != nil {
			return nil, err
		}
		if selected || (g == keeper && g.Unsure) {
			claims = append(claims, g)
		}
	}
	return claims, nil
}

// carryOut does what the plan says and returns what became of the winner. The
// error, if any, is in the outcome too.
func (c *Controller) carryOut(ctx context.Context, key types.NamespacedName, p plan, secret existing) (grant.Outcome, error) {
	switch p.Action {
	case apply:
		return c.write(ctx, key, p)
	case remove:
		err := c.Writer.Delete(ctx, key, secret.UID)
		c.Metrics.Wrote("delete", metrics.ResultOf(err))
		outcome, err := c.outcome(key, err)
		if outcome.State == grant.Failing {
			log.FromContext(ctx).Info("a Secret that is not wanted any more stays", "reason", outcome.Reason, "message", outcome.Message)
		}
		return outcome, err
	case leave:
		if p.Current || (p.Grant != nil && p.Grant.Content != nil && secret.ours()) {
			return grant.Outcome{State: grant.Held, Hash: p.Grant.Content.Hash}, nil
		}
		return grant.Outcome{State: grant.Pending}, nil
	default:
		return grant.Outcome{State: grant.Pending}, nil
	}
}

// refresh puts the winner's logins into a Secret that stays its owner's.
func (c *Controller) refresh(ctx context.Context, key types.NamespacedName, g *grant.Grant) (string, error) {
	logins, _, err := dockerconfig.Parse(g.Content.DockerConfigJSON)
	if err != nil {
		return "", err
	}
	return c.Writer.Refresh(ctx, key, logins, g.Content.Hash)
}

// write applies the winner's Secret, by its conflict policy if need be.
func (c *Controller) write(ctx context.Context, key types.NamespacedName, p plan) (grant.Outcome, error) {
	if p.Grant.InPlace {
		version, err := c.refresh(ctx, key, p.Grant)
		return c.wrote(key, p.Grant, version, err)
	}
	if p.InheritFromIMPS {
		if err := c.Writer.InheritFromIMPS(ctx, key); err != nil {
			return c.outcome(key, err)
		}
	}
	version, err := c.Writer.Apply(ctx, desired(key, p.Grant), p.TakeOver)
	if otherType := errors.Is(err, kube.ErrOtherType); otherType || errors.Is(err, kube.ErrExists) {
		c.Metrics.Wrote("apply", "conflict")
		var refused string
		version, refused, err = c.settle(ctx, key, p.Grant, otherType)
		if refused != "" {
			return grant.Outcome{State: grant.Failing, Reason: conflict, Message: refused}, nil
		}
	}
	return c.wrote(key, p.Grant, version, err)
}

// wrote notes a write of g's Secret, which made a resource version or failed.
func (c *Controller) wrote(key types.NamespacedName, g *grant.Grant, version string, err error) (grant.Outcome, error) {
	c.Metrics.Wrote("apply", metrics.ResultOf(err))
	if err != nil {
		return c.outcome(key, err)
	}
	c.written.wrote(key, g.Content.Hash, version, c.Clock.Now())
	if came := c.arrivals.take(key.Namespace); !came.IsZero() {
		c.Metrics.Propagated(c.Clock.Since(came))
	}
	return grant.Outcome{State: grant.Held, Hash: g.Content.Hash}, nil
}

// settle deals with a Secret that exists and may be someone else's, by g's
// conflict policy. otherType tells that it is known to be of another type.
// refused says why it was left alone, if it was.
func (c *Controller) settle(ctx context.Context, key types.NamespacedName, g *grant.Grant, otherType bool) (version, refused string, err error) {
	secret, err := c.Writer.Get(ctx, key)
	if apierrors.IsNotFound(err) {
		// To be tried again, unlike what a NotFound means for a namespace.
		return "", "", errors.New("the Secret that was in the way went away just now")
	}
	if err != nil {
		return "", "", err
	}
	verdict := resolve(key, g, existingFrom(secret), otherType)
	switch {
	case verdict.Replace:
		if err := c.Writer.Delete(ctx, key, secret.UID); err != nil {
			return "", "", err
		}
	case !verdict.TakeOver:
		return "", verdict.Message, nil
	}
	version, err = c.Writer.Apply(ctx, desired(key, g), verdict.TakeOver)
	if errors.Is(err, kube.ErrOtherType) && !otherType {
		// Metadata does not tell a Secret's type; the attempt to write does.
		return c.settle(ctx, key, g, true)
	}
	return version, "", err
}

// report tells the board what became of everyone who wants this Secret.
func (c *Controller) report(key types.NamespacedName, claims []*grant.Grant, p plan, outcome grant.Outcome) {
	claiming := make(map[string]bool, len(claims))
	for i, g := range claims {
		claiming[g.Name] = true
		if i > 0 {
			c.Board.Record(g.Name, key.Namespace, providedByOther(key, claims[0], g))
			continue
		}
		// An attempt that was put off does not make a Secret go away.
		if outcome.State != grant.Pending || !c.Board.Holds(g.Name, key.Namespace) {
			c.Board.Record(g.Name, key.Namespace, outcome)
		}
	}
	for _, g := range c.Book.ForSecret(key) {
		if !claiming[g.Name] {
			c.Board.Forget(g.Name, key.Namespace)
		}
	}
	if p.Action == leave && len(claims) == 0 {
		c.arrivals.take(key.Namespace)
	}
}

// namespaceEnding tells whether a write failed since its namespace is going.
func namespaceEnding(err error) bool {
	return apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) || apierrors.IsNotFound(err)
}
