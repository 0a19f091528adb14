package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/controllers"
)

// processOptions say how a process of the operator runs, whatever it does.
type processOptions struct {
	cluster                 clusterOptions
	metricsAddress          string
	probeAddress            string
	leaderElection          bool
	leaderElectionNamespace string

	once        bool
	onceTimeout time.Duration
}

func (o *processOptions) bindFlags(flags *pflag.FlagSet) {
	o.bindAddresses(flags)
	flags.BoolVar(&o.leaderElection, "leader-elect", false, "let one of several running instances do the work")
	flags.StringVar(&o.leaderElectionNamespace, "leader-election-namespace", "",
		"where instances compete for leadership (default: the operator's own namespace)")
}

// bindAddresses binds what a process that does not compete with others needs:
// where the cluster is, and where it serves itself.
func (o *processOptions) bindAddresses(flags *pflag.FlagSet) {
	o.cluster.bindFlags(flags)
	flags.StringVar(&o.metricsAddress, "metrics-bind-address", ":8080", "where to serve metrics over HTTP; 0 for nowhere")
	flags.StringVar(&o.probeAddress, "health-probe-bind-address", ":8081", "where to serve /healthz and /readyz; 0 for nowhere")
}

// validate says what is wrong with the options.
func (o *processOptions) validate() []error {
	if o.once && o.onceTimeout <= 0 {
		return []error{fmt.Errorf("--once-timeout must be more than 0, not %s", o.onceTimeout)}
	}
	return nil
}

// run runs controllers until ctx ends, or until everything was done once if that
// is wanted. namespace is the operator's own.
func (o *processOptions) run(ctx context.Context, namespace string, configured controllers.Config) error {
	saveMemory()
	restConfig, err := o.cluster.restConfig()
	if err != nil {
		return err
	}
	mgr, err := o.newManager(restConfig, namespace)
	if err != nil {
		return err
	}
	if o.once {
		return o.runOnce(ctx, mgr, configured)
	}
	return start(ctx, mgr, configured)
}

func start(ctx context.Context, mgr manager.Manager, configured controllers.Config) error {
	if err := controllers.Add(mgr, configured); err != nil {
		return err
	}
	if err := mgr.Start(ctx); err != nil {
		return fmt.Errorf("running the operator: %w", err)
	}
	return nil
}

// runOnce runs controllers until everything was done once. The error says what
// failed, or that there was too little time.
func (o *processOptions) runOnce(ctx context.Context, mgr manager.Manager, configured controllers.Config) error {
	inTime, cancel := context.WithTimeout(ctx, o.onceTimeout)
	defer cancel()
	var failed error
	done := false
	configured.Once = func(failures []string) {
		if done = true; len(failures) > 0 {
			failed = errors.New(strings.Join(failures, "; "))
		}
		cancel()
	}
	err := start(inTime, mgr, configured)
	switch {
	case err != nil:
		return err
	case !done && ctx.Err() == nil:
		return fmt.Errorf("not everything was done in %s (--once-timeout)", o.onceTimeout)
	default:
		return failed
	}
}

// saveMemory has garbage collected earlier than by default: the heap is small
// and the processor idle, so that memory is what the operator costs.
func saveMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(40)
	}
}

func (o *processOptions) newManager(restConfig *rest.Config, namespace string) (manager.Manager, error) {
	scheme := runtime.NewScheme()
	if err := errors.Join(v1alpha1.AddToScheme(scheme), corev1.AddToScheme(scheme)); err != nil {
		return nil, err
	}
	electionNamespace := o.leaderElectionNamespace
	if electionNamespace == "" {
		electionNamespace = namespace
	}
	mgr, err := ctrl.NewManager(restConfig, ctrl.Options{
		Scheme:                        scheme,
		Cache:                         controllers.CacheOptions(),
		Metrics:                       metricsserver.Options{BindAddress: o.metricsAddress},
		HealthProbeBindAddress:        o.probeAddress,
		LeaderElection:                o.leaderElection,
		LeaderElectionID:              leaderElectionID,
		LeaderElectionNamespace:       electionNamespace,
		LeaderElectionReleaseOnCancel: true, // the process ends when the manager does
	})
	if err != nil {
		return nil, fmt.Errorf("connecting to the cluster: %w", err)
	}
	return mgr, nil
}
