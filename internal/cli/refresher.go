package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/types"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/controllers"
	"github.com/imagepullsecrets/operator/controllers/order"
	"github.com/imagepullsecrets/operator/internal/credentials"
	"github.com/imagepullsecrets/operator/internal/version"
)

// refresherOptions are those of IMPS's refresher.
type refresherOptions struct {
	logging loggingOptions
	process processOptions

	sources []string
	target  string
	resync  seconds
}

func newRefresherCommand() *cobra.Command {
	options := refresherOptions{resync: seconds(10 * time.Hour), process: processOptions{onceTimeout: 10 * time.Minute}}
	command := &cobra.Command{
		Use:   "refresher",
		Short: "Keep one Secret with the logins of others, without a CRD",
		Long: "refresher does what IMPS's refresher did: it keeps one Secret with the logins of one or more source\n" +
			"Secrets. It needs rights on these Secrets only: get, list and watch on the sources, and on the target\n" +
			"create, patch and delete besides.",
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return options.run(command.Context(), command.ErrOrStderr())
		},
	}
	options.bindFlags(command.Flags())
	return command
}

func (o *refresherOptions) bindFlags(flags *pflag.FlagSet) {
	o.logging.bindFlags(flags)
	flags.StringArrayVar(&o.sources, "source-secret", nil, "a source Secret, as <namespace>.<name> (repeatable)")
	flags.StringVar(&o.target, "target-secret", "", "the Secret that is kept, as <namespace>.<name>")
	o.process.bindAddresses(flags)
	flags.Var(&o.resync, "resync-interval", "how often everything is looked at without a cause: a duration, or a number of seconds")
	flags.BoolVar(&o.process.once, "once", false, "do everything once and exit, with 1 if something failed")
	flags.DurationVar(&o.process.onceTimeout, "once-timeout", o.process.onceTimeout, "with --once, how long that may take")
	flags.SetNormalizeFunc(withOlderNames)
}

// parseDotted reads <namespace>.<name>. A namespace has no dots, a name may.
func parseDotted(flag, text string) (types.NamespacedName, error) {
	namespace, name, found := strings.Cut(text, ".")
	if !found || namespace == "" {
		return types.NamespacedName{}, fmt.Errorf("--%s must be <namespace>.<name>, not %q", flag, text)
	}
	return types.NamespacedName{Namespace: namespace, Name: name}, checkSecretName(flag, name)
}

// order is what the options ask for. The error says what is wrong with them, all
// of it.
func (o *refresherOptions) order() (*order.Order, error) {
	var spec v1alpha1.ImagePullSecretSpec
	target, err := parseDotted("target-secret", o.target)
	errs := append(o.process.validate(), err)
	for _, text := range o.sources {
		source, err := parseDotted("source-secret", text)
		errs = append(errs, err)
		if err == nil && source == target {
			errs = append(errs, fmt.Errorf("--source-secret: %s is the target itself", text))
		}
		spec.Registry.Credentials = append(spec.Registry.Credentials, v1alpha1.CredentialSource{Namespace: source.Namespace, Name: source.Name})
	}
	if len(o.sources) == 0 {
		errs = append(errs, errors.New("--source-secret is missing: name at least one"))
	}
	spec.Target = v1alpha1.TargetConfig{
		Secret: v1alpha1.TargetSecretConfig{Name: target.Name}, ConflictPolicy: v1alpha1.ConflictOverwrite,
		Pods: v1alpha1.PodsNone, PodRecovery: v1alpha1.RecoveryNone,
	}
	standing := newStanding("refresher", target.String(), spec)
	standing.Namespace = target.Namespace
	return standing, errors.Join(errs...)
}

func (o *refresherOptions) run(ctx context.Context, logs io.Writer) error {
	standing, err := o.order()
	if err != nil {
		return err
	}
	log, err := o.logging.start(logs)
	if err != nil {
		return err
	}
	log.Info("starting as refresher", "version", version.Version(), "target", o.target, "sources", o.sources)
	return o.process.run(ctx, standing.Namespace, controllers.Config{
		Standing: func() *order.Order {
			again, _ := o.order() // valid, as it was above
			return again
		},
		OnlyNamespace: standing.Namespace, TargetNames: []string{standing.Object.Spec.Target.Secret.Name}, ForgetLeases: true,
		ResyncInterval: time.Duration(o.resync), TargetWorkers: 1, Schedule: credentials.DefaultSchedule,
	})
}
