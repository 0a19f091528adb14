// Command chartgen derives the parts of the Helm chart that must equal config/
// from it: the CRD, the RBAC rules and the admission policies, and of Chart.yaml
// what follows from other files.
//
// It works on the text, so that comments survive, and fails on any text that
// it does not know how to treat.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

const (
	crdSource = "config/crd/bases/images.banzaicloud.io_imagepullsecrets.yaml"
	rbacDir   = "config/rbac"
	injection = "config/admission/pod_injection.yaml"
	fence     = "config/admission/fence.yaml"
	templates = "charts/imagepullsecret-operator/templates"

	notice = "{{- /* Generated from config/ by `make generate`. DO NOT EDIT. */ -}}\n"
)

func main() {
	if err := generate("."); err != nil {
		fmt.Fprintln(os.Stderr, "chartgen:", err)
		os.Exit(1)
	}
}

// generate writes every derived file below root, the repository.
func generate(root string) error {
	crdTemplate, err := derive(root, crdSource, crdTemplate)
	if err != nil {
		return err
	}
	rules, err := rulesTemplate(filepath.Join(root, rbacDir))
	if err != nil {
		return err
	}
	injectionTemplate, err := derive(root, injection, injectionTemplate)
	if err != nil {
		return err
	}
	fenceTemplate, err := derive(root, fence, fenceTemplate)
	if err != nil {
		return err
	}
	derived := map[string]string{
		"crd.yaml": crdTemplate, "_rules.tpl": rules, "pod-injection.yaml": injectionTemplate, "fence.yaml": fenceTemplate,
	}
	for name, content := range derived {
		if err := os.WriteFile(filepath.Join(root, templates, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	return writeMetadata(root)
}

// derive reads a file below root and makes a template of it.
func derive(root, path string, template func(text string) (string, error)) (string, error) {
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		return "", err
	}
	made, err := template(string(text))
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return made, nil
}

// crdTemplate makes the CRD a template: on a switch, kept on uninstall on
// another, and with the chart's labels.
func crdTemplate(crd string) (string, error) {
	const annotations = "  annotations:\n"
	before, after, found := strings.Cut(strings.TrimPrefix(crd, "---\n"), annotations)
	if !found || strings.Contains(before, "spec:") {
		return "", fmt.Errorf("no annotations in metadata to add to")
	}
	return notice +
		"{{- if .Values.crds.enabled }}\n" +
		escape(before) +
		"  labels:\n" +
		"    {{- include \"imagepullsecret-operator.labels\" . | nindent 4 }}\n" +
		annotations +
		"    {{- if .Values.crds.keep }}\n" +
		"    helm.sh/resource-policy: keep\n" +
		"    {{- end }}\n" +
		escape(after) +
		"{{- end }}\n", nil
}

// injectionTemplate makes the policy and its binding a template: on a switch
// and on clusters that know such policies, with the chart's names and labels, and
// bound to the namespaces that the operator is.
func injectionTemplate(policy string) (string, error) {
	const (
		name     = "imagepullsecret-operator-pod-injection"
		metadata = "metadata:\n  name: " + name + "\n"
	)
	if strings.Count(policy, metadata) != 2 || strings.Count(policy, name) != 3 {
		return "", fmt.Errorf("want a policy and its binding, both named %s and without labels", name)
	}
	text := strings.ReplaceAll(escape(policy), metadata, metadata+
		"  labels:\n"+
		"    {{- include \"imagepullsecret-operator.labels\" . | nindent 4 }}\n")
	const conditions = "  matchConditions:\n"
	if strings.Count(text, conditions) != 1 {
		return "", fmt.Errorf("want one list of matchConditions")
	}
	text = strings.Replace(text, conditions, conditions+
		"  {{- with .Values.rbac.namespaces }}\n"+
		"  # Elsewhere the operator keeps no Secret.\n"+
		"  - name: is-within-reach\n"+
		"    expression: {{ toJson . | printf \"request.namespace in %s\" | quote }}\n"+
		"  {{- end }}\n", 1)
	return notice +
		"{{- if and .Values.podInjection.enabled (include \"imagepullsecret-operator.injectionKnown\" .) }}\n" +
		strings.ReplaceAll(text, name, fullname+"-pod-injection") +
		"{{- end }}\n", nil
}

// fullname is the name of everything, the operator's ServiceAccount included.
const fullname = `{{ include "imagepullsecret-operator.fullname" . }}`

// fenceParts are the parts of the fence that depend on the release or on
// values: how often each of them occurs, and what takes its place.
var fenceParts = []struct {
	text  string
	count int
	value string
}{
	{
		"system:serviceaccount:imagepullsecret-system:imagepullsecret-operator'", 3,
		"system:serviceaccount:{{ .Release.Namespace }}:" + fullname + "'",
	},
	{"namespace == 'imagepullsecret-system'", 1, "namespace == '{{ .Release.Namespace }}'"},
	{"ame: imagepullsecret-operator-fence-", 9, "ame: " + fullname + "-fence-"},
	{"  - name: annotatedNames\n    expression: \"[]\"\n", 1, "  - name: annotatedNames\n" +
		"    expression: {{ .Values.annotatedSecrets.enabled | ternary .Values.annotatedSecrets.names list | toJson | quote }}\n"},
	{"be kept; none: any.\n  - name: names\n    expression: \"[]\"\n", 1, "be kept; none: any.\n  - name: names\n" +
		"    expression: {{ .Values.rbac.targetSecretNames | toJson | quote }}\n"},
	// Annotated ServiceAccounts choose names of their own.
	{"be added; none: any.\n  - name: names\n    expression: \"[]\"\n", 1, "be added; none: any.\n  - name: names\n" +
		"    expression: {{ .Values.annotatedServiceAccounts.enabled | ternary list .Values.rbac.targetSecretNames | toJson | quote }}\n"},
	{"  - name: allowReplacing\n    expression: \"false\"\n", 1, "  - name: allowReplacing\n" +
		"    expression: {{ .Values.fence.allowReplacing | toString | quote }}\n"},
}

// fenceTemplate makes the fence's policies and their bindings a template: on a
// switch and on clusters that know such policies, with the chart's names and
// labels, and bound to what values allow.
func fenceTemplate(policies string) (string, error) {
	text := escape(policies)
	for _, part := range fenceParts {
		if strings.Count(text, part.text) != part.count {
			return "", fmt.Errorf("want %d times %q", part.count, part.text)
		}
		text = strings.ReplaceAll(text, part.text, part.value)
	}
	const first, last = "  - name: audiences\n    expression: |-\n      [\n", "\n      ]\n"
	before, rest, found := strings.Cut(text, first)
	_, after, closed := strings.Cut(rest, last)
	if !found || !closed {
		return "", fmt.Errorf("no list of audiences")
	}
	text = before + first +
		"        {{- $asking := .Values.annotatedSecrets }}\n" +
		"        {{- range $i, $audience := concat .Values.fence.audiences ($asking.enabled | ternary (list $asking.audience) list) | uniq }}\n" +
		"        {{- if $i }},{{ end }}\n" +
		"        {{ toJson $audience }}\n" +
		"        {{- end }}" + last + after
	names := regexp.MustCompile(`(?m)^metadata:\n  name: .+\n`)
	return notice +
		"{{- if and .Values.fence.enabled (include \"imagepullsecret-operator.fenceKnown\" .) }}\n" +
		names.ReplaceAllStringFunc(text, func(metadata string) string {
			return metadata + "  labels:\n    {{- include \"imagepullsecret-operator.labels\" . | nindent 4 }}\n"
		}) +
		"{{- end }}\n", nil
}

// escape makes text stand for itself in a template.
func escape(text string) string { return strings.ReplaceAll(text, "{{", `{{ "{{" }}`) }

// role is a file of config/rbac whose rules the chart includes by name.
type role struct {
	file, name string
	// pick tells which of its rules; nil for all.
	pick func(rule string) bool
	// amend turns one rule's text into a template; nil leaves rules alone.
	amend func(rule string) (string, error)
}

// rulesTemplate makes a named template of the rules of each role.
func rulesTemplate(dir string) (string, error) {
	roles := []role{
		{file: "cluster_role.yaml", name: "cluster", pick: inEveryMode},
		{file: "cluster_role.yaml", name: "targets", pick: func(rule string) bool { return !inEveryMode(rule) }, amend: amendTargetRule},
		{file: "role.yaml", name: "namespace"},
		{file: "leader_election_role.yaml", name: "leaderElection"},
		{file: "imagepullsecret_viewer_role.yaml", name: "viewer"},
		{file: "imagepullsecret_editor_role.yaml", name: "editor"},
	}
	var out strings.Builder
	out.WriteString(notice)
	for _, role := range roles {
		text, err := os.ReadFile(filepath.Join(dir, role.file))
		if err != nil {
			return "", err
		}
		rules, err := role.template(string(text))
		if err != nil {
			return "", fmt.Errorf("%s: %w", filepath.Join(dir, role.file), err)
		}
		fmt.Fprintf(&out, "\n{{- define \"imagepullsecret-operator.rules.%s\" -}}\n%s{{- end }}\n", role.name, rules)
	}
	return out.String(), nil
}

// template is the role's rules as a template.
func (r role) template(text string) (string, error) {
	_, rules, found := strings.Cut(text, "\nrules:\n")
	if !found {
		return "", fmt.Errorf("no rules")
	}
	var out strings.Builder
	for _, rule := range splitRules(rules) {
		if r.pick != nil && !r.pick(rule) {
			continue
		}
		rule = escape(rule)
		if r.amend != nil {
			amended, err := r.amend(rule)
			if err != nil {
				return "", err
			}
			rule = amended
		}
		out.WriteString(rule)
	}
	return out.String(), nil
}

// splitRules splits a list of rules into its items, each with the comment
// above it.
func splitRules(rules string) []string {
	var items []string
	var item strings.Builder
	open := false // item holds more than a comment
	for line := range strings.Lines(rules) {
		startsItem := strings.HasPrefix(line, "- ") || strings.HasPrefix(line, "#")
		if open && startsItem {
			items = append(items, item.String())
			item.Reset()
			open = false
		}
		item.WriteString(line)
		open = open || strings.HasPrefix(line, "- ")
	}
	return append(items, item.String())
}

// inEveryMode tells whether a rule is about objects of the cluster, so that no
// RBAC mode can bind it to namespaces.
func inEveryMode(rule string) bool {
	switch listOf(rule, "resources") {
	case "imagepullsecrets", "imagepullsecrets/status", "namespaces":
		return true
	default:
		return false
	}
}

// amendTargetRule puts the rules that depend on values under them.
func amendTargetRule(rule string) (string, error) {
	resources, verbs := listOf(rule, "resources"), listOf(rule, "verbs")
	switch what := verbs + " " + resources; what {
	case "get list watch patch serviceaccounts":
		return onlyIf("serviceAccounts.enabled", rule), nil
	case "list watch pods":
		return onlyIf("podSelectors.enabled", rule), nil
	case "list watch events", "get pods", "create pods/eviction", "get serviceaccounts":
		return onlyIf("podRecovery.enabled", rule), nil
	}
	switch resources {
	case "secrets":
		const verbs = "  verbs:\n"
		if strings.Count(rule, verbs) != 1 {
			return "", fmt.Errorf("the rule on Secrets has no verbs to put resourceNames before")
		}
		return strings.Replace(rule, verbs, "  {{- with .Values.rbac.targetSecretNames }}\n"+
			"  resourceNames:\n"+
			"  {{- toYaml . | nindent 2 }}\n"+
			"  {{- end }}\n"+verbs, 1), nil
	case "events":
		return rule, nil
	default:
		return "", fmt.Errorf("chartgen does not know whether a rule on %q depends on the chart's values: teach it", resources)
	}
}

// onlyIf puts a rule under a value.
func onlyIf(value, rule string) string {
	return "{{- if .Values." + value + " }}\n" + rule + "{{- end }}\n"
}

// listOf is the text of a rule's list, its items joined by spaces.
func listOf(rule, key string) string {
	_, after, _ := strings.Cut(rule, "  "+key+":\n")
	var items []string
	for line := range strings.Lines(after) {
		item, found := strings.CutPrefix(line, "  - ")
		if !found {
			break
		}
		items = append(items, strings.TrimSpace(item))
	}
	return strings.Join(items, " ")
}
