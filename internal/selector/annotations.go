package selector

import (
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
)

// annotationRule is a selector on annotations: all requirements must be met.
// It is not made of label requirements because those refuse most values that
// annotations have.
type annotationRule struct {
	rule
	requirements []annotationRequirement
}

// annotationRequirement is a requirement on one annotation.
type annotationRequirement struct {
	key      string
	operator metav1.LabelSelectorOperator
	values   []string
}

// matches reports whether the annotations meet all requirements.
func (r *annotationRule) matches(annotations map[string]string) bool {
	for i := range r.requirements {
		if !r.requirements[i].metBy(annotations) {
			return false
		}
	}
	return true
}

// metBy means the same as for labels: an absent annotation is not in any
// values.
func (r *annotationRequirement) metBy(annotations map[string]string) bool {
	value, present := annotations[r.key]
	switch r.operator {
	case metav1.LabelSelectorOpIn:
		return present && slices.Contains(r.values, value)
	case metav1.LabelSelectorOpNotIn:
		return !present || !slices.Contains(r.values, value)
	case metav1.LabelSelectorOpExists:
		return present
	case metav1.LabelSelectorOpDoesNotExist:
		return !present
	}
	return false // not reached: compiled requirements have no other operator
}

// compileAnnotations compiles one selector on annotations.
func compileAnnotations(selector v1alpha1.AnnotationSelector, at *field.Path) (annotationRule, field.ErrorList) {
	compiled := annotationRule{rule: rule{path: at.String()}}
	var errs field.ErrorList
	for _, key := range slices.Sorted(maps.Keys(selector.MatchAnnotations)) {
		errs = append(errs, checkAnnotationKey(key, at.Child("matchAnnotations"))...)
		compiled.requirements = append(compiled.requirements, annotationRequirement{
			key: key, operator: metav1.LabelSelectorOpIn, values: []string{selector.MatchAnnotations[key]},
		})
	}
	for i, expression := range selector.MatchExpressions {
		here := at.Child("matchExpressions").Index(i)
		errs = append(errs, checkAnnotationKey(expression.Key, here.Child("key"))...)
		errs = append(errs, checkOperator(expression, here)...)
		compiled.requirements = append(compiled.requirements, annotationRequirement{
			key: expression.Key, operator: expression.Operator, values: slices.Clone(expression.Values),
		})
	}
	return compiled, errs
}

// checkAnnotationKey refuses a key that no annotation can have, which is a
// slip: an exclusion by it would never exclude anything. As in the API server
// the case of the prefix does not matter.
func checkAnnotationKey(key string, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, message := range validation.IsQualifiedName(strings.ToLower(key)) {
		errs = append(errs, field.Invalid(at, key, message))
	}
	return errs
}
