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
