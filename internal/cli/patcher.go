package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/controllers"
	"github.com/imagepullsecrets/operator/controllers/order"
	"github.com/imagepullsecrets/operator/internal/credentials"
	"github.com/imagepullsecrets/operator/internal/version"
)

const (
	// keyManagedBy and managedBy mark the Secrets of imagepullsecret-patcher.
	keyManagedBy = "app.kubernetes.io/managed-by"
	managedBy    = "imagepullsecret-patcher"
	// excludeAnnotation keeps imagepullsecret-patcher off what it is on.
	excludeAnnotation = "k8s.titansoft.com/imagepullsecret-patcher-exclude"
)

// patcherOptions are those of imagepullsecret-patcher, under the same names.
type patcherOptions struct {
	logging loggingOptions
	process processOptions

	namespace          string
	force              bool
	debug              bool
	managedOnly        bool
	serviceAccounts    string
	allServiceAccounts bool
	document           string
	documentPath       string
	secretName         string
	secretNamespace    string
	excludedNamespaces string
	excludeAnnotation  string
	resync             seconds

	// What means nothing here, and is taken so that nobody has to change it.
	ignoredBool     bool
	ignoredDuration time.Duration
}

func newPatcherCommand() *cobra.Command {
	options := patcherOptions{resync: seconds(10 * time.Hour), process: processOptions{onceTimeout: 10 * time.Minute}}
	command := &cobra.Command{
		Use:   "patcher",
		Short: "Keep one login in every namespace and attach it to ServiceAccounts, without a CRD",
		Long: "patcher does what imagepullsecret-patcher did, with its flags and CONFIG_* environment variables: it keeps\n" +
			"one Secret in every namespace and its name in the imagePullSecrets of ServiceAccounts.",
		// Its flags had one dash, as Go's own have.
		DisableFlagParsing: true,
	}
	flags := command.Flags()
	options.bindFlags(flags)
	flags.BoolP("help", "h", false, "help for patcher")
	command.RunE = func(command *cobra.Command, args []string) error {
		if err := options.parse(flags, args); err != nil {
			return err
		}
		if help, err := flags.GetBool("help"); err == nil && help {
			return command.Help()
		}
		if err := cobra.NoArgs(command, flags.Args()); err != nil {
			return err
		}
		return options.run(command.Context(), command.ErrOrStderr())
	}
	return command
}

// patcherVariables are the environment variables by the flags that they stand for.
var patcherVariables = map[string]string{
	"force": "CONFIG_FORCE", "debug": "CONFIG_DEBUG", "managedonly": "CONFIG_MANAGEDONLY", "runonce": "CONFIG_RUNONCE",
	"serviceaccounts": "CONFIG_SERVICEACCOUNTS", "allserviceaccount": "CONFIG_ALLSERVICEACCOUNT",
	"dockerconfigjson": "CONFIG_DOCKERCONFIGJSON", "dockerconfigjsonpath": "CONFIG_DOCKERCONFIGJSONPATH",
	"secretname": "CONFIG_SECRETNAME", "secretnamespace": "CONFIG_SECRET_NAMESPACE",
	"excluded-namespaces": "CONFIG_EXCLUDED_NAMESPACES", "exclude-annotation": "CONFIG_EXCLUDE_ANNOTATION",
	"loop-duration": "CONFIG_LOOP_DURATION", "use-informers": "CONFIG_USE_INFORMERS", "running-in-cluster": "CONFIG_RUNNING_IN_CLUSTER",
}

