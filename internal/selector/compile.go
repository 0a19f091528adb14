package selector

import (
	"cmp"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
)

// exclusionHalts is added to what is wrong with an exclusion rule.
const exclusionHalts = "no namespace is selected until this exclusion can be evaluated"

// Compile turns the rules of a target into a Selection.
//
// Rules that can't be evaluated are returned as errors with their paths; the
// others work as if those were absent. What a broken rule would have selected
// is unknown, so a caller that removes what is no longer selected should wait
// until there is no error.
//
// A broken exclusion is different: what it was to keep credentials away from
// is unknown too, so the whole Selection excludes every namespace, its errors
// say so, and it has no Pod rules.
func Compile(target v1alpha1.TargetConfig) (Selection, field.ErrorList) {
	at := field.NewPath("spec", "target")
	namespaces, exclude, pods := target.Namespaces, target.Namespaces.Exclude, target.NamespacesWithPods
	var selection Selection
	var errs, exclusionErrs, podErrs field.ErrorList
	selection.include, errs = compileRules(namespaces.Names, namespaces.Labels, namespaces.Annotations, at.Child("namespaces"))
	selection.exclude, exclusionErrs = compileRules(exclude.Names, exclude.Labels, exclude.Annotations, at.Child("namespaces", "exclude"))
	selection.pods, podErrs = compileRules(nil, pods.Labels, pods.Annotations, at.Child("namespacesWithPods"))

	if len(exclusionErrs) > 0 {
		selection = Selection{brokenExclusion: exclusionErrs[0].Field}
	}
	for _, err := range exclusionErrs {
		err.Detail += "; " + exclusionHalts
	}
	return selection, append(append(errs, exclusionErrs...), podErrs...)
}

// compileRules compiles the rules of one field and leaves out broken ones.
func compileRules(names []string, labels []metav1.LabelSelector, annotations []v1alpha1.AnnotationSelector, at *field.Path) (rules, field.ErrorList) {
	var compiled rules
	var errs field.ErrorList
	compiled.names, compiled.globs, errs = compileNames(names, at.Child("names"))
	for i, selector := range labels {
		rule, broken := compileLabels(selector, at.Child("labels").Index(i))
		if len(broken) == 0 {
			compiled.labels = append(compiled.labels, rule)
		}
		errs = append(errs, broken...)
	}
	for i, selector := range annotations {
		rule, broken := compileAnnotations(selector, at.Child("annotations").Index(i))
		if len(broken) == 0 {
			compiled.annotations = append(compiled.annotations, rule)
		}
		errs = append(errs, broken...)
	}
	return compiled, errs
}

// compileLabels compiles one selector on labels.
func compileLabels(selector metav1.LabelSelector, at *field.Path) (labelRule, field.ErrorList) {
	var errs field.ErrorList
	for i, expression := range selector.MatchExpressions {
		errs = append(errs, checkOperator(expression, at.Child("matchExpressions").Index(i))...)
	}
	// Only then the keys and values: it has less to say about operators. It
	// walks a map, but the same selector shall give the same errors.
	if len(errs) == 0 {
		errs = metav1validation.ValidateLabelSelector(&selector, metav1validation.LabelSelectorValidationOptions{}, at)
		slices.SortFunc(errs, func(a, b *field.Error) int { return cmp.Compare(a.Error(), b.Error()) })
	}
	if len(errs) > 0 {
		return labelRule{}, errs
	}
	compiled, err := metav1.LabelSelectorAsSelector(&selector)
	if err != nil {
		return labelRule{}, field.ErrorList{field.Invalid(at, metav1.FormatLabelSelector(&selector), err.Error())}
	}
	return labelRule{rule: rule{path: at.String()}, selector: compiled}, nil
}

// checkOperator refuses an unknown operator, and values where the operator
// takes none or none where it needs some.
func checkOperator(expression metav1.LabelSelectorRequirement, at *field.Path) field.ErrorList {
	switch expression.Operator {
	case metav1.LabelSelectorOpIn, metav1.LabelSelectorOpNotIn:
		if len(expression.Values) == 0 {
			return field.ErrorList{field.Required(at.Child("values"), "the operators In and NotIn need at least one value")}
		}
	case metav1.LabelSelectorOpExists, metav1.LabelSelectorOpDoesNotExist:
		if len(expression.Values) > 0 {
			return field.ErrorList{field.Forbidden(at.Child("values"), "the operators Exists and DoesNotExist take no values")}
		}
	default:
		return field.ErrorList{field.NotSupported(at.Child("operator"), expression.Operator, []metav1.LabelSelectorOperator{
			metav1.LabelSelectorOpIn, metav1.LabelSelectorOpNotIn, metav1.LabelSelectorOpExists, metav1.LabelSelectorOpDoesNotExist,
		})}
	}
	return nil
}
