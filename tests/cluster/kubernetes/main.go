// Command kubernetes is the embedded test cluster in one binary: its first
// argument (or the name it is called by) picks the component, and the rest are
// that component's own flags.
package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"          // the components' --logging-format=json
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // the components' own client metrics
	_ "k8s.io/component-base/metrics/prometheus/version"  // the components' build_info metric
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
)

// components are what the binary can be, beside those of a node. Only what is
// asked for is made: the commands register flags in one place that all of them
// share.
var components = map[string]func(){
	"etcd":                    func() { etcdmain.Main(os.Args) },
	"kube-apiserver":          func() { run(apiserver.NewAPIServerCommand()) },
	"kube-controller-manager": func() { run(controllermanager.NewControllerManagerCommand()) },
}

func main() {
	maps.Copy(components, nodeComponents)
	name, args := component(os.Args)
	start := components[name]
	if start == nil {
		fmt.Fprintln(os.Stderr, "usage: kubernetes", strings.Join(slices.Sorted(maps.Keys(components)), "|"), "[flags]")
		os.Exit(2)
	}
	// The components read os.Args themselves (etcd) or through cobra.
	os.Args = args
	start()
}

// component returns the component that args ask for and the arguments that it
// is to see, its own name first. A link named after a component needs no
// first argument, so KUBEBUILDER_ASSETS may point at a directory of links.
func component(args []string) (string, []string) {
	name := filepath.Base(args[0])
	if components[name] != nil {
		return name, args
	}
	if len(args) < 2 {
		return "", args
	}
	return args[1], args[1:]
}

func run(command *cobra.Command) { os.Exit(cli.Run(command)) }