func (o *patcherOptions) bindFlags(flags *pflag.FlagSet) {
	o.logging.bindFlags(flags)
	o.process.bindFlags(flags)
	flags.StringVar(&o.namespace, "namespace", fromEnvironment("POD_NAMESPACE", defaultNamespace),
		"the patcher's own namespace, where it keeps its hash key (environment: POD_NAMESPACE)")
	flags.BoolVar(&o.force, "force", true, "take over Secrets of that name that others made, also those of another type")
	flags.BoolVar(&o.debug, "debug", false, "log more")
	flags.BoolVar(&o.managedOnly, "managedonly", false, "change only Secrets that the patcher made")
	flags.BoolVar(&o.process.once, "runonce", false, "do everything once and exit, with 1 if something failed")
	flags.StringVar(&o.serviceAccounts, "serviceaccounts", "default", "the ServiceAccounts to attach to, separated by commas; * and ? are wildcards")
	flags.BoolVar(&o.allServiceAccounts, "allserviceaccount", false, "attach to every ServiceAccount, whatever --serviceaccounts says")
	flags.StringVar(&o.document, "dockerconfigjson", "", "the login, as a dockerconfigjson")
	flags.StringVar(&o.documentPath, "dockerconfigjsonpath", "", "a file that holds it, which is read again when it changes")
	flags.StringVar(&o.secretName, "secretname", "image-pull-secret", "the name of the Secrets")
	flags.StringVar(&o.secretNamespace, "secretnamespace", "imagepullsecret-patcher",
		"where the login's own Secret of that name is: it is left alone, and read if neither of the two above is given")
	flags.StringVar(&o.excludedNamespaces, "excluded-namespaces", "", "namespaces to stay out of, separated by commas; * and ? are wildcards")
	flags.StringVar(&o.excludeAnnotation, "exclude-annotation", "",
		"a further annotation that keeps the patcher off a namespace or a ServiceAccount, if it is \"true\" ("+excludeAnnotation+" always does)")
	flags.Var(&o.resync, "resync-interval", "how often everything is looked at without a cause: a duration, or a number of seconds")
	const nothing = "means nothing here: changes are followed as they come"
	flags.DurationVar(&o.ignoredDuration, "loop-duration", 10*time.Second, nothing)
	flags.BoolVar(&o.ignoredBool, "use-informers", true, nothing)
	flags.BoolVar(&o.ignoredBool, "running-in-cluster", true, "means nothing here: the cluster is found either way")
	for name, variable := range patcherVariables {
		flags.Lookup(name).Usage += " (environment: " + variable + ")"
	}
}

// parse reads the environment and then the flags, which go first and may have
// one dash.
func (o *patcherOptions) parse(flags *pflag.FlagSet, args []string) error {
	for name, variable := range patcherVariables {
		if value, found := os.LookupEnv(variable); found && value != "" {
			if err := flags.Set(name, value); err != nil {
				return fmt.Errorf("%s: %w", variable, withoutValue(name, err))
			}
		}
	}
	dashed := make([]string, len(args))
	for i, arg := range args {
		dashed[i] = arg
		name, _, _ := strings.Cut(strings.TrimPrefix(arg, "-"), "=")
		if len(name) > 1 && !strings.HasPrefix(name, "-") && flags.Lookup(name) != nil {
			dashed[i] = "-" + arg
		}
	}
	return flags.Parse(dashed)
}

// withoutValue keeps a login that was given to the wrong flag out of a message.
func withoutValue(name string, err error) error {
	if numerical := new(strconv.NumError); errors.As(err, &numerical) {
		return fmt.Errorf("--%s: %w", name, numerical.Err)
	}
	return fmt.Errorf("not a value of --%s", name)
}

// validate says what is wrong with the options, all of it.
func (o *patcherOptions) validate() error {
	errs := []error{checkSecretName("secretname", o.secretName)}
	if o.document != "" && o.documentPath != "" {
		errs = append(errs, errors.New("--dockerconfigjson and --dockerconfigjsonpath exclude one another"))
	}
	for flag, text := range map[string]string{"serviceaccounts": o.serviceAccounts, "excluded-namespaces": o.excludedNamespaces} {
		for _, pattern := range listed(text) {
			if _, err := path.Match(pattern, ""); err != nil {
				errs = append(errs, fmt.Errorf("--%s: %q is not a pattern", flag, pattern))
			}
		}
	}
	return errors.Join(append(errs, o.process.validate()...)...)
}

