// Package controllers puts the controllers together and on a manager.
package controllers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/controllers/annotatedaccount"
	"github.com/imagepullsecrets/operator/controllers/annotatedsecret"
	"github.com/imagepullsecrets/operator/controllers/imagepullsecret"
	"github.com/imagepullsecrets/operator/controllers/order"
	"github.com/imagepullsecrets/operator/controllers/podrecovery"
	"github.com/imagepullsecrets/operator/controllers/serviceaccount"
	"github.com/imagepullsecrets/operator/controllers/standing"
	"github.com/imagepullsecrets/operator/controllers/target"
	"github.com/imagepullsecrets/operator/internal/credentials"
	"github.com/imagepullsecrets/operator/internal/grant"
	"github.com/imagepullsecrets/operator/internal/kube"
	"github.com/imagepullsecrets/operator/internal/metrics"
	"github.com/imagepullsecrets/operator/internal/rights"
	"github.com/imagepullsecrets/operator/internal/scope"
	"github.com/imagepullsecrets/operator/providers"
	"github.com/imagepullsecrets/operator/providers/registry"
)

// Config is what a person may set about the controllers.
type Config struct {
	// Standing returns the one order there is, in place of those that come from
	// the cluster, and Changed, if not nil, is sent to when it is another one.
	// Without it orders come from the cluster.
	Standing func() *order.Order
	Changed  <-chan struct{}
	// OnlyNamespace is the only one where Secrets are kept, which is taken to be
	// there; "" for all.
	OnlyNamespace string
	// Within are the only namespaces where the operator has rights and does
	// anything, but for reading what orders need; empty for all.
	Within []string
	// Once is called when everything that is asked for was done once, with what
	// failed; nil if the controllers go on.
	Once func(failures []string)
	// ForgetLeases keeps leases in memory only, so that no right is needed.
	ForgetLeases bool
	// Namespace is the operator's own; its leases are kept there.
	Namespace string
	// TargetNames are the only names of Secrets that are kept; empty for any.
	TargetNames []string
	// PodSelectors allows namespaces to be selected by their Pods, and for
	// PodGrace after the last of these has left.
	PodSelectors bool
	PodGrace     time.Duration
	// ServiceAccounts allows Secrets to be attached to ServiceAccounts.
	ServiceAccounts bool
	// AnnotatedAccounts lets annotated ServiceAccounts ask for logins. It takes
	// ServiceAccounts.
	AnnotatedAccounts bool
	// AnnotatedSecrets says which Secrets may ask for a login to be kept in
	// them.
	AnnotatedSecrets annotatedsecret.Config
	// PodRecovery evicts Pods that came too early for a Secret; PodInjection
	// says that new ones get the Secrets' names, so that this helps.
	PodRecovery, PodInjection bool
	// ResyncInterval is how often everything is looked at without a cause.
	ResyncInterval time.Duration
	// TargetWorkers is how many Secrets, and how many ServiceAccounts, are
	// written at a time.
	TargetWorkers int
	// Schedule says when short-lived logins are renewed.
	Schedule credentials.Schedule
	// Ambient are the clouds where the operator's own identity may be used by
	// sources that name no other; see registry.Options.
	Ambient []string
}

// orders is what the controller of orders needs of it.
func (c Config) orders() order.Config {
	return order.Config{
		TargetNames: c.TargetNames, PodSelectors: c.PodSelectors, ServiceAccounts: c.ServiceAccounts,
		Rights: c.rights(), ResyncInterval: c.ResyncInterval,
	}
}

// places are the namespaces in each of which objects are watched by themselves;
// "" stands for all of them at once.
func (c Config) places() []string {
	if len(c.Within) > 0 {
		return c.Within
	}
	return []string{c.OnlyNamespace}
}

// rights tells where the operator's rights are.
func (c Config) rights() rights.Mode {
	return rights.Mode{Namespaces: len(c.Within) > 0, Names: len(c.TargetNames) > 0}
}

