package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/imagepullsecrets/operator/controllers"
	"github.com/imagepullsecrets/operator/internal/credentials"
	"github.com/imagepullsecrets/operator/internal/version"
	"github.com/imagepullsecrets/operator/providers/registry"
)

const (
	// defaultNamespace is where the operator is taken to be if nobody says.
	defaultNamespace = "imagepullsecret-system"
	// leaderElectionID names the Lease that the running instances compete for.
	leaderElectionID = "imagepullsecret-operator"
	// shortestResync keeps a resync from becoming a load.
	shortestResync = time.Minute
)

// managerOptions are what a person may set about the operator.
type managerOptions struct {
	logging loggingOptions

	process   processOptions
	namespace string

	targetNames   []string
	namespaces    []string
	podSelectors  bool
	podGrace      time.Duration
	accounts      bool
	podRecovery   bool
	noEviction    bool
	podInjection  bool
	resync        seconds
	targetWorkers int

	schedule credentials.Schedule
	ambient  []string

	annotated annotatedOptions
}

func newManagerCommand() *cobra.Command {
	options := managerOptions{resync: seconds(10 * time.Hour), schedule: credentials.DefaultSchedule}
	command := &cobra.Command{
		Use:   "manager",
		Short: "Run the operator",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return options.run(command.Context(), command.ErrOrStderr())
		},
	}
	options.bindFlags(command.Flags())
	return command
}

func (o *managerOptions) bindFlags(flags *pflag.FlagSet) {
	o.logging.bindFlags(flags)
	o.logging.bindProvisionersFlags(flags)
	flags.StringVar(&o.namespace, "namespace", fromEnvironment("POD_NAMESPACE", defaultNamespace),
		"the operator's own namespace, where it keeps its leases (environment: POD_NAMESPACE)")
	o.process.bindFlags(flags)
	flags.BoolVar(&o.process.once, "once", false, "do everything once and exit, with 1 if something failed: for a CronJob")
	flags.DurationVar(&o.process.onceTimeout, "once-timeout", 10*time.Minute, "with --once, how long that may take")
	flags.StringSliceVar(&o.targetNames, "target-secret-names", nil,
		"the only names of Secrets that are kept; rights on these names are then enough (default: any name)")
	flags.StringSliceVar(&o.namespaces, "watch-namespaces", listed(os.Getenv("WATCH_NAMESPACE")),
		"the only namespaces where Secrets are kept and ServiceAccounts and Pods looked at; rights in these are then enough (default: all) (environment: WATCH_NAMESPACE)")
	flags.BoolVar(&o.podSelectors, "pod-selectors", true, "allow ImagePullSecrets to select namespaces by their Pods")
	flags.DurationVar(&o.podGrace, "pod-selector-grace", 10*time.Minute,
		"how long a namespace stays selected after the last of the Pods that select it has left or finished")
	flags.BoolVar(&o.accounts, "service-accounts", true, "allow ImagePullSecrets to be attached to ServiceAccounts")
	flags.BoolVar(&o.podRecovery, "pod-recovery", true,
		"evict Pods that can't pull since they were made before a Secret's name could reach them, as ImagePullSecrets say")
	flags.BoolVar(&o.noEviction, "disable-pod-eviction", false, "image-pull-secrets-provisioner's name for --pod-recovery=false")
	flags.BoolVar(&o.podInjection, "pod-injection", false,
		"new Pods get the Secrets' names by the chart's admission policy, so that recovery may count on it")
	flags.Var(&o.resync, "resync-interval", "how often everything is looked at without a cause: a duration, or a number of seconds")
	flags.IntVar(&o.targetWorkers, "target-workers", 16, "how many Secrets, and how many ServiceAccounts, are written at a time")
	flags.Float64Var(&o.schedule.Fraction, "renewal-fraction", o.schedule.Fraction,
		"the part of a login's life after which it is renewed, from 0.1 to 0.9")
	flags.DurationVar(&o.schedule.Shortest, "renewal-min-interval", o.schedule.Shortest,
		"the least time from one exchange to the next renewal of the same login")
	flags.DurationVar(&o.schedule.Longest, "renewal-max-interval", o.schedule.Longest,
		"the longest time from one exchange to the next renewal of the same login; 0 for no such bound")
	flags.StringSliceVar(&o.ambient, "ambient-credentials", nil,
		"clouds where a source without a serviceAccount may use the operator's own identity: "+strings.Join(registry.AmbientClouds, ", ")+" (default: none)")
	o.annotated.bindFlags(flags)
	flags.SetNormalizeFunc(withOlderNames)
}

// olderNames are what flags were called by IMPS's controller, and by
// image-pull-secrets-provisioner, and what they are called here.
var olderNames = map[string]pflag.NormalizedName{
	"metrics-addr":                "metrics-bind-address",
	"enable-leader-election":      "leader-elect",
	"config-namespace":            "leader-election-namespace",
	"periodic-reconcile-interval": "resync-interval",
	"log.level":                   "log-level",
	"zap-log-level":               "log-level",
	"zap-encoder":                 "log-format",
}

// withOlderNames lets the flags of earlier systems be used as they were.
func withOlderNames(_ *pflag.FlagSet, name string) pflag.NormalizedName {
	if ours, found := olderNames[name]; found {
		return ours
	}
	return pflag.NormalizedName(name)
}

