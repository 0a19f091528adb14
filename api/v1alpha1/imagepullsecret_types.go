package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ImagePullSecret keeps one Secret with registry logins in every selected
// namespace.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,path=imagepullsecrets,singular=imagepullsecret,shortName=imps,categories=all-image-pull-secrets
// +kubebuilder:subresource:status
// +operator-sdk:csv:customresourcedefinitions:displayName="Image Pull Secret",resources={{Secret,v1,""},{ServiceAccount,v1,""},{Pod,v1,""}}
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`,description="Whether every credential is valid and every selected namespace holds the current Secret"
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`,description="Why it is or is not ready"
// +kubebuilder:printcolumn:name="Targets",type=integer,JSONPath=`.status.targets.selected`,description="Selected namespaces"
// +kubebuilder:printcolumn:name="Failing",type=integer,JSONPath=`.status.targets.failing`,description="Selected namespaces whose Secret could not be written"
// +kubebuilder:printcolumn:name="Expires",type=string,format=date-time,JSONPath=`.status.expiresAt`,description="Earliest expiry of a credential in use"
// +kubebuilder:printcolumn:name="Secret",type=string,priority=1,JSONPath=`.spec.target.secret.name`,description="Name of the Secret in the selected namespaces"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type ImagePullSecret struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`
	// spec says which logins are to stand where.
	// +required
	Spec ImagePullSecretSpec `json:"spec,omitzero"`
	// status says what was found and done; only the operator writes it.
	// +optional
	Status ImagePullSecretStatus `json:"status,omitzero"`
}

// ImagePullSecretList is a list of ImagePullSecrets.
//
// +kubebuilder:object:root=true
type ImagePullSecretList struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard list metadata.
	// +optional
	metav1.ListMeta `json:"metadata,omitzero"`
	// items are the objects.
	// +required
	Items []ImagePullSecret `json:"items"`
}

// ImagePullSecretSpec says which logins are to stand where.
type ImagePullSecretSpec struct {
	// suspend stops all work on this object: nothing is written, removed or
	// renewed until it is false again. What stands stays.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec,xDescriptors={"urn:alm:descriptor:com.tectonic.ui:booleanSwitch"}
	Suspend bool `json:"suspend,omitempty"`

	// registry names where the logins come from.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	Registry RegistryConfig `json:"registry,omitzero"`

	// target says which Secret is kept, and where.
	// +required
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	Target TargetConfig `json:"target,omitzero"`
}

// RegistryConfig names where logins come from.
type RegistryConfig struct {
	// credentials are the sources of logins; their logins are merged into one
	// Secret. The order is the precedence: where two sources give a login for
	// the same registry, the first one's is used.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=100
	Credentials []CredentialSource `json:"credentials,omitempty"`
}

