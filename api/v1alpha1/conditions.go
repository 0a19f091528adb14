package v1alpha1

// Condition types of an ImagePullSecret. Ready, Reconciling and Stalled follow
// kstatus, so that GitOps tools and `kubectl wait` read them without help.
const (
	// ConditionReady is True when every credential is usable and every
	// selected namespace holds the current Secret.
	ConditionReady = "Ready"
	// ConditionCredentialsReady is True when every entry of
	// spec.registry.credentials gives logins that are valid now.
	ConditionCredentialsReady = "CredentialsReady"
	// ConditionTargetsReady is True when every selected namespace holds the
	// current Secret.
	ConditionTargetsReady = "TargetsReady"
	// ConditionReconciling is True while work is under way; absent otherwise.
	ConditionReconciling = "Reconciling"
	// ConditionStalled is True when nothing will get better until a person
	// changes something; absent otherwise.
	ConditionStalled = "Stalled"
)

// Reasons of conditions, credentials and failing targets; an event about the
// same thing carries the same reason.
const (
	// ReasonReady: everything is as the spec wants it.
	ReasonReady = "Ready"
	// ReasonProgressing: Secrets are being written or credentials obtained.
	ReasonProgressing = "Progressing"
	// ReasonSuspended: spec.suspend is true, so nothing is done or checked.
	ReasonSuspended = "Suspended"
	// ReasonNoCredentials: spec.registry.credentials is empty.
	ReasonNoCredentials = "NoCredentials"
	// ReasonNothingSelected: no rule of spec.target selects a namespace now.
	ReasonNothingSelected = "NothingSelected"
	// ReasonInvalidSelector: a selector of spec.target can't be evaluated; the
	// others work.
	ReasonInvalidSelector = "InvalidSelector"

	// ReasonLeasesUnavailable: the operator can't read its own leases, and
	// gives out nothing until it can.
	ReasonLeasesUnavailable = "LeasesUnavailable"
	// ReasonSourceNotFound: a source Secret does not exist.
	ReasonSourceNotFound = "SourceNotFound"
	// ReasonSourceInvalid: a source Secret's type, keys or content are wrong.
	ReasonSourceInvalid = "SourceInvalid"
	// ReasonSourceForbidden: the operator may not read a source Secret.
	ReasonSourceForbidden = "SourceForbidden"
	// ReasonEntryLeftOut: some registries of a source are unusable for the
	// kubelet and were left out; the source's others are in use.
	ReasonEntryLeftOut = "EntryLeftOut"
	// ReasonShadowed: another source that comes first already gives a login
	// for some of this source's registries. Not a failure.
	ReasonShadowed = "Shadowed"
	// ReasonDenied: the cloud refused the identity.
	ReasonDenied = "Denied"
	// ReasonThrottled: the cloud asked for fewer requests.
	ReasonThrottled = "Throttled"
	// ReasonClockSkew: this cluster's clock and the cloud's disagree.
	ReasonClockSkew = "ClockSkew"
	// ReasonUnavailable: the cloud could not be reached or answered nonsense.
	ReasonUnavailable = "Unavailable"
	// ReasonExpired: the login in use has passed its expiry and could not be
	// renewed.
	ReasonExpired = "Expired"

	// ReasonConflict: a Secret of the target's name exists that is not ours
	// and spec.target.conflictPolicy does not allow to take it over.
	ReasonConflict = "Conflict"
	// ReasonProvidedByOther: an older ImagePullSecret keeps the same Secret.
	ReasonProvidedByOther = "ProvidedByOther"
	// ReasonTargetForbidden: the operator lacks a right on target Secrets.
	ReasonTargetForbidden = "TargetForbidden"
	// ReasonOutOfReach: namespaces are selected that are not among those where
	// the operator was told to work.
	ReasonOutOfReach = "OutOfReach"
	// ReasonAttachForbidden: the operator may not change ServiceAccounts.
	ReasonAttachForbidden = "AttachForbidden"
	// ReasonAttachmentContested: someone takes the Secret's name out of a
	// ServiceAccount's imagePullSecrets again and again.
	ReasonAttachmentContested = "AttachmentContested"
	// ReasonTooLarge: the merged credentials exceed what a Secret holds.
	ReasonTooLarge = "TooLarge"
	// ReasonWriteFailed: the API server refused or failed a write.
	ReasonWriteFailed = "WriteFailed"
)

// Reasons of events on annotated ServiceAccounts, which are those of
// image-pull-secrets-provisioner.
const (
	// ReasonProvisioned: a Secret with a login stands and is attached.
	ReasonProvisioned = "ProvisionedImagePullSecret"
	// ReasonProvisioningFailed: there is no login, or no Secret.
	ReasonProvisioningFailed = "FailedProvisioningImagePullSecret"
	// ReasonDecommissioned: a Secret is not asked for any more.
	ReasonDecommissioned = "DecommissionedImagePullSecret"
)

// Values of the IMPS field status.status.
const (
	StatusReady  = "Ready"
	StatusFailed = "Failed"
)
