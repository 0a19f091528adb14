// Package controllers puts the controllers together and on a manager.
package controllers

import (
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/controllers/imagepullsecret"
	"github.com/imagepullsecrets/operator/controllers/order"
	"github.com/imagepullsecrets/operator/controllers/target"
	"github.com/imagepullsecrets/operator/internal/credentials"
	"github.com/imagepullsecrets/operator/internal/grant"
	"github.com/imagepullsecrets/operator/internal/kube"
	"github.com/imagepullsecrets/operator/internal/metrics"
	"github.com/imagepullsecrets/operator/internal/scope"
	"github.com/imagepullsecrets/operator/providers"
	"github.com/imagepullsecrets/operator/providers/registry"
)

// Config is what a person may set about the controllers.
type Config struct {
	// Namespace is the operator's own; its leases are kept there.
	Namespace string
	// TargetNames are the only names of Secrets that are kept; empty for any.
	TargetNames []string
	// PodSelectors allows namespaces to be selected by their Pods, and for
	// PodGrace after the last of these has left.
	PodSelectors bool
	PodGrace     time.Duration
	// ResyncInterval is how often everything is looked at without a cause.
	ResyncInterval time.Duration
	// TargetWorkers is how many Secrets are written at a time.
	TargetWorkers int
	// Schedule says when short-lived logins are renewed.
	Schedule credentials.Schedule
	// Ambient are the clouds where the operator's own identity may be used by
	// sources that name no other; see registry.Options.
	Ambient []string
}

// orders is what the controller of orders needs of it.
func (c Config) orders() order.Config {
	return order.Config{TargetNames: c.TargetNames, PodSelectors: c.PodSelectors, ResyncInterval: c.ResyncInterval}
}

// orderWorkers is how many orders are looked at at a time. Nothing
// there waits for a network, except for the API server's answer to a status.
const orderWorkers = 4

// Retries of a Secret that could not be written.
const (
	firstRetry   = 100 * time.Millisecond
	longestRetry = time.Minute
)

// Add puts every controller on mgr, whose cache must have the shape of
// CacheOptions. /healthz then fails while a worker is stuck, and /readyz until
// all caches are in sync.
func Add(mgr manager.Manager, config Config) error {
	core, err := corev1client.NewForConfigAndClient(mgr.GetConfig(), mgr.GetHTTPClient())
	if err != nil {
		return fmt.Errorf("making a client for Secrets: %w", err)
	}
	secrets, err := newTargetCaches(mgr, config.TargetNames)
	if err != nil {
		return fmt.Errorf("making caches for target Secrets: %w", err)
	}

	var orders *order.Controller // woken by what it depends on itself
	measured := metrics.New(ctrlmetrics.Registry)
	book := &grant.Book{}
	board := grant.NewBoard(func(name string) { orders.OutcomeChanged(name) })
	sources := kube.NewSecretWatches(core, func(ref types.NamespacedName) { orders.SecretChanged(ref) })
	accounts := kube.NewServiceAccountWatches(core, func(ref types.NamespacedName) { orders.AccountChanged(ref) })
	leases := newLeases(mgr, core, config, measured, func(key string) { orders.LeaseChanged(key) })
	writer := kube.NewTargets(core, mgr.GetAPIReader())
	var targets *target.Controller // woken by what it depends on itself
	selections := scope.New(scope.Deps{
		Book: book, Namespaces: mgr.GetCache(), Stands: secrets.Stands,
		NewPods: func() (cache.Cache, error) { return newPodCache(mgr) },
		Changed: func(change scope.Change) { targets.SelectionChanged(change) },
		Grace:   config.PodGrace, Clock: clock.RealClock{},
	})
	targets = target.New(target.Deps{
		Book: book, Board: board, Scope: selections, Secrets: secrets, Writer: writer,
		Metrics: measured, Clock: clock.RealClock{},
	})
	orders = order.New(order.Deps{
		Doors: []order.Door{imagepullsecret.New(mgr.GetClient(), mgr.GetEventRecorder(v1alpha1.FieldManager))},
		Book:  book, Board: board, Secrets: sources, Accounts: accounts, Leases: leases,
		Targets: targets, Scope: selections, Owned: secrets, Written: writer,
		Interpret: registry.New(registry.Options{Ambient: config.Ambient}).Source,
		Metrics:   measured, Clock: clock.RealClock{},
		Config: config.orders(),
	})

	watchdog := newWatchdog(clock.RealClock{})
	return errors.Join(
		mgr.Add(sources), mgr.Add(accounts), mgr.Add(leases),
		addOrders(mgr, orders, watchdog),
		addTargets(mgr, targets, selections, secrets.each(), config.TargetWorkers, watchdog),
		mgr.AddHealthzCheck("workers", watchdog.check),
		mgr.AddReadyzCheck("caches", inSync(append(secrets.each(), mgr.GetCache()))),
	)
}

// newLeases returns the store of short-lived logins. For changed see
// credentials.Options.
func newLeases(mgr manager.Manager, core corev1client.CoreV1Interface, config Config, measured *metrics.Metrics, changed func(key string)) *credentials.Store {
	return credentials.NewStore(credentials.Options{
		Persister: kube.NewLeases(core.Secrets(config.Namespace)),
		Clock:     clock.RealClock{}, Metrics: measured, Log: mgr.GetLogger().WithName("leases"),
		Env:      providers.Env{Token: kube.NewTokens(core, mgr.GetConfig()).Mint},
		Schedule: config.Schedule, KeepValid: max(24*time.Hour, 2*config.ResyncInterval),
		Changed: changed,
	})
}

// addOrders runs the controller of orders.
func addOrders(mgr manager.Manager, orders *order.Controller, watchdog *watchdog) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("order").
		For(&v1alpha1.ImagePullSecret{}, builder.WithPredicates(predicate.Funcs{UpdateFunc: imagepullsecret.Respecified})).
		WatchesRawSource(source.Func(orders.Start)).
		WithOptions(controller.Options{MaxConcurrentReconciles: orderWorkers}).
		Complete(watchdog.watch(orders))
}

// addTargets runs the controller of single Secrets.
func addTargets(mgr manager.Manager, targets *target.Controller, selections *scope.Scope, secrets []cache.Cache, workers int, watchdog *watchdog) error {
	build := ctrl.NewControllerManagedBy(mgr).
		Named("target").
		WatchesRawSource(source.Func(targets.Start)).
		WatchesMetadata(kube.NamespaceMetadata(), selections.NamespaceEvents()).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: workers,
			RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](firstRetry, longestRetry),
		})
	for _, from := range secrets {
		build = build.WatchesRawSource(source.Kind(from, client.Object(kube.SecretMetadata()), targets.SecretEvents()))
	}
	return build.Complete(watchdog.watch(targets))
}