// orderWorkers is how many orders are looked at at a time. Nothing
// there waits for a network, except for the API server's answer to a status.
const orderWorkers = 4

// Retries of a Secret or a ServiceAccount that could not be written.
const (
	firstRetry   = 100 * time.Millisecond
	longestRetry = time.Minute
)

// parts are the controllers and what they share. Those that depend on one
// another in a circle find each other here.
type parts struct {
	mgr      manager.Manager
	config   Config
	core     corev1client.CoreV1Interface
	secrets  targetCaches
	book     *grant.Book
	measured *metrics.Metrics
	watchdog *watchdog

	scope       *scope.Scope
	targets     *target.Controller
	attachments *serviceaccount.Controller
	accounts    *annotatedaccount.Door // nil if there is to be none
	annotated   *annotatedsecret.Door  // nil if there is to be none
	orders      *order.Controller
}

// Add puts every controller on mgr, whose cache must have the shape of
// CacheOptions. /healthz then fails while a worker is stuck, and /readyz until
// all caches are in sync.
func Add(mgr manager.Manager, config Config) error {
	core, err := corev1client.NewForConfigAndClient(mgr.GetConfig(), mgr.GetHTTPClient())
	if err != nil {
		return fmt.Errorf("making a client for Secrets: %w", err)
	}
	secrets, err := newTargetCaches(mgr, config)
	if err != nil {
		return fmt.Errorf("making caches for target Secrets: %w", err)
	}
	p := &parts{
		mgr: mgr, config: config, core: core, secrets: secrets, book: &grant.Book{},
		measured: metrics.New(ctrlmetrics.Registry), watchdog: newWatchdog(clock.RealClock{}),
	}
	p.scope = p.newScope()
	outcomeChanged := func(name string) { p.orders.OutcomeChanged(name) }
	board, accountBoard := grant.NewBoard(outcomeChanged), grant.NewBoard(outcomeChanged)
	writer := kube.NewTargets(core, mgr.GetAPIReader())
	p.targets = target.New(target.Deps{
		Book: p.book, Board: board, Scope: p.scope, Secrets: secrets, Writer: writer,
		Rights: config.rights(), Metrics: p.measured, Clock: clock.RealClock{},
	})
	p.attachments = p.newAttachments(accountBoard)
	p.addDoors()
	sources := kube.NewSecretWatches(core, func(ref types.NamespacedName) { p.orders.SecretChanged(ref) })
	accounts := kube.NewServiceAccountWatches(core, func(ref types.NamespacedName) { p.orders.AccountChanged(ref) })
	leases := newLeases(mgr, core, config, p.measured, func(key string) { p.orders.LeaseChanged(key) })
	p.orders = order.New(order.Deps{
		Doors: p.doors(), Book: p.book, Board: board, AccountBoard: accountBoard,
		Secrets: sources, Accounts: accounts, Leases: leases,
		Targets: p.targets, Attachments: p.attachments, Scope: p.scope, Owned: secrets, Written: writer,
		Interpret: registry.New(registry.Options{Ambient: config.Ambient, GuessTypes: config.Standing != nil}).Source,
		Metrics:   p.measured, Clock: clock.RealClock{},
		Config: config.orders(),
	})
	return errors.Join(
		mgr.Add(sources), mgr.Add(accounts), mgr.Add(leases),
		p.addOrders(), p.addTargets(), p.addAttachments(), p.addRecovery(board), p.addOnce(),
		mgr.AddHealthzCheck("workers", p.watchdog.check),
		mgr.AddReadyzCheck("caches", inSync(append(secrets.each(), mgr.GetCache()))),
	)
}

