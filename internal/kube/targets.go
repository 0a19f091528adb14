package kube

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/util/csaupgrade"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/internal/dockerconfig"
)

var (
	// ErrExists is what Targets.Apply returns where a Secret exists already,
	// if it was told to create one.
	ErrExists = errors.New("the Secret exists already")
	// ErrNoDocument is what Targets.Refresh returns for a Secret that holds no
	// dockerconfigjson to put logins into.
	ErrNoDocument = errors.New("the Secret holds no dockerconfigjson")
	// ErrOtherType is what Targets.Apply and Targets.Refresh return where the Secret that exists
	// is of another type, which can't be changed in place.
	ErrOtherType = errors.New("a Secret of another type is in the way")
)

// noVersion is a resource version that no Secret ever has. Server-side apply
// takes a resource version for a precondition on what exists, and creates what
// does not, so this makes it create or fail.
const noVersion = "1"

// Targets writes target Secrets.
type Targets struct {
	secrets corev1client.SecretsGetter
	live    client.Reader
}

// NewTargets returns Targets that write through secrets and read metadata
// through live, which must ask the API server itself and not a cache.
func NewTargets(secrets corev1client.SecretsGetter, live client.Reader) *Targets {
	return &Targets{secrets: secrets, live: live}
}

// Apply makes a Secret what desired says, by server-side apply and in place,
// and returns the resource version that it has then. Unless takeOver is set it
// only creates: a Secret that exists stays as it is, whoever wrote it. The
// error is ErrExists, ErrOtherType, or the API server's.
func (t *Targets) Apply(ctx context.Context, desired *corev1ac.SecretApplyConfiguration, takeOver bool) (string, error) {
	if !takeOver {
		created := *desired
		desired = created.WithResourceVersion(noVersion)
	}
	written, err := t.secrets.Secrets(*desired.Namespace).Apply(ctx, desired,
		metav1.ApplyOptions{FieldManager: v1alpha1.FieldManager, Force: true})
	switch {
	case apierrors.IsConflict(err) && !takeOver:
		return "", ErrExists
	case isTypeChange(err):
		return "", ErrOtherType
	case err != nil:
		return "", err
	default:
		return written.ResourceVersion, nil
	}
}

// Refresh puts logins into a Secret that is not ours, in place of those that it
// has for the same registries, and notes the hash of what was put there; it
// changes nothing else. It returns the resource version that the Secret has then.
// The error is ErrOtherType, ErrNoDocument, why the document can't be read, or
// the API server's: NotFound if the Secret is not there, and Conflict if it
// changed meanwhile.
func (t *Targets) Refresh(ctx context.Context, key types.NamespacedName, logins dockerconfig.Logins, hash string) (string, error) {
	secret, err := t.secrets.Secrets(key.Namespace).Get(ctx, key.Name, metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	document, found := secret.Data[corev1.DockerConfigJsonKey]
	switch {
	case secret.Type != corev1.SecretTypeDockerConfigJson:
		return "", ErrOtherType
	case !found:
		return "", ErrNoDocument
	}
	if document, err = dockerconfig.Replace(document, logins); err != nil {
		return "", fmt.Errorf("%w that can be read: %w", ErrNoDocument, err)
	}
	desired := corev1ac.Secret(key.Name, key.Namespace).WithUID(secret.UID).WithResourceVersion(secret.ResourceVersion).
		WithAnnotations(map[string]string{v1alpha1.AnnotationContentHash: hash}).
		WithData(map[string][]byte{corev1.DockerConfigJsonKey: document})
	written, err := t.secrets.Secrets(key.Namespace).Apply(ctx, desired, metav1.ApplyOptions{FieldManager: v1alpha1.FieldManager, Force: true})
	if err != nil {
		return "", err
	}
	return written.ResourceVersion, nil
}

// isTypeChange tells whether a write failed because a Secret's type is fixed.
func isTypeChange(err error) bool {
	cause, found := apierrors.StatusCause(err, metav1.CauseTypeFieldValueInvalid)
	return found && apierrors.IsInvalid(err) && cause.Field == "type"
}

// Get reads a Secret's metadata from the API server. The error is the API
// server's.
func (t *Targets) Get(ctx context.Context, key types.NamespacedName) (*metav1.PartialObjectMetadata, error) {
	secret := SecretMetadata()
	if err := t.live.Get(ctx, key, secret); err != nil {
		return nil, err
	}
	return secret, nil
}

// Written reads the dockerconfigjson and the annotations of a target Secret, as
// they stand there, whoever wrote them. The error is the API server's.
func (t *Targets) Written(ctx context.Context, key types.NamespacedName) (document []byte, annotations map[string]string, err error) {
	secret, err := t.secrets.Secrets(key.Namespace).Get(ctx, key.Name, metav1.GetOptions{})
	if err != nil {
		return nil, nil, err
	}
	return secret.Data[corev1.DockerConfigJsonKey], secret.Annotations, nil
}

// Delete removes a Secret if it is still the one of that UID. That it is gone,
// or another one by now, is no error.
func (t *Targets) Delete(ctx context.Context, key types.NamespacedName, uid types.UID) error {
	err := t.secrets.Secrets(key.Namespace).Delete(ctx, key.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
	if apierrors.IsConflict(err) {
		return nil
	}
	return client.IgnoreNotFound(err)
}

// imps are the fields that only IMPS's way of writing Secrets owned.
var imps = fieldpath.NewSet(fieldpath.MakePathOrDie("metadata", "annotations", v1alpha1.AnnotationIMPSLastApplied))

// InheritFromIMPS makes us the owner of what IMPS wrote to a Secret, so that
// the next Apply removes what IMPS left behind, above all its copy of the
// credentials in an annotation. It returns the API server's error.
func (t *Targets) InheritFromIMPS(ctx context.Context, key types.NamespacedName) error {
	secret, err := t.Get(ctx, key)
	if err != nil {
		return client.IgnoreNotFound(err)
	}
	managers := sets.New[string]()
	for _, entry := range csaupgrade.FindFieldsOwners(secret.ManagedFields, metav1.ManagedFieldsOperationUpdate, imps) {
		managers.Insert(entry.Manager)
	}
	patch, err := csaupgrade.UpgradeManagedFieldsPatch(secret, managers, v1alpha1.FieldManager)
	if err != nil || patch == nil {
		return err
	}
	_, err = t.secrets.Secrets(key.Namespace).Patch(ctx, key.Name, types.JSONPatchType, patch, metav1.PatchOptions{FieldManager: v1alpha1.FieldManager})
	return err
}

// SecretMetadata returns an empty metadata-only Secret.
func SecretMetadata() *metav1.PartialObjectMetadata {
	return metadataOf("Secret")
}

// NamespaceMetadata returns an empty metadata-only Namespace.
func NamespaceMetadata() *metav1.PartialObjectMetadata {
	return metadataOf("Namespace")
}

// PodMetadata returns an empty metadata-only Pod.
func PodMetadata() *metav1.PartialObjectMetadata {
	return metadataOf("Pod")
}

// ServiceAccountMetadata returns an empty metadata-only ServiceAccount.
func ServiceAccountMetadata() *metav1.PartialObjectMetadata {
	return metadataOf("ServiceAccount")
}

func metadataOf(kind string) *metav1.PartialObjectMetadata {
	object := &metav1.PartialObjectMetadata{}
	object.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind(kind))
	return object
}

// ListKind returns the kind of lists of a kind of objects.
func ListKind(object *metav1.PartialObjectMetadata) schema.GroupVersionKind {
	kind := object.GroupVersionKind()
	kind.Kind += "List"
	return kind
}
