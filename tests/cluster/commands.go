package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// assetsVariable names the directory of ready-made binaries, as in
// controller-runtime's envtest.
const assetsVariable = "KUBEBUILDER_ASSETS"

// commands returns the start of a component's command line, to which its
// flags are appended. Each call returns a new slice.
type commands func(component string) []string

// findCommands returns the commands of ready-made binaries if the environment
// names some, and otherwise of the binary that it builds or finds in cache, of
// the version that the environment asks for.
func findCommands(ctx context.Context, cache string, progress *progress) (commands, error) {
	if assets := os.Getenv(assetsVariable); assets != "" {
		if version := os.Getenv(VersionVariable); version != "" {
			return nil, fmt.Errorf("%s asks for Kubernetes %s, and %s for ready-made binaries: unset one of them", VersionVariable, version, assetsVariable)
		}
		return assetCommands(assets)
	}
	wanted, err := wantedKubernetes()
	if err != nil {
		return nil, err
	}
	binaries, err := built(ctx, cache, wanted, progress)
	if err != nil {
		return nil, fmt.Errorf("build %s for the test cluster: %w", wanted.name, err)
	}
	binary := filepath.Join(binaries, "kubernetes")
	return func(component string) []string { return []string{binary, component} }, nil
}

// assetCommands returns the commands of one binary per component in dir.
func assetCommands(dir string) (commands, error) {
	dir, err := filepath.Abs(dir) // the components run in a directory of their own
	if err != nil {
		return nil, fmt.Errorf("%s: %w", assetsVariable, err)
	}
	for _, name := range []string{etcd, kubeAPIServer, kubeControllerManager} {
		_, err := os.Stat(filepath.Join(dir, name))
		if err == nil {
			continue
		}
		err = fmt.Errorf("%s has no usable %s: %w", assetsVariable, name, err)
		if name == kubeControllerManager && errors.Is(err, os.ErrNotExist) {
			err = fmt.Errorf("%w; envtest's assets leave it out, but ServiceAccounts and garbage collection need it: "+
				"put one of the same version beside the others, or unset %s to have Kubernetes built", err, assetsVariable)
		}
		return nil, err
	}
	return func(component string) []string { return []string{filepath.Join(dir, component)} }, nil
}
