package order

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/internal/grant"
)

// assessment is everything that a status is made of.
type assessment struct {
	Order       *Order
	Credentials []credential
	// Merged is what the credentials amount to.
	Merged merged
	// TargetProblems are rules of spec.target that can't be carried out.
	TargetProblems []string
	// Refused says why no Secret of this name is kept at all, if so.
	Refused string
	// LeaseProblem says why leases are not there, without which no credential
	// is given out.
	LeaseProblem string
	// OutOfReach are the namespaces that are selected where the operator has no
	// rights, sorted: no target is there.
	OutOfReach []string
	// PodProblem says why Pods can't be selected by, if so.
	PodProblem string
	// AccountProblem says why ServiceAccounts can't be attached to, if so.
	AccountProblem problem
	// HasContent: what the Secrets are to hold is known.
	HasContent bool
	// Targets is about namespaces, Accounts about ServiceAccounts.
	Targets  grant.Summary
	Accounts grant.Summary
	Now      time.Time
}

// problem is what keeps rules from being followed; the zero value is none.
type problem struct {
	Reason, Message string
}

// verdict is the value of a condition.
type verdict struct {
	Status          metav1.ConditionStatus
	Reason, Message string
}

func yes(reason, format string, args ...any) verdict {
	return verdict{metav1.ConditionTrue, reason, fmt.Sprintf(format, args...)}
}

func no(reason, format string, args ...any) verdict {
	return verdict{metav1.ConditionFalse, reason, fmt.Sprintf(format, args...)}
}

func unknown(reason, format string, args ...any) verdict {
	return verdict{metav1.ConditionUnknown, reason, fmt.Sprintf(format, args...)}
}

// status makes the object's new status. It keeps the times of what did not
// change, so that an unchanged status equals the old one.
func (a assessment) status() v1alpha1.ImagePullSecretStatus {
	status := v1alpha1.ImagePullSecretStatus{
		ObservedGeneration:           a.Order.Object.Generation,
		Conditions:                   slices.Clone(a.Order.Object.Status.Conditions),
		Credentials:                  a.credentials(),
		ExpiresAt:                    a.expiresAt(),
		Targets:                      counts(a.Targets),
		ServiceAccounts:              accountCounts(a.Accounts),
		Failing:                      a.failing(),
		ManagedNamespaces:            a.Targets.Holding,
		LastSuccessfulReconciliation: a.Order.Object.Status.LastSuccessfulReconciliation,
		ValiditySeconds:              a.Order.Object.Status.ValiditySeconds,
	}
	a.setConditions(&status)
	a.setIMPS(&status)
	return status
}

// suspended is the status of an object that nothing is done about: what was
// true when it was suspended, and that it is.
func suspended(object *v1alpha1.ImagePullSecret) v1alpha1.ImagePullSecretStatus {
	status := *object.Status.DeepCopy()
	status.ObservedGeneration = object.Generation
	set(&status, object.Generation, v1alpha1.ConditionReady,
		unknown(v1alpha1.ReasonSuspended, "spec.suspend is true: nothing is written, renewed or checked"))
	meta.RemoveStatusCondition(&status.Conditions, v1alpha1.ConditionReconciling)
	meta.RemoveStatusCondition(&status.Conditions, v1alpha1.ConditionStalled)
	return status
}

// ready is the verdict on all of it.
func (a assessment) ready() verdict {
	credentials, targets := a.credentialsVerdict(), a.targetsVerdict()
	ready := yes(v1alpha1.ReasonReady, "%s", a.allStand())
	switch {
	case credentials.Status != metav1.ConditionTrue && targets.Status == metav1.ConditionFalse && targets.Reason != v1alpha1.ReasonProgressing:
		ready = no(credentials.Reason, "%s; %s", credentials.Message, targets.Message)
	case credentials.Status != metav1.ConditionTrue:
		ready = credentials
	case targets.Status != metav1.ConditionTrue:
		ready = targets
	case a.Targets.Selected == 0:
		ready = targets
	}
	return ready
}

