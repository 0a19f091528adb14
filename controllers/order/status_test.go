package order

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/internal/grant"
)

// wellAssessed is an object for which everything is well.
func wellAssessed(changes ...func(*assessment)) assessment {
	a := assessment{
		Order:       &Order{Object: &v1alpha1.ImagePullSecret{ObjectMeta: metav1.ObjectMeta{Name: "corp", Generation: 3}}},
		Credentials: []credential{{Source: hub, Provider: "static", Logins: logins("r")}},
		Merged:      merged{Document: []byte("{}")},
		HasContent:  true,
		Targets:     grant.Summary{Selected: 2, Ready: 2, Holding: []string{"a", "b"}},
		Now:         now,
	}
	for _, change := range changes {
		change(&a)
	}
	return a
}

func TestConditions(t *testing.T) {
	failures := func(reasons ...string) func(*assessment) {
		return func(a *assessment) {
			a.Targets.Ready, a.Targets.Failing = 0, len(reasons)
			for i, reason := range reasons {
				a.Targets.Failures = append(a.Targets.Failures, v1alpha1.FailingTarget{Namespace: string(rune('a' + i)), Reason: reason, Message: "m"})
			}
		}
	}
	cases := map[string]struct {
		change               func(*assessment)
		ready                metav1.ConditionStatus
		reason               string
		credentials, targets metav1.ConditionStatus
		reconciling, stalled bool
		words                string
	}{
		"all is well":                            {func(*assessment) {}, "True", v1alpha1.ReasonReady, "True", "True", false, false, "all 2 selected namespaces"},
		"no credentials is for a person to mend": {func(a *assessment) { a.Credentials = nil }, "False", v1alpha1.ReasonNoCredentials, "False", "True", false, true, "name at least one"},
		"a missing source fails and may come": {func(a *assessment) {
			a.Credentials[0].Failed, a.Credentials[0].Reason, a.Credentials[0].Message = true, v1alpha1.ReasonSourceNotFound, "gone"
		}, "False", v1alpha1.ReasonSourceNotFound, "False", "True", false, false, "gone"},
		"an invalid source is for a person to mend": {func(a *assessment) {
			a.Credentials[0].Failed, a.Credentials[0].Reason, a.Credentials[0].Message = true, v1alpha1.ReasonSourceInvalid, "odd"
		}, "False", v1alpha1.ReasonSourceInvalid, "False", "True", false, true, "odd"},
		"a renewal that fails leaves it ready": {func(a *assessment) {
			a.Credentials[0].Reason, a.Credentials[0].Message = v1alpha1.ReasonThrottled, "slow down"
		}, "True", v1alpha1.ReasonReady, "True", "True", false, false, ""},
		"a first exchange is under way": {func(a *assessment) {
			a.Credentials[0].Waiting, a.HasContent, a.Targets = true, false, grant.Summary{Selected: 2, Behind: 2}
		}, "Unknown", v1alpha1.ReasonProgressing, "Unknown", "Unknown", true, false, ""},
		"Secrets are being written": {func(a *assessment) { a.Targets = grant.Summary{Selected: 2, Ready: 1, Behind: 1} },
			"Unknown", v1alpha1.ReasonProgressing, "True", "Unknown", true, false, "1 of 2"},
		"a new spec is not carried out yet": {func(a *assessment) { a.Targets.Behind = 2 }, "Unknown", v1alpha1.ReasonProgressing, "True", "Unknown", true, false, "yet to be brought up to date"},
		"leases can't be read":              {func(a *assessment) { a.LeaseProblem = "no right" }, "False", v1alpha1.ReasonLeasesUnavailable, "False", "True", false, true, "no right"},
		"a rotation leaves it ready": {func(a *assessment) {
			a.Order.Object.Status = a.status()
			a.Targets.Behind = 2
		}, "True", v1alpha1.ReasonReady, "True", "True", true, false, ""},
		"a namespace is out of reach": {func(a *assessment) { a.OutOfReach = []string{"c"} },
			"False", v1alpha1.ReasonOutOfReach, "True", "False", false, true, "1 of 3 selected namespaces are out of this operator's reach and get nothing: c; add them to --watch-namespaces"},
		"many are, of which some are named": {func(a *assessment) { a.OutOfReach = strings.Split("c d e f g h i", " ") },
			"False", v1alpha1.ReasonOutOfReach, "True", "False", false, true, "7 of 9 selected namespaces are out of this operator's reach and get nothing: c, d, e, f, g and 2 more;"},
		"none is within reach": {func(a *assessment) { a.Targets, a.OutOfReach = grant.Summary{}, []string{"c"} },
			"False", v1alpha1.ReasonOutOfReach, "True", "False", false, true, "1 of 1 selected namespaces"},
		"failing namespaces are told of before those out of reach": {func(a *assessment) { failures("Conflict")(a); a.OutOfReach = []string{"c"} },
			"False", v1alpha1.ReasonConflict, "True", "False", false, false, "1 of 2 namespaces fail"},
		"nothing is selected":             {func(a *assessment) { a.Targets = grant.Summary{} }, "True", v1alpha1.ReasonNothingSelected, "True", "True", false, false, "selects a namespace"},
		"a selector is broken":            {func(a *assessment) { a.TargetProblems = []string{"spec.x: bad"} }, "False", v1alpha1.ReasonInvalidSelector, "True", "False", false, true, "spec.x: bad"},
		"Pods can't be watched":           {func(a *assessment) { a.PodProblem = "no right" }, "False", v1alpha1.ReasonInvalidSelector, "True", "False", false, true, "no right"},
		"the name is not allowed":         {func(a *assessment) { a.Refused = "not that name" }, "False", v1alpha1.ReasonTargetForbidden, "True", "False", false, true, "not that name"},
		"namespaces fail alike":           {failures("Conflict", "Conflict"), "False", "Conflict", "True", "False", false, false, "2 of 2 namespaces fail; a: m"},
		"namespaces fail in several ways": {failures("Conflict", "TargetForbidden"), "False", v1alpha1.ReasonWriteFailed, "True", "False", false, false, ""},
		"it is attached, too": {func(a *assessment) { a.Accounts = grant.Summary{Selected: 3, Ready: 3} },
			"True", v1alpha1.ReasonReady, "True", "True", false, false, "all 2 selected namespaces and is attached to all 3 selected ServiceAccounts"},
		"ServiceAccounts are being attached to": {func(a *assessment) { a.Accounts = grant.Summary{Selected: 3, Ready: 1, Behind: 2} },
			"Unknown", v1alpha1.ReasonProgressing, "True", "Unknown", true, false, "attached to 1 of 3 ServiceAccounts"},
		"a ServiceAccount fails": {func(a *assessment) {
			a.Accounts = grant.Summary{Selected: 3, Ready: 2, Failing: 1, Failures: []v1alpha1.FailingTarget{
				{Namespace: "a", ServiceAccount: "ci", Reason: v1alpha1.ReasonAttachmentContested, Message: "m"},
			}}
		}, "False", v1alpha1.ReasonAttachmentContested, "True", "False", false, false, "1 of 3 ServiceAccounts fail; a/ci: m"},
		"the operator may not change ServiceAccounts": {func(a *assessment) {
			a.AccountProblem = problem{v1alpha1.ReasonAttachForbidden, "no right"}
		}, "False", v1alpha1.ReasonAttachForbidden, "True", "False", false, true, "no right"},
		"failing namespaces are told of before ServiceAccounts": {func(a *assessment) {
			failures("Conflict")(a)
			a.AccountProblem = problem{v1alpha1.ReasonAttachForbidden, "no right"}
		}, "False", v1alpha1.ReasonConflict, "True", "False", false, false, "1 of 2 namespaces fail"},
		"the content is too large": {func(a *assessment) { a.Merged.TooLarge = "too much" }, "False", v1alpha1.ReasonTooLarge, "False", "True", false, true, "too much"},
		"both fail, both are told": {func(a *assessment) {
			a.Credentials[0].Failed, a.Credentials[0].Reason, a.Credentials[0].Message = true, v1alpha1.ReasonDenied, "no"
			failures("Conflict")(a)
		}, "False", v1alpha1.ReasonDenied, "False", "False", false, false, "no; 1 of 2"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			status := wellAssessed(c.change).status()
			ready := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionReady)
			if ready.Status != c.ready || ready.Reason != c.reason || !strings.Contains(ready.Message, c.words) {
				t.Errorf("Ready is %s (%s): %s", ready.Status, ready.Reason, ready.Message)
			}
			for condition, want := range map[string]metav1.ConditionStatus{
				v1alpha1.ConditionCredentialsReady: c.credentials, v1alpha1.ConditionTargetsReady: c.targets,
			} {
				if !meta.IsStatusConditionPresentAndEqual(status.Conditions, condition, want) {
					t.Errorf("%s is not %s", condition, want)
				}
			}
			if got := meta.IsStatusConditionTrue(status.Conditions, v1alpha1.ConditionReconciling); got != c.reconciling {
				t.Errorf("Reconciling is %t", got)
			}
			if got := meta.IsStatusConditionTrue(status.Conditions, v1alpha1.ConditionStalled); got != c.stalled {
				t.Errorf("Stalled is %t", got)
			}
			for _, condition := range status.Conditions {
				if condition.ObservedGeneration != 3 {
					t.Errorf("%s is about generation %d", condition.Type, condition.ObservedGeneration)
				}
			}
			if want := c.ready == "True"; (status.Status == v1alpha1.StatusReady) != want || (status.Reason == "") != want {
				t.Errorf("IMPS's status is %s: %q", status.Status, status.Reason)
			}
		})
	}
}

