package integration

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/internal/selector"
	"github.com/imagepullsecrets/operator/tests/operator"
)

var injectionSeed = flag.Uint64("injection-seed", 1, "of TestInjectionDecidesAsTheSelectorDoes")

// The cases of one run: each Pod gives a verdict on each object.
const (
	injectionRounds     = 3
	injectionObjects    = 100
	injectionNamespaces = 50
	injectionClients    = 16
)

// The policy in the API server and internal/selector decide alike, on whatever
// rules, broken ones included.
func TestInjectionDecidesAsTheSelectorDoes(t *testing.T) {
	operator.NeedInjection(t, shared.cluster.Config())
	ownCluster(t, withAllRights)
	random := rand.New(rand.NewPCG(*injectionSeed, 0))
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("to see it again: -injection-seed=%d", *injectionSeed)
		}
	})
	namespaces := randomNamespaces(t, random)
	seen := map[string]int{}
	for round := range injectionRounds {
		prefix := fmt.Sprintf("round%d-", round)
		objects := make([]*v1alpha1.ImagePullSecret, injectionObjects)
		for i := range objects {
			objects[i] = newObject(fmt.Sprintf("%s%d", prefix, i), "")
			objects[i].Spec.Target = randomTarget(random, objects[i].Spec.Target.Secret)
		}
		inParallel(t, objects, func(ctx context.Context, object *v1alpha1.ImagePullSecret) error {
			return shared.api.Create(ctx, object)
		})
		awaitPolicy(t, "default")
		pods := make([]*corev1.Pod, len(namespaces))
		for i := range pods {
			pods[i] = newPod(namespaces[i].Name, func(pod *corev1.Pod) {
				pod.Labels, pod.Annotations = randomTexts(random, labelKeys), randomTexts(random, annotationKeys)
			})
		}
		inParallel(t, pods, func(ctx context.Context, pod *corev1.Pod) error {
			return shared.api.Create(ctx, pod, client.DryRunAll)
		})
		compareVerdicts(t, prefix, objects, namespaces, pods, seen)
	}
	t.Logf("%v", seen)
	for _, verdict := range []selector.Verdict{selector.Excluded, selector.ByRule, selector.NeedsPod, selector.NotSelected} {
		for _, injected := range []bool{true, false} {
			possible := !injected || verdict == selector.ByRule || verdict == selector.NeedsPod
			if key := fmt.Sprintf("%s injected=%t", verdict, injected); possible && seen[key] < 200 {
				t.Errorf("only %d cases of %s", seen[key], key)
			}
		}
	}
}

// compareVerdicts compares what Pods were given with what the selector says,
// and counts the cases of each kind.
func compareVerdicts(t *testing.T, prefix string, objects []*v1alpha1.ImagePullSecret, namespaces []selector.Namespace,
	pods []*corev1.Pod, seen map[string]int,
) {
	t.Helper()
	for _, object := range objects {
		target := object.Spec.Target
		selection, errs := selector.Compile(target)
		for i, pod := range pods {
			verdict := selection.Namespace(namespaces[i])
			want := verdict == selector.ByRule || verdict == selector.NeedsPod && selection.Pod(pod.Labels, pod.Annotations)
			want = want && target.Pods != v1alpha1.PodsNone
			seen[fmt.Sprintf("%s injected=%t", verdict, want)]++
			if len(errs) > 0 {
				seen["with broken rules"]++
			}
			if got := slices.Contains(listed(pod), target.Secret.Name); got != want {
				t.Fatalf("a Pod with labels %q and annotations %q in %+q\nof %+q\nis injected: %t, want %t (%s); errors: %v",
					pod.Labels, pod.Annotations, namespaces[i], target, got, want, verdict, errs.ToAggregate())
			}
		}
	}
	for _, pod := range pods {
		ours := slices.DeleteFunc(listed(pod), func(name string) bool { return !strings.HasPrefix(name, prefix) })
		slices.Sort(ours)
		if len(slices.Compact(slices.Clone(ours))) != len(ours) {
			t.Fatalf("a Pod lists a name twice: %q", ours)
		}
	}
}

// inParallel does something with each value, as several clients.
func inParallel[T any](t *testing.T, values []T, do func(context.Context, T) error) {
	t.Helper()
	errs := make([]error, len(values))
	limit := make(chan struct{}, injectionClients)
	var group sync.WaitGroup
	for i, value := range values {
		limit <- struct{}{}
		group.Go(func() {
			defer func() { <-limit }()
			errs[i] = do(t.Context(), value)
		})
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// randomNamespaces makes namespaces, and returns what the selector looks at in
// them.
func randomNamespaces(t *testing.T, random *rand.Rand) []selector.Namespace {
	t.Helper()
	unmade := map[string]*corev1.Namespace{}
	for len(unmade) < injectionNamespaces {
		name := pick(random, "a", "b", "0", "7") + pick(random, "", "-", "a", "b-", "c0", "--") + pick(random, "a", "b", "0", "z")
		unmade[name] = &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
			Name: name, Labels: randomTexts(random, labelKeys), Annotations: randomTexts(random, annotationKeys),
		}}
	}
	made := make([]*corev1.Namespace, 0, len(unmade))
	for _, name := range slices.Sorted(maps.Keys(unmade)) {
		made = append(made, unmade[name])
	}
	inParallel(t, made, func(ctx context.Context, namespace *corev1.Namespace) error {
		return shared.api.Create(ctx, namespace)
	})
	looked := make([]selector.Namespace, len(made))
	for i, namespace := range made {
		looked[i] = selector.Namespace{Name: namespace.Name, Labels: namespace.Labels, Annotations: namespace.Annotations}
	}
	return looked
}