func (a assessment) setConditions(status *v1alpha1.ImagePullSecretStatus) {
	credentials, targets, ready := a.credentialsVerdict(), a.targetsVerdict(), a.ready()
	generation := a.Order.Object.Generation
	set(status, generation, v1alpha1.ConditionReady, ready)
	set(status, generation, v1alpha1.ConditionCredentialsReady, credentials)
	set(status, generation, v1alpha1.ConditionTargetsReady, targets)
	setIf(status, generation, v1alpha1.ConditionReconciling, a.working(), v1alpha1.ReasonProgressing, "credentials are being obtained, Secrets written or attached")
	setIf(status, generation, v1alpha1.ConditionStalled, stalling(ready), ready.Reason, ready.Message)
}

// stalling tells whether nothing gets better until a person changes something
// that the message names.
func stalling(ready verdict) bool {
	return ready.Status == metav1.ConditionFalse && slices.Contains([]string{
		v1alpha1.ReasonNoCredentials, v1alpha1.ReasonInvalidSelector, v1alpha1.ReasonSourceInvalid,
		v1alpha1.ReasonSourceForbidden, v1alpha1.ReasonTargetForbidden, v1alpha1.ReasonAttachForbidden, v1alpha1.ReasonTooLarge,
		v1alpha1.ReasonLeasesUnavailable, v1alpha1.ReasonOutOfReach,
	}, ready.Reason)
}

// working tells whether something is under way.
func (a assessment) working() bool {
	return a.Merged.Wait || a.Accounts.Behind > 0 || (a.Merged.Document != nil && a.Merged.TooLarge == "" && a.Targets.Behind > 0) ||
		slices.ContainsFunc(a.Credentials, func(c credential) bool { return c.Waiting })
}

// renewing tells whether a login has expired whose renewal has only begun, as
// after a long time without the operator.
func (a assessment) renewing() bool {
	return slices.ContainsFunc(a.Credentials, func(c credential) bool { return c.Exchanging && c.expired(a.Now) })
}

func (a assessment) credentialsVerdict() verdict {
	if len(a.Credentials) == 0 {
		return no(v1alpha1.ReasonNoCredentials, "spec.registry.credentials is empty: name at least one source")
	}
	var failures []string
	var first string
	waiting := false
	for _, c := range a.Credentials {
		waiting = waiting || c.Waiting
		if c.Failed {
			failures = append(failures, c.explanation())
			if first == "" {
				first = c.Reason
			}
		}
	}
	switch {
	case a.LeaseProblem != "":
		return no(v1alpha1.ReasonLeasesUnavailable, "%s", a.LeaseProblem)
	case len(failures) > 0:
		return no(first, "%s", strings.Join(failures, "; "))
	case a.Merged.TooLarge != "":
		return no(v1alpha1.ReasonTooLarge, "%s", a.Merged.TooLarge)
	case waiting:
		return unknown(v1alpha1.ReasonProgressing, "credentials are being obtained")
	default:
		return yes(v1alpha1.ReasonReady, "all %d sources give valid logins", len(a.Credentials))
	}
}

func (a assessment) targetsVerdict() verdict {
	if failed := a.targetsFailure(); failed.Reason != "" {
		return failed
	}
	t, accounts := a.Targets, a.Accounts
	switch {
	case t.Selected == 0:
		return yes(v1alpha1.ReasonNothingSelected, "no rule of spec.target selects a namespace now")
	case t.Selected > t.Ready && !a.HasContent:
		return unknown(v1alpha1.ReasonProgressing, "the Secrets wait for credentials")
	case t.Selected > t.Ready:
		return unknown(v1alpha1.ReasonProgressing, "%d of %d Secrets stand", t.Ready, t.Selected)
	case t.Behind > 0 && !a.wasReady():
		return unknown(v1alpha1.ReasonProgressing, "%d of %d Secrets are yet to be brought up to date", t.Behind, t.Selected)
	case accounts.Behind > 0:
		return unknown(v1alpha1.ReasonProgressing, "the Secret is attached to %d of %d ServiceAccounts", accounts.Ready, accounts.Selected)
	default:
		return yes(v1alpha1.ReasonReady, "%s", a.allStand())
	}
}

