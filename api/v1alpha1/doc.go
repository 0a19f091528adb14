// Package v1alpha1 is the API that people write: the cluster-scoped
// ImagePullSecret of the group images.banzaicloud.io.
//
// Every object that the IMPS controller accepted is valid here and means the
// same; what is new is optional.
//
// +kubebuilder:object:generate=true
// +kubebuilder:ac:generate=true
// +kubebuilder:ac:output:package="applyconfiguration"
// +groupName=images.banzaicloud.io
package v1alpha1
