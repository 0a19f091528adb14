package operator

import (
	"encoding/json"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Fence is what a person allows the operator beyond what the fence of
// config/admission does, as the chart's values do.
type Fence struct {
	// Audiences that tokens may be for, too; one * in each stands for any text.
	Audiences []string
	// AnnotatedNames are the names of Secrets that may ask by their annotation.
	AnnotatedNames []string
	// AllowReplacing lets a Secret of another type, which is not the operator's,
	// be deleted to make room.
	AllowReplacing bool
}

// widen changes a policy of the fence, by its variables, and leaves every other
// object alone.
func (f Fence) widen(object *unstructured.Unstructured) error {
	if object.GetKind() != "ValidatingAdmissionPolicy" {
		return nil
	}
	variables, _, err := unstructured.NestedSlice(object.Object, "spec", "variables")
	if err != nil {
		return err
	}
	known := 0
	for _, variable := range variables {
		v, _ := variable.(map[string]any)
		known++
		switch v["name"] {
		case "audiences":
			v["expression"] = fmt.Sprintf("%s + %s", v["expression"], list(f.Audiences))
		case "annotatedNames":
			v["expression"] = list(f.AnnotatedNames)
		case "allowReplacing":
			v["expression"] = fmt.Sprint(f.AllowReplacing)
		default:
			known--
		}
	}
	wanted := map[string]int{"secrets": 2, "service-accounts": 0, "tokens": 1}
	if name := strings.TrimPrefix(object.GetName(), ServiceAccount+"-fence-"); known != wanted[name] {
		return fmt.Errorf("policy %s has not the variables that were meant to be set", object.GetName())
	}
	return unstructured.SetNestedSlice(object.Object, variables, "spec", "variables")
}

// list is a list of texts in CEL.
func list(texts []string) string {
	if texts == nil {
		return "[]"
	}
	made, _ := json.Marshal(texts) // texts can be marshalled
	return string(made)
}