// newScope returns what knows which namespaces grants select, and tells
// everyone who carries them out.
func (p *parts) newScope() *scope.Scope {
	var namespaces client.Reader = p.mgr.GetCache()
	if p.config.OnlyNamespace != "" {
		namespaces = taken{}
	}
	return scope.New(scope.Deps{
		Book: p.book, Namespaces: namespaces, Stands: p.secrets.Stands,
		Within: p.config.Within, NewPods: p.inPlaces(newPodCache),
		Changed: func(change scope.Change) {
			p.targets.SelectionChanged(change)
			p.attachments.SelectionChanged(change)
		},
		OutOfReachChanged: func(grant string) { p.orders.OutcomeChanged(grant) },
		Grace:             p.config.PodGrace, Clock: clock.RealClock{},
	})
}

// newAttachments returns the controller of ServiceAccounts.
func (p *parts) newAttachments(board *grant.Board) *serviceaccount.Controller {
	return serviceaccount.New(serviceaccount.Deps{
		Book: p.book, Prime: func(ctx context.Context) error { return p.orders.Prime(ctx) }, Board: board,
		Scope: p.scope, Secrets: p.secrets, Writer: kube.NewServiceAccounts(p.core),
		NewAccounts: p.inPlaces(newAccountCache), Live: p.mgr.GetAPIReader(),
		Within: p.config.Within, Rights: p.config.rights(),
		Recorder: p.recorder(), Metrics: p.measured, Clock: clock.RealClock{},
		ResyncInterval: p.config.ResyncInterval, TargetNames: p.config.TargetNames,
	})
}

func (p *parts) recorder() events.EventRecorder { return p.mgr.GetEventRecorder(v1alpha1.FieldManager) }

// addDoors makes the doors that are switches.
func (p *parts) addDoors() {
	wake := func(names ...string) { p.orders.Wake(names...) }
	if p.config.AnnotatedAccounts {
		p.accounts = annotatedaccount.New(p.attachments, p.secrets, p.recorder(), wake)
		p.attachments.Handlers = append(p.attachments.Handlers, p.accounts)
	}
	if len(p.config.AnnotatedSecrets.Names) > 0 {
		p.annotated = annotatedsecret.New(p.config.AnnotatedSecrets, p.secrets, p.recorder(), wake)
	}
}

// doors are all doors, those that may not know their orders from the start last.
func (p *parts) doors() []order.Door {
	if p.config.Standing != nil {
		return []order.Door{standing.New(p.config.Standing)}
	}
	doors := []order.Door{imagepullsecret.New(p.mgr.GetClient(), p.recorder())}
	if p.annotated != nil {
		doors = append(doors, p.annotated)
	}
	if p.accounts != nil {
		doors = append(doors, p.accounts)
	}
	return doors
}

// newLeases returns the store of short-lived logins. For changed see
// credentials.Options.
func newLeases(mgr manager.Manager, core corev1client.CoreV1Interface, config Config, measured *metrics.Metrics, changed func(key string)) *credentials.Store {
	var persister credentials.Persister = kube.NewLeases(core.Secrets(config.Namespace))
	if config.ForgetLeases {
		persister = credentials.Memory{}
	}
	return credentials.NewStore(credentials.Options{
		Persister: persister,
		Clock:     clock.RealClock{}, Metrics: measured, Log: mgr.GetLogger().WithName("leases"),
		Env:      providers.Env{Token: kube.NewTokens(core, mgr.GetConfig()).Mint},
		Schedule: config.Schedule, KeepValid: max(24*time.Hour, 2*config.ResyncInterval),
		Changed: changed,
	})
}

