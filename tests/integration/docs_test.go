package integration

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/tests/operator"
)

var yamlBlock = regexp.MustCompile("(?ms)^```yaml\n(.*?)^```")

// documentedObjects are the ImagePullSecrets in the documentation, by file.
func documentedObjects(t *testing.T) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	read := func(path string) {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range yamlBlock.FindAllStringSubmatch(string(content), -1) {
			for _, document := range strings.Split(block[1], "\n---\n") {
				if strings.Contains(document, "kind: "+v1alpha1.Kind+"\n") {
					found[path] = append(found[path], document)
				}
			}
		}
	}
	read(filepath.Join(operator.Root(), "README.md"))
	err := filepath.WalkDir(filepath.Join(operator.Root(), "docs"), func(path string, _ fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".md") {
			read(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// What people copy from the documentation is accepted as it stands, without a
// misspelt field.
func TestTheDocumentationsObjectsAreAccepted(t *testing.T) {
	t.Parallel()
	documented := documentedObjects(t)
	for _, page := range []string{
		"ecr", "ecr-public", "google-artifact-registry", "chainguard", "azure-container-registry", "quay", "token-exchange",
	} {
		if len(documented[filepath.Join(operator.Root(), "docs", "providers", page+".md")]) == 0 {
			t.Errorf("the page %s shows no object", page)
		}
	}
	for path, objects := range documented {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			for _, text := range objects {
				object := &unstructured.Unstructured{}
				if err := yaml.Unmarshal([]byte(text), &object.Object); err != nil {
					t.Fatalf("%v in\n%s", err, text)
				}
				object.SetName(unique(object.GetName()))
				err := shared.api.Create(t.Context(), object, client.DryRunAll, client.FieldValidation(metav1.FieldValidationStrict))
				if err != nil {
					t.Errorf("%v in\n%s", err, text)
				}
			}
		})
	}
}
