package serviceaccount

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/internal/grant"
	"github.com/imagepullsecrets/operator/internal/rights"
)

// failureOf turns a write's error into what people are told; Held if it went
// well, and Pending if its end is near anyhow. The error is returned again only
// if the next try may go better.
func failureOf(mode rights.Mode, key types.NamespacedName, err error) (grant.Outcome, error) {
	failing := grant.Outcome{State: grant.Failing, Reason: v1alpha1.ReasonWriteFailed}
	switch {
	case err == nil:
		return grant.Outcome{State: grant.Held}, nil
	case apierrors.IsNotFound(err), apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return grant.Outcome{State: grant.Pending}, nil
	case rights.Missing(err):
		failing.Reason = v1alpha1.ReasonAttachForbidden
		failing.Message = fmt.Sprintf("the operator may not change ServiceAccount %s: add to %s of its ServiceAccount the rule %s", key, mode.Role(key.Namespace), rights.ForAttaching)
		return failing, nil
	case apierrors.IsForbidden(err), apierrors.IsInvalid(err), apierrors.IsRequestEntityTooLargeError(err):
		failing.Message = fmt.Sprintf("the API server refuses the change of ServiceAccount %s: %v", key, err)
		return failing, nil
	default:
		failing.Message = fmt.Sprintf("changing ServiceAccount %s: %v; it is tried again", key, err)
		return failing, err
	}
}

// contested says what is wrong where someone takes a name away again and again,
// and what to do.
func contested(key types.NamespacedName, name string) string {
	return fmt.Sprintf("another writer, such as a GitOps tool, removes %q from the imagePullSecrets of ServiceAccount %s again and again: "+
		"add the name to the manifest that it applies, or exclude the ServiceAccount by spec.target.serviceAccounts.exclude; until then it is put back ever more rarely", name, key)
}

func contestedOutcome(key types.NamespacedName, name string) grant.Outcome {
	return grant.Outcome{State: grant.Failing, Reason: v1alpha1.ReasonAttachmentContested, Message: contested(key, name)}
}

// warn tells people who look at the ServiceAccount.
func (c *Controller) warn(account *corev1.ServiceAccount, note string) {
	// An object of a cache does not say of what kind it is.
	about := &corev1.ServiceAccount{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceAccount"},
		ObjectMeta: metav1.ObjectMeta{Namespace: account.Namespace, Name: account.Name, UID: account.UID, ResourceVersion: account.ResourceVersion},
	}
	c.Recorder.Eventf(about, nil, corev1.EventTypeWarning, v1alpha1.ReasonAttachmentContested, "Attach", "%s", note)
}
