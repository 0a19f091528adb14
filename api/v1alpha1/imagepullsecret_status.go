package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Limits of the lists in an ImagePullSecretStatus, which must not grow with
// the cluster.
const (
	// MaxFailingTargets is the most entries that status.failing holds.
	MaxFailingTargets = 20
	// MaxManagedNamespaces is the most entries that status.managedNamespaces
	// holds.
	MaxManagedNamespaces = 100
)

// ImagePullSecretStatus says what was found and done. It is written only when
// something in it changed.
type ImagePullSecretStatus struct {
	// observedGeneration is the generation of the spec that this status is
	// about.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=status
	// +kubebuilder:validation:Minimum=0
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// conditions are Ready, CredentialsReady and TargetsReady, and while they
	// apply Reconciling and Stalled.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=status,xDescriptors={"urn:alm:descriptor:io.kubernetes.conditions"}
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// credentials tell of each entry of spec.registry.credentials, in order.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=status
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=100
	Credentials []CredentialStatus `json:"credentials,omitempty"`

	// expiresAt is the earliest expiry of the credentials in use; absent when
	// none of them expires.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=status
	ExpiresAt *metav1.Time `json:"expiresAt,omitempty"`

	// targets counts the selected namespaces.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=status
	Targets TargetCounts `json:"targets,omitzero"`

	// serviceAccounts counts the ServiceAccounts that the Secret is attached to.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=status
	ServiceAccounts ServiceAccountCounts `json:"serviceAccounts,omitzero"`

	// failing are namespaces whose Secret, and after them ServiceAccounts whose
	// imagePullSecrets, are not as they should be: at most 20, in order of
	// their names.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=status
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=20
	Failing []FailingTarget `json:"failing,omitempty"`

	// status is Ready or Failed: the Ready condition for readers of IMPS.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=status
	Status string `json:"status,omitempty"`

	// reason is the Ready condition's message while status is Failed.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=status
	Reason string `json:"reason,omitempty"`

	// lastSuccessfulReconciliation is when this status last changed to, or
	// changed while being, Ready.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=status
	LastSuccessfulReconciliation *metav1.Time `json:"lastSuccessfulReconciliation,omitempty"`

	// validitySeconds is the time from lastSuccessfulReconciliation to
	// expiresAt; 0 when nothing expires.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=status
	ValiditySeconds int32 `json:"validitySeconds,omitempty"`

	// managedNamespaces are the namespaces that hold the current Secret: at
	// most 100, in order of their names. targets.ready counts them all.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=status
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=100
	ManagedNamespaces []string `json:"managedNamespaces,omitempty"`

	// sourceSecretStatus maps <namespace>.<name> of each source Secret to Ok
	// or to what is wrong with it.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=status
	SourceSecretStatus map[string]string `json:"sourceSecretStatus,omitempty"`
}

// TargetCounts counts namespaces.
type TargetCounts struct {
	// selected namespaces.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=status
	// +kubebuilder:validation:Minimum=0
	Selected int32 `json:"selected"`
	// ready is how many of them hold the current Secret.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=status
	// +kubebuilder:validation:Minimum=0
	Ready int32 `json:"ready"`
	// failing is how many of them do not and could not be given it.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=status
	// +kubebuilder:validation:Minimum=0
	Failing int32 `json:"failing"`
}

// ServiceAccountCounts counts ServiceAccounts in the selected namespaces.
type ServiceAccountCounts struct {
	// selected by spec.target.serviceAccounts.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=status
	// +kubebuilder:validation:Minimum=0
	Selected int32 `json:"selected"`
	// attached is how many of them have the Secret's name in their
	// imagePullSecrets.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=status
	// +kubebuilder:validation:Minimum=0
	Attached int32 `json:"attached"`
	// failing is how many of them have not and could not be given it.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=status
	// +kubebuilder:validation:Minimum=0
	Failing int32 `json:"failing"`
}

// CredentialStatus tells of one entry of spec.registry.credentials.
type CredentialStatus struct {
	// name is the source: <namespace>/<name> of its Secret, or the place of
	// its provider in spec.registry, such as credentials[2].ecr.
	// +required
	// +operator-sdk:csv:customresourcedefinitions:type=status
	Name string `json:"name,omitempty"`

	// provider is how its logins are obtained: static, or the provider's name,
	// such as ecr.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=status
	Provider string `json:"provider,omitempty"`

	// ready is True when its logins are valid now, False when not, Unknown
	// while they are being obtained for the first time.
	// +required
	// +operator-sdk:csv:customresourcedefinitions:type=status
	Ready metav1.ConditionStatus `json:"ready,omitempty"`

	// reason is the machine-readable cause of ready.
	// +required
	// +operator-sdk:csv:customresourcedefinitions:type=status
	Reason string `json:"reason,omitempty"`

	// message says what is wrong and what to do, or what was left out.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=status
	Message string `json:"message,omitempty"`

	// registries are the registries that it gives a login for, or will give
	// one for, as they stand in the Secret: at most 32.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=status
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	Registries []string `json:"registries,omitempty"`

	// expiresAt is when the login in use expires; absent when it does not.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=status
	ExpiresAt *metav1.Time `json:"expiresAt,omitempty"`

	// renewAt is when the login in use is, or was, to be renewed; where there
	// is none yet, when it is tried next. Absent when the login does not expire.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=status
	RenewAt *metav1.Time `json:"renewAt,omitempty"`
}

// FailingTarget is a namespace whose Secret, or a ServiceAccount whose
// imagePullSecrets, are not as they should be.
type FailingTarget struct {
	// namespace is the namespace's name.
	// +required
	// +operator-sdk:csv:customresourcedefinitions:type=status
	Namespace string `json:"namespace,omitempty"`
	// serviceAccount is the ServiceAccount's name, if it is about one.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=status
	ServiceAccount string `json:"serviceAccount,omitempty"`
	// reason is the machine-readable cause.
	// +required
	// +operator-sdk:csv:customresourcedefinitions:type=status
	Reason string `json:"reason,omitempty"`
	// message says what is wrong and what to do.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=status
	Message string `json:"message,omitempty"`
}
