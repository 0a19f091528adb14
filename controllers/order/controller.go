// Package order turns what people ask for into grants: it reads the sources,
// obtains their credentials, tells those who carry grants out what to keep
// where, and sums up what became of it. In which way people ask, and how they
// are told, is a Door's business.
package order

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/internal/credentials"
	"github.com/imagepullsecrets/operator/internal/dockerconfig"
	"github.com/imagepullsecrets/operator/internal/grant"
	"github.com/imagepullsecrets/operator/internal/kube"
	"github.com/imagepullsecrets/operator/internal/metrics"
	"github.com/imagepullsecrets/operator/internal/rights"
	"github.com/imagepullsecrets/operator/providers"
)

// Watches are objects that sources need; kube.Watches says what each method
// does.
type Watches[T any] interface {
	Use(user string, refs []types.NamespacedName)
	UsersOf(ref types.NamespacedName) []string
	Get(ref types.NamespacedName) (T, error)
}

// Leases are credentials that providers gave; credentials.Store says what each
// method does.
type Leases interface {
	HashKey() []byte
	LoadError() error
	Lease(p providers.Provider) credentials.Lease
	Retry(key string)
}

// Targets carries grants out; target.Controller says what the method does.
type Targets interface {
	Enqueue(keys ...types.NamespacedName)
}

// Scope knows what grants select; scope.Scope says what each method does.
type Scope interface {
	Selected(ctx context.Context, g *grant.Grant) ([]string, error)
	OutOfReach(ctx context.Context, g *grant.Grant) ([]string, error)
	WatchPods(ctx context.Context, grant string, wanted bool) (known bool, err error)
}

// Attachments keeps the names of Secrets in ServiceAccounts;
// serviceaccount.Controller says what each method does.
type Attachments interface {
	Watch(ctx context.Context) error
	Refused(ctx context.Context, g *grant.Grant) error
	Bring(ctx context.Context, g *grant.Grant) error
	End(g *grant.Grant)
}

// OwnedSecrets finds Secrets that are kept for an object, in a cache.
type OwnedSecrets interface {
	OwnedBy(ctx context.Context, uid types.UID) ([]types.NamespacedName, error)
}

// WrittenSecrets reads what stands in a target Secret; kube.Targets says more.
type WrittenSecrets interface {
	Written(ctx context.Context, key types.NamespacedName) (document []byte, annotations map[string]string, err error)
}

// Deps are what the controller needs. All are required.
type Deps struct {
	// Doors are the ways in which orders come. Those that may not know their
	// orders from the start come last.
	Doors []Door
	Book  *grant.Book
	// Board is about namespaces, AccountBoard about ServiceAccounts.
	Board        *grant.Board
	AccountBoard *grant.Board
	// Secrets are the source Secrets, Accounts the ServiceAccounts whose
	// tokens are exchanged.
	Secrets     Watches[*corev1.Secret]
	Accounts    Watches[*corev1.ServiceAccount]
	Leases      Leases
	Targets     Targets
	Attachments Attachments
	Scope       Scope
	Owned       OwnedSecrets
	Written     WrittenSecrets
	// Interpret tells what a source amounts to, given the Secret and the
	// ServiceAccount that it names; the error says what is wrong with it and
	// holds no secret.
	Interpret func(v1alpha1.CredentialSource, *corev1.Secret, *corev1.ServiceAccount) (providers.Source, error)
	Metrics   *metrics.Metrics
	Clock     clock.PassiveClock
	Config    Config
}

// Config is what a person may set.
type Config struct {
	// TargetNames are the only names of Secrets that are kept; empty for any.
	TargetNames []string
	// PodSelectors allows namespaces to be selected by their Pods.
	PodSelectors bool
	// ServiceAccounts allows Secrets to be attached to ServiceAccounts.
	ServiceAccounts bool
	// Rights tells where the operator's rights are.
	Rights rights.Mode
	// ResyncInterval is how often everything is looked at without a cause.
	ResyncInterval time.Duration
}

// Controller turns orders into grants.
type Controller struct {
	Deps
	memory memory
	queue  kube.Queue

	priming sync.Mutex
	primed  int // how many of the Doors
}

// New returns a controller that does nothing until it is registered.
func New(d Deps) *Controller { return &Controller{Deps: d} }

var _ reconcile.Reconciler = (*Controller)(nil)

