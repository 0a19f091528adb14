package cleanup

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
)

// fate is what becomes of a Secret that the operator kept.
type fate int

const (
	// collected: it goes by the garbage collector, with its ImagePullSecret.
	collected fate = iota + 1
	// deleted: it is to be deleted, since the ServiceAccount that asked for it
	// by its annotations stays.
	deleted
	// retained: it outlives its ImagePullSecret, whose deletionPolicy is Retain.
	retained
)

// fateOf tells what becomes of a Secret that is labelled as the operator's.
func fateOf(secret metav1.ObjectMeta) fate {
	owners := secret.OwnerReferences
	own := slices.IndexFunc(owners, func(owner metav1.OwnerReference) bool {
		return string(owner.UID) == secret.Labels[v1alpha1.LabelOwnerUID]
	})
	switch {
	case own < 0:
		return retained
	case owners[own].Kind == "ServiceAccount":
		return deleted
	default:
		return collected
	}
}

// waitingObject says of an ImagePullSecret that is still there why.
func waitingObject(object metav1.ObjectMeta) string {
	switch {
	case object.DeletionTimestamp.IsZero():
		return fmt.Sprintf("%s %s, which was made anew", v1alpha1.Kind, object.Name)
	case len(object.Finalizers) > 0:
		return fmt.Sprintf("%s %s, which waits for whoever set the finalizers %s", v1alpha1.Kind, object.Name, strings.Join(object.Finalizers, ", "))
	default:
		return fmt.Sprintf("%s %s, which is being deleted", v1alpha1.Kind, object.Name)
	}
}

// listedMost is how many of the things that are left a message names.
const listedMost = 10

// listing names what is left, the first of many.
func listing(left []string) string {
	text := strings.Join(left[:min(len(left), listedMost)], "; ")
	if more := len(left) - listedMost; more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return text
}
