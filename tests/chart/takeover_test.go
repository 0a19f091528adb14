package chart

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// IMPS's CRD, which is in no release, is taken over by the flag that
// docs/migrating-from-imps.md names, and its objects stay what they are.
func TestTheCRDOfIMPSIsTakenOver(t *testing.T) {
	onCluster(t, func(t *testing.T, i installation) {
		i.makeCRDOfIMPS(t)
		made := i.makeObjectOfIMPS(t)

		i.must(t, "", "install", name, chartDir, "--take-ownership")
		i.checkCRD(t)
		objects := i.objects.Resource(imagePullSecrets)
		kept, err := objects.Get(t.Context(), made.GetName(), metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if kept.GetUID() != made.GetUID() {
			t.Errorf("its UID was %s and is %s", made.GetUID(), kept.GetUID())
		}
		for _, fields := range [][]string{{"spec", "registry"}, {"spec", "target", "secret"}, {"spec", "target", "namespaces"}, {"status"}} {
			if before, after := at(made, fields...), at(kept, fields...); before != after {
				t.Errorf("its %s was\n%s\nand is\n%s", strings.Join(fields, "."), before, after)
			}
		}
		dryRun := metav1.UpdateOptions{DryRun: []string{metav1.DryRunAll}}
		if _, err := objects.Update(t.Context(), kept, dryRun); err != nil {
			t.Errorf("the object as it is: %v", err)
		}
		set(t, kept, true, "spec", "suspend")
		suspended, err := objects.Update(t.Context(), kept, dryRun)
		if err != nil {
			t.Fatalf("with a field that is new: %v", err)
		}
		if is, _, _ := unstructured.NestedBool(suspended.Object, "spec", "suspend"); !is {
			t.Error("a field that is new was dropped")
		}
		i.uninstall(t)
	})
}

// makeCRDOfIMPS makes IMPS's CRD as Helm does with what is in crds/.
func (i installation) makeCRDOfIMPS(t *testing.T) {
	t.Helper()
	manifest, err := os.ReadFile(filepath.Join("testdata", "imps-crd.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	crd := parse(t, string(manifest))["CustomResourceDefinition "+crdName]
	if _, err := i.objects.Resource(crds).Create(t.Context(), crd, metav1.CreateOptions{FieldManager: "helm"}); err != nil {
		t.Fatal(err)
	}
}

// makeObjectOfIMPS makes an object with a status as IMPS writes it: with every
// namespace that there is, also in a large cluster.
func (i installation) makeObjectOfIMPS(t *testing.T) *unstructured.Unstructured {
	t.Helper()
	object := imagePullSecret("imps")
	set(t, object, []any{map[string]any{"name": "source", "namespace": "registry-access"}}, "spec", "registry", "credentials")
	set(t, object, []any{map[string]any{"matchAnnotations": map[string]any{"sidecar.istio.io/inject": "true"}}}, "spec", "target", "namespaces", "annotations")
	objects := i.objects.Resource(imagePullSecrets)
	var made *unstructured.Unstructured
	eventually(t, "the API server serves IMPS's kind", func(ctx context.Context) bool {
		var err error
		made, err = objects.Create(ctx, object, metav1.CreateOptions{})
		return err == nil
	})
	var namespaces []any
	for n := range 150 {
		namespaces = append(namespaces, fmt.Sprintf("team-%d", n))
	}
	set(t, made, map[string]any{
		"status": "Ready", "reason": "", "lastSuccessfulReconciliation": "2022-06-01T12:00:00Z", "validitySeconds": int64(43199),
		"managedNamespaces": namespaces, "sourceSecretStatus": map[string]any{"registry-access.source": "Ok"},
	}, "status")
	made, err := objects.UpdateStatus(t.Context(), made, metav1.UpdateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// checkCRD checks that the CRD is a part of the release and says what the chart
// does.
func (i installation) checkCRD(t *testing.T) {
	t.Helper()
	crd, err := i.objects.Resource(crds).Get(t.Context(), crdName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if release := crd.GetAnnotations()["meta.helm.sh/release-name"]; release != name {
		t.Errorf("the CRD is of release %q", release)
	}
	want := i.mustTemplate(t, "")["CustomResourceDefinition "+crdName]
	if at(crd, "spec", "versions") != at(want, "spec", "versions") {
		t.Error("the CRD's versions are not the chart's")
	}
}

// at is a field in JSON.
func at(object *unstructured.Unstructured, fields ...string) string {
	value, _, _ := unstructured.NestedFieldNoCopy(object.Object, fields...)
	text, _ := json.Marshal(value) // came from JSON
	return string(text)
}

func set(t *testing.T, object *unstructured.Unstructured, value any, fields ...string) {
	t.Helper()
	if err := unstructured.SetNestedField(object.Object, value, fields...); err != nil {
		t.Fatal(err)
	}
}