// TargetConfig says which Secret is kept, and where.
type TargetConfig struct {
	// secret is the Secret that is kept in every selected namespace.
	// +required
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	Secret TargetSecretConfig `json:"secret,omitzero"`

	// namespaces selects namespaces by what they are. The rules of
	// namespaces and namespacesWithPods are alternatives: one match is enough.
	// Without any rule nothing is selected.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	Namespaces NamespaceSelector `json:"namespaces,omitzero"`

	// namespacesWithPods selects namespaces by the Pods in them.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	NamespacesWithPods PodSelector `json:"namespacesWithPods,omitzero"`

	// serviceAccounts selects ServiceAccounts in the selected namespaces; the
	// Secret's name is kept in their imagePullSecrets, from before the Secret
	// is there. Without any rule no ServiceAccount is touched.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	ServiceAccounts ServiceAccountSelector `json:"serviceAccounts,omitzero"`

	// pods says whether new Pods in the selected namespaces get the Secret's
	// name into their own imagePullSecrets. Inject (the default) gives it to
	// each of them, where the chart's admission policy is installed. None
	// leaves Pods alone.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec,xDescriptors={"urn:alm:descriptor:com.tectonic.ui:select:Inject","urn:alm:descriptor:com.tectonic.ui:select:None"}
	// +default="Inject"
	// +kubebuilder:default=Inject
	Pods PodPolicy `json:"pods,omitempty"`

	// podRecovery says what happens to a Pod that can't pull its images since
	// it was made before the Secret's name could reach it. Evict (the default)
	// evicts it, within its PodDisruptionBudgets, if a controller makes it
	// anew and the new one gets the name. EvictAll evicts Pods without a
	// controller too: they are gone then. None leaves Pods alone.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec,xDescriptors={"urn:alm:descriptor:com.tectonic.ui:select:Evict","urn:alm:descriptor:com.tectonic.ui:select:EvictAll","urn:alm:descriptor:com.tectonic.ui:select:None"}
	// +default="Evict"
	// +kubebuilder:default=Evict
	PodRecovery PodRecovery `json:"podRecovery,omitempty"`

	// conflictPolicy says what happens where a Secret of the target's name
	// exists that this operator does not keep. Fail (the default) leaves it
	// alone and reports it. Adopt takes it over in place if it holds registry
	// logins and nothing else owns it. Overwrite takes it over whatever it is;
	// one of another type is replaced.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec,xDescriptors={"urn:alm:descriptor:com.tectonic.ui:select:Fail","urn:alm:descriptor:com.tectonic.ui:select:Adopt","urn:alm:descriptor:com.tectonic.ui:select:Overwrite"}
	// +default="Fail"
	// +kubebuilder:default=Fail
	ConflictPolicy ConflictPolicy `json:"conflictPolicy,omitempty"`

	// deletionPolicy says what happens to a Secret when its namespace is no
	// longer selected or this object is deleted. Delete (the default) removes
	// it. Retain leaves it as it is, no longer renewed.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec,xDescriptors={"urn:alm:descriptor:com.tectonic.ui:select:Delete","urn:alm:descriptor:com.tectonic.ui:select:Retain"}
	// +default="Delete"
	// +kubebuilder:default=Delete
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`
}

// ConflictPolicy says what happens to a Secret of the target's name that is
// not ours.
//
// +kubebuilder:validation:Enum=Fail;Adopt;Overwrite
type ConflictPolicy string

// The values of ConflictPolicy.
const (
	ConflictFail      ConflictPolicy = "Fail"
	ConflictAdopt     ConflictPolicy = "Adopt"
	ConflictOverwrite ConflictPolicy = "Overwrite"
)

// DeletionPolicy says what happens to a Secret that is no longer wanted.
//
// +kubebuilder:validation:Enum=Delete;Retain
type DeletionPolicy string

// The values of DeletionPolicy.
const (
	DeletionDelete DeletionPolicy = "Delete"
	DeletionRetain DeletionPolicy = "Retain"
)

// PodPolicy says what new Pods are given.
//
// +kubebuilder:validation:Enum=Inject;None
type PodPolicy string

// The values of PodPolicy.
const (
	PodsInject PodPolicy = "Inject"
	PodsNone   PodPolicy = "None"
)

// PodRecovery says what happens to Pods that came too early.
//
// +kubebuilder:validation:Enum=Evict;EvictAll;None
type PodRecovery string

// The values of PodRecovery.
const (
	RecoveryEvict    PodRecovery = "Evict"
	RecoveryEvictAll PodRecovery = "EvictAll"
	RecoveryNone     PodRecovery = "None"
)

// TargetSecretConfig describes the Secret that is kept in every selected
// namespace.
type TargetSecretConfig struct {
	// name is the Secret's name; Pods list it in imagePullSecrets.
	// +required
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",message="must be the name of a Secret: lower case letters, digits, '-' and '.', beginning and ending with a letter or digit"
	Name string `json:"name,omitempty"`

	// labels are added to the Secret, and removed from it when they leave
	// this map.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule="self.all(key, key.indexOf('/') <= 253 && key.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))",message="every key must be a label key: [prefix/]name, such as example.com/team"
	// +kubebuilder:validation:XValidation:rule="!('images.banzaicloud.io/owner-uid' in self)",message="images.banzaicloud.io/owner-uid is the operator's own label and can't be set here"
	Labels map[string]LabelValue `json:"labels,omitempty"`

	// annotations are added to the Secret, and removed from it when they
	// leave this map.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule="self.all(key, key.indexOf('/') <= 253 && key.matches('^([A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?([.][A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))",message="every key must be an annotation key: [prefix/]name, such as example.com/team"
	// +kubebuilder:validation:XValidation:rule="!('images.banzaicloud.io/content-hash' in self)",message="images.banzaicloud.io/content-hash is the operator's own annotation and can't be set here"
	Annotations map[string]AnnotationValue `json:"annotations,omitempty"`
}

// LabelValue is the value of a label.
//
// +kubebuilder:validation:MaxLength=63
// +kubebuilder:validation:XValidation:rule="self.matches('^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$')",message="must be a label value: letters, digits, '-', '_' and '.', beginning and ending with a letter or digit"
type LabelValue string

// AnnotationValue is the value of an annotation.
//
// +kubebuilder:validation:MaxLength=4096
type AnnotationValue string

// NamespaceSelector selects namespaces. A namespace is selected if any entry
// of names, labels or annotations matches, unless exclude matches too.
type NamespaceSelector struct {
	// names are namespaces by name; * and ? stand for any text and any one
	// character, as in team-*.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=1000
	// +kubebuilder:validation:items:MaxLength=253
	Names []string `json:"names,omitempty"`

	// labels are selectors on the namespace's labels; {} selects every
	// namespace.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=100
	Labels []metav1.LabelSelector `json:"labels,omitempty"`

	// annotations are selectors on the namespace's annotations; {} selects
	// every namespace.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=100
	Annotations []AnnotationSelector `json:"annotations,omitempty"`

	// exclude names namespaces that are never selected, whatever else selects
	// them, Pods included.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	Exclude NamespaceExclusion `json:"exclude,omitzero"`
}

// NamespaceExclusion matches namespaces that are never selected. A namespace
// is excluded if any entry matches.
type NamespaceExclusion struct {
	// names are namespaces by name; * and ? stand for any text and any one
	// character, as in kube-*.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=1000
	// +kubebuilder:validation:items:MaxLength=253
	Names []string `json:"names,omitempty"`

	// labels are selectors on the namespace's labels; {} excludes every
	// namespace.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=100
	Labels []metav1.LabelSelector `json:"labels,omitempty"`

	// annotations are selectors on the namespace's annotations; {} excludes
	// every namespace.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=100
	Annotations []AnnotationSelector `json:"annotations,omitempty"`
}

// ServiceAccountSelector selects ServiceAccounts. A ServiceAccount is selected
// if any entry of names or labels matches, unless exclude matches too.
type ServiceAccountSelector struct {
	// names are ServiceAccounts by name; * and ? stand for any text and any
	// one character, as in ci-*; * alone is every ServiceAccount.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=1000
	// +kubebuilder:validation:items:MaxLength=253
	Names []string `json:"names,omitempty"`

	// labels are selectors on the ServiceAccount's labels; {} selects every
	// ServiceAccount.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=100
	Labels []metav1.LabelSelector `json:"labels,omitempty"`

	// exclude names ServiceAccounts that are never selected.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	Exclude ServiceAccountExclusion `json:"exclude,omitzero"`
}

// ServiceAccountExclusion matches ServiceAccounts that are never selected. A
// ServiceAccount is excluded if any entry matches.
type ServiceAccountExclusion struct {
	// names are ServiceAccounts by name; * and ? stand for any text and any
	// one character.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=1000
	// +kubebuilder:validation:items:MaxLength=253
	Names []string `json:"names,omitempty"`

	// labels are selectors on the ServiceAccount's labels; {} excludes every
	// ServiceAccount.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=100
	Labels []metav1.LabelSelector `json:"labels,omitempty"`

	// annotations are selectors on the ServiceAccount's annotations; {}
	// excludes every ServiceAccount.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=100
	Annotations []AnnotationSelector `json:"annotations,omitempty"`
}

// PodSelector selects namespaces that hold at least one Pod which any entry
// matches.
type PodSelector struct {
	// labels are selectors on Pods' labels; {} matches every Pod.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=100
	Labels []metav1.LabelSelector `json:"labels,omitempty"`

	// annotations are selectors on Pods' annotations; {} matches every Pod.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=100
	Annotations []AnnotationSelector `json:"annotations,omitempty"`
}

// AnnotationSelector is a label selector's twin for annotations: its values
// may be any text. All of matchAnnotations and matchExpressions must match;
// an empty selector matches everything.
type AnnotationSelector struct {
	// matchAnnotations are keys and the values they must have.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	MatchAnnotations map[string]string `json:"matchAnnotations,omitempty"`

	// matchExpressions are requirements on one key each; the operators are
	// In, NotIn, Exists and DoesNotExist.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	// +listType=atomic
	MatchExpressions []metav1.LabelSelectorRequirement `json:"matchExpressions,omitempty"`
}
