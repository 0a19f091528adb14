package target

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/internal/grant"
)

// observation is everything that a plan for one Secret depends on.
type observation struct {
	// Key is the Secret's namespace and name.
	Key types.NamespacedName
	// NamespaceActive: the namespace exists and is not terminating.
	NamespaceActive bool
	// Claims are the grants that want the Secret there, the winner first.
	Claims []*grant.Grant
	// Secret is what stands there.
	Secret existing
	// Unreadable is why that can't be known, if no right allows it.
	Unreadable error
	// Keeper is the grant whose UID Secret is labelled with, if it is in force.
	Keeper *grant.Grant
}

// existing is a Secret's metadata as far as it matters.
type existing struct {
	Found       bool
	Terminating bool
	// Intact: nobody changed the credentials since we wrote them.
	Intact      bool
	UID         types.UID
	Labels      map[string]string
	Annotations map[string]string
	Owners      []metav1.OwnerReference
}

// ours tells whether this operator, or IMPS before it, keeps the Secret: it is
// labelled so, or we were the last to write its credentials.
func (e existing) ours() bool {
	// Of a Secret that asks for a login we write the credentials, and it stays
	// its owner's.
	_, asks := e.Annotations[v1alpha1.AnnotationChainguardUpdater]
	return e.Found && (e.Intact && !asks || e.Labels[v1alpha1.LabelOwnerUID] != "")
}

// action is what is to be done about one Secret.
type action int

const (
	// leave it: there is nothing to do.
	leave action = iota + 1
	// wait until something that is awaited happens and wakes us.
	wait
	// apply the winner's Secret.
	apply
	// remove our Secret, which nobody wants any more.
	remove
)

// plan says what is to be done about one Secret, and why.
type plan struct {
	Action action
	// Grant is the one that the action is for; nil if there is none.
	Grant *grant.Grant
	// Current: the Secret is just what Grant wants.
	Current bool
	// TakeOver: write even over what others wrote, for the Secret is ours.
	TakeOver bool
	// InheritFromIMPS: what IMPS wrote becomes ours first.
	InheritFromIMPS bool
	// Why says in a few words why this action.
	Why string
}

// decide makes the plan:
//
//	namespace gone                        leave
//	nobody claims it   and not ours       leave
//	                   and ours           remove, unless its keeper retains
//	claimed            by a suspended     leave
//	                   content unknown    wait
//	                   ours and current   leave
//	                   else               apply
func decide(o observation) plan {
	switch {
	case !o.NamespaceActive:
		return plan{Action: leave, Why: "the namespace is terminating or gone"}
	case len(o.Claims) == 0:
		return decideUnclaimed(o)
	}
	winner := o.Claims[0]
	switch {
	case winner.Suspended:
		return plan{Action: leave, Grant: winner, Why: "suspended"}
	case winner.InPlace && !o.Secret.Found:
		return plan{Action: leave, Grant: winner, Why: "the Secret that asked for it is gone"}
	case winner.Content == nil:
		return plan{Action: wait, Grant: winner, Why: "its credentials are not known yet"}
	case o.Secret.Terminating:
		return plan{Action: wait, Grant: winner, Why: "the old Secret is being deleted"}
	case current(o.Secret, winner):
		return plan{Action: leave, Grant: winner, Current: true, Why: "current"}
	default:
		_, fromIMPS := o.Secret.Annotations[v1alpha1.AnnotationIMPSLastApplied]
		ours := o.Secret.ours()
		return plan{Action: apply, Grant: winner, TakeOver: ours, InheritFromIMPS: ours && fromIMPS, Why: "differs from what is wanted"}
	}
}

func decideUnclaimed(o observation) plan {
	switch {
	case !o.Secret.ours():
		return plan{Action: leave, Why: "nobody asks for it"}
	case o.Keeper == nil:
		return plan{Action: leave, Why: "who asked for it is gone; the garbage collector removes what is to go"}
	case o.Keeper.Suspended:
		return plan{Action: leave, Grant: o.Keeper, Why: "suspended"}
	case o.Keeper.Unsure:
		return plan{Action: leave, Grant: o.Keeper, Why: "a selector can't be followed, so nothing is removed"}
	case o.Keeper.DeletionPolicy == v1alpha1.DeletionRetain:
		return plan{Action: leave, Grant: o.Keeper, Why: "deletionPolicy is Retain"}
	default:
		return plan{Action: remove, Grant: o.Keeper, Why: "who asked for it does not any more"}
	}
}