// targetsFailure is the verdict on targets if something is wrong with them, or
// else the zero value.
func (a assessment) targetsFailure() verdict {
	t, accounts := a.Targets, a.Accounts
	switch {
	case a.Refused != "":
		return no(v1alpha1.ReasonTargetForbidden, "%s", a.Refused)
	case len(a.TargetProblems) > 0:
		return no(v1alpha1.ReasonInvalidSelector, "%s", strings.Join(a.TargetProblems, "; "))
	case a.PodProblem != "":
		return no(v1alpha1.ReasonInvalidSelector, "%s", a.PodProblem)
	case t.Failing > 0:
		first := t.Failures[0]
		return no(commonReason(t.Failures), "%d of %d namespaces fail; %s: %s", t.Failing, t.Selected, first.Namespace, first.Message)
	case a.AccountProblem.Reason != "":
		return no(a.AccountProblem.Reason, "%s", a.AccountProblem.Message)
	case accounts.Failing > 0:
		first := accounts.Failures[0]
		return no(commonReason(accounts.Failures), "%d of %d ServiceAccounts fail; %s/%s: %s",
			accounts.Failing, accounts.Selected, first.Namespace, first.ServiceAccount, first.Message)
	case len(a.OutOfReach) > 0:
		return no(v1alpha1.ReasonOutOfReach, "%s", a.outOfReach())
	default:
		return verdict{}
	}
}

// namedOutOfReach is how many of the namespaces out of reach a message names.
const namedOutOfReach = 5

// outOfReach says which namespaces get nothing, and what to do.
func (a assessment) outOfReach() string {
	count := len(a.OutOfReach)
	names := strings.Join(a.OutOfReach[:min(count, namedOutOfReach)], ", ")
	if more := count - namedOutOfReach; more > 0 {
		names += fmt.Sprintf(" and %d more", more)
	}
	return fmt.Sprintf("%d of %d selected namespaces are out of this operator's reach and get nothing: %s; "+
		"add them to --watch-namespaces, with its rights in each (chart: rbac.namespaces does both), or do not select them",
		count, count+a.Targets.Selected, names)
}

// allStand says that everything is where it is to be.
func (a assessment) allStand() string {
	text := fmt.Sprintf("the Secret stands in all %d selected namespaces", a.Targets.Selected)
	if a.Accounts.Selected > 0 {
		text += fmt.Sprintf(" and is attached to all %d selected ServiceAccounts", a.Accounts.Selected)
	}
	return text
}

// failing are the failures that the status lists.
func (a assessment) failing() []v1alpha1.FailingTarget {
	all := slices.Concat(a.Targets.Failures, a.Accounts.Failures)
	return all[:min(len(all), v1alpha1.MaxFailingTargets)]
}

// wasReady tells whether the object was ready for this generation before: the
// rotation of a login, while the old one works, does not change that.
func (a assessment) wasReady() bool {
	was := meta.FindStatusCondition(a.Order.Object.Status.Conditions, v1alpha1.ConditionReady)
	return was != nil && was.Status == metav1.ConditionTrue && was.ObservedGeneration == a.Order.Object.Generation
}

// commonReason is the failures' reason if it is one, or else a general one.
func commonReason(failures []v1alpha1.FailingTarget) string {
	for _, failure := range failures {
		if failure.Reason != failures[0].Reason {
			return v1alpha1.ReasonWriteFailed
		}
	}
	return failures[0].Reason
}

func set(status *v1alpha1.ImagePullSecretStatus, generation int64, condition string, v verdict) {
	const longest = 32768 // metav1.Condition's own limit
	meta.SetStatusCondition(&status.Conditions, metav1.Condition{
		Type: condition, Status: v.Status, Reason: v.Reason, Message: cut(v.Message, longest),
		ObservedGeneration: generation,
	})
}

// cut shortens a text to a number of bytes, and not inside a letter: what is
// read back would not equal what was written.
func cut(text string, longest int) string {
	if len(text) <= longest {
		return text
	}
	return strings.ToValidUTF8(text[:longest], "")
}

