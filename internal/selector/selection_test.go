package selector

import (
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
)

type (
	target      = v1alpha1.TargetConfig
	labeled     = metav1.LabelSelector
	annotated   = v1alpha1.AnnotationSelector
	requirement = metav1.LabelSelectorRequirement
	texts       = map[string]string
)

// compile compiles a target that must be free of errors.
func compile(tb testing.TB, target v1alpha1.TargetConfig) Selection {
	tb.Helper()
	selection, errs := Compile(target)
	if len(errs) > 0 {
		tb.Fatalf("errors: %v", errs.ToAggregate())
	}
	return selection
}

// include, exclude and withPods make targets with one kind of rule.
func include(names []string, labels []labeled, annotations []annotated) target {
	return target{Namespaces: v1alpha1.NamespaceSelector{Names: names, Labels: labels, Annotations: annotations}}
}

func exclude(names []string, labels []labeled, annotations []annotated) target {
	return target{
		Namespaces: v1alpha1.NamespaceSelector{
			Names:   []string{"*"},
			Exclude: v1alpha1.NamespaceExclusion{Names: names, Labels: labels, Annotations: annotations},
		},
		NamespacesWithPods: v1alpha1.PodSelector{Labels: []labeled{{}}},
	}
}

func withPods(labels []labeled, annotations []annotated) target {
	return target{NamespacesWithPods: v1alpha1.PodSelector{Labels: labels, Annotations: annotations}}
}

