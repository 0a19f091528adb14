package target

import (
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/internal/grant"
	"github.com/imagepullsecrets/operator/internal/kube"
	"github.com/imagepullsecrets/operator/internal/rights"
)

const (
	ownerUID = v1alpha1.LabelOwnerUID
	conflict = v1alpha1.ReasonConflict
)

// outcome turns a write's error into what people are told. The error is
// returned again only if the next try may go better.
func (c *Controller) outcome(key types.NamespacedName, err error) (grant.Outcome, error) {
	failing := grant.Outcome{State: grant.Failing, Reason: v1alpha1.ReasonWriteFailed}
	switch {
	case err == nil:
		return grant.Outcome{State: grant.Pending}, nil
	case errors.Is(err, kube.ErrOtherType):
		failing.Reason = v1alpha1.ReasonConflict
		failing.Message = fmt.Sprintf("the type of Secret %s is not %s, which can't be changed in place: "+
			"delete it and create it again with that type", key, corev1.SecretTypeDockerConfigJson)
		return failing, nil
	case errors.Is(err, kube.ErrNoDocument):
		failing.Reason = v1alpha1.ReasonConflict
		failing.Message = fmt.Sprintf("%v: give Secret %s the key %s, {} for the beginning", err, key, corev1.DockerConfigJsonKey)
		return failing, nil
	case namespaceEnding(err):
		return grant.Outcome{State: grant.Pending}, nil
	case rights.Missing(err):
		failing.Reason = v1alpha1.ReasonTargetForbidden
		failing.Message = fmt.Sprintf("the operator may not write Secret %s: add to %s of its ServiceAccount the rule %s",
			key, c.Rights.Role(key.Namespace), c.Rights.Target(key.Name))
		return failing, nil
	case apierrors.IsForbidden(err), apierrors.IsInvalid(err), apierrors.IsRequestEntityTooLargeError(err):
		failing.Message = fmt.Sprintf("the API server refuses Secret %s: %v", key, err)
		return failing, nil
	default:
		failing.Message = fmt.Sprintf("writing Secret %s: %v; it is tried again", key, err)
		return failing, err
	}
}

// String names the action for logs.
func (a action) String() string {
	switch a {
	case leave:
		return "leave"
	case wait:
		return "wait"
	case apply:
		return "apply"
	case remove:
		return "remove"
	default:
		return "unknown"
	}
}