// What did not change is not written again, later moments included.
func TestAnUnchangedStatusStaysEqual(t *testing.T) {
	for name, change := range map[string]func(*assessment){
		"ready":   func(a *assessment) { a.Credentials[0].ExpiresAt = now.Add(time.Hour) },
		"failing": func(a *assessment) { a.Refused = "no" },
	} {
		t.Run(name, func(t *testing.T) {
			a := wellAssessed(change)
			a.Order.Object.Status = a.status()
			a.Now = a.Now.Add(time.Minute)
			if again := a.status(); !equality.Semantic.DeepEqual(again, a.Order.Object.Status) {
				t.Errorf("first  %+v\nsecond %+v", a.Order.Object.Status, again)
			}
		})
	}
}

func TestValidityIsToldAsIMPSDid(t *testing.T) {
	a := wellAssessed(func(a *assessment) {
		a.Credentials[0].ExpiresAt = now.Add(90 * time.Second)
		a.Credentials = append(a.Credentials, credential{Source: hub, Failed: false, Logins: logins("s"), ExpiresAt: now.Add(time.Hour)})
	})
	status := a.status()
	if status.ValiditySeconds != 90 || !status.ExpiresAt.Time.Equal(now.Add(90*time.Second)) ||
		!status.LastSuccessfulReconciliation.Time.Equal(now) || status.SourceSecretStatus["registry-access.hub"] != "Ok" ||
		len(status.ManagedNamespaces) != 2 {
		t.Errorf("status is %+v", status)
	}
}

