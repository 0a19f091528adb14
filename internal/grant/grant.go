// Package grant holds the one thing that the engine understands: which
// credentials are to stand in which Secret of which namespaces, attached to
// which ServiceAccounts, on whose behalf. Every way of asking for Secrets is
// translated into grants; what carries grants out does not know where they came
// from.
package grant

import (
	"cmp"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/internal/selector"
)

// Grant says what is to stand where. It is an immutable value once it is in a
// Book: a change makes another Grant of the same name.
type Grant struct {
	// Name is the grant's own among all grants.
	Name string
	// Asker is what people call who asks, such as ImagePullSecret "corp".
	Asker string
	// UID labels the Secrets: it is that of the object on whose behalf they
	// are kept.
	UID types.UID
	// Owner is the object that the Secrets go with; nil if none.
	Owner *metav1.OwnerReference
	// CreatedAt decides, with Name, between grants that want the same Secret.
	CreatedAt metav1.Time
	// Namespace is the only one that the grant selects, without any rule; ""
	// if its Selection decides.
	Namespace string
	// Generation is that of the object's spec, which this grant translates.
	Generation int64
	// Suspended: leave everything as it is.
	Suspended bool
	// Selection decides on namespaces.
	Selection selector.Selection
	// Accounts decides on ServiceAccounts in selected namespaces, in whose
	// imagePullSecrets SecretName is to stand.
	Accounts selector.Accounts
	// Unsure: a rule can't be followed, so that what is not selected may be
	// meant to be: nothing is removed.
	Unsure bool
	// SecretName, Labels and Annotations describe the Secret. Without a name the
	// grant is not found where Secrets may be wanted, only by its own name and
	// the UID.
	SecretName string
	// NameField is where people choose SecretName.
	NameField   string
	Labels      map[string]string
	Annotations map[string]string
	// Inherits are annotations by which Secrets are known that are ours, though
	// an earlier system wrote them; nil for none.
	Inherits map[string]string
	// InheritsEntries: an earlier system attached the Secret, too, so that an
	// entry that stands in a ServiceAccount before ours goes with the Secret.
	InheritsEntries bool
	// InPlace: the Secret is somebody else's, who asks for logins to be kept in
	// it. It is neither created nor removed, and what else stands in it stays.
	InPlace bool
	// ConflictPolicy and DeletionPolicy are as in the API.
	ConflictPolicy v1alpha1.ConflictPolicy
	DeletionPolicy v1alpha1.DeletionPolicy
	// Pods and Recovery are as in the API; "" is None.
	Pods     v1alpha1.PodPolicy
	Recovery v1alpha1.PodRecovery
	// Content is what the Secret is to hold; nil until it is known, and then
	// nothing is written.
	Content *Content
}

// Content is what a grant's Secrets hold.
type Content struct {
	// DockerConfigJSON is the Secret's only data.
	DockerConfigJSON []byte
	// Hash is a keyed hash over DockerConfigJSON and the rest of what is
	// written, so that equal hashes mean that no write is due.
	Hash string
	// Sources identify the sources whose logins these are.
	Sources []string
}

// precedence orders grants that want the same Secret: the older object wins, and
// of two made in the same second the one whose name sorts first.
func precedence(a, b *Grant) int {
	if order := a.CreatedAt.Time.Compare(b.CreatedAt.Time); order != 0 {
		return order
	}
	return cmp.Compare(a.Name, b.Name)
}

// OwnerReference is what makes the garbage collector remove g's Secrets after
// g's object; nil if they are to outlive it.
func (g *Grant) OwnerReference() *metav1ac.OwnerReferenceApplyConfiguration {
	if g.Owner == nil || g.DeletionPolicy == v1alpha1.DeletionRetain {
		return nil
	}
	reference := metav1ac.OwnerReference().
		WithAPIVersion(g.Owner.APIVersion).
		WithKind(g.Owner.Kind).
		WithName(g.Owner.Name).
		WithUID(g.Owner.UID)
	reference.Controller = g.Owner.Controller
	return reference
}

// Recovers tells whether Pods that came too early for the Secret are evicted.
func (g *Grant) Recovers() bool {
	return !g.Suspended && (g.Recovery == v1alpha1.RecoveryEvict || g.Recovery == v1alpha1.RecoveryEvictAll)
}

// Outcome is what became of a grant in one place: a namespace or a
// ServiceAccount.
type Outcome struct {
	// State is what is true of the Secret, or of its name in the ServiceAccount.
	State State
	// Hash is Content.Hash of what the Secret holds, if State is Held; "" for a
	// ServiceAccount.
	Hash string
	// Reason and Message say why, if State is Failing: a reason of the API,
	// and a sentence that says what to do.
	Reason  string
	Message string
}

// State is the state of a grant in one place.
type State int

const (
	// Pending: nothing was tried yet.
	Pending State = iota + 1
	// Held: the Secret, or its name, stands there.
	Held
	// Failing: it could not be written, or must not be.
	Failing
)
