package selector

import (
	"strings"
	"testing"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
)

type (
	accountRules     = v1alpha1.ServiceAccountSelector
	accountExclusion = v1alpha1.ServiceAccountExclusion
)

func TestAccounts(t *testing.T) {
	ci := Namespace{Name: "ci-runner", Labels: texts{"tier": "build"}, Annotations: texts{"owner": "Ada & Co/EU"}}
	build := []labeled{{MatchLabels: texts{"tier": "build"}}}
	cases := map[string]struct {
		rules accountRules
		want  bool
	}{
		"no rule selects nothing":              {accountRules{}, false},
		"an exclusion alone selects nothing":   {accountRules{Exclude: accountExclusion{Names: []string{"default"}}}, false},
		"a name":                               {accountRules{Names: []string{"default", "ci-runner"}}, true},
		"another name":                         {accountRules{Names: []string{"ci"}}, false},
		"a pattern":                            {accountRules{Names: []string{"ci-*"}}, true},
		"a star alone is every one":            {accountRules{Names: []string{"*"}}, true},
		"labels":                               {accountRules{Labels: build}, true},
		"{} is every one":                      {accountRules{Labels: []labeled{{}}}, true},
		"a label that it has not":              {accountRules{Labels: []labeled{{MatchLabels: texts{"tier": "web"}}}}, false},
		"any rule is enough":                   {accountRules{Names: []string{"default"}, Labels: build}, true},
		"an excluded name is never selected":   {accountRules{Names: []string{"ci-runner"}, Exclude: accountExclusion{Names: []string{"ci-?unner"}}}, false},
		"an excluded label":                    {accountRules{Names: []string{"*"}, Exclude: accountExclusion{Labels: build}}, false},
		"an excluded annotation":               {accountRules{Names: []string{"*"}, Exclude: accountExclusion{Annotations: []annotated{{MatchAnnotations: texts{"owner": "Ada & Co/EU"}}}}}, false},
		"an exclusion that does not match":     {accountRules{Names: []string{"*"}, Exclude: accountExclusion{Names: []string{"default"}}}, true},
		"a broken rule leaves the others be":   {accountRules{Names: []string{"[", "ci-*"}}, true},
		"a broken exclusion excludes everyone": {accountRules{Names: []string{"*"}, Exclude: accountExclusion{Names: []string{"["}}}, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			accounts, _ := CompileAccounts(c.rules)
			if got := accounts.Select(ci.Name, ci.Labels, ci.Annotations); got != c.want {
				t.Errorf("selected is %t", got)
			}
			if c.want && !accounts.HasRules() {
				t.Error("it selects something and has no rules")
			}
		})
	}
	if none, _ := CompileAccounts(accountRules{Exclude: accountExclusion{Names: []string{"a"}}}); none.HasRules() {
		t.Error("an exclusion alone counts as a rule")
	}
}

func TestBrokenRulesForAccountsAreReported(t *testing.T) {
	unknown := []labeled{{MatchExpressions: []requirement{{Key: "k", Operator: "Inn"}}}}
	_, errs := CompileAccounts(accountRules{
		Names: []string{"fine", "["}, Labels: unknown,
		Exclude: accountExclusion{
			Names: []string{"["}, Labels: unknown, Annotations: []annotated{{MatchAnnotations: texts{"z z": "v"}}},
		},
	})
	want := []string{
		"spec.target.serviceAccounts.names[1]: ",
		"spec.target.serviceAccounts.labels[0].matchExpressions[0].operator: ",
		"spec.target.serviceAccounts.exclude.names[0]: ",
		"spec.target.serviceAccounts.exclude.labels[0].matchExpressions[0].operator: ",
		"spec.target.serviceAccounts.exclude.annotations[0].matchAnnotations: ",
	}
	if len(errs) != len(want) {
		t.Fatalf("errors %v, want %d", errs.ToAggregate(), len(want))
	}
	for i, begin := range want {
		if !strings.HasPrefix(errs[i].Error(), begin) {
			t.Errorf("error %d is %q, want %q at its begin", i, errs[i], begin)
		}
		if halts := strings.Contains(errs[i].Error(), accountExclusionHalts); halts != (i >= 2) {
			t.Errorf("error %d says what a broken exclusion means: %t", i, halts)
		}
	}
}
