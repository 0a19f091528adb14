package chart

import (
	"context"
	"slices"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"
)

// The API server itself holds the operator to the ServiceAccounts that are
// listed: it may mint tokens of these and see these, where they are.
func TestIdentitiesAreEnforced(t *testing.T) {
	onCluster(t, func(t *testing.T, i installation) {
		printed := i.must(t, `{identities: [{namespace: default, name: listed, create: true}],
			serviceAccounts: {enabled: false}, podRecovery: {enabled: false}}`, "install", name, chartDir)
		if !strings.Contains(printed, "system:serviceaccount:default:listed") {
			t.Errorf("the notes do not say whom clouds are to trust:\n%s", printed)
		}
		// They exist, so that nothing but a missing right keeps them away.
		for _, other := range [][2]string{{"default", "other"}, {namespace, "listed"}} {
			makeServiceAccount(t, i.client, other[0], other[1])
		}
		operator := accounts{t.Context(), i.asOperator(t)}
		eventually(t, "the role is in force", func(context.Context) bool { return operator.mint("default", "listed") == nil })
		areAllowed(t, map[string]error{
			"getting it":  operator.get("default", "listed"),
			"listing it":  operator.list("default", "metadata.name=listed"),
			"watching it": operator.watch("default", "metadata.name=listed"),
		})
		areRefused(t, map[string]error{
			"minting a token of another ServiceAccount":            operator.mint("default", "other"),
			"minting a token of its namesake in another namespace": operator.mint(namespace, "listed"),
			"minting a token of the operator's own ServiceAccount": operator.mint(namespace, name),
			"getting another ServiceAccount":                       operator.get("default", "other"),
			"getting its namesake in another namespace":            operator.get(namespace, "listed"),
			"listing all ServiceAccounts of its namespace":         operator.list("default", ""),
			"listing it in all namespaces":                         operator.list("", "metadata.name=listed"),
			"watching all ServiceAccounts of its namespace":        operator.watch("default", ""),
			"watching another ServiceAccount":                      operator.watch("default", "metadata.name=other"),
			"watching it in all namespaces":                        operator.watch("", "metadata.name=listed"),
			"deleting it":                                          operator.client.CoreV1().ServiceAccounts("default").Delete(t.Context(), "listed", metav1.DeleteOptions{}),
		})
		i.uninstall(t)
	})
}

// accounts does to ServiceAccounts what a client may do.
type accounts struct {
	ctx    context.Context
	client kubernetes.Interface
}

func (a accounts) mint(in, account string) error {
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: []string{"sts.amazonaws.com"}}}
	_, err := a.client.CoreV1().ServiceAccounts(in).CreateToken(a.ctx, account, request, metav1.CreateOptions{})
	return err
}

func (a accounts) get(in, account string) error {
	_, err := a.client.CoreV1().ServiceAccounts(in).Get(a.ctx, account, metav1.GetOptions{})
	return err
}

func (a accounts) list(in, selector string) error {
	_, err := a.client.CoreV1().ServiceAccounts(in).List(a.ctx, metav1.ListOptions{FieldSelector: selector})
	return err
}

func (a accounts) watch(in, selector string) error {
	events, err := a.client.CoreV1().ServiceAccounts(in).Watch(a.ctx, metav1.ListOptions{FieldSelector: selector})
	if err == nil {
		events.Stop()
	}
	return err
}

// makeServiceAccount makes one that goes with the test.
func makeServiceAccount(t *testing.T, client kubernetes.Interface, in, account string) {
	t.Helper()
	object := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: account}}
	if _, err := client.CoreV1().ServiceAccounts(in).Create(t.Context(), object, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.CoreV1().ServiceAccounts(in).Delete(context.WithoutCancel(t.Context()), account, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
}

// The API server takes every sample, as it takes a first ImagePullSecret of the
// chart's that needs no Secret; and there is a sample of every source.
func TestSamplesAreAccepted(t *testing.T) {
	out, _, err := execute(nil, "", tool(t, "kustomize"), "build", repository+"/config/samples")
	if err != nil {
		t.Fatal(err)
	}
	samples := parse(t, out)
	onCluster(t, func(t *testing.T, i installation) {
		i.must(t, "", "install", name, chartDir)
		i.must(t, `defaultConfig: {enabled: true, credentials: [{quay: {robot: example+pull, serviceAccount: {name: a, namespace: b}}}]}`,
			"upgrade", name, chartDir)
		if _, err := i.objects.Resource(imagePullSecrets).Get(t.Context(), name+"-default", metav1.GetOptions{}); err != nil {
			t.Errorf("the chart's first ImagePullSecret: %v", err)
		}
		var shown []string
		for key, sample := range samples {
			strict := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldValidation: metav1.FieldValidationStrict}
			if _, err := i.objects.Resource(imagePullSecrets).Create(t.Context(), sample, strict); err != nil {
				t.Errorf("%s: %v", key, err)
			}
			for _, source := range field(t, sample, "spec", "registry", "credentials").([]any) {
				for kind := range source.(map[string]any) {
					shown = append(shown, kind)
				}
			}
		}
		for kind := range i.sourceFields(t) {
			if !slices.Contains(shown, kind) {
				t.Errorf("no sample shows a source with %s", kind)
			}
		}
		i.uninstall(t)
	})
}

// sourceFields are the fields of a source of credentials, from the CRD.
func (i installation) sourceFields(t *testing.T) map[string]any {
	t.Helper()
	crd, err := i.objects.Resource(crds).Get(t.Context(), crdName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	version := field(t, crd, "spec", "versions").([]any)[0].(map[string]any)
	fields, found, err := unstructured.NestedMap(version, "schema", "openAPIV3Schema", "properties", "spec",
		"properties", "registry", "properties", "credentials", "items", "properties")
	if err != nil || !found {
		t.Fatalf("the CRD has no sources of credentials: %v", err)
	}
	return fields
}
