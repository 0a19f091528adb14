package serviceaccount

import (
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/internal/grant"
)

// observation is everything that a plan for one ServiceAccount depends on.
type observation struct {
	// Secrets is its imagePullSecrets, Recorded the names among them, or that
	// were among them, that are the operator's to take away.
	Secrets  []corev1.LocalObjectReference
	Recorded []string
	// Claims are the grants that have to do with it: those that select it, and
	// those whose Secret has a recorded name.
	Claims []claim
	// Retained are the recorded names whose Secret outlives its object, or may do
	// so: Unknown tells that of some it can't be known now.
	Retained map[string]bool
	Unknown  bool
	// Held are wanted names that someone took away again and again, and until
	// when they are not put back.
	Held map[string]time.Time
}

// claim is what a grant says about one ServiceAccount.
type claim struct {
	Grant *grant.Grant
	// Namespace and Account tell whether it selects the namespace, and the
	// ServiceAccount in it.
	Namespace, Account bool
	// Unsure: the grant may select more than it seems to.
	Unsure bool
	// Ours: the grant's Secret stands in the namespace, kept for its object. Only
	// of grants that inherit entries is it known.
	Ours bool
}

// wants tells whether the grant's Secret is to be attached.
func (c claim) wants() bool { return c.Account && !c.Grant.Suspended }

// plan says what a ServiceAccount is to be.
type plan struct {
	Secrets  []corev1.LocalObjectReference
	Recorded []string // sorted
	// Added and Removed are the names by which Secrets differs, sorted.
	Added, Removed []string
	// Change: it, or what is recorded, is not so already.
	Change bool
}

// decide makes the plan. Of each name:
//
//	wanted      stands          leave it, whosever it is; record it, if inherited
//	            is missing      add it at the end and record it, unless held
//	not wanted  not recorded    leave it: it is someone else's
//	            recorded        take it away, and the record, unless kept
func decide(o observation) plan {
	wanted := o.wanted()
	p := plan{Secrets: slices.Clone(o.Secrets)}
	recorded := map[string]bool{}
	for _, name := range o.Recorded {
		if !slices.Contains(wanted, name) && !o.kept(name) {
			p.Removed = append(p.Removed, name)
			p.Secrets = without(p.Secrets, name)
			continue
		}
		recorded[name] = true
	}
	for _, name := range o.missing(wanted) {
		if _, held := o.Held[name]; !held {
			p.Added = append(p.Added, name)
			p.Secrets = append(p.Secrets, corev1.LocalObjectReference{Name: name})
			recorded[name] = true
		}
	}
	for _, c := range o.unrecorded() {
		if c.Ours {
			recorded[c.Grant.SecretName] = true
		}
	}
	p.Recorded = slices.Sorted(maps.Keys(recorded))
	p.Change = len(p.Added)+len(p.Removed) > 0 || !slices.Equal(p.Recorded, o.Recorded)
	return p
}

// unrecorded are the claims whose name an earlier system may have put where it
// stands. It is inherited once the Secret is: before, both may be a stranger's.
func (o observation) unrecorded() []claim {
	return slices.DeleteFunc(slices.Clone(o.Claims), func(c claim) bool {
		name := c.Grant.SecretName
		return !c.Grant.InheritsEntries || !c.wants() || !stands(o.Secrets, name) || slices.Contains(o.Recorded, name)
	})
}

// wanted are the names that are to stand in the ServiceAccount, sorted.
func (o observation) wanted() []string {
	var names []string
	for _, c := range o.Claims {
		if c.wants() {
			names = append(names, c.Grant.SecretName)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// missing are those of the names that do not stand in the ServiceAccount.
func (o observation) missing(names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return stands(o.Secrets, name) })
}

// kept tells whether a recorded name that nobody wants stays all the same:
// while a grant of that name is suspended or unsure, and while its Secret
// outlives what it was made for. It does not, if it is only this ServiceAccount
// that such a grant does not select.
func (o observation) kept(name string) bool {
	kept, here := o.Retained[name], false
	for _, c := range o.Claims {
		if c.Grant.SecretName != name {
			continue
		}
		if c.Grant.Suspended || c.Unsure {
			return true
		}
		here = here || c.Namespace
	}
	return kept && !here
}

func stands(secrets []corev1.LocalObjectReference, name string) bool {
	return slices.ContainsFunc(secrets, func(s corev1.LocalObjectReference) bool { return s.Name == name })
}

// without returns secrets without one entry of a name, the last one: should
// someone else have added it too, theirs stays.
func without(secrets []corev1.LocalObjectReference, name string) []corev1.LocalObjectReference {
	for i := len(secrets) - 1; i >= 0; i-- {
		if secrets[i].Name == name {
			return slices.Delete(secrets, i, i+1)
		}
	}
	return secrets
}

// Recorded returns the names in a ServiceAccount's imagePullSecrets, by its
// annotations, that are the operator's to take away; sorted, each of them once.
func Recorded(annotations map[string]string) []string {
	var names []string
	for name := range strings.SplitSeq(annotations[v1alpha1.AnnotationAttached], ",") {
		if name = strings.TrimSpace(name); name != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// record is the annotation's value for names; "" for none.
func record(names []string) string { return strings.Join(names, ",") }