// validate says what is wrong with the options, all of it.
func (o *managerOptions) validate() error {
	var errs []error
	for _, name := range o.targetNames {
		for _, problem := range validation.IsDNS1123Subdomain(name) {
			errs = append(errs, fmt.Errorf("--target-secret-names: %q is not the name of a Secret: %s", name, problem))
		}
	}
	errs = append(errs, checkNamespaces("watch-namespaces", o.namespaces))
	if o.targetWorkers < 1 || o.targetWorkers > 256 {
		errs = append(errs, fmt.Errorf("--target-workers must be from 1 to 256, not %d", o.targetWorkers))
	}
	if time.Duration(o.resync) < shortestResync {
		errs = append(errs, fmt.Errorf("--resync-interval must be at least %s, not %s", shortestResync, &o.resync))
	}
	if o.podGrace < 0 {
		errs = append(errs, fmt.Errorf("--pod-selector-grace must not be negative, as %s is", o.podGrace))
	}
	errs = append(errs, o.validateCredentials()...)
	if o.annotated.accounts && !o.accounts {
		errs = append(errs, errors.New("--annotated-service-accounts needs --service-accounts: what they ask for is attached to them"))
	}
	errs = append(errs, o.annotated.validate()...)
	errs = append(errs, o.process.validate()...)
	if o.namespace == "" {
		errs = append(errs, errors.New("--namespace must not be empty"))
	}
	return errors.Join(errs...)
}

// checkNamespaces says what is wrong with a flag's namespaces. Twice the same one
// would be watched twice.
func checkNamespaces(flag string, names []string) error {
	var errs []error
	for i, name := range names {
		for _, problem := range validation.IsDNS1123Label(name) {
			errs = append(errs, fmt.Errorf("--%s: %q is not the name of a namespace: %s", flag, name, problem))
		}
		if slices.Contains(names[:i], name) {
			errs = append(errs, fmt.Errorf("--%s names %s twice", flag, name))
		}
	}
	return errors.Join(errs...)
}

// validateCredentials says what is wrong with the options about credentials.
func (o *managerOptions) validateCredentials() []error {
	var errs []error
	if !(o.schedule.Fraction >= 0.1 && o.schedule.Fraction <= 0.9) { // false for NaN too
		errs = append(errs, fmt.Errorf("--renewal-fraction must be from 0.1 to 0.9, not %v", o.schedule.Fraction))
	}
	if o.schedule.Shortest < 0 || o.schedule.Longest < 0 {
		errs = append(errs, errors.New("--renewal-min-interval and --renewal-max-interval must not be negative"))
	}
	if o.schedule.Longest > 0 && o.schedule.Longest < o.schedule.Shortest {
		errs = append(errs, fmt.Errorf("--renewal-max-interval, %s, is shorter than --renewal-min-interval, %s", o.schedule.Longest, o.schedule.Shortest))
	}
	for _, cloud := range o.ambient {
		if !slices.Contains(registry.AmbientClouds, cloud) {
			errs = append(errs, fmt.Errorf("--ambient-credentials: there is no cloud %q; there are %s", cloud, strings.Join(registry.AmbientClouds, ", ")))
		}
	}
	return errs
}

// run runs the operator until ctx ends, or with --once until everything is done.
// It logs to logs.
func (o *managerOptions) run(ctx context.Context, logs io.Writer) error {
	if err := o.validate(); err != nil {
		return err
	}
	log, err := o.logging.start(logs)
	if err != nil {
		return err
	}
	log.Info("starting", "version", version.Version(), "namespace", o.namespace, "targetSecretNames", o.targetNames, "watchNamespaces", o.namespaces)
	return o.process.run(ctx, o.namespace, o.config())
}

// recoversPods tells whether Pods may be evicted, which either of two flags
// turns off.
func (o *managerOptions) recoversPods() bool { return o.podRecovery && !o.noEviction }

// config is what the controllers are told of the options.
func (o *managerOptions) config() controllers.Config {
	config := controllers.Config{
		Namespace: o.namespace, TargetNames: o.targetNames, Within: o.namespaces, PodSelectors: o.podSelectors, PodGrace: o.podGrace,
		ServiceAccounts: o.accounts, PodRecovery: o.recoversPods(), PodInjection: o.podInjection,
		ResyncInterval: time.Duration(o.resync), TargetWorkers: o.targetWorkers,
		Schedule: o.schedule, Ambient: o.ambient,
	}
	o.annotated.apply(&config)
	return config
}

// seconds is a duration flag that takes a plain number of seconds too, as
// IMPS's did.
type seconds time.Duration

// String returns the duration as Go writes it.
func (s *seconds) String() string { return time.Duration(*s).String() }

// Set reads a duration or a number of seconds.
func (s *seconds) Set(text string) error {
	if number, err := strconv.ParseInt(text, 10, 64); err == nil {
		*s = seconds(time.Duration(number) * time.Second)
		return nil
	}
	duration, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("%q is neither a duration such as 10h nor a number of seconds", text)
	}
	*s = seconds(duration)
	return nil
}

// Type is what --help calls the value.
func (s *seconds) Type() string { return "duration" }