// Reconcile brings the grant and the status of one order, which the request
// names, up to date.
func (c *Controller) Reconcile(ctx context.Context, request reconcile.Request) (ctrl.Result, error) {
	if err := c.Prime(ctx); err != nil {
		return ctrl.Result{}, err
	}
	order, err := c.doorOf(request.Name).Order(ctx, request.Name)
	switch {
	case err != nil:
		return ctrl.Result{}, err
	case order == nil:
		return ctrl.Result{}, c.forget(ctx, request.Name)
	case order.Withdrawn:
		return c.withdraw(ctx, order)
	case order.Object.Spec.Suspend:
		return ctrl.Result{}, c.suspend(ctx, order)
	}
	return c.carryOn(ctx, order)
}

// carryOn brings an order that is in force up to date.
func (c *Controller) carryOn(ctx context.Context, order *Order) (ctrl.Result, error) {
	object := order.Object
	if before := c.Book.Get(object.Name); before != nil && before.UID != object.UID {
		// Another object of the same name has taken the place of an earlier one.
		if err := c.forget(ctx, object.Name); err != nil {
			return ctrl.Result{}, err
		}
	}
	a, next, err := c.advance(ctx, order)
	if err != nil {
		return ctrl.Result{}, err
	}
	c.measure(a)
	c.memory.conclude(object.Name, a.conclude())
	if settled := c.memory.settle(object.Name, (a.working() || a.renewing()) && a.LeaseProblem == ""); !settled && object.Status.ObservedGeneration == object.Generation {
		// The process has just begun: what an earlier one told is nearer the
		// truth than what is known so far.
		return ctrl.Result{RequeueAfter: next}, nil
	}
	return ctrl.Result{RequeueAfter: next}, c.report(ctx, order, a.status())
}

// Prime puts the grants of all orders in force, without content, before any of
// them is looked at by itself: otherwise the one that happens to be first
// would take Secrets over that an older one keeps, and what another one wants
// would be taken for what nobody does. Until then each is unsure.
func (c *Controller) Prime(ctx context.Context) error {
	c.priming.Lock()
	defer c.priming.Unlock()
	for c.primed < len(c.Doors) {
		orders, err := c.Doors[c.primed].Orders(ctx)
		if errors.Is(err, ErrNotYet) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, order := range orders {
			c.await(order)
		}
		c.primed++
	}
	return nil
}

// await puts an order's grant in force, without content, until it is looked at.
func (c *Controller) await(order *Order) {
	if c.Config.refusedName(order.Object.Spec.Target.Secret.Name) != "" || c.Book.Get(order.Name()) != nil {
		return
	}
	g, _ := translate(order, c.Config.PodSelectors)
	g.Unsure = true
	c.Book.Put(g)
}

// forget ends an order's grant. Its Secrets go by the garbage collector, or
// since another order of the same object does not want them; those that another
// grant wants too are looked at again.
func (c *Controller) forget(ctx context.Context, name string) error {
	ended := c.Book.Get(name)
	c.Book.Remove(name)
	c.use(name, nil)
	c.memory.forget(name)
	c.Metrics.Forget(name)
	namespaces := c.Board.Drop(name)
	if ended == nil {
		return nil
	}
	c.Targets.Enqueue(keys(namespaces, ended.SecretName)...)
	c.Attachments.End(ended)
	_, err := c.Scope.WatchPods(ctx, name, false)
	return err
}

// withdrawnCheck is when what was written for a withdrawn order is looked for
// again.
const withdrawnCheck = time.Minute

// withdraw has everything taken away that was written for an order's object,
// and forgets the order once nothing is left.
func (c *Controller) withdraw(ctx context.Context, order *Order) (ctrl.Result, error) {
	owned, err := c.Owned.OwnedBy(ctx, order.Object.UID)
	if err != nil {
		return ctrl.Result{}, err
	}
	if err := c.forget(ctx, order.Name()); err != nil || len(owned) == 0 {
		return ctrl.Result{}, err
	}
	// A grant that selects nothing: whoever looks at the Secrets sees that
	// they were kept for someone who is there and does not want them.
	c.Book.Put(&grant.Grant{Name: order.Name(), Asker: order.Asker, UID: order.Object.UID, Namespace: order.Namespace})
	c.Targets.Enqueue(owned...)
	return ctrl.Result{RequeueAfter: withdrawnCheck}, nil
}

// suspend leaves everything as it is.
func (c *Controller) suspend(ctx context.Context, order *Order) error {
	object := order.Object
	withPods, _ := c.watchPods(ctx, object)
	g, _ := translate(order, withPods)
	if before := c.Book.Get(object.Name); before != nil {
		g.Content = before.Content
	}
	c.Book.Put(g)
	c.use(object.Name, nil)
	c.memory.forget(object.Name)
	return c.report(ctx, order, suspended(object))
}

