package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

const crdFile = "config/crd/bases/images.banzaicloud.io_imagepullsecrets.yaml"

// writeAPI lists every field of the CRD.
func writeAPI(out io.Writer) error {
	content, err := os.ReadFile(crdFile)
	if err != nil {
		return err
	}
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.Unmarshal(content, &crd); err != nil {
		return err
	}
	version := crd.Spec.Versions[0]
	fmt.Fprintf(out, "# %s\n\n`%s/%s`, %s-scoped, short name `%s`.\n\n", crd.Spec.Names.Kind, crd.Spec.Group, version.Name,
		strings.ToLower(string(crd.Spec.Scope)), strings.Join(crd.Spec.Names.ShortNames, "`, `"))
	fmt.Fprint(out, "A field is optional unless it is marked with *.\n\n| field | type | meaning |\n| --- | --- | --- |\n")
	root := version.Schema.OpenAPIV3Schema
	for _, part := range []string{"spec", "status"} {
		writeFields(out, part, root.Properties[part])
	}
	return nil
}

// writeFields lists the fields below path.
func writeFields(out io.Writer, path string, schema apiextensionsv1.JSONSchemaProps) {
	for _, name := range slices.Sorted(maps.Keys(schema.Properties)) {
		field := schema.Properties[name]
		below, kind := field, field.Type
		full := path + "." + name
		if field.Items != nil && field.Items.Schema != nil {
			below, kind = *field.Items.Schema, "list of "+field.Items.Schema.Type
			full += "[]"
		}
		if field.AdditionalProperties != nil {
			kind = "map of strings"
		}
		mark := ""
		if slices.Contains(schema.Required, name) {
			mark = "*"
		}
		fmt.Fprintf(out, "| `%s`%s | %s%s | %s%s |\n", full, mark, kind, bounds(field), oneLine(field.Description), rules(field, below))
		writeFields(out, full, below)
	}
}

// bounds tells the limits of a field.
func bounds(field apiextensionsv1.JSONSchemaProps) string {
	var limits []string
	if field.MaxItems != nil {
		limits = append(limits, fmt.Sprintf("at most %d", *field.MaxItems))
	}
	if field.MaxLength != nil {
		limits = append(limits, fmt.Sprintf("at most %d characters", *field.MaxLength))
	}
	if len(field.Enum) > 0 {
		var values []string
		for _, value := range field.Enum {
			values = append(values, strings.Trim(string(value.Raw), `"`))
		}
		limits = append(limits, strings.Join(values, ", "))
	}
	if field.Default != nil {
		limits = append(limits, "default "+strings.Trim(string(field.Default.Raw), `"`))
	}
	if len(limits) == 0 {
		return ""
	}
	return " (" + strings.Join(limits, "; ") + ")"
}

// rules tells what else must hold.
func rules(fields ...apiextensionsv1.JSONSchemaProps) string {
	var messages []string
	for _, field := range fields {
		for _, rule := range field.XValidations {
			if !slices.Contains(messages, rule.Message) {
				messages = append(messages, rule.Message)
			}
		}
	}
	if len(messages) == 0 {
		return ""
	}
	return " Rule: " + strings.Join(messages, "; ") + "."
}

func oneLine(text string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(text), " "), "|", `\|`)
}