// current tells whether a Secret is just what a grant wants.
func current(secret existing, g *grant.Grant) bool {
	if g.InPlace {
		return secret.Intact && secret.Annotations[v1alpha1.AnnotationContentHash] == g.Content.Hash
	}
	return secret.Intact &&
		secret.Labels[v1alpha1.LabelOwnerUID] == string(g.UID) &&
		secret.Annotations[v1alpha1.AnnotationContentHash] == g.Content.Hash &&
		contains(secret.Labels, g.Labels) &&
		contains(secret.Annotations, g.Annotations) &&
		ownedAsWanted(secret.Owners, g)
}

func contains(all, some map[string]string) bool {
	for key, value := range some {
		if actual, found := all[key]; !found || actual != value {
			return false
		}
	}
	return true
}

func ownedAsWanted(owners []metav1.OwnerReference, g *grant.Grant) bool {
	return belongsTo(owners, g) == (g.OwnerReference() != nil)
}

// belongsTo tells whether a grant's object is among owners.
func belongsTo(owners []metav1.OwnerReference, g *grant.Grant) bool {
	return slices.ContainsFunc(owners, func(owner metav1.OwnerReference) bool { return owner.UID == g.UID })
}

// desired is the Secret that a grant wants in a namespace. Fields that are not
// in it are not ours, and those that were and are not any more are removed.
func desired(key types.NamespacedName, g *grant.Grant) *corev1ac.SecretApplyConfiguration {
	secret := corev1ac.Secret(key.Name, key.Namespace).
		WithType(corev1.SecretTypeDockerConfigJson).
		WithLabels(g.Labels).
		WithLabels(map[string]string{v1alpha1.LabelOwnerUID: string(g.UID)}).
		WithAnnotations(g.Annotations).
		WithAnnotations(map[string]string{v1alpha1.AnnotationContentHash: g.Content.Hash}).
		WithData(map[string][]byte{corev1.DockerConfigJsonKey: g.Content.DockerConfigJSON})
	if owner := g.OwnerReference(); owner != nil {
		secret.WithOwnerReferences(owner)
	}
	return secret
}

// resolution is what to do about a Secret that someone else wrote.
type resolution struct {
	// TakeOver: write over it, in place.
	TakeOver bool
	// Replace: delete it and write ours.
	Replace bool
	// Message says why neither, and what to do.
	Message string
}

// resolve applies g's conflict policy to a Secret that is in the way:
// secret is its metadata, otherType tells that its type is another one.
func resolve(key types.NamespacedName, g *grant.Grant, secret existing, otherType bool) resolution {
	inherited := len(g.Inherits) > 0 && contains(secret.Annotations, g.Inherits)
	ours := secret.ours() || inherited || belongsTo(secret.Owners, g)
	switch {
	case ours && !otherType:
		return resolution{TakeOver: true}
	case ours, g.ConflictPolicy == v1alpha1.ConflictOverwrite:
		return resolution{TakeOver: !otherType, Replace: otherType}
	case g.Namespace != "":
		return resolution{Message: fmt.Sprintf("Secret %s exists and is not kept by this operator: delete it, or choose another name in %s", key, g.NameField)}
	case g.ConflictPolicy != v1alpha1.ConflictAdopt:
		return resolution{Message: fmt.Sprintf("Secret %s exists and is not kept by this operator: "+
			"delete it, choose another %s, or set spec.target.conflictPolicy to Adopt or Overwrite", key, g.NameField)}
	case otherType:
		return resolution{Message: fmt.Sprintf("Secret %s exists and its type is not %s, which can't be changed in place: "+
			"delete it, or set spec.target.conflictPolicy to Overwrite", key, corev1.SecretTypeDockerConfigJson)}
	case len(secret.Owners) > 0:
		return resolution{Message: fmt.Sprintf("Secret %s exists and belongs to %s %q: "+
			"delete it, or set spec.target.conflictPolicy to Overwrite", key, secret.Owners[0].Kind, secret.Owners[0].Name)}
	default:
		return resolution{TakeOver: true}
	}
}

// providedByOther is the outcome of a grant that does not win a Secret.
func providedByOther(key types.NamespacedName, winner, loser *grant.Grant) grant.Outcome {
	why := "which is older"
	if winner.Namespace != loser.Namespace {
		why = "which is for the whole cluster"
	}
	return grant.Outcome{
		State: grant.Failing, Reason: v1alpha1.ReasonProvidedByOther,
		Message: fmt.Sprintf("Secret %s is kept for %s, %s: "+
			"choose another name in %s, or other namespaces", key, winner.Asker, why, loser.NameField),
	}
}
