package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Kind is the kind of the API's only object.
const Kind = "ImagePullSecret"

// GroupVersion is the group and version of every type in this package.
var GroupVersion = schema.GroupVersion{Group: "images.banzaicloud.io", Version: "v1alpha1"}

// SchemeGroupVersion is GroupVersion under the name that generated code uses.
var SchemeGroupVersion = GroupVersion

// AddToScheme registers this package's types with a scheme; it fails only if
// another type already holds one of their names.
func AddToScheme(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion, &ImagePullSecret{}, &ImagePullSecretList{})
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}
