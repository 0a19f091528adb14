package selector

import (
	"path"
	"strings"
	"testing"
)

func FuzzCompileNames(f *testing.F) {
	for _, pattern := range []string{"", "a", "team-*", "?", "[a-c]*", "[^", "[]a]", `\`, `a\*`, "*[", "[a-]", "*?*[x]"} {
		f.Add(pattern, "team-a")
	}
	f.Fuzz(func(t *testing.T, pattern, name string) {
		selection, errs := Compile(include([]string{pattern}, nil, nil))
		matched, err := path.Match(pattern, name)
		if (err != nil) && len(errs) == 0 {
			t.Fatalf("%q was compiled, but is broken for the name %q", pattern, name)
		}
		got := selection.Namespace(Namespace{Name: name})
		if selected := got == ByRule; selected != (matched && len(errs) == 0) {
			t.Fatalf("%q on %q: %s; errors %v", pattern, name, got, errs.ToAggregate())
		}
		excluding, _ := Compile(exclude([]string{pattern}, nil, nil))
		if got := excluding.Namespace(Namespace{Name: name}); (len(errs) > 0 || matched) && got != Excluded {
			t.Fatalf("excluding %q on %q: %s", pattern, name, got)
		}
	})
}

func FuzzCompileAnnotations(f *testing.F) {
	f.Add("k", "In", "a,b", "k", "a")
	f.Add("example.com/k", "NotIn", "Ada & Co/EU", "k", "")
	f.Add("k", "Exists", "", "k", strings.Repeat("x", 1000))
	f.Add("bad key", "DoesNotExist", "", "\x00", "\xff")
	f.Fuzz(func(t *testing.T, key, op, values, presentKey, presentValue string) {
		expression := requirement{Key: key, Operator: operator(op)}
		if values != "" {
			expression.Values = strings.Split(values, ",")
		}
		ns := Namespace{Annotations: texts{presentKey: presentValue}}
		selection, errs := Compile(include(nil, nil, []annotated{{MatchExpressions: []requirement{expression}}}))
		got := selection.Namespace(ns)
		if len(errs) > 0 {
			if got != NotSelected {
				t.Fatalf("a broken rule gives %s", got)
			}
			return
		}
		opposite := map[string]string{"In": "NotIn", "NotIn": "In", "Exists": "DoesNotExist", "DoesNotExist": "Exists"}
		expression.Operator = operator(opposite[op])
		other := compile(t, include(nil, nil, []annotated{{MatchExpressions: []requirement{expression}}}))
		if (got == ByRule) == (other.Namespace(ns) == ByRule) {
			t.Fatalf("%+v and its opposite agree on %v", expression, ns.Annotations)
		}
	})
}
