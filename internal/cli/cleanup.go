package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/imagepullsecrets/operator/controllers/cleanup"
	"github.com/imagepullsecrets/operator/internal/kube"
	"github.com/imagepullsecrets/operator/internal/version"
)

// cleanupOptions are what a person may set about cleaning up.
type cleanupOptions struct {
	logging     loggingOptions
	cluster     clusterOptions
	namespace   string
	deployment  string
	targetNames []string
	namespaces  []string
	timeout     time.Duration
}

func newCleanupCommand() *cobra.Command {
	var options cleanupOptions
	command := &cobra.Command{
		Use:   "cleanup",
		Short: "Take away everything that the operator made, before it is uninstalled",
		Long: "cleanup deletes every ImagePullSecret, waits until their Secrets are gone, stops the operator, deletes the\n" +
			"Secrets that annotated ServiceAccounts asked for, takes the operator's entries out of ServiceAccounts, and\n" +
			"deletes the operator's own leases. Secrets whose deletionPolicy is Retain stay, with their entries, and so do\n" +
			"Secrets that asked for a login by an annotation of their own. It ends with 1, and says what is left, if\n" +
			"something is.",
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return options.run(command.Context(), command.ErrOrStderr())
		},
	}
	options.bindFlags(command.Flags())
	return command
}

func (o *cleanupOptions) bindFlags(flags *pflag.FlagSet) {
	o.logging.bindFlags(flags)
	o.cluster.bindFlags(flags)
	flags.StringVar(&o.namespace, "namespace", fromEnvironment("POD_NAMESPACE", defaultNamespace),
		"the operator's own namespace (environment: POD_NAMESPACE)")
	flags.StringVar(&o.deployment, "deployment", "imagepullsecret-operator", "the Deployment there that runs the operator")
	flags.StringSliceVar(&o.targetNames, "target-secret-names", nil,
		"the only names of Secrets that the operator kept; rights on these names are then enough (default: any name)")
	flags.StringSliceVar(&o.namespaces, "watch-namespaces", listed(os.Getenv("WATCH_NAMESPACE")),
		"the only namespaces where the operator worked; rights in these are then enough (default: all) (environment: WATCH_NAMESPACE)")
	flags.DurationVar(&o.timeout, "timeout", 4*time.Minute, "how long it may take")
}

// validate says what is wrong with the options, all of it.
func (o *cleanupOptions) validate() error {
	var errs []error
	for _, name := range o.targetNames {
		errs = append(errs, checkSecretName("target-secret-names", name))
	}
	errs = append(errs, checkNamespaces("watch-namespaces", o.namespaces))
	if o.timeout <= 0 {
		errs = append(errs, fmt.Errorf("--timeout must be more than 0, not %s", o.timeout))
	}
	if o.namespace == "" || o.deployment == "" {
		errs = append(errs, errors.New("--namespace and --deployment must not be empty"))
	}
	return errors.Join(errs...)
}

func (o *cleanupOptions) run(ctx context.Context, logs io.Writer) error {
	if err := o.validate(); err != nil {
		return err
	}
	logger, err := o.logging.start(logs)
	if err != nil {
		return err
	}
	logger.Info("cleaning up", "version", version.Version(), "namespace", o.namespace, "deployment", o.deployment)
	cleaner, err := o.cleaner()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(logr.NewContext(ctx, logger), o.timeout, fmt.Errorf("not done in %s (--timeout)", o.timeout))
	defer cancel()
	if err := cleaner.Clean(ctx); err != nil {
		return fmt.Errorf("cleaning up %w", err)
	}
	logger.Info("nothing is left")
	return nil
}

func (o *cleanupOptions) cleaner() (*cleanup.Cleaner, error) {
	config, err := o.cluster.restConfig()
	if err != nil {
		return nil, err
	}
	scheme := runtime.NewScheme()
	if err := errors.Join(corev1.AddToScheme(scheme), coordinationv1.AddToScheme(scheme)); err != nil {
		return nil, err
	}
	api, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("connecting to the cluster: %w", err)
	}
	core, err := corev1client.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("connecting to the cluster: %w", err)
	}
	return cleanup.New(cleanup.Deps{
		API: api, Accounts: kube.NewServiceAccounts(core), Clock: clock.RealClock{},
		Namespace: o.namespace, Deployment: o.deployment, Election: leaderElectionID,
		TargetNames: o.targetNames, Namespaces: o.namespaces,
	}), nil
}