func TestASuspendedObjectKeepsWhatWasTrue(t *testing.T) {
	a := wellAssessed()
	a.Order.Object.Status = a.status()
	a.Order.Object.Generation = 4
	status := suspended(a.Order.Object)
	ready := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionReady)
	if ready.Status != metav1.ConditionUnknown || ready.Reason != v1alpha1.ReasonSuspended || status.ObservedGeneration != 4 || status.Targets.Ready != 2 {
		t.Errorf("status is %+v", status)
	}
}

func TestChangesAreToldOnce(t *testing.T) {
	well := wellAssessed()
	failing := wellAssessed(func(a *assessment) {
		a.Credentials[0].Failed, a.Credentials[0].Reason, a.Credentials[0].Message = true, v1alpha1.ReasonSourceNotFound, "gone"
	})
	if got := Changes(v1alpha1.ImagePullSecretStatus{}, well.status()); len(got) != 1 || got[0].Type != "Normal" || got[0].Reason != v1alpha1.ReasonReady {
		t.Errorf("what comes and is well: %+v", got)
	}
	if got := Changes(well.status(), well.status()); len(got) != 0 {
		t.Errorf("nothing changed: %+v", got)
	}
	got := Changes(well.status(), failing.status())
	if len(got) != 2 || got[0].Type != "Warning" || got[1].Reason != v1alpha1.ReasonSourceNotFound || !strings.Contains(got[1].Note, "registry-access/hub: gone") {
		t.Errorf("a failure: %+v", got)
	}
	if got := Changes(failing.status(), well.status()); len(got) != 2 || got[1].Type != "Normal" {
		t.Errorf("a recovery: %+v", got)
	}
	coming := wellAssessed(func(a *assessment) {
		a.Credentials[0].Waiting, a.Credentials[0].Reason = true, v1alpha1.ReasonProgressing
	})
	if got := Changes(coming.status(), well.status()); len(got) != 1 {
		t.Errorf("what comes well: %+v", got)
	}
	long := failing.status()
	long.Credentials[0].Message = strings.Repeat("x", 5000)
	if got := Changes(well.status(), long); len(got[1].Note) > longestNote {
		t.Errorf("a note of %d characters", len(got[1].Note))
	}
}

func TestFailingServiceAccountsFollowFailingNamespaces(t *testing.T) {
	several := func(account string, count int) grant.Summary {
		summary := grant.Summary{Selected: 30, Ready: 30 - count, Failing: count}
		for i := range count {
			summary.Failures = append(summary.Failures, v1alpha1.FailingTarget{Namespace: string(rune('a' + i)), ServiceAccount: account, Reason: "R"})
		}
		return summary
	}
	status := wellAssessed(func(a *assessment) { a.Targets, a.Accounts = several("", 15), several("ci", 10) }).status()
	if len(status.Failing) != v1alpha1.MaxFailingTargets || status.Failing[14].ServiceAccount != "" || status.Failing[15].ServiceAccount != "ci" {
		t.Errorf("failing is %+v", status.Failing)
	}
	if want := (v1alpha1.ServiceAccountCounts{Selected: 30, Attached: 20, Failing: 10}); status.ServiceAccounts != want {
		t.Errorf("counts are %+v", status.ServiceAccounts)
	}
}
