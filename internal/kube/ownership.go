package kube

import (
	"encoding/json"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
)

// The API server's managedFields tell who wrote the credentials last, without
// reading them: whoever changes a Secret's data takes the field from us.

// TransformTarget strips a target Secret's metadata down to what the cache
// needs. Of managedFields it keeps one entry, ours, if the credentials are
// still as we wrote them; see Intact. It may see its own result again.
func TransformTarget(object any) (any, error) {
	secret, ok := object.(*metav1.PartialObjectMetadata)
	if !ok {
		return object, nil
	}
	intact := Intact(secret)
	secret.ManagedFields = nil
	if intact {
		secret.ManagedFields = []metav1.ManagedFieldsEntry{{
			Manager: v1alpha1.FieldManager, Operation: metav1.ManagedFieldsOperationApply,
		}}
	}
	return secret, nil
}

// Intact tells whether nobody has changed the credentials of a Secret since
// we wrote them.
func Intact(secret *metav1.PartialObjectMetadata) bool {
	for _, entry := range secret.ManagedFields {
		if entry.Manager != v1alpha1.FieldManager || entry.Operation != metav1.ManagedFieldsOperationApply {
			continue
		}
		// No fields: TransformTarget has looked already.
		return entry.FieldsV1 == nil || ownsCredentials(entry.FieldsV1)
	}
	return false
}

// ownsCredentials tells whether a field set holds a Secret's .dockerconfigjson.
func ownsCredentials(fields *metav1.FieldsV1) bool {
	var set struct {
		Data map[string]json.RawMessage `json:"f:data"`
	}
	if err := json.Unmarshal(fields.GetRawBytes(), &set); err != nil {
		return false
	}
	_, owned := set.Data["f:"+corev1.DockerConfigJsonKey]
	return owned
}

// TransformNamespace strips a Namespace's metadata down to what selection
// needs.
func TransformNamespace(object any) (any, error) {
	if namespace, ok := object.(*metav1.PartialObjectMetadata); ok {
		namespace.ManagedFields, namespace.OwnerReferences, namespace.Finalizers = nil, nil, nil
		delete(namespace.Annotations, corev1.LastAppliedConfigAnnotation)
	}
	return object, nil
}

// TransformPod does the same for Pods, of which there are many more.
func TransformPod(object any) (any, error) {
	if pod, ok := object.(*metav1.PartialObjectMetadata); ok {
		delete(pod.Annotations, corev1.LastAppliedConfigAnnotation)
		pod.TypeMeta = metav1.TypeMeta{}
		pod.ObjectMeta = metav1.ObjectMeta{
			Namespace: pod.Namespace, Name: pod.Name, ResourceVersion: pod.ResourceVersion,
			Labels: pod.Labels, Annotations: pod.Annotations,
		}
	}
	return object, nil
}

// TransformServiceAccount strips a ServiceAccount down to what selection and
// its imagePullSecrets need.
func TransformServiceAccount(object any) (any, error) {
	account, ok := object.(*corev1.ServiceAccount)
	if !ok {
		return object, nil
	}
	delete(account.Annotations, corev1.LastAppliedConfigAnnotation)
	return &corev1.ServiceAccount{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: account.Namespace, Name: account.Name, UID: account.UID,
			ResourceVersion: account.ResourceVersion, DeletionTimestamp: account.DeletionTimestamp,
			Labels: account.Labels, Annotations: account.Annotations,
		},
		ImagePullSecrets: account.ImagePullSecrets,
	}, nil
}
