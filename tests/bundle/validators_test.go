package bundle

import (
	"regexp"
	"strings"
	"testing"

	"github.com/operator-framework/api/pkg/validation"
)

// explained are the only warnings that are let pass, each for its reason.
var explained = []string{
	// The rule is for events.k8s.io/v1. RBAC names no version, and the validator
	// takes any rule on events there for one on v1beta1, which is gone.
	`deprecated and removed in v1\.25.*Migrate the API\(s\) for events: \(\["ClusterServiceVersion\.Spec\.InstallStrategy[^"]*ClusterPermissions[^"]*"\]\)`,
	// Of the validators themselves; community-operators run the first one still.
	`The "operatorhub" validator is deprecated`,
	`Community Operator bundle validator is deprecated`,
}

// isExplained tells whether a warning is one of those.
func isExplained(warning string) bool {
	for _, pattern := range explained {
		if regexp.MustCompile(pattern).MatchString(warning) {
			return true
		}
	}
	return false
}

// Every validator that there is, those that operator-sdk doesn't run included;
// but for the one that pulls images to compare their architectures.
func TestEveryValidatorIsContent(t *testing.T) {
	validators := append(validation.DefaultBundleValidators[:3:3],
		validation.OperatorHubV2Validator, validation.StandardCapabilitiesValidator, validation.StandardCategoriesValidator,
		validation.AlphaDeprecatedAPIsValidator, validation.GoodPracticesValidator, validation.ObjectValidator,
		validation.CommunityOperatorValidator,
		validation.OperatorHubValidator) //nolint:staticcheck // Deprecated, and run by community-operators still.
	eachBundle(t, func(t *testing.T, directory string) {
		objects := load(t, directory).ObjectsToValidate()
		for _, result := range validators.Validate(objects...) {
			for _, err := range result.Errors {
				t.Error(err)
			}
			for _, warning := range result.Warnings {
				if !isExplained(warning.Error()) {
					t.Error(warning)
				}
			}
		}
	})
}

// The same by operator-sdk, whose validators are older and which looks at the
// directory's form too.
func TestOperatorSDKIsContent(t *testing.T) {
	eachBundle(t, func(t *testing.T, directory string) {
		directory = strings.TrimPrefix(directory, repository+"/")
		for _, selection := range []string{"suite=operatorframework", "name=operatorhub", "name=community", "name=good-practices"} {
			out, err := run(t, tool(t, "operator-sdk"), "bundle", "validate", "./"+directory, "--select-optional", selection)
			if err != nil {
				t.Errorf("%s: %v\n%s", selection, err, out)
			}
			for line := range strings.Lines(out) {
				// It quotes the message.
				if strings.Contains(line, "level=warning") && !isExplained(strings.ReplaceAll(line, `\"`, `"`)) {
					t.Errorf("%s: %s", selection, line)
				}
			}
		}
	})
}