// addOrders runs the controller of orders.
func (p *parts) addOrders() error {
	build := ctrl.NewControllerManagedBy(p.mgr).
		Named("order").
		WatchesRawSource(source.Func(p.orders.Start)).
		WatchesRawSource(source.Func(p.secrets.Index)).
		WithOptions(controller.Options{MaxConcurrentReconciles: orderWorkers})
	if p.config.Standing == nil {
		build = build.For(&v1alpha1.ImagePullSecret{}, builder.WithPredicates(predicate.Funcs{UpdateFunc: imagepullsecret.Respecified}))
	} else if err := p.mgr.Add(manager.RunnableFunc(p.wakeStanding)); err != nil {
		return err
	}
	if p.annotated != nil {
		build = watchSecrets(build, p.secrets.named(p.config.AnnotatedSecrets.Names), p.annotated.SecretEvents())
	}
	if p.accounts != nil {
		build = watchSecrets(build, p.secrets.each(), p.accounts.SecretEvents())
		if err := p.mgr.Add(p.accounts); err != nil {
			return err
		}
	}
	return build.Complete(p.watchdog.watch(p.orders))
}

// wakeStanding looks at the one order at the start, and whenever it is another.
func (p *parts) wakeStanding(ctx context.Context) error {
	for {
		p.orders.Wake(p.config.Standing().Name())
		select {
		case <-ctx.Done():
			return nil
		case <-p.config.Changed:
		}
	}
}

// addTargets runs the controller of single Secrets.
func (p *parts) addTargets() error {
	build := ctrl.NewControllerManagedBy(p.mgr).
		Named("target").
		WatchesRawSource(source.Func(p.targets.Start)).
		WithOptions(writing(p.config.TargetWorkers))
	if p.config.OnlyNamespace == "" {
		build = build.WatchesMetadata(kube.NamespaceMetadata(), p.scope.NamespaceEvents())
	}
	return watchSecrets(build, p.secrets.each(), p.targets.SecretEvents()).Complete(p.watchdog.watch(p.targets))
}

// addAttachments runs the controller of ServiceAccounts, if there is to be one.
func (p *parts) addAttachments() error {
	if !p.config.ServiceAccounts {
		return nil
	}
	build := ctrl.NewControllerManagedBy(p.mgr).
		Named("serviceaccount").
		WatchesRawSource(source.Func(p.attachments.Take)).
		WithOptions(writing(p.config.TargetWorkers))
	build = watchSecrets(build, p.secrets.each(), p.attachments.SecretEvents())
	return errors.Join(p.mgr.Add(p.attachments), build.Complete(p.watchdog.watch(p.attachments)))
}

// watchSecrets brings what happens to Secrets in caches to a handler.
func watchSecrets(build *builder.Builder, secrets []cache.Cache, to handler.EventHandler) *builder.Builder {
	for _, from := range secrets {
		build = build.WatchesRawSource(source.Kind(from, client.Object(kube.SecretMetadata()), to))
	}
	return build
}

// writing are the options of a controller that writes with a number of workers.
func writing(workers int) controller.Options {
	return controller.Options{
		MaxConcurrentReconciles: workers,
		RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](firstRetry, longestRetry),
	}
}

// addRecovery runs the controller of Pods that can't pull, if it is wanted.
func (p *parts) addRecovery(board *grant.Board) error {
	if !p.config.PodRecovery {
		return nil
	}
	var recovery *podrecovery.Controller // woken by what it watches itself
	failures := kube.NewPullFailures(p.core, p.config.places(),
		func(pod types.NamespacedName) { recovery.Failed(pod) },
		func(ctx context.Context, namespace string, err error) { recovery.WatchRefused(ctx, namespace, err) })
	recovery = podrecovery.New(podrecovery.Deps{
		Book: p.book, Board: board, Scope: p.scope, Metrics: p.measured, Clock: clock.RealClock{},
		Pods: kube.NewPods(p.core), WatchFailures: failures.Watch,
		Injection: p.config.PodInjection, Recorder: p.recorder(), Rights: p.config.rights(),
	})
	p.book.Changed = recovery.GrantsChanged
	return errors.Join(p.mgr.Add(failures), ctrl.NewControllerManagedBy(p.mgr).
		Named("podrecovery").
		WatchesRawSource(source.Func(recovery.Start)).
		WithOptions(controller.Options{MaxConcurrentReconciles: 1}).
		Complete(p.watchdog.watch(recovery)))
}
