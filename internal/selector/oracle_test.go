package selector

import (
	"math/rand/v2"
	"path"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
)

type operator = metav1.LabelSelectorOperator

// pick draws one of some choices.
func pick[T any](random *rand.Rand, choices ...T) T { return choices[random.IntN(len(choices))] }

// some draws up to three values, made one by one.
func some[T any](random *rand.Rand, one func(*rand.Rand) T) []T {
	var drawn []T
	for range random.IntN(3) {
		drawn = append(drawn, one(random))
	}
	return drawn
}

func randomName(random *rand.Rand) string {
	return pick(random, "a", "b", "ab", "a*", "*", "?b", "[ab]", "[^a]", "[", "", `\a`, "a[b-", "kube-*")
}

func randomTexts(random *rand.Rand) texts {
	drawn := texts{}
	for range random.IntN(3) {
		drawn[pick(random, "k", "x.io/k", "l")] = pick(random, "", "v", "w")
	}
	return drawn
}

func randomExpression(random *rand.Rand) requirement {
	return requirement{
		Key:      pick(random, "k", "x.io/k", "l", "l", "k", "bad key"),
		Operator: pick[operator](random, "In", "NotIn", "Exists", "DoesNotExist", "Exists", "Inn"),
		Values:   some(random, func(random *rand.Rand) string { return pick(random, "", "v", "w", "v", "bad value") }),
	}
}

func randomLabels(random *rand.Rand) labeled {
	return labeled{MatchLabels: randomTexts(random), MatchExpressions: some(random, randomExpression)}
}

// randomAnnotations gives a selector that means the same for labels.
func randomAnnotations(random *rand.Rand) annotated {
	drawn := randomLabels(random)
	return annotated{MatchAnnotations: drawn.MatchLabels, MatchExpressions: drawn.MatchExpressions}
}

func randomTarget(random *rand.Rand) target {
	return target{
		Namespaces: v1alpha1.NamespaceSelector{
			Names: some(random, randomName), Labels: some(random, randomLabels), Annotations: some(random, randomAnnotations),
			Exclude: v1alpha1.NamespaceExclusion{
				Names: some(random, randomName), Labels: some(random, randomLabels), Annotations: some(random, randomAnnotations),
			},
		},
		NamespacesWithPods: v1alpha1.PodSelector{Labels: some(random, randomLabels), Annotations: some(random, randomAnnotations)},
	}
}

// oracle decides rule by rule, with apimachinery's own evaluation of
// selectors. It counts the rules that can't be evaluated.
type oracle struct{ broken int }

func (o *oracle) name(patterns []string, name string) bool {
	matched := false
	for _, pattern := range patterns {
		hit, err := path.Match(pattern, name)
		if err != nil {
			o.broken++
		}
		matched = matched || hit
	}
	return matched
}

func (o *oracle) labels(selectors []labeled, set texts) bool {
	matched := false
	for _, selector := range selectors {
		compiled, err := metav1.LabelSelectorAsSelector(&selector)
		if err != nil {
			o.broken++
			continue
		}
		matched = matched || compiled.Matches(labels.Set(set))
	}
	return matched
}

// annotations replaces the value that only labels can't have by one that they
// can, so that selectors on annotations are selectors on labels.
func (o *oracle) annotations(selectors []annotated, set texts) bool {
	var same []labeled
	for _, selector := range selectors {
		expressions := slices.Clone(selector.MatchExpressions)
		for i := range expressions {
			expressions[i].Values = slices.Clone(expressions[i].Values)
			for j, value := range expressions[i].Values {
				if value == "bad value" {
					expressions[i].Values[j] = "unused"
				}
			}
		}
		same = append(same, labeled{MatchLabels: selector.MatchAnnotations, MatchExpressions: expressions})
	}
	return o.labels(same, set)
}

func (o *oracle) verdict(target target, ns Namespace) Verdict {
	exclusion := target.Namespaces.Exclude
	excluded := o.name(exclusion.Names, ns.Name)
	excluded = o.labels(exclusion.Labels, ns.Labels) || excluded
	excluded = o.annotations(exclusion.Annotations, ns.Annotations) || excluded
	if excluded || o.broken > 0 {
		return Excluded
	}
	byRule := o.name(target.Namespaces.Names, ns.Name)
	byRule = o.labels(target.Namespaces.Labels, ns.Labels) || byRule
	byRule = o.annotations(target.Namespaces.Annotations, ns.Annotations) || byRule
	if byRule {
		return ByRule
	}
	pods := target.NamespacesWithPods
	var podRules oracle
	podRules.labels(pods.Labels, nil)
	podRules.annotations(pods.Annotations, nil)
	if len(pods.Labels)+len(pods.Annotations) > podRules.broken {
		return NeedsPod
	}
	return NotSelected
}

func TestVerdictsAreThoseOfTheOracle(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	seen := map[Verdict]int{}
	for range 4_000 {
		target := randomTarget(random)
		if random.IntN(2) == 0 { // most random exclusions are broken
			target.Namespaces.Exclude = v1alpha1.NamespaceExclusion{}
		}
		selection, errs := Compile(target)
		for range 5 {
			ns := Namespace{Name: pick(random, "a", "b", "ab", "kube-x"), Labels: randomTexts(random), Annotations: randomTexts(random)}
			var oracle oracle
			want := oracle.verdict(target, ns)
			seen[want]++
			if got := selection.Namespace(ns); got != want {
				t.Fatalf("%+v\nof %+v\nis %s, want %s; errors: %v", ns, target, got, want, errs.ToAggregate())
			}
			if want == NeedsPod || want == ByRule {
				pods := target.NamespacesWithPods
				wantPod := oracle.labels(pods.Labels, ns.Labels)
				wantPod = oracle.annotations(pods.Annotations, ns.Annotations) || wantPod
				if got := selection.Pod(ns.Labels, ns.Annotations); got != wantPod {
					t.Fatalf("a Pod with %+v\nof %+v: %t, want %t", ns, target, got, wantPod)
				}
			}
		}
	}
	for _, verdict := range []Verdict{Excluded, ByRule, NeedsPod, NotSelected} {
		if seen[verdict] < 500 {
			t.Errorf("only %d verdicts are %s", seen[verdict], verdict)
		}
	}
}

func TestLabelSelectorsAreRefusedWhereTheAPIMachineryRefusesThem(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 4_000 {
		selector := randomLabels(random)
		_, want := metav1.LabelSelectorAsSelector(&selector)
		_, got := Compile(include(nil, []labeled{selector}, nil))
		if (want != nil) != (len(got) > 0) {
			t.Fatalf("%+v: errors %v, want %v", selector, got.ToAggregate(), want)
		}
	}
}
