package selector

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
)

func TestCompileReportsBrokenRules(t *testing.T) {
	const unsupported = `Unsupported value: "Inn": supported values: "In", "NotIn", "Exists", "DoesNotExist"`
	at := func(expression requirement) []requirement {
		return []requirement{{Key: "fine", Operator: "Exists"}, expression}
	}
	byLabel := func(expression requirement) target {
		return include(nil, []labeled{{}, {MatchExpressions: at(expression)}}, nil)
	}
	byAnnotation := func(expression requirement) target {
		return include(nil, nil, []annotated{{MatchExpressions: at(expression)}})
	}
	tests := map[string]struct {
		target target
		want   []string // how each error begins
	}{
		"a pattern with an open class":     {include([]string{"a", "team-["}, nil, nil), []string{`spec.target.namespaces.names[1]: Invalid value: "team-[": not a pattern: every "["`}},
		"a pattern that ends in a slash":   {include([]string{`team-\`}, nil, nil), []string{`spec.target.namespaces.names[0]: Invalid value: "team-\\": not a pattern`}},
		"a broken end behind a star":       {include([]string{"*[]"}, nil, nil), []string{`spec.target.namespaces.names[0]: Invalid value: "*[]": not a pattern`}},
		"an unknown operator on labels":    {byLabel(requirement{Key: "k", Operator: "Inn"}), []string{`spec.target.namespaces.labels[1].matchExpressions[1].operator: ` + unsupported}},
		"In without values":                {byLabel(requirement{Key: "k", Operator: "In"}), []string{`spec.target.namespaces.labels[1].matchExpressions[1].values: Required value: the operators In and NotIn need at least one value`}},
		"NotIn without values":             {byLabel(requirement{Key: "k", Operator: "NotIn"}), []string{`spec.target.namespaces.labels[1].matchExpressions[1].values: Required value`}},
		"Exists with values":               {byLabel(requirement{Key: "k", Operator: "Exists", Values: []string{"v"}}), []string{`spec.target.namespaces.labels[1].matchExpressions[1].values: Forbidden: the operators Exists and DoesNotExist take no values`}},
		"DoesNotExist with values":         {byLabel(requirement{Key: "k", Operator: "DoesNotExist", Values: []string{"v"}}), []string{`spec.target.namespaces.labels[1].matchExpressions[1].values: Forbidden`}},
		"a label value that no label has":  {byLabel(requirement{Key: "k", Operator: "In", Values: []string{"v", "a/b"}}), []string{`spec.target.namespaces.labels[1].matchExpressions[1].values[1]: Invalid value: "a/b"`}},
		"a label key that no label has":    {byLabel(requirement{Key: "a b", Operator: "Exists"}), []string{`spec.target.namespaces.labels[1].matchExpressions[1].key: Invalid value: "a b"`}},
		"matchLabels, always in one order": {include(nil, []labeled{{MatchLabels: texts{"a": "x y", "b": "v w", "c": "z z"}}}, nil), []string{`spec.target.namespaces.labels[0].matchLabels: Invalid value: "v w"`, `spec.target.namespaces.labels[0].matchLabels: Invalid value: "x y"`, `spec.target.namespaces.labels[0].matchLabels: Invalid value: "z z"`}},

		"an unknown operator on annotations":   {byAnnotation(requirement{Key: "k", Operator: "Inn"}), []string{`spec.target.namespaces.annotations[0].matchExpressions[1].operator: ` + unsupported}},
		"annotations: In without values":       {byAnnotation(requirement{Key: "k", Operator: "In"}), []string{`spec.target.namespaces.annotations[0].matchExpressions[1].values: Required value`}},
		"annotations: NotIn without values":    {byAnnotation(requirement{Key: "k", Operator: "NotIn"}), []string{`spec.target.namespaces.annotations[0].matchExpressions[1].values: Required value`}},
		"annotations: Exists with values":      {byAnnotation(requirement{Key: "k", Operator: "Exists", Values: []string{"v"}}), []string{`spec.target.namespaces.annotations[0].matchExpressions[1].values: Forbidden`}},
		"annotations: DoesNotExist and values": {byAnnotation(requirement{Key: "k", Operator: "DoesNotExist", Values: []string{""}}), []string{`spec.target.namespaces.annotations[0].matchExpressions[1].values: Forbidden`}},
		"a key that no annotation has":         {byAnnotation(requirement{Key: "a/b/c", Operator: "NotIn", Values: []string{"v"}}), []string{`spec.target.namespaces.annotations[0].matchExpressions[1].key: Invalid value: "a/b/c"`}},
		"keys of matchAnnotations":             {include(nil, nil, []annotated{{MatchAnnotations: texts{"": "v", "z z": "v"}}}), []string{`spec.target.namespaces.annotations[0].matchAnnotations: Invalid value: ""`, `spec.target.namespaces.annotations[0].matchAnnotations: Invalid value: ""`, `spec.target.namespaces.annotations[0].matchAnnotations: Invalid value: "z z"`}},

		"Pod rules": {withPods([]labeled{{MatchExpressions: []requirement{{Key: "k", Operator: "Inn"}}}}, []annotated{{MatchExpressions: []requirement{{Key: "k", Operator: "in", Values: []string{"v"}}}}}), []string{`spec.target.namespacesWithPods.labels[0].matchExpressions[0].operator: ` + unsupported, `spec.target.namespacesWithPods.annotations[0].matchExpressions[0].operator: Unsupported value: "in"`}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			selection, errs := Compile(test.target)
			if len(errs) != len(test.want) {
				t.Fatalf("errors %v, want %d", errs.ToAggregate(), len(test.want))
			}
			for i, want := range test.want {
				if !strings.HasPrefix(errs[i].Error(), want) {
					t.Errorf("error %d\n%s\ndoes not begin with\n%s", i, errs[i], want)
				}
			}
			if selection.HasPodRules() || selection.Namespace(Namespace{Name: "team-["}) == Excluded {
				t.Error("a broken rule decides")
			}
		})
	}
}

func TestCompileKeepsTheOtherRules(t *testing.T) {
	broken := requirement{Key: "k", Operator: "Inn"}
	config := include([]string{"[", "a"},
		[]labeled{{MatchExpressions: []requirement{broken}}, {MatchLabels: texts{"tier": "web"}}},
		[]annotated{{MatchExpressions: []requirement{broken}}, {MatchAnnotations: texts{"owner": "ada"}}})
	config.NamespacesWithPods = v1alpha1.PodSelector{Labels: []labeled{{MatchExpressions: []requirement{broken}}, {}}}
	selection, errs := Compile(config)
	if len(errs) != 4 {
		t.Errorf("errors %v, want 4", errs.ToAggregate())
	}
	want := []string{
		`selected by spec.target.namespaces.names[1] "a"`,
		"selected by spec.target.namespaces.labels[1]",
		"selected by spec.target.namespaces.annotations[1]",
	}
	got := []string{
		selection.Why(Namespace{Name: "a"}),
		selection.Why(Namespace{Labels: texts{"tier": "web"}}),
		selection.Why(Namespace{Annotations: texts{"owner": "ada"}}),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("why (-want +got):\n%s", diff)
	}
	if !selection.Pod(nil, nil) {
		t.Error("the good Pod rule is gone")
	}
}

// Credentials must not reach a namespace that an exclusion was to protect.
func TestABrokenExclusionExcludesEverything(t *testing.T) {
	broken := []requirement{{Key: "k", Operator: "Inn"}}
	tests := map[string]struct {
		target target
		path   string
	}{
		"by name":       {exclude([]string{"x", "["}, nil, nil), "spec.target.namespaces.exclude.names[1]"},
		"by label":      {exclude(nil, []labeled{{MatchExpressions: broken}}, nil), "spec.target.namespaces.exclude.labels[0].matchExpressions[0].operator"},
		"by annotation": {exclude(nil, nil, []annotated{{MatchExpressions: broken}}), "spec.target.namespaces.exclude.annotations[0].matchExpressions[0].operator"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			selection, errs := Compile(test.target)
			if len(errs) != 1 || errs[0].Field != test.path {
				t.Fatalf("errors %v, want one at %s", errs.ToAggregate(), test.path)
			}
			if message := errs[0].Error(); !strings.HasSuffix(message, "; no namespace is selected until this exclusion can be evaluated") {
				t.Errorf("the error does not say what follows: %s", message)
			}
			ns := Namespace{Name: "elsewhere"}
			if got := selection.Namespace(ns); got != Excluded {
				t.Errorf("verdict %s", got)
			}
			if got, want := selection.Why(ns), "excluded, because "+test.path+" can't be evaluated"; got != want {
				t.Errorf("why: %s\nwant %s", got, want)
			}
			if selection.HasPodRules() || selection.Pod(nil, nil) {
				t.Error("Pods still select")
			}
		})
	}
}
