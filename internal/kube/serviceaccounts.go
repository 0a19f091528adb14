package kube

import (
	"context"
	"encoding/json"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
)

// ServiceAccounts changes the imagePullSecrets of ServiceAccounts.
type ServiceAccounts struct {
	client corev1client.ServiceAccountsGetter
}

// NewServiceAccounts returns ServiceAccounts that go through client.
func NewServiceAccounts(client corev1client.ServiceAccountsGetter) *ServiceAccounts {
	return &ServiceAccounts{client: client}
}

// Get reads a ServiceAccount from the API server, whose error it returns.
func (s *ServiceAccounts) Get(ctx context.Context, key types.NamespacedName) (*corev1.ServiceAccount, error) {
	return s.client.ServiceAccounts(key.Namespace).Get(ctx, key.Name, metav1.GetOptions{})
}

// Attach replaces a ServiceAccount's imagePullSecrets and the annotation that
// records which of them are ours (removed for ""), and returns the resource
// version that it has then. The error is the API server's: a conflict if the
// ServiceAccount is not at version any more. The list is atomic to the API
// server, whatever the kind of patch, so without that precondition the entry
// of another writer could be lost.
func (s *ServiceAccounts) Attach(ctx context.Context, key types.NamespacedName, version string, secrets []corev1.LocalObjectReference, attached string) (string, error) {
	annotation := &attached
	if attached == "" {
		annotation = nil
	}
	if secrets == nil {
		secrets = []corev1.LocalObjectReference{}
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{
			"resourceVersion": version,
			"annotations":     map[string]*string{v1alpha1.AnnotationAttached: annotation},
		},
		"imagePullSecrets": secrets,
	})
	if err != nil {
		return "", err
	}
	written, err := s.client.ServiceAccounts(key.Namespace).Patch(ctx, key.Name, types.MergePatchType, patch,
		metav1.PatchOptions{FieldManager: v1alpha1.FieldManager})
	if err != nil {
		return "", err
	}
	return written.ResourceVersion, nil
}
