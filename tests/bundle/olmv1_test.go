package bundle

import (
	"os"
	"slices"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/crdify/pkg/config"
	"sigs.k8s.io/crdify/pkg/runner"
	"sigs.k8s.io/crdify/pkg/validations"
)

// What OLM v1 (ClusterExtension) takes only.
func TestOLMv1TakesTheBundles(t *testing.T) {
	eachBundle(t, func(t *testing.T, directory string) {
		bundle := load(t, directory)
		if got := annotations(t, directory)["operators.operatorframework.io.bundle.mediatype.v1"]; got != "registry+v1" {
			t.Errorf("media type %s", got)
		}
		if bundle.Package != name {
			t.Errorf("package %s", bundle.Package)
		}
		// It resolves no dependencies and knows no OperatorConditions.
		if len(bundle.Dependencies) > 0 {
			t.Errorf("dependencies %v", bundle.Dependencies)
		}
		for _, file := range []string{"dependencies.yaml", "properties.yaml"} {
			if _, err := os.Stat(directory + "/metadata/" + file); !os.IsNotExist(err) {
				t.Errorf("metadata/%s may hold constraints: %v", file, err)
			}
		}
		spec := bundle.CSV.Spec
		if len(spec.WebhookDefinitions)+len(spec.APIServiceDefinitions.Owned)+len(spec.APIServiceDefinitions.Required)+
			len(spec.CustomResourceDefinitions.Required) > 0 {
			t.Error("webhooks, API services or required CRDs")
		}
		var deployments []string
		for _, deployment := range spec.InstallStrategy.StrategySpec.DeploymentSpecs {
			deployments = append(deployments, deployment.Name)
			if problems := validation.IsDNS1123Subdomain(deployment.Name); len(problems) > 0 || deployment.Name == "" {
				t.Errorf("Deployment %q: %v", deployment.Name, problems)
			}
		}
		slices.Sort(deployments)
		if len(deployments) == 0 || len(slices.Compact(deployments)) != len(spec.InstallStrategy.StrategySpec.DeploymentSpecs) {
			t.Errorf("Deployments %v", deployments)
		}
		if owned := spec.CustomResourceDefinitions.Owned; len(owned) != 1 || owned[0].Name != bundle.V1CRDs[0].Name {
			t.Errorf("owned CRDs %v", owned)
		}
	})
}

// OLM v1 refuses an upgrade whose CRD could break what is stored. These are its
// own rules (crdify) with its settings; the CRD of this version is held against
// that of each release, since any may be upgraded to this one (skipRange).
func TestOLMv1TakesTheCRDUpgrade(t *testing.T) {
	now := load(t, current).V1CRDs[0]
	for _, directory := range releases(t) {
		for _, problem := range upgradeProblems(t, load(t, directory).V1CRDs[0], now) {
			t.Errorf("%s: %s", directory, problem)
		}
	}
}

// The rules see what they are there for.
func TestOLMv1RefusesAnUnsafeCRDUpgrade(t *testing.T) {
	changes := map[string]func(*apiextensionsv1.CustomResourceDefinition){
		"another scope":            func(crd *apiextensionsv1.CustomResourceDefinition) { crd.Spec.Scope = "Namespaced" },
		"a stored version is gone": func(crd *apiextensionsv1.CustomResourceDefinition) { crd.Spec.Versions[0].Name = "v1" },
		"a new required field":     change(func(target *apiextensionsv1.JSONSchemaProps) { target.Required = append(target.Required, "pods") }),
		"a field is gone":          change(func(target *apiextensionsv1.JSONSchemaProps) { delete(target.Properties, "pods") }),
		"another type": change(func(target *apiextensionsv1.JSONSchemaProps) {
			set(target, "pods", func(field *apiextensionsv1.JSONSchemaProps) { field.Type = "integer" })
		}),
		"another default": change(func(target *apiextensionsv1.JSONSchemaProps) {
			set(target, "pods", func(field *apiextensionsv1.JSONSchemaProps) {
				field.Default = &apiextensionsv1.JSON{Raw: []byte(`"None"`)}
			})
		}),
		"a value of an enumeration is gone": change(func(target *apiextensionsv1.JSONSchemaProps) {
			set(target, "pods", func(field *apiextensionsv1.JSONSchemaProps) { field.Enum = field.Enum[:1] })
		}),
		"another rule": change(func(target *apiextensionsv1.JSONSchemaProps) {
			set(target, "pods", func(field *apiextensionsv1.JSONSchemaProps) { field.Pattern = "^I" })
		}),
	}
	for what, apply := range changes {
		t.Run(what, func(t *testing.T) {
			before := load(t, current).V1CRDs[0]
			after := before.DeepCopy()
			apply(after)
			if len(upgradeProblems(t, before, after)) == 0 {
				t.Error("it is taken")
			}
		})
	}
}

// change is a change of spec.target in the CRD's one version.
func change(apply func(*apiextensionsv1.JSONSchemaProps)) func(*apiextensionsv1.CustomResourceDefinition) {
	return func(crd *apiextensionsv1.CustomResourceDefinition) {
		set(crd.Spec.Versions[0].Schema.OpenAPIV3Schema, "spec", func(spec *apiextensionsv1.JSONSchemaProps) {
			set(spec, "target", apply)
		})
	}
}

// set changes a property of a schema.
func set(schema *apiextensionsv1.JSONSchemaProps, name string, apply func(*apiextensionsv1.JSONSchemaProps)) {
	property := schema.Properties[name]
	apply(&property)
	schema.Properties[name] = property
}

// upgradeProblems are the reasons for which OLM v1 refuses to replace a CRD.
func upgradeProblems(t *testing.T, before, after *apiextensionsv1.CustomResourceDefinition) []string {
	t.Helper()
	before = before.DeepCopy()
	before.Status.StoredVersions = nil
	for _, version := range before.Spec.Versions {
		if version.Storage {
			before.Status.StoredVersions = append(before.Status.StoredVersions, version.Name)
		}
	}
	rules, err := runner.New(&config.Config{
		Conversion:           config.ConversionPolicyIgnore,
		UnhandledEnforcement: config.EnforcementPolicyError,
		Validations:          []config.ValidationConfig{{Name: "description", Enforcement: config.EnforcementPolicyNone}},
	}, runner.DefaultRegistry())
	if err != nil {
		t.Fatal(err)
	}
	found := rules.Run(before, after)
	results := found.CRDValidation
	for _, versions := range []map[string]map[string][]validations.ComparisonResult{found.SameVersionValidation, found.ServedVersionValidation} {
		for _, properties := range versions {
			for _, property := range properties {
				results = append(results, property...)
			}
		}
	}
	var problems []string
	for _, result := range results {
		problems = append(problems, result.Errors...)
	}
	return problems
}
