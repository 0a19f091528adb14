package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/client-go/discovery"
	authorizationv1client "k8s.io/client-go/kubernetes/typed/authorization/v1"

	"github.com/imagepullsecrets/operator/internal/check"
	"github.com/imagepullsecrets/operator/internal/version"
)

// checkOptions are what a person may set about a check.
type checkOptions struct {
	cluster     clusterOptions
	namespace   string
	metricsURL  string
	targetNames []string
	namespaces  []string
	accounts    bool
	timeout     time.Duration
}

func newCheckCommand() *cobra.Command {
	var options checkOptions
	command := &cobra.Command{
		Use:   "check",
		Short: "Look whether an installation works, and change nothing",
		Long: "check asks the API server for its version, the CRD and the rights of whoever runs it, which is meant to be\n" +
			"the operator's ServiceAccount, and the operator, through its Service, for its version. It prints what it\n" +
			"found, and ends with 1 if something is wrong. `helm test` runs it.",
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return options.run(command.Context(), command.OutOrStdout())
		},
	}
	options.bindFlags(command.Flags())
	return command
}

func (o *checkOptions) bindFlags(flags *pflag.FlagSet) {
	o.cluster.bindFlags(flags)
	flags.StringVar(&o.namespace, "namespace", fromEnvironment("POD_NAMESPACE", defaultNamespace),
		"the operator's own namespace (environment: POD_NAMESPACE)")
	flags.StringVar(&o.metricsURL, "metrics-url", "http://imagepullsecret-operator-metrics:8080/metrics", "where the operator serves its metrics")
	flags.StringSliceVar(&o.targetNames, "target-secret-names", nil, "the only names of Secrets that the operator keeps (default: any name)")
	flags.StringSliceVar(&o.namespaces, "watch-namespaces", listed(os.Getenv("WATCH_NAMESPACE")), "the only namespaces where the operator works (default: all) (environment: WATCH_NAMESPACE)")
	flags.BoolVar(&o.accounts, "service-accounts", true, "the operator attaches Secrets to ServiceAccounts")
	flags.DurationVar(&o.timeout, "timeout", 30*time.Second, "how long the operator may take to answer")
}

// run prints what is found to out.
func (o *checkOptions) run(ctx context.Context, out io.Writer) error {
	if err := checkNamespaces("watch-namespaces", o.namespaces); err != nil {
		return err
	}
	config, err := o.cluster.restConfig()
	if err != nil {
		return err
	}
	server, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return fmt.Errorf("connecting to the cluster: %w", err)
	}
	reviews, err := authorizationv1client.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("connecting to the cluster: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, o.timeout, fmt.Errorf("no answer in %s (--timeout)", o.timeout))
	defer cancel()
	failed := 0
	for _, finding := range check.Run(ctx, check.Deps{
		Server: server, Reviews: reviews.SelfSubjectAccessReviews(),
		// The Service is in the cluster: no proxy is asked for it.
		HTTP:       &http.Client{Transport: &http.Transport{}},
		MetricsURL: o.metricsURL, Version: version.Version(), Namespace: o.namespace,
		TargetNames: o.targetNames, Namespaces: o.namespaces, ServiceAccounts: o.accounts,
	}) {
		fmt.Fprintln(out, finding)
		if finding.Problem != nil {
			failed++
		}
	}
	if failed > 0 {
		return errors.New("the installation does not work as it should: see above")
	}
	return nil
}
