// Package operator installs and runs the built operator the way that a person
// does, for tests, benchmarks and the demo: the binary as a process of its
// own, with the rights of config/rbac and no others.
package operator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
)

const (
	// Namespace is where the operator is installed.
	Namespace = "imagepullsecret-system"
	// ServiceAccount is what it runs as.
	ServiceAccount = "imagepullsecret-operator"

	fieldOwner = "test-installation"
)

// Root returns the repository's root directory.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}

// Install applies the CRD, the operator's namespace, its rights, the fence
// around it and, if the cluster has such policies, the one that injects into
// Pods to a cluster, from the repository's config directory, as config/default
// does, but for the Deployment. It returns when the API server serves the CRD:
// an operator that starts before ends, and Kubernetes would start it again.
func Install(ctx context.Context, config *rest.Config, fence Fence) error {
	return install(ctx, config, "config/rbac/*.yaml", fence)
}

// InstallWithoutRights is Install without the rights: the ServiceAccount has
// none.
func InstallWithoutRights(ctx context.Context, config *rest.Config, fence Fence) error {
	return install(ctx, config, "config/rbac/service_account.yaml", fence)
}

func install(ctx context.Context, config *rest.Config, rights string, fence Fence) error {
	c, err := client.New(config, client.Options{})
	if err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	patterns := []string{"config/default/namespace.yaml", "config/crd/bases/*.yaml", rights, "config/admission/fence.yaml"}
	injects, err := Injects(config)
	if err != nil {
		return err
	}
	if injects {
		patterns = append(patterns, "config/admission/pod_injection.yaml")
	}
	for _, pattern := range patterns {
		if err := applyFiles(ctx, c, pattern, fence.widen); err != nil {
			return err
		}
	}
	return awaitAPI(ctx, config)
}

// serveDeadline is how long an API server may take to serve a new CRD.
const serveDeadline = time.Minute

// awaitAPI waits until the API server names ImagePullSecrets among what it
// serves.
func awaitAPI(ctx context.Context, config *rest.Config) error {
	server, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return fmt.Errorf("making a discovery client: %w", err)
	}
	var last error
	err = wait.PollUntilContextTimeout(ctx, 20*time.Millisecond, serveDeadline, true, func(context.Context) (bool, error) {
		_, last = server.ServerResourcesForGroupVersion(v1alpha1.GroupVersion.String())
		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("waiting for the API server to serve %s: %w", v1alpha1.GroupVersion, errors.Join(err, last))
	}
	return nil
}

// applyFiles applies the files below the repository's root that match a
// pattern, each object as change leaves it.
func applyFiles(ctx context.Context, c client.Client, pattern string, change func(*unstructured.Unstructured) error) error {
	files, err := filepath.Glob(filepath.Join(Root(), pattern))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("finding %s: %w", pattern, errors.Join(err, os.ErrNotExist))
	}
	for _, file := range files {
		if filepath.Base(file) == "kustomization.yaml" {
			continue
		}
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := applyChanged(ctx, c, content, change); err != nil {
			return fmt.Errorf("applying %s: %w", file, err)
		}
	}
	return nil
}

// Apply applies YAML documents, as kubectl apply --server-side does.
func Apply(ctx context.Context, c client.Client, documents []byte) error {
	return applyChanged(ctx, c, documents, func(*unstructured.Unstructured) error { return nil })
}

func applyChanged(ctx context.Context, c client.Client, documents []byte, change func(*unstructured.Unstructured) error) error {
	objects, err := Decode(documents)
	if err != nil {
		return err
	}
	for _, object := range objects {
		if err := change(object); err != nil {
			return err
		}
		configuration := client.ApplyConfigurationFromUnstructured(object)
		if err := c.Apply(ctx, configuration, client.FieldOwner(fieldOwner), client.ForceOwnership); err != nil {
			return err
		}
	}
	return nil
}

// Decode returns the objects of YAML documents, of which empty ones hold none.
func Decode(documents []byte) ([]*unstructured.Unstructured, error) {
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(documents), 4096)
	var objects []*unstructured.Unstructured
	for {
		object := &unstructured.Unstructured{}
		switch err := decoder.Decode(object); {
		case errors.Is(err, io.EOF):
			return objects, nil
		case err != nil:
			return nil, err
		case len(object.Object) > 0:
			objects = append(objects, object)
		}
	}
}
