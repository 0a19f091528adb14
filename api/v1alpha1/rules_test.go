package v1alpha1

import (
	"os"
	"regexp"
	"testing"

	"sigs.k8s.io/yaml"
)

// reserved are CEL's reserved words after a dot, where they name a field.
var reserved = regexp.MustCompile(`\.(as|break|const|continue|else|for|function|if|import|let|loop|package|namespace|return|var|void|while)\b`)

// The API server of Kubernetes 1.30 knows a field that is called like a reserved
// word by its escaped name only, as in self.__namespace__, and refuses the whole
// CRD otherwise; that of 1.33 takes both.
func TestRulesNameNoFieldByAReservedWord(t *testing.T) {
	content, err := os.ReadFile("../../config/crd/bases/images.banzaicloud.io_imagepullsecrets.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var crd any
	if err := yaml.Unmarshal(content, &crd); err != nil {
		t.Fatal(err)
	}
	rules := rulesIn(crd)
	if len(rules) < 20 {
		t.Fatalf("only %d rules were found", len(rules))
	}
	for _, rule := range rules {
		if found := reserved.FindString(rule); found != "" {
			t.Errorf("%s is in the rule %s", found, rule)
		}
	}
}

// rulesIn are the validation rules at any depth of a manifest.
func rulesIn(part any) []string {
	var rules []string
	switch part := part.(type) {
	case []any:
		for _, item := range part {
			rules = append(rules, rulesIn(item)...)
		}
	case map[string]any:
		for key, value := range part {
			if rule, isRule := value.(string); isRule && key == "rule" {
				rules = append(rules, rule)
			}
			rules = append(rules, rulesIn(value)...)
		}
	}
	return rules
}