func TestVerdicts(t *testing.T) {
	a := Namespace{Name: "team-a", Labels: texts{"tier": "web"}, Annotations: texts{"owner": "Ada & Co/EU"}}
	bare := Namespace{Name: "bare"}
	web := []labeled{{MatchLabels: texts{"tier": "web"}}}
	ada := []annotated{{MatchAnnotations: texts{"owner": "Ada & Co/EU"}}}
	tests := map[string]struct {
		target target
		ns     Namespace
		want   Verdict
		why    string
	}{
		"no rules select nothing":                 {target{}, a, NotSelected, "no rule of spec.target selects it"},
		"an exact name selects":                   {include([]string{"x", "team-a"}, nil, nil), a, ByRule, `selected by spec.target.namespaces.names[1] "team-a"`},
		"another name does not":                   {include([]string{"team", "team-ab"}, nil, nil), a, NotSelected, "no rule of spec.target selects it"},
		"of equal names the first is named":       {include([]string{"team-a", "team-a"}, nil, nil), a, ByRule, `selected by spec.target.namespaces.names[0] "team-a"`},
		"a star selects":                          {include([]string{"x", "team-*"}, nil, nil), a, ByRule, `selected by spec.target.namespaces.names[1] "team-*"`},
		"a star matches the whole name":           {include([]string{"eam-*", "team*b"}, nil, nil), a, NotSelected, "no rule of spec.target selects it"},
		"a question mark is one character":        {include([]string{"team-?"}, nil, nil), a, ByRule, `selected by spec.target.namespaces.names[0] "team-?"`},
		"a question mark is not two":              {include([]string{"team?"}, nil, nil), a, NotSelected, "no rule of spec.target selects it"},
		"a character class selects":               {include([]string{"team-[a-c]"}, nil, nil), a, ByRule, `selected by spec.target.namespaces.names[0] "team-[a-c]"`},
		"a character class may be missed":         {include([]string{"team-[^a-c]"}, nil, nil), a, NotSelected, "no rule of spec.target selects it"},
		"a label selects":                         {include(nil, web, nil), a, ByRule, "selected by spec.target.namespaces.labels[0]"},
		"a label is missing":                      {include(nil, web, nil), bare, NotSelected, "no rule of spec.target selects it"},
		"an annotation selects":                   {include(nil, nil, ada), a, ByRule, "selected by spec.target.namespaces.annotations[0]"},
		"an annotation is missing":                {include(nil, nil, ada), bare, NotSelected, "no rule of spec.target selects it"},
		"an empty label selector selects all":     {include(nil, []labeled{{}}, nil), bare, ByRule, "selected by spec.target.namespaces.labels[0]"},
		"an empty annotation selector does too":   {include(nil, nil, []annotated{{}}), bare, ByRule, "selected by spec.target.namespaces.annotations[0]"},
		"one of several rules is enough":          {include([]string{"x"}, web, ada), Namespace{Name: "x"}, ByRule, `selected by spec.target.namespaces.names[0] "x"`},
		"any entry of labels is enough":           {include(nil, append([]labeled{{MatchLabels: texts{"x": "y"}}}, web...), nil), a, ByRule, "selected by spec.target.namespaces.labels[1]"},
		"any entry of annotations is enough":      {include(nil, nil, append([]annotated{{MatchAnnotations: texts{"x": "y"}}}, ada...)), a, ByRule, "selected by spec.target.namespaces.annotations[1]"},
		"within an entry everything must match":   {include(nil, []labeled{{MatchLabels: texts{"tier": "web", "x": "y"}}}, []annotated{{MatchAnnotations: texts{"owner": "Ada & Co/EU", "x": "y"}}}), a, NotSelected, "no rule of spec.target selects it"},
		"an excluded name":                        {exclude([]string{"team-a"}, nil, nil), a, Excluded, `excluded by spec.target.namespaces.exclude.names[0] "team-a"`},
		"an excluded pattern":                     {exclude([]string{"team-*"}, nil, nil), a, Excluded, `excluded by spec.target.namespaces.exclude.names[0] "team-*"`},
		"an excluded label":                       {exclude(nil, web, nil), a, Excluded, "excluded by spec.target.namespaces.exclude.labels[0]"},
		"an excluded annotation":                  {exclude(nil, nil, ada), a, Excluded, "excluded by spec.target.namespaces.exclude.annotations[0]"},
		"an empty exclusion selector":             {exclude(nil, []labeled{{}}, nil), bare, Excluded, "excluded by spec.target.namespaces.exclude.labels[0]"},
		"an exclusion that does not match":        {exclude([]string{"team-*"}, web, ada), bare, ByRule, `selected by spec.target.namespaces.names[0] "*"`},
		"an exclusion alone selects nothing":      {target{Namespaces: v1alpha1.NamespaceSelector{Exclude: v1alpha1.NamespaceExclusion{Names: []string{"x"}}}}, a, NotSelected, "no rule of spec.target selects it"},
		"Pods may select":                         {withPods(web, nil), a, NeedsPod, "selected only by a Pod that spec.target.namespacesWithPods matches"},
		"Pods by annotation may select":           {withPods(nil, ada), a, NeedsPod, "selected only by a Pod that spec.target.namespacesWithPods matches"},
		"a rule makes Pods irrelevant":            {target{Namespaces: include(nil, web, nil).Namespaces, NamespacesWithPods: withPods(web, nil).NamespacesWithPods}, a, ByRule, "selected by spec.target.namespaces.labels[0]"},
		"Pods don't select what is excluded":      {target{Namespaces: v1alpha1.NamespaceSelector{Exclude: v1alpha1.NamespaceExclusion{Names: []string{"team-a"}}}, NamespacesWithPods: withPods(web, nil).NamespacesWithPods}, a, Excluded, `excluded by spec.target.namespaces.exclude.names[0] "team-a"`},
		"a namespace with neither is a namespace": {include([]string{"bare"}, nil, nil), bare, ByRule, `selected by spec.target.namespaces.names[0] "bare"`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			selection := compile(t, test.target)
			if got := selection.Namespace(test.ns); got != test.want {
				t.Errorf("verdict %s, want %s", got, test.want)
			}
			if got := selection.Why(test.ns); got != test.why {
				t.Errorf("why: %s\nwant %s", got, test.why)
			}
		})
	}
}

