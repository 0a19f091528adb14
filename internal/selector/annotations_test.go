package selector

import (
	"strings"
	"testing"
)

func TestAnnotationOperators(t *testing.T) {
	long := strings.Repeat("any text / ", 10_000)
	values := []string{"Ada & Co/EU", long, ""}
	tests := map[string]struct {
		operator    string
		values      []string
		annotations texts
		want        bool
	}{
		"In: one of the values":                {"In", values, texts{"k": "Ada & Co/EU"}, true},
		"In: a value of any length":            {"In", values, texts{"k": long}, true},
		"In: the empty value":                  {"In", values, texts{"k": ""}, true},
		"In: another value":                    {"In", values, texts{"k": "ada & co/eu"}, false},
		"In: absent is not empty":              {"In", values, texts{"other": ""}, false},
		"In: no annotations at all":            {"In", values, nil, false},
		"NotIn: another value":                 {"NotIn", values, texts{"k": "x"}, true},
		"NotIn: absent":                        {"NotIn", values, nil, true},
		"NotIn: one of the values":             {"NotIn", values, texts{"k": long}, false},
		"Exists: whatever the value":           {"Exists", nil, texts{"k": ""}, true},
		"Exists: absent":                       {"Exists", nil, texts{"K": "x"}, false},
		"DoesNotExist: absent":                 {"DoesNotExist", nil, texts{"other": "x"}, true},
		"DoesNotExist: present, without value": {"DoesNotExist", nil, texts{"k": ""}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			selection := compile(t, include(nil, nil, []annotated{{MatchExpressions: []requirement{
				{Key: "k", Operator: operator(test.operator), Values: test.values},
			}}}))
			got := selection.Namespace(Namespace{Annotations: test.annotations}) == ByRule
			if got != test.want {
				t.Errorf("selected: %t, want %t", got, test.want)
			}
		})
	}
}

func TestAnnotationKeysMayHaveUpperCasePrefixes(t *testing.T) {
	selection := compile(t, include(nil, nil, []annotated{{MatchAnnotations: texts{"Example.COM/Owner": "ada"}}}))
	if got := selection.Namespace(Namespace{Annotations: texts{"Example.COM/Owner": "ada"}}); got != ByRule {
		t.Errorf("verdict %s", got)
	}
}

// What was compiled stays as it is when the object is changed or reused.
func TestCompiledRulesDontShareMemoryWithTheTarget(t *testing.T) {
	values := []string{"a"}
	expressions := []requirement{{Key: "k", Operator: "In", Values: values}}
	selection := compile(t, include(nil, []labeled{{MatchExpressions: expressions}}, []annotated{{MatchExpressions: expressions}}))
	values[0], expressions[0].Key = "b", "other"
	for name, ns := range map[string]Namespace{"labels": {Labels: texts{"k": "a"}}, "annotations": {Annotations: texts{"k": "a"}}} {
		if got := selection.Namespace(ns); got != ByRule {
			t.Errorf("%s: verdict %s", name, got)
		}
	}
}