func setIf(status *v1alpha1.ImagePullSecretStatus, generation int64, condition string, is bool, reason, message string) {
	if !is {
		meta.RemoveStatusCondition(&status.Conditions, condition)
		return
	}
	set(status, generation, condition, yes(reason, "%s", message))
}

// maxRegistries is the most registries that a credential's status lists.
const maxRegistries = 32

func (a assessment) credentials() []v1alpha1.CredentialStatus {
	var statuses []v1alpha1.CredentialStatus
	for _, c := range a.Credentials {
		status := v1alpha1.CredentialStatus{
			Name: c.name(), Provider: c.Provider, Reason: c.Reason, Message: c.Message,
			ExpiresAt: timeOrNil(c.ExpiresAt), RenewAt: timeOrNil(c.RenewAt),
		}
		switch {
		case c.Failed:
			status.Ready = metav1.ConditionFalse
		case c.Waiting:
			status.Ready = metav1.ConditionUnknown
		default:
			status.Ready = metav1.ConditionTrue
		}
		if status.Reason == "" {
			status.Reason = v1alpha1.ReasonReady
		}
		registries := slices.Sorted(maps.Keys(c.Logins))
		if len(registries) == 0 {
			registries = c.Told
		}
		if len(registries) == 0 && !c.Source.isSecret() {
			registries = slices.Sorted(slices.Values(c.Registries))
		}
		status.Registries = registries[:min(len(registries), maxRegistries)]
		statuses = append(statuses, status)
	}
	return statuses
}

func (a assessment) expiresAt() *metav1.Time {
	var earliest time.Time
	for _, c := range a.Credentials {
		if !c.ExpiresAt.IsZero() && (earliest.IsZero() || c.ExpiresAt.Before(earliest)) {
			earliest = c.ExpiresAt
		}
	}
	return timeOrNil(earliest)
}

// timeOrNil rounds to the second, as the API does, so that a status read back
// equals the one that was written.
func timeOrNil(at time.Time) *metav1.Time {
	if at.IsZero() {
		return nil
	}
	return &metav1.Time{Time: at.Truncate(time.Second).Local()}
}

func counts(t grant.Summary) v1alpha1.TargetCounts {
	return v1alpha1.TargetCounts{
		Selected: int32(t.Selected), Ready: int32(t.Ready), Failing: int32(t.Failing), //nolint:gosec // namespaces are far fewer than 2^31
	}
}

func accountCounts(t grant.Summary) v1alpha1.ServiceAccountCounts {
	return v1alpha1.ServiceAccountCounts{
		Selected: int32(t.Selected), Attached: int32(t.Ready), Failing: int32(t.Failing), //nolint:gosec // ServiceAccounts are far fewer than 2^31
	}
}

// setIMPS fills the fields that IMPS's users read.
func (a assessment) setIMPS(status *v1alpha1.ImagePullSecretStatus) {
	ready := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionReady)
	status.Status = v1alpha1.StatusFailed
	if ready.Status == metav1.ConditionTrue {
		status.Status = v1alpha1.StatusReady
	} else {
		status.Reason = ready.Message
	}
	status.SourceSecretStatus = make(map[string]string, len(a.Credentials))
	for _, c := range a.Credentials {
		if !c.Source.isSecret() {
			continue
		}
		text := "Ok"
		if c.Failed {
			text = c.Message
		}
		status.SourceSecretStatus[c.Source.Entry.Namespace+"."+c.Source.Entry.Name] = text
	}
	// The two fields that tell of the moment change only with something else.
	if status.Status == v1alpha1.StatusReady && !equality.Semantic.DeepEqual(*status, a.Order.Object.Status) {
		status.LastSuccessfulReconciliation = timeOrNil(a.Now)
		status.ValiditySeconds = 0
		if status.ExpiresAt != nil {
			status.ValiditySeconds = int32(min(status.ExpiresAt.Sub(a.Now).Seconds(), 1<<31-1))
		}
	}
}