func (o *patcherOptions) run(ctx context.Context, logs io.Writer) error {
	if err := o.validate(); err != nil {
		return err
	}
	if o.debug {
		o.logging.level = "debug"
	}
	log, err := o.logging.start(logs)
	if err != nil {
		return err
	}
	log.Info("starting as patcher", "version", version.Version(), "secretName", o.secretName)
	configured := controllers.Config{
		Standing: o.order, Namespace: o.namespace, TargetNames: []string{o.secretName}, ServiceAccounts: true,
		ResyncInterval: time.Duration(o.resync), TargetWorkers: 16, Schedule: credentials.DefaultSchedule,
	}
	if o.documentPath != "" {
		configured.Changed = watchFile(ctx, o.documentPath)
	}
	return o.process.run(ctx, o.namespace, configured)
}

// order is what the options ask for, with the login as it is now.
func (o *patcherOptions) order() *order.Order {
	standing := newStanding("patcher", o.secretName, o.spec())
	standing.Inherits, standing.InheritsEntries = map[string]string{keyManagedBy: managedBy}, true
	document, place, err := []byte(o.document), "--dockerconfigjson", error(nil)
	switch {
	case o.documentPath != "":
		place = "the file " + o.documentPath
		document, err = os.ReadFile(o.documentPath)
	case o.document == "":
		return standing // the Secret itself
	}
	standing.Place = place
	if err != nil {
		standing.Invalid = "it can't be read: " + reasonOf(err)
		return standing
	}
	standing.Secret = &corev1.Secret{Type: corev1.SecretTypeDockerConfigJson, Data: map[string][]byte{corev1.DockerConfigJsonKey: document}}
	return standing
}

// reasonOf is why a file can't be read, without its name.
func reasonOf(err error) string {
	if failed := new(os.PathError); errors.As(err, &failed) {
		return failed.Err.Error()
	}
	return err.Error()
}

// spec is what the options ask for, in the words of an ImagePullSecret.
func (o *patcherOptions) spec() v1alpha1.ImagePullSecretSpec {
	var excluded []v1alpha1.AnnotationSelector
	for _, key := range []string{excludeAnnotation, o.excludeAnnotation} {
		if key != "" {
			excluded = append(excluded, v1alpha1.AnnotationSelector{MatchAnnotations: map[string]string{key: "true"}})
		}
	}
	spec := v1alpha1.ImagePullSecretSpec{}
	// The entry names the Secret that the login is in, or would be.
	spec.Registry.Credentials = []v1alpha1.CredentialSource{{Namespace: o.secretNamespace, Name: o.secretName}}
	spec.Target = v1alpha1.TargetConfig{
		Secret: v1alpha1.TargetSecretConfig{Name: o.secretName, Annotations: map[string]v1alpha1.AnnotationValue{keyManagedBy: managedBy}},
		Namespaces: v1alpha1.NamespaceSelector{
			Labels: []metav1.LabelSelector{{}},
			// What the login comes from is never written over with itself.
			Exclude: v1alpha1.NamespaceExclusion{Names: append(listed(o.excludedNamespaces), o.secretNamespace), Annotations: excluded},
		},
		ServiceAccounts: v1alpha1.ServiceAccountSelector{
			Names: listed(o.serviceAccounts), Exclude: v1alpha1.ServiceAccountExclusion{Annotations: excluded},
		},
		Pods: v1alpha1.PodsNone, PodRecovery: v1alpha1.RecoveryNone,
		ConflictPolicy: v1alpha1.ConflictFail,
	}
	if o.allServiceAccounts {
		spec.Target.ServiceAccounts.Names = []string{"*"}
	}
	if o.force && !o.managedOnly {
		spec.Target.ConflictPolicy = v1alpha1.ConflictOverwrite
	}
	return spec
}