// Small alphabets, so that rules often match. The last two prefixes have a
// lower case in ASCII, which makes them valid for annotations.
var (
	labelKeys      = []string{"k", "x.io/k", "l"}
	annotationKeys = []string{"k", "x.io/k", "l", "X.io/K", "\u212a.io/k", "\u0130.io/k"}
	textValues     = []string{"", "v", "w"}

	// One in a dozen pieces breaks a pattern, or does so with those beside it.
	goodPieces = []string{
		"a", "b", "0", "-", "*", "*", "**", "?", "?", "[ab]", "[^a]", "[a-c]", "[0-9a]", "[b-a]", "[^b-a]",
		`\a`, `\-`, `\*`, `\\`, `[\]a]`, `[a^]`, "[^^]", "[[]", "[[:alpha:]]", "[*?]", `[+-\-]`, "[ -~]", "[!-é]", "[é]", "[^é-ü]", "[\n]",
		"\\\n", "A", ".", "|", "é", "]", "/", "$",
	}
	badPieces = []string{"[", "[]", "[^]", "[a-]", "[-a]", "[^-a]", "[a-b-c]", `[a\`, `\`}
)

func pick[T any](random *rand.Rand, choices ...T) T { return choices[random.IntN(len(choices))] }

// oneIn is true once in n times.
func oneIn(random *rand.Rand, n int) bool { return random.IntN(n) == 0 }

// some draws up to two values, made one by one.
func some[T any](random *rand.Rand, one func(*rand.Rand) T) []T {
	var drawn []T
	for range random.IntN(3) {
		drawn = append(drawn, one(random))
	}
	return drawn
}

func randomTexts(random *rand.Rand, keys []string) map[string]string {
	drawn := map[string]string{}
	for range random.IntN(4) {
		drawn[pick(random, keys...)] = pick(random, textValues...)
	}
	return drawn
}

func randomName(random *rand.Rand) string {
	var pattern strings.Builder
	for range random.IntN(5) {
		if oneIn(random, 12) {
			pattern.WriteString(pick(random, badPieces...))
		} else {
			pattern.WriteString(pick(random, goodPieces...))
		}
	}
	return pattern.String()
}

func randomExpression(random *rand.Rand, keys []string) metav1.LabelSelectorRequirement {
	expression := metav1.LabelSelectorRequirement{
		Key:      pick(random, keys...),
		Operator: pick[metav1.LabelSelectorOperator](random, "In", "NotIn", "Exists", "DoesNotExist"),
	}
	if expression.Operator == "In" || expression.Operator == "NotIn" {
		expression.Values = []string{pick(random, textValues...), pick(random, textValues...)}
	}
	switch random.IntN(16) { // what may be broken
	case 0:
		expression.Key = pick(random, "bad key", "", "X.io/k", "a/b/c", strings.Repeat("k", 64))
	case 1:
		expression.Operator = pick[metav1.LabelSelectorOperator](random, "Inn", "exists", "")
	case 2:
		expression.Values = []string{pick(random, textValues...), pick(random, "bad value", "ü", strings.Repeat("v", 64), "-")}
	case 3:
		expression.Values = nil
	}
	return expression
}

// randomSelector gives the two parts of a selector.
func randomSelector(random *rand.Rand, keys []string) (match map[string]string, expressions []metav1.LabelSelectorRequirement) {
	match = randomTexts(random, keys)
	if oneIn(random, 3) {
		match = nil
	}
	if oneIn(random, 16) {
		match = map[string]string{pick(random, "k", "bad key"): pick(random, "bad value", "v")}
	}
	for range random.IntN(3) {
		expressions = append(expressions, randomExpression(random, keys))
	}
	return match, expressions
}

func randomLabels(random *rand.Rand) metav1.LabelSelector {
	match, expressions := randomSelector(random, labelKeys)
	return metav1.LabelSelector{MatchLabels: match, MatchExpressions: expressions}
}

func randomAnnotations(random *rand.Rand) v1alpha1.AnnotationSelector {
	match, expressions := randomSelector(random, annotationKeys)
	return v1alpha1.AnnotationSelector{MatchAnnotations: match, MatchExpressions: expressions}
}

// randomTarget draws rules of a few of the kinds.
func randomTarget(random *rand.Rand, secret v1alpha1.TargetSecretConfig) v1alpha1.TargetConfig {
	target := v1alpha1.TargetConfig{Secret: secret}
	include, exclude, pods := &target.Namespaces, &target.Namespaces.Exclude, &target.NamespacesWithPods
	for _, draw := range []func(){
		func() { include.Names = some(random, randomName) },
		func() { include.Labels = some(random, randomLabels) },
		func() { include.Annotations = some(random, randomAnnotations) },
		func() { pods.Labels = some(random, randomLabels) },
		func() { pods.Annotations = some(random, randomAnnotations) },
	} {
		if oneIn(random, 2) {
			draw()
		}
	}
	for _, draw := range []func(){
		func() { exclude.Names = some(random, randomName) },
		func() { exclude.Labels = some(random, randomLabels) },
		func() { exclude.Annotations = some(random, randomAnnotations) },
	} {
		if oneIn(random, 4) {
			draw()
		}
	}
	if oneIn(random, 6) {
		target.Pods = v1alpha1.PodsNone
	}
	return target
}
