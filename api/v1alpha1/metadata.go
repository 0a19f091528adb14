package v1alpha1

import corev1 "k8s.io/api/core/v1"

const (
	// LabelOwnerUID is on every Secret that the operator keeps; its value is
	// the UID of the ImagePullSecret that the Secret is kept for. IMPS used
	// the same key, which is how its Secrets are recognised and adopted.
	LabelOwnerUID = "images.banzaicloud.io/owner-uid"

	// AnnotationContentHash is on every Secret that the operator keeps: a
	// keyed hash of the credentials written last. It tells, without reading
	// the Secret's data, whether a write is due; without the operator's own
	// key it tells nothing about the credentials.
	AnnotationContentHash = "images.banzaicloud.io/content-hash"

	// AnnotationAttached is on a ServiceAccount that the operator added names
	// to: the names in its imagePullSecrets that are the operator's to take
	// away again, separated by commas. Others that stand there are not.
	AnnotationAttached = "images.banzaicloud.io/attached"

	// AnnotationIMPSLastApplied is what IMPS wrote beside its Secrets: a copy
	// of the credentials in an annotation. It is removed on adoption.
	AnnotationIMPSLastApplied = "banzaicloud.com/last-applied"

	// FieldManager is the operator's name in managedFields of what it applies.
	FieldManager = "imagepullsecret-operator"

	// SecretTypeECR is the type of a source Secret that holds AWS access keys
	// instead of a registry login: keys accessKeyID, secretKey, region and
	// accountID, and optionally roleArn.
	SecretTypeECR corev1.SecretType = "banzaicloud.io/aws-ecr-login-config"

	// SecretTypeClientSecret is the type of a Secret with secrets of OAuth
	// clients, under keys of one's choice. A ClientAuthentication reads no
	// other: who makes a Secret of this type says that it may be sent to the
	// endpoint of an ImagePullSecret, which can't be told of a Secret that is
	// there for another purpose, such as a ServiceAccount's token.
	SecretTypeClientSecret corev1.SecretType = "images.banzaicloud.io/client-secret"
)

// Annotations of a ServiceAccount that ask for a login of its own, and of the
// Secrets that hold one. Those under imagepullsecrets.preferred.jp/ are those of
// image-pull-secrets-provisioner and mean what they meant there.
const (
	// AnnotationAccountRegistry is the host of the registry.
	AnnotationAccountRegistry = "imagepullsecrets.preferred.jp/registry"
	// AnnotationAccountAudience is that of the ServiceAccount's token; the
	// provider's own if absent.
	AnnotationAccountAudience = "imagepullsecrets.preferred.jp/audience"
	// AnnotationAccountSecretName is the name of the first principal's Secret,
	// to which the others' add -1, -2 and so on; imagepullsecret- and the
	// ServiceAccount's name if absent.
	AnnotationAccountSecretName = "imagepullsecrets.preferred.jp/secret-name"

	// AnnotationAWSRoleARN lists roles, separated by commas.
	AnnotationAWSRoleARN = "imagepullsecrets.preferred.jp/aws-role-arn"
	// AnnotationGoogleProvider is the full name of a workload identity
	// provider.
	AnnotationGoogleProvider = "imagepullsecrets.preferred.jp/googlecloud-workload-identity-provider"
	// AnnotationGoogleServiceAccount lists emails of Google service accounts;
	// if absent, the federated identity itself reads the registry.
	AnnotationGoogleServiceAccount = "imagepullsecrets.preferred.jp/googlecloud-service-account-email"
	// AnnotationChainguardIdentity lists UIDs of assumable identities.
	AnnotationChainguardIdentity = "images.banzaicloud.io/chainguard-identity"
	// AnnotationAzureClientID lists client IDs, and AnnotationAzureTenantID is
	// their tenant.
	AnnotationAzureClientID = "images.banzaicloud.io/azure-client-id"
	AnnotationAzureTenantID = "images.banzaicloud.io/azure-tenant-id"
	// AnnotationQuayRobot lists robot accounts of quay.io.
	AnnotationQuayRobot = "images.banzaicloud.io/quay-robot"

	// AnnotationChainguardUpdater is on a Secret whose owner wants a login to
	// Chainguard's registry kept in it: the UID of an assumable identity. It is
	// pull-secret-updater's, and means what it meant there.
	AnnotationChainguardUpdater = "pull-secret-updater.chainguard.dev/identity"

	// LabelServiceAccount is on the Secrets: the ServiceAccount's name, cut if
	// it is longer than a label's value.
	LabelServiceAccount = "imagepullsecrets.preferred.jp/service-account"
	// AnnotationPrincipal and AnnotationExpiresAt are on the Secrets: whose
	// login it is, and until when (RFC 3339).
	AnnotationPrincipal = "imagepullsecrets.preferred.jp/principal"
	AnnotationExpiresAt = "imagepullsecrets.preferred.jp/expires-at"
)
