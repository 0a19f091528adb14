package integration

import (
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/tests/operator"
	"github.com/imagepullsecrets/operator/tests/pages"
)

// documents are those of all pages.
func documents(t *testing.T) []pages.Document {
	t.Helper()
	found, err := pages.All()
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// contentOf is a document's, a map or a list.
func contentOf(t *testing.T, document pages.Document) any {
	t.Helper()
	content, err := document.Content()
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// Parts of objects that pages show, by their first key: where this is in the
// object, and the rest of it.
var parts = map[string]struct{ path, rest string }{
	"target": {"spec", `
		apiVersion: images.banzaicloud.io/v1alpha1
		kind: ImagePullSecret
		metadata: {name: part}
		spec: {registry: {credentials: []}, target: {secret: {name: pull}}}`},
	"podFailurePolicy": {"spec", `
		apiVersion: batch/v1
		kind: Job
		metadata: {name: part}
		spec: {template: {spec: {restartPolicy: Never, containers: [{name: main, image: example.com/app}]}}}`},
	"spec": {"", `
		apiVersion: apps/v1
		kind: Deployment
		metadata: {name: part}
		spec: {selector: {matchLabels: {app: part}}, template: {metadata: {labels: {app: part}}}}`},
}

// objectShown is what a document shows, if the API server of the tests knows its
// kind: an object, or a part with the rest of it. Of the others there are values
// of the chart and alerts, which the chart's tests check, and objects of OLM.
func objectShown(t *testing.T, document pages.Document) *unstructured.Unstructured {
	t.Helper()
	content, _ := contentOf(t, document).(map[string]any)
	if object := (&unstructured.Unstructured{Object: content}); object.GetKind() != "" {
		if object.GroupVersionKind().Group == "operators.coreos.com" {
			return nil
		}
		return object
	}
	for key, value := range content {
		part, found := parts[key]
		if !found || len(content) > 1 {
			continue
		}
		rest := pages.Document{Page: document.Page, Text: strings.ReplaceAll(part.rest, "\t", "")}
		whole, _ := contentOf(t, rest).(map[string]any)
		content = map[string]any{key: value}
		if part.path != "" {
			content = map[string]any{part.path: content}
		}
		return &unstructured.Unstructured{Object: mergedInto(whole, content)}
	}
	_, values, err := document.Values()
	if alerts := strings.Contains(document.Text, "- alert: "); err != nil || !values && !alerts {
		t.Errorf("%s: nothing checks (%v)\n%s", document.Page, err, document.Text)
	}
	return nil
}

// mergedInto puts a map into another one, which is changed.
func mergedInto(into, from map[string]any) map[string]any {
	for key, value := range from {
		inner, is := value.(map[string]any)
		if outer, both := into[key].(map[string]any); is && both {
			value = mergedInto(outer, inner)
		}
		into[key] = value
	}
	return into
}

// What people copy from the documentation is accepted as it stands, without a
// misspelt field.
func TestTheDocumentationsObjectsAreAccepted(t *testing.T) {
	t.Parallel()
	awaitAccount(t, "default") // there, for want of the pages' namespaces
	shown := map[string]int{}
	for _, document := range documents(t) {
		object := objectShown(t, document)
		if object == nil {
			continue
		}
		if object.GetKind() == v1alpha1.Kind {
			shown[document.Page]++
		}
		if namespaced, err := shared.api.IsObjectNamespaced(object); err != nil {
			t.Errorf("%s: %v", document.Page, err)
		} else if namespaced {
			object.SetNamespace("default")
		}
		object.SetName(unique(object.GetName()))
		err := shared.api.Create(t.Context(), object, client.DryRunAll, client.FieldValidation(metav1.FieldValidationStrict))
		if err != nil {
			t.Errorf("%s: %v in\n%s", document.Page, err, document.Text)
		}
	}
	for _, source := range []string{
		"ecr", "ecr-public", "google-artifact-registry", "chainguard", "azure-container-registry", "quay", "token-exchange",
	} {
		if shown["docs/providers/"+source+".md"] == 0 {
			t.Errorf("the page %s shows no object", source)
		}
	}
	if shown["docs/getting-started.md"] < 8 {
		t.Errorf("docs/getting-started.md shows %d objects, want one for each kind of source", shown["docs/getting-started.md"])
	}
}

// applyDocumented applies the object of a page that has a kind and a name, as
// change leaves its text.
func applyDocumented(t *testing.T, page, kind, name string, change func(string) string) {
	t.Helper()
	all := documents(t)
	at := slices.IndexFunc(all, func(document pages.Document) bool {
		content, _ := contentOf(t, document).(map[string]any)
		object := &unstructured.Unstructured{Object: content}
		return document.Page == page && object.GetKind() == kind && object.GetName() == name
	})
	if at < 0 {
		t.Fatalf("%s shows no %s %s", page, kind, name)
	}
	if err := operator.Apply(t.Context(), shared.api, []byte(change(all[at].Text))); err != nil {
		t.Fatalf("%s: %v", page, err)
	}
}

func unchanged(text string) string { return text }