// advance obtains what can be obtained, puts the grant in force and says how
// things stand. next is when to look again without a cause.
func (c *Controller) advance(ctx context.Context, order *Order) (assessment, time.Duration, error) {
	object := order.Object
	a := assessment{Order: order, Now: c.Clock.Now(), LeaseProblem: leaseProblem(c.Leases.LoadError())}
	var err error
	if a.Credentials, err = c.obtain(ctx, order, a.Now); err != nil {
		return a, 0, err
	}
	a.Merged = merge(a.Credentials, a.Now)

	var withPods bool
	withPods, a.PodProblem = c.watchPods(ctx, object)
	g, problems := translate(order, withPods)
	a.TargetProblems = problems
	g.Unsure = len(problems) > 0 || a.PodProblem != ""
	a.Refused = c.Config.refusedName(g.SecretName)
	if err := c.letGo(ctx, g, a.Refused != ""); err != nil || a.Refused != "" {
		return a, c.next(a), err
	}
	g.Content = c.contentFor(g, a)
	a.HasContent = g.Content != nil
	c.Book.Put(g)
	if err := c.fanOut(ctx, object, g); err != nil {
		return a, 0, err
	}
	if a.OutOfReach, err = c.Scope.OutOfReach(ctx, g); err != nil {
		return a, 0, err
	}
	a.AccountProblem = c.watchAccounts(ctx, object, g)
	if err := c.Attachments.Bring(ctx, g); err != nil {
		return a, 0, err
	}
	hash := ""
	if g.Content != nil {
		hash = g.Content.Hash
	}
	a.Targets, a.Accounts = c.Board.Summary(g.Name, hash), c.AccountBoard.Summary(g.Name, "")
	return a, c.next(a), nil
}

// letGo has those Secrets looked at again that g's object asked for by another
// name before, or asks for in vain now.
func (c *Controller) letGo(ctx context.Context, g *grant.Grant, refused bool) error {
	before := c.Book.Get(g.Name)
	if before == nil || (before.SecretName == g.SecretName && !refused) {
		return nil
	}
	c.Book.Remove(g.Name)
	owned, err := c.Owned.OwnedBy(ctx, g.UID)
	if err != nil {
		return err
	}
	c.Targets.Enqueue(keys(c.Board.Drop(g.Name), before.SecretName)...)
	c.Targets.Enqueue(owned...)
	if refused {
		c.Attachments.End(before)
	}
	return nil
}

// obtain finds out about every credential of an order.
func (c *Controller) obtain(ctx context.Context, order *Order, now time.Time) ([]credential, error) {
	object, sources := order.Object, sourcesOf(order)
	if order.Invalid != "" {
		c.use(object.Name, nil)
		return []credential{invalidOrder(order)}, nil
	}
	c.use(object.Name, sources)
	// Whoever changes the spec of an object that fails wants to see it tried.
	respecified, key := c.memory.respecified(object), c.Leases.HashKey()
	var leaseKeys []string
	all := make([]credential, len(sources))
	for i, s := range sources {
		found, leaseKey := c.obtainOne(order, s, respecified, now)
		if leaseKey != "" {
			leaseKeys = append(leaseKeys, leaseKey)
		}
		last, known := c.memory.last(object.Name, s.ID)
		switch {
		case known || len(found.Logins) > 0:
		case key == nil:
			found = found.stillTold(object, now)
		case found.missed():
			var err error
			if last, err = c.recall(ctx, order, found, key, now); err != nil {
				return nil, err
			}
		}
		all[i] = keepLast(found, last, now)
	}
	if key != nil { // until then nothing is written, and nothing was recalled
		c.memory.remember(object.Name, all, leaseKeys)
	}
	return all, nil
}

// use watches what an object's sources need, and nothing else for it.
func (c *Controller) use(name string, sources []source) {
	c.Secrets.Use(name, secretsOf(sources))
	c.Accounts.Use(name, accountsOf(sources))
}

// readBack is how many Secrets are read at most to find one that is as it was
// written. None is where the spec has changed meanwhile.
const readBack = 100

