// Command kubernetes is the control plane of the embedded test cluster in one
// binary: its first argument (or the name it is called by) picks etcd,
// kube-apiserver or kube-controller-manager, and the rest are that
// component's own flags.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"          // the components' --logging-format=json
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // the components' own client metrics
	_ "k8s.io/component-base/metrics/prometheus/version"  // the components' build_info metric
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
)

const usage = "usage: kubernetes etcd|kube-apiserver|kube-controller-manager [flags]"

func main() {
	name, args := component(os.Args)
	// The components read os.Args themselves (etcd) or through cobra.
	os.Args = args
	switch name {
	case "etcd":
		etcdmain.Main(args)
	case "kube-apiserver":
		run(apiserver.NewAPIServerCommand())
	case "kube-controller-manager":
		run(controllermanager.NewControllerManagerCommand())
	default:
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
}

// component returns the component that args ask for and the arguments that it
// is to see, its own name first. A link named after a component needs no
// first argument, so KUBEBUILDER_ASSETS may point at a directory of links.
func component(args []string) (string, []string) {
	name := filepath.Base(args[0])
	if slices.Contains([]string{"etcd", "kube-apiserver", "kube-controller-manager"}, name) {
		return name, args
	}
	if len(args) < 2 {
		return "", args
	}
	return args[1], args[1:]
}

func run(command *cobra.Command) { os.Exit(cli.Run(command)) }
