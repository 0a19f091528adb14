package selector

import (
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
)

// accountExclusionHalts is added to what is wrong with an exclusion rule.
const accountExclusionHalts = "no ServiceAccount is selected until this exclusion can be evaluated"

// Accounts is the compiled spec.target.serviceAccounts. It is immutable and may
// be used by several goroutines. The zero value selects nothing.
type Accounts struct {
	include rules
	exclude rules
}

// CompileAccounts turns the rules for ServiceAccounts into Accounts. As with
// Compile, broken rules are returned as errors and left out, and while an
// exclusion is broken nothing is selected.
func CompileAccounts(selector v1alpha1.ServiceAccountSelector) (Accounts, field.ErrorList) {
	at := field.NewPath("spec", "target", "serviceAccounts")
	exclude := selector.Exclude
	var accounts Accounts
	var errs, exclusionErrs field.ErrorList
	accounts.include, errs = compileRules(selector.Names, selector.Labels, nil, at)
	accounts.exclude, exclusionErrs = compileRules(exclude.Names, exclude.Labels, exclude.Annotations, at.Child("exclude"))
	if len(exclusionErrs) > 0 {
		accounts = Accounts{}
	}
	for _, err := range exclusionErrs {
		err.Detail += "; " + accountExclusionHalts
	}
	return accounts, append(errs, exclusionErrs...)
}

// HasRules reports whether any ServiceAccount can be selected.
func (a Accounts) HasRules() bool {
	return len(a.include.names)+len(a.include.globs)+len(a.include.labels) > 0
}

// Select reports whether a ServiceAccount is selected, given that its namespace
// is.
func (a Accounts) Select(name string, labels, annotations map[string]string) bool {
	account := subject{Name: name, Labels: labels, Annotations: annotations}
	return a.include.match(account) != nil && a.exclude.match(account) == nil
}