// recall finds out, after a restart, what a source gave that gives nothing now:
// the status tells for which registries, and a Secret that was written holds
// the logins. key is that of the hashes by which such a Secret is known: whoever
// may write Secrets in some namespace can put other logins into one.
func (c *Controller) recall(ctx context.Context, order *Order, found credential, key []byte, now time.Time) (credential, error) {
	told, ok := toldOf(order.Object, found.Source, now)
	if !ok {
		return credential{}, nil
	}
	owned, err := c.Owned.OwnedBy(ctx, order.Object.UID)
	if err != nil {
		return credential{}, err
	}
	for _, place := range owned[:min(len(owned), readBack)] {
		document, annotations, err := c.Written.Written(ctx, place)
		if client.IgnoreNotFound(err) != nil {
			// Without it a login might be taken away; it is tried again.
			return credential{}, fmt.Errorf("reading back from Secret %s the logins of %s, which fails: %w", place, found.name(), err)
		}
		if err == nil && genuine(order, document, annotations, key) {
			written, _, err := dockerconfig.Parse(document)
			return recalled(found.Source, told, written), err
		}
	}
	return credential{}, nil
}

// obtainOne finds out about one credential of an order, whose spec may be new.
// leaseKey is that of its lease, if it has one.
func (c *Controller) obtainOne(order *Order, s source, respecified bool, now time.Time) (found credential, leaseKey string) {
	var err error
	secret, account := order.Secret, order.Account
	if s.Secret != nil {
		if secret, err = c.Secrets.Get(*s.Secret); err != nil {
			return unread(s, "Secret", *s.Secret, err), ""
		}
	}
	if s.Account != nil {
		if account, err = c.Accounts.Get(*s.Account); err != nil {
			return unread(s, "ServiceAccount", *s.Account, err), ""
		}
	}
	meant, err := c.Interpret(s.Entry, secret, account)
	if err != nil {
		return invalid(s, err), ""
	}
	if meant.Provider == nil {
		return static(s, meant), ""
	}
	leaseKey = meant.Provider.Key()
	c.memory.use(order.Name(), leaseKey)
	if respecified {
		c.Leases.Retry(leaseKey)
	}
	return leased(s, meant, c.Leases.Lease(meant.Provider), now), leaseKey
}

// contentFor decides what g's Secrets are to hold: what the credentials amount
// to if that is known, and what was decided before if it is not, unless those
// were logins of sources that the object does not name any more.
func (c *Controller) contentFor(g *grant.Grant, a assessment) *grant.Content {
	key, ids, m := c.Leases.HashKey(), idsOf(sourcesOf(a.Order)), a.Merged
	before := c.Book.Get(g.Name)
	named := func(id string) bool { return slices.Contains(ids, id) }
	switch {
	case key == nil:
		return nil
	case !m.Wait && m.Document != nil && m.TooLarge == "":
		if at := a.expiresAt(); at != nil {
			annotateExpiry(g, a.Order, at.UTC().Format(time.RFC3339))
		}
		return content(g, m.Document, key, ids)
	case before == nil || before.Content == nil || before.UID != g.UID || !all(before.Content.Sources, named):
		return nil
	default:
		// The rest of the Secret may have changed all the same.
		annotateExpiry(g, a.Order, before.Annotations[a.Order.ExpiryAnnotation])
		return content(g, before.Content.DockerConfigJSON, key, before.Content.Sources)
	}
}

// all tells whether is holds for each of the ids.
func all(ids []string, is func(string) bool) bool {
	return !slices.ContainsFunc(ids, func(id string) bool { return !is(id) })
}

// watchPods sees to it that Pods are watched while an object has rules for
// them. It returns whether such rules can be followed, and why they can't be,
// everywhere or somewhere.
func (c *Controller) watchPods(ctx context.Context, object *v1alpha1.ImagePullSecret) (known bool, problem string) {
	rules := object.Spec.Target.NamespacesWithPods
	wanted := len(rules.Labels)+len(rules.Annotations) > 0
	if wanted && !c.Config.PodSelectors {
		return false, "spec.target.namespacesWithPods is not evaluated: this operator runs with --pod-selectors=false (chart: podSelectors.enabled)"
	}
	known, err := c.Scope.WatchPods(ctx, object.Name, wanted)
	switch {
	case err == nil:
		return known, ""
	case known:
		return true, fmt.Sprintf("spec.target.namespacesWithPods is not evaluated everywhere: %v", err)
	default:
		return false, fmt.Sprintf("spec.target.namespacesWithPods is not evaluated: %v", err)
	}
}

