//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// passing are resources whose objects come and go by themselves.
var passing = []string{"events", "leases", "endpointslices"}

// inventory is the objects in the cluster, as "<resource>.<group> <namespace>/<name>".
func inventory(ctx context.Context) (map[string]bool, error) {
	server, err := discovery.NewDiscoveryClientForConfig(shared.cluster.Config())
	if err != nil {
		return nil, err
	}
	lists, err := server.ServerPreferredResources()
	if err != nil {
		return nil, err
	}
	found := map[string]bool{}
	for _, list := range lists {
		version, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			return nil, err
		}
		for _, resource := range list.APIResources {
			if !slices.Contains(resource.Verbs, "list") || slices.Contains(passing, resource.Name) {
				continue
			}
			objects := &metav1.PartialObjectMetadataList{}
			objects.SetGroupVersionKind(version.WithKind(resource.Kind + "List"))
			if err := shared.api.List(ctx, objects); err != nil {
				return nil, fmt.Errorf("list %s: %w", resource.Name, err)
			}
			for _, object := range objects.Items {
				found[strings.TrimSuffix(resource.Name+"."+version.Group, ".")+" "+client.ObjectKeyFromObject(&object).String()] = true
			}
		}
	}
	return found, nil
}

// takeInventory is inventory for a test.
func takeInventory(t *testing.T) map[string]bool {
	t.Helper()
	var found map[string]bool
	eventually(t, "the objects are listed", func(ctx context.Context) (err error) {
		found, err = inventory(ctx)
		return err
	})
	return found
}

// nothingIsAdded waits until there is no object but those from before.
func nothingIsAdded(t *testing.T, before map[string]bool) {
	t.Helper()
	eventually(t, "nothing is left behind", func(ctx context.Context) error {
		now, err := inventory(ctx)
		if err != nil {
			return err
		}
		var left []string
		for object := range now {
			if !before[object] {
				left = append(left, object)
			}
		}
		if len(left) == 0 {
			return nil
		}
		slices.Sort(left)
		return fmt.Errorf("there are, too: %s", strings.Join(left, ", "))
	})
}
