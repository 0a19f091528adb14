package cli

import (
	"fmt"

	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client/config"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/internal/version"
)

// clusterOptions say where the cluster is.
type clusterOptions struct {
	kubeconfig string
}

func (o *clusterOptions) bindFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.kubeconfig, "kubeconfig", "", "a kubeconfig file to use in place of KUBECONFIG")
}

// restConfig finds the cluster, by the kubeconfig file of that name if there is
// one: then nowhere else.
func (o *clusterOptions) restConfig() (*rest.Config, error) {
	find := config.GetConfig
	if o.kubeconfig != "" {
		find = func() (*rest.Config, error) { return clientcmd.BuildConfigFromFlags("", o.kubeconfig) }
	}
	found, err := find()
	if err != nil {
		return nil, fmt.Errorf("finding the cluster: %w; set KUBECONFIG or run inside one", err)
	}
	// The API server's priority and fairness governs, not a guess made here.
	found.QPS, found.Burst = -1, -1
	found.UserAgent = v1alpha1.FieldManager + "/" + version.Version()
	return found, nil
}
