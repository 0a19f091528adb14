package cluster

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// VersionVariable is the environment variable that asks for an older Kubernetes
// than the newest that the tests know: "1.30", say. Only a control plane is
// built of an older one, so that it can't have a node.
const VersionVariable = "KUBERNETES_VERSION"

// newestKubernetes is the version of kubernetes/go.mod, which is used unless
// another one is asked for.
const newestKubernetes = "1.37"

// olderKubernetes are the other versions that can be built: the oldest that the
// operator supports, and two between. The module file of each is
// kubernetes/kubernetes-<version>.mod.
var olderKubernetes = []string{"1.30", "1.33", "1.35"}

// wantedKubernetes returns what to build for the version that the environment
// asks for. An error lists the versions that there are.
func wantedKubernetes() (software, error) {
	version := os.Getenv(VersionVariable)
	switch {
	case version == "" || version == newestKubernetes:
		return kubernetesSoftware, nil
	case !slices.Contains(olderKubernetes, version):
		return software{}, fmt.Errorf("%s is %q, and what can be built is %s and %s",
			VersionVariable, version, strings.Join(olderKubernetes, ", "), newestKubernetes)
	}
	return software{
		name: "Kubernetes " + version, module: kubernetesSoftware.module, packages: kubernetesSoftware.packages,
		modFile: "kubernetes-" + version + ".mod", tags: "controlplane",
		effort: "about 1,800 packages, 5 minutes on two cores",
	}, nil
}