func TestPods(t *testing.T) {
	web := []labeled{{MatchLabels: texts{"tier": "web"}}}
	ada := []annotated{{MatchAnnotations: texts{"owner": "Ada & Co/EU"}}}
	tests := map[string]struct {
		target              target
		labels, annotations texts
		want, hasRules      bool
	}{
		"no rules match no Pod":              {target{}, nil, nil, false, false},
		"rules on namespaces match no Pod":   {include([]string{"*", ""}, web, ada), texts{"tier": "web"}, texts{"owner": "Ada & Co/EU"}, false, false},
		"a label matches":                    {withPods(web, nil), texts{"tier": "web"}, nil, true, true},
		"another label does not":             {withPods(web, nil), texts{"tier": "db"}, nil, false, true},
		"an annotation matches":              {withPods(web, ada), nil, texts{"owner": "Ada & Co/EU"}, true, true},
		"another annotation does not":        {withPods(nil, ada), nil, texts{"owner": "ada"}, false, true},
		"an empty selector matches any Pod":  {withPods([]labeled{{}}, nil), nil, nil, true, true},
		"an empty annotation selector too":   {withPods(nil, []annotated{{}}), nil, nil, true, true},
		"labels are not annotations":         {withPods(web, nil), nil, texts{"tier": "web"}, false, true},
		"a broken exclusion stops Pods too":  {exclude([]string{"["}, nil, nil), nil, nil, false, false},
		"exclusions say nothing about a Pod": {exclude(nil, web, nil), texts{"tier": "web"}, nil, true, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			selection, _ := Compile(test.target)
			if got := selection.Pod(test.labels, test.annotations); got != test.want {
				t.Errorf("Pod = %t, want %t", got, test.want)
			}
			if got := selection.HasPodRules(); got != test.hasRules {
				t.Errorf("HasPodRules = %t, want %t", got, test.hasRules)
			}
		})
	}
}

func TestTheZeroSelectionSelectsNothing(t *testing.T) {
	var zero Selection
	if got := zero.Namespace(Namespace{}); got != NotSelected {
		t.Errorf("verdict %s", got)
	}
	if zero.HasPodRules() || zero.Pod(nil, nil) {
		t.Error("Pods select")
	}
}

func TestVerdictNames(t *testing.T) {
	want := "[no verdict Excluded ByRule NeedsPod NotSelected no verdict]"
	if got := fmt.Sprint([]Verdict{0, Excluded, ByRule, NeedsPod, NotSelected, 5}); got != want {
		t.Errorf("got %s", got)
	}
}

// manyRules is a large grant whose rules of each kind are all walked.
func manyRules() target {
	names := []string{"team-[x-z]-*", "*-never", "no-?"}
	for i := range 500 {
		names = append(names, fmt.Sprintf("ns-%d", i))
	}
	return target{Namespaces: v1alpha1.NamespaceSelector{
		Names:       names,
		Labels:      []labeled{{MatchLabels: texts{"tier": "web"}, MatchExpressions: []requirement{{Key: "env", Operator: "In", Values: []string{"a", "b"}}}}},
		Annotations: []annotated{{MatchAnnotations: texts{"owner": "Ada & Co/EU"}}},
		Exclude:     v1alpha1.NamespaceExclusion{Names: []string{"kube-*"}, Labels: []labeled{{MatchLabels: texts{"off": "true"}}}},
	}}
}

func manyNamespaces() []Namespace {
	namespaces := make([]Namespace, 10_000)
	for i := range namespaces {
		namespaces[i] = Namespace{
			Name:        fmt.Sprintf("ns-%d", i),
			Labels:      texts{"tier": "db", "kubernetes.io/metadata.name": "x"},
			Annotations: texts{"owner": strings.Repeat("x", i%100)},
		}
	}
	return namespaces
}

func TestDecidingDoesNotAllocate(t *testing.T) {
	selection, namespaces := compile(t, manyRules()), manyNamespaces()[:1000]
	allocations := testing.AllocsPerRun(5, func() {
		for _, ns := range namespaces {
			selection.Namespace(ns)
			selection.Pod(ns.Labels, ns.Annotations)
		}
	})
	if allocations > 0 {
		t.Errorf("%v allocations for %d namespaces", allocations, len(namespaces))
	}
}

func BenchmarkNamespace(b *testing.B) {
	selection, namespaces := compile(b, manyRules()), manyNamespaces()
	b.ReportAllocs()
	for b.Loop() {
		for _, ns := range namespaces {
			selection.Namespace(ns)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(namespaces)), "ns/namespace")
}