// watchAccounts sees to it that ServiceAccounts are watched once an object, whose
// grant is g, has rules for them. It returns why such rules can't be followed, if
// there are any.
func (c *Controller) watchAccounts(ctx context.Context, object *v1alpha1.ImagePullSecret, g *grant.Grant) problem {
	rules := object.Spec.Target.ServiceAccounts
	if len(rules.Names)+len(rules.Labels) == 0 {
		return problem{}
	}
	if !c.Config.ServiceAccounts {
		return problem{v1alpha1.ReasonInvalidSelector,
			"spec.target.serviceAccounts is not evaluated: this operator runs with --service-accounts=false (chart: serviceAccounts.enabled)"}
	}
	err, where := c.Attachments.Watch(ctx), ""
	if err == nil {
		err, where = c.Attachments.Refused(ctx, g), " everywhere"
	}
	switch {
	case err == nil:
		return problem{}
	case rights.Missing(err):
		return problem{v1alpha1.ReasonAttachForbidden, fmt.Sprintf("spec.target.serviceAccounts is not evaluated%s: %v", where, err)}
	default:
		return problem{v1alpha1.ReasonInvalidSelector, fmt.Sprintf("spec.target.serviceAccounts is not evaluated%s: %v", where, err)}
	}
}

// fanOut brings the grant to all namespaces that it concerns, if it is not
// the one that was brought there last.
func (c *Controller) fanOut(ctx context.Context, object *v1alpha1.ImagePullSecret, g *grant.Grant) error {
	now := c.Clock.Now()
	state := stateOf(object, g)
	if c.memory.isOut(g.Name, state, now.Add(-c.Config.ResyncInterval)) {
		return nil
	}
	selected, err := c.Scope.Selected(ctx, g)
	if err != nil {
		return err
	}
	owned, err := c.Owned.OwnedBy(ctx, g.UID)
	if err != nil {
		return err
	}
	dropped := c.Board.Select(g.Name, selected)
	c.Targets.Enqueue(keys(append(selected, dropped...), g.SecretName)...)
	c.Targets.Enqueue(owned...)
	c.memory.bringOut(g.Name, state, now)
	return nil
}

func keys(namespaces []string, secretName string) []types.NamespacedName {
	keys := make([]types.NamespacedName, len(namespaces))
	for i, namespace := range namespaces {
		keys[i] = types.NamespacedName{Namespace: namespace, Name: secretName}
	}
	return keys
}

// watchRetry is the wait before Pods or ServiceAccounts are tried to be watched
// again.
const watchRetry = time.Minute

// next is when something is due that no event tells of.
func (c *Controller) next(a assessment) time.Duration {
	wait := c.Config.ResyncInterval
	if a.PodProblem != "" || a.AccountProblem.Reason != "" {
		wait = watchRetry // no event tells when they may be watched
	}
	for _, at := range append(dueTimes(a.Credentials, a.Now), a.Merged.Until) {
		if at.After(a.Now) {
			wait = min(wait, at.Sub(a.Now))
		}
	}
	return wait
}

// exchangeCheck is when an exchange that is under way is looked at again, should
// nobody tell of its end.
const exchangeCheck = 30 * time.Second

// dueTimes are the exchanges and expiries ahead.
func dueTimes(all []credential, now time.Time) []time.Time {
	var times []time.Time
	for _, c := range all {
		times = append(times, c.NextExchange, c.ExpiresAt)
		if c.Exchanging {
			times = append(times, now.Add(exchangeCheck))
		}
	}
	return times
}

// report has the status told if it changed.
func (c *Controller) report(ctx context.Context, order *Order, status v1alpha1.ImagePullSecretStatus) error {
	if equality.Semantic.DeepEqual(order.Object.Status, status) {
		return nil
	}
	return c.doorOf(order.Name()).Report(ctx, order, status)
}

// measure sets the object's metrics. Orders of a door with a prefix have none of
// their own: they are as many as people annotate objects.
func (c *Controller) measure(a assessment) {
	if c.doorOf(a.Order.Name()).Prefix() != "" {
		return
	}
	var measured []metrics.Credential
	for _, credential := range a.Credentials {
		if !credential.ExpiresAt.IsZero() {
			measured = append(measured, metrics.Credential{
				Name: credential.name(), Provider: credential.Provider,
				ExpiresAt: credential.ExpiresAt, Renewed: credential.IssuedAt,
			})
		}
	}
	c.Metrics.SetCredentials(a.Order.Object.Name, measured)
	t := a.Targets
	c.Metrics.SetTargets(a.Order.Object.Name, t.Ready, t.Failing, t.Selected-t.Ready-t.Failing)
}
