package integration

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/discovery"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
)

// The fields that rules are about.
const (
	inCredentials    = "spec.registry.credentials"
	inSecretName     = "spec.target.secret.name"
	inLabels         = "spec.target.secret.labels"
	inAnnotations    = "spec.target.secret.annotations"
	inNamespaces     = "spec.target.namespaces"
	inExclusion      = "spec.target.namespaces.exclude"
	inPods           = "spec.target.namespacesWithPods"
	inConflictPolicy = "spec.target.conflictPolicy"
	inDeletionPolicy = "spec.target.deletionPolicy"
)

type (
	values = map[string]any
	items  = []any
)

// field is a field of an object and a value for it; nil takes the field away.
type field struct {
	at    string
	value any
}

var acceptedSpecs = map[string]field{
	"no registry":                           {"spec.registry", nil},
	"no credentials":                        {inCredentials, items{}},
	"a hundred credentials":                 {inCredentials, times(100, credentialNumber)},
	"a source's name that no Secret has":    {inCredentials, items{values{"name": "registry--999653XXXXX", "namespace": "x"}}},
	"a source's name of 253 characters":     {inCredentials, items{values{"name": strings.Repeat("a", 253), "namespace": "x"}}},
	"a Secret's name with dots and dashes":  {inSecretName, "a-1.b--2.c"},
	"a Secret's name of one digit":          {inSecretName, "7"},
	"a Secret's name of 253 characters":     {inSecretName, strings.Repeat("a", 253)},
	"labels with and without prefix":        {inLabels, values{"team": "a", "example.com/Team_1.x": "A_1.b-2", "empty": ""}},
	"a label's value of 63 characters":      {inLabels, values{"team": strings.Repeat("a", 63)}},
	"a label's name of 63 characters":       {inLabels, values{"example.com/" + strings.Repeat("a", 63): ""}},
	"a label's prefix of 253 characters":    {inLabels, values{strings.Repeat("a.", 126) + "a/x": ""}},
	"64 labels":                             {inLabels, numbered(64)},
	"our label's key as an annotation's":    {inAnnotations, values{v1alpha1.LabelOwnerUID: "x"}},
	"annotations with and without prefix":   {inAnnotations, values{"note": "any text: ü €\n", "Example.com/Note_1": ""}},
	"an annotation's value of 4096 letters": {inAnnotations, values{"note": strings.Repeat("ü", 4096)}},
	"64 annotations":                        {inAnnotations, numbered(64)},
	"conflictPolicy Fail":                   {inConflictPolicy, "Fail"},
	"conflictPolicy Adopt":                  {inConflictPolicy, "Adopt"},
	"conflictPolicy Overwrite":              {inConflictPolicy, "Overwrite"},
	"deletionPolicy Delete":                 {inDeletionPolicy, "Delete"},
	"deletionPolicy Retain":                 {inDeletionPolicy, "Retain"},
	"suspend":                               {"spec.suspend", true},
	"a thousand names":                      {inNamespaces, values{"names": times(1000, nameNumber)}},
	"a name of 253 characters":              {inNamespaces, values{"names": items{strings.Repeat("a", 253)}}},
	"a hundred label selectors":             {inNamespaces, values{"labels": times(100, emptySelector)}},
	"a hundred annotation selectors":        {inNamespaces, values{"annotations": times(100, emptySelector)}},
	"a thousand excluded names":             {inExclusion, values{"names": times(1000, nameNumber)}},
	"a hundred excluding label selectors":   {inExclusion, values{"labels": times(100, emptySelector)}},
	"a hundred excluding annotations":       {inExclusion, values{"annotations": times(100, emptySelector)}},
	"a hundred selectors on Pods' labels":   {inPods, values{"labels": times(100, emptySelector)}},
	"a hundred on Pods' annotations":        {inPods, values{"annotations": times(100, emptySelector)}},
	"an operator that there is not yet":     {inNamespaces, values{"labels": items{expressing(values{"key": "x", "operator": "Near"})}}},
}

func TestAPIAccepts(t *testing.T) {
	t.Parallel()
	for name, changed := range acceptedSpecs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := dryCreate(t, changed); err != nil {
				t.Error(err)
			}
		})
	}
}

const (
	noSecretName    = "must be the name of a Secret: lower case letters, digits, '-' and '.', beginning and ending with a letter or digit"
	noLabelKey      = "every key must be a label key: [prefix/]name, such as example.com/team"
	noLabelValue    = "must be a label value: letters, digits, '-', '_' and '.', beginning and ending with a letter or digit"
	noAnnotationKey = "every key must be an annotation key: [prefix/]name, such as example.com/team"
	tooMany100      = "must have at most 100 items"
	tooMany1000     = "must have at most 1000 items"
	tooLong253      = "may not be more than 253 bytes"
	tooShort        = "should be at least 1 chars long"
)

// refusedSpecs are values that are refused with words that begin with the
// field and say what is wrong.
var refusedSpecs = map[string]struct {
	field
	names, says string
}{
	"no spec":                             {field{"spec", nil}, "spec", "Required value"},
	"no target":                           {field{"spec.target", nil}, "spec.target", "Required value"},
	"no target Secret":                    {field{"spec.target.secret", nil}, "spec.target.secret", "Required value"},
	"no name of the target Secret":        {field{inSecretName, nil}, inSecretName, "Required value"},
	"a registry that is a text":           {field{"spec.registry", "docker.io"}, "spec.registry", "must be of type object"},
	"suspend that is a text":              {field{"spec.suspend", "yes"}, "spec.suspend", "must be of type boolean"},
	"an empty Secret name":                {field{inSecretName, ""}, inSecretName, tooShort},
	"a Secret name in upper case":         {field{inSecretName, "Pull"}, inSecretName, noSecretName},
	"a Secret name with an underscore":    {field{inSecretName, "pull_secret"}, inSecretName, noSecretName},
	"a Secret name with a dot at the end": {field{inSecretName, "pull."}, inSecretName, noSecretName},
	"a Secret name with two dots":         {field{inSecretName, "a..b"}, inSecretName, noSecretName},
	"a Secret name with a dash at an end": {field{inSecretName, "a.-b"}, inSecretName, noSecretName},
	"a Secret name with a line break":     {field{inSecretName, "pull\n"}, inSecretName, noSecretName},
	"a Secret name with an umlaut":        {field{inSecretName, "schlüssel"}, inSecretName, noSecretName},
	"a Secret name with a slash":          {field{inSecretName, "team/pull"}, inSecretName, noSecretName},
	"a Secret name of 254 characters":     {field{inSecretName, strings.Repeat("a", 254)}, inSecretName, tooLong253},

	"300 credentials":                 {field{inCredentials, times(300, credentialNumber)}, inCredentials, tooMany100},
	"101 credentials":                 {field{inCredentials, times(101, credentialNumber)}, inCredentials, tooMany100},
	"a source without name":           {field{inCredentials, items{values{"namespace": "x"}}}, inCredentials + "[0]", nameAndNamespace},
	"a source without namespace":      {field{inCredentials, items{values{"name": "x"}}}, inCredentials + "[0]", nameAndNamespace},
	"a source with an empty name":     {field{inCredentials, items{values{"name": "", "namespace": "x"}}}, inCredentials + "[0].name", tooShort},
	"a source with an empty place":    {field{inCredentials, items{values{"name": "x", "namespace": ""}}}, inCredentials + "[0].namespace", tooShort},
	"a source with a long name":       {field{inCredentials, items{values{"name": strings.Repeat("a", 254), "namespace": "x"}}}, inCredentials + "[0].name", tooLong253},
	"a source with a long namespace":  {field{inCredentials, items{values{"name": "x", "namespace": strings.Repeat("a", 254)}}}, inCredentials + "[0].namespace", tooLong253},
	"a source that is a text":         {field{inCredentials, items{"x/y"}}, inCredentials + "[0]", "must be of type object"},
	"credentials that are not a list": {field{inCredentials, values{"name": "x", "namespace": "y"}}, inCredentials, "must be of type array"},

	"a label's key with a space":           {field{inLabels, values{"my team": ""}}, inLabels, noLabelKey},
	"a label's key with two slashes":       {field{inLabels, values{"a/b/c": ""}}, inLabels, noLabelKey},
	"a label's key without name":           {field{inLabels, values{"example.com/": ""}}, inLabels, noLabelKey},
	"a label's key with an empty prefix":   {field{inLabels, values{"/team": ""}}, inLabels, noLabelKey},
	"a label's prefix in upper case":       {field{inLabels, values{"Example.com/team": ""}}, inLabels, noLabelKey},
	"a label's prefix with two dots":       {field{inLabels, values{"example..com/team": ""}}, inLabels, noLabelKey},
	"a label's prefix with a dash and dot": {field{inLabels, values{"example-.com/team": ""}}, inLabels, noLabelKey},
	"a label's prefix of 255 characters":   {field{inLabels, values{strings.Repeat("a.", 127) + "a/x": ""}}, inLabels, noLabelKey},
	"a label's name of 64 characters":      {field{inLabels, values{strings.Repeat("a", 64): ""}}, inLabels, noLabelKey},
	"an empty label's key":                 {field{inLabels, values{"": ""}}, inLabels, noLabelKey},
	"our own label":                        {field{inLabels, values{v1alpha1.LabelOwnerUID: "x"}}, inLabels, "images.banzaicloud.io/owner-uid is the operator's own label and can't be set here"},
	"a label's value with a space":         {field{inLabels, values{"team": "the a team"}}, inLabels + "[team]", noLabelValue},
	"a label's value with an umlaut":       {field{inLabels, values{"team": "grün"}}, inLabels + "[team]", noLabelValue},
	"a label's value with a dash first":    {field{inLabels, values{"team": "-a"}}, inLabels + "[team]", noLabelValue},
	"a label's value of 64 characters":     {field{inLabels, values{"team": strings.Repeat("a", 64)}}, inLabels + ".team", "may not be more than 63 bytes"},
	"a label's value that is a number":     {field{inLabels, values{"team": int64(7)}}, inLabels + ".team", "must be of type string"},
	"65 labels":                            {field{inLabels, numbered(65)}, inLabels, "must have at most 64 items"},

	"an annotation's key with a space":      {field{inAnnotations, values{"my note": ""}}, inAnnotations, noAnnotationKey},
	"an annotation's key with two slashes":  {field{inAnnotations, values{"a/b/c": ""}}, inAnnotations, noAnnotationKey},
	"an annotation's prefix with two dots":  {field{inAnnotations, values{"example..com/note": ""}}, inAnnotations, noAnnotationKey},
	"an annotation's long prefix":           {field{inAnnotations, values{strings.Repeat("a.", 127) + "a/x": ""}}, inAnnotations, noAnnotationKey},
	"an annotation's name of 64 characters": {field{inAnnotations, values{strings.Repeat("a", 64): ""}}, inAnnotations, noAnnotationKey},
	"our own annotation":                    {field{inAnnotations, values{v1alpha1.AnnotationContentHash: "x"}}, inAnnotations, "images.banzaicloud.io/content-hash is the operator's own annotation and can't be set here"},
	"an annotation's value of 4097 letters": {field{inAnnotations, values{"note": strings.Repeat("a", 4097)}}, inAnnotations + ".note", "may not be more than 4096 bytes"},
	"65 annotations":                        {field{inAnnotations, numbered(65)}, inAnnotations, "must have at most 64 items"},

	"a conflictPolicy that there is not": {field{inConflictPolicy, "adopt"}, inConflictPolicy, `Unsupported value: "adopt": supported values: "Fail", "Adopt", "Overwrite"`},
	"a deletionPolicy that there is not": {field{inDeletionPolicy, "Keep"}, inDeletionPolicy, `Unsupported value: "Keep": supported values: "Delete", "Retain"`},

	"1001 names":                   {field{inNamespaces, values{"names": times(1001, nameNumber)}}, inNamespaces + ".names", tooMany1000},
	"a name of 254 characters":     {field{inNamespaces, values{"names": items{strings.Repeat("a", 254)}}}, inNamespaces + ".names[0]", tooLong253},
	"101 label selectors":          {field{inNamespaces, values{"labels": times(101, emptySelector)}}, inNamespaces + ".labels", tooMany100},
	"101 annotation selectors":     {field{inNamespaces, values{"annotations": times(101, emptySelector)}}, inNamespaces + ".annotations", tooMany100},
	"1001 excluded names":          {field{inExclusion, values{"names": times(1001, nameNumber)}}, inExclusion + ".names", tooMany1000},
	"an excluded name too long":    {field{inExclusion, values{"names": items{strings.Repeat("a", 254)}}}, inExclusion + ".names[0]", tooLong253},
	"101 excluding labels":         {field{inExclusion, values{"labels": times(101, emptySelector)}}, inExclusion + ".labels", tooMany100},
	"101 excluding annotations":    {field{inExclusion, values{"annotations": times(101, emptySelector)}}, inExclusion + ".annotations", tooMany100},
	"101 selectors on Pod labels":  {field{inPods, values{"labels": times(101, emptySelector)}}, inPods + ".labels", tooMany100},
	"101 on Pods' annotations":     {field{inPods, values{"annotations": times(101, emptySelector)}}, inPods + ".annotations", tooMany100},
	"a requirement without key":    {field{inNamespaces, values{"labels": items{expressing(values{"operator": "Exists"})}}}, inNamespaces + ".labels[0].matchExpressions[0].key", "Required value"},
	"one without operator":         {field{inPods, values{"annotations": items{expressing(values{"key": "x"})}}}, inPods + ".annotations[0].matchExpressions[0].operator", "Required value"},
	"a selector that is a text":    {field{inNamespaces, values{"labels": items{"team=a"}}}, inNamespaces + ".labels[0]", "must be of type object"},
	"a matchLabels that is a list": {field{inNamespaces, values{"labels": items{values{"matchLabels": items{"team"}}}}}, inNamespaces + ".labels[0].matchLabels", "must be of type object"},
}

func TestAPIRefuses(t *testing.T) {
	t.Parallel()
	for name, test := range refusedSpecs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := dryCreate(t, test.field)
			if !apierrors.IsInvalid(err) {
				t.Fatalf("got %v", err)
			}
			if !slices.ContainsFunc(causesOf(err), func(cause metav1.StatusCause) bool {
				return saysOf(cause, test.names, test.says)
			}) {
				t.Errorf("%q does not say of %s that it %s", err, test.names, test.says)
			}
		})
	}
}

// saysOf tells whether a cause is about a field and says something. The API server
// of Kubernetes 1.30 leaves out where the status stands, and has words of its own
// for what is too long.
func saysOf(cause metav1.StatusCause, field, says string) bool {
	older := strings.TrimSuffix(strings.Replace(says, "may not be more than", "may not be longer than", 1), " bytes")
	return (cause.Field == field || cause.Field == strings.TrimPrefix(field, "status.")) &&
		(strings.Contains(cause.Message, says) || strings.Contains(cause.Message, older))
}

// dryCreate asks the API server for its word on a valid object, but for one
// field, without keeping it.
func dryCreate(t *testing.T, changed field) error {
	t.Helper()
	object := draft()
	path := strings.Split(changed.at, ".")
	if changed.value == nil {
		unstructured.RemoveNestedField(object.Object, path...)
	} else if err := unstructured.SetNestedField(object.Object, changed.value, path...); err != nil {
		t.Fatal(err)
	}
	return shared.api.Create(t.Context(), object, client.DryRunAll)
}

// draft is a valid object that selects nothing.
func draft() *unstructured.Unstructured {
	object := &unstructured.Unstructured{Object: values{
		"metadata": values{"name": unique("imps")},
		"spec": values{
			"registry": values{"credentials": items{credentialNumber(0)}},
			"target":   values{"secret": values{"name": "pull"}},
		},
	}}
	object.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(v1alpha1.Kind))
	return object
}

func causesOf(err error) []metav1.StatusCause {
	status, ok := err.(apierrors.APIStatus)
	if !ok || status.Status().Details == nil {
		return nil
	}
	return status.Status().Details.Causes
}

func times(count int, item func(i int) any) items {
	list := make(items, count)
	for i := range list {
		list[i] = item(i)
	}
	return list
}

func credentialNumber(i int) any {
	return values{"name": fmt.Sprintf("source-%d", i), "namespace": "somewhere"}
}

func nameNumber(i int) any { return fmt.Sprintf("no-such-namespace-%d", i) }

func emptySelector(int) any { return values{} }

func expressing(requirement values) values { return values{"matchExpressions": items{requirement}} }

func numbered(count int) values {
	all := values{}
	for i := range count {
		all[fmt.Sprintf("key-%d", i)] = "x"
	}
	return all
}

func TestAPIDefaults(t *testing.T) {
	t.Parallel()
	object := draft()
	if err := shared.api.Create(t.Context(), object, client.DryRunAll); err != nil {
		t.Fatal(err)
	}
	target, _, _ := unstructured.NestedMap(object.Object, "spec", "target")
	if target["conflictPolicy"] != "Fail" || target["deletionPolicy"] != "Delete" ||
		target["pods"] != "Inject" || target["podRecovery"] != "Evict" || len(target) != 5 {
		t.Errorf("the target became %v", target)
	}
	if spec, _, _ := unstructured.NestedMap(object.Object, "spec"); len(spec) != 2 {
		t.Errorf("the spec became %v", spec)
	}
}

var typingErrors = map[string]struct{ at, says string }{
	"at the top":     {"spec.suspended", `unknown field "spec.suspended"`},
	"in the target":  {"spec.target.conflictpolicy", `unknown field "spec.target.conflictpolicy"`},
	"in a selector":  {"spec.target.namespaces.excludes", `unknown field "spec.target.namespaces.excludes"`},
	"in the Secret":  {"spec.target.secret.label", `unknown field "spec.target.secret.label"`},
	"in the sources": {"spec.registry.credential", `unknown field "spec.registry.credential"`},
	"for Pods":       {"spec.target.namespacesWithPods.names", `unknown field "spec.target.namespacesWithPods.names"`},
}

func TestAPIRefusesUnknownFields(t *testing.T) {
	t.Parallel()
	for name, test := range typingErrors {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			object := draft()
			if err := unstructured.SetNestedField(object.Object, "x", strings.Split(test.at, ".")...); err != nil {
				t.Fatal(err)
			}
			// As kubectl does.
			err := shared.api.Create(t.Context(), object, client.DryRunAll, client.FieldValidation(metav1.FieldValidationStrict))
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestAPIIsEstablished(t *testing.T) {
	t.Parallel()
	crd := &unstructured.Unstructured{}
	crd.SetAPIVersion("apiextensions.k8s.io/v1")
	crd.SetKind("CustomResourceDefinition")
	if err := shared.api.Get(t.Context(), client.ObjectKey{Name: "imagepullsecrets.images.banzaicloud.io"}, crd); err != nil {
		t.Fatal(err)
	}
	conditions, _, _ := unstructured.NestedSlice(crd.Object, "status", "conditions")
	got := map[any]any{}
	for _, condition := range conditions {
		got[condition.(values)["type"]] = condition.(values)["status"]
	}
	if want := map[any]any{"Established": "True", "NamesAccepted": "True"}; !maps.Equal(got, want) {
		t.Errorf("conditions are %v", conditions)
	}
}

func TestAPIIsDiscovered(t *testing.T) {
	t.Parallel()
	found, err := discoverer(t).ServerResourcesForGroupVersion(v1alpha1.GroupVersion.String())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, resource := range found.APIResources {
		names = append(names, resource.Name)
		if resource.Namespaced || resource.Kind != v1alpha1.Kind {
			t.Errorf("%+v", resource)
		}
		if resource.Name == "imagepullsecrets" && (resource.SingularName != "imagepullsecret" ||
			!slices.Equal(resource.ShortNames, []string{"imps"}) || !slices.Equal(resource.Categories, []string{"all-image-pull-secrets"})) {
			t.Errorf("%+v", resource)
		}
	}
	slices.Sort(names)
	if !slices.Equal(names, []string{"imagepullsecrets", "imagepullsecrets/status"}) {
		t.Errorf("resources are %v", names)
	}
}

func discoverer(t *testing.T) *discovery.DiscoveryClient {
	t.Helper()
	made, err := discovery.NewDiscoveryClientForConfig(shared.cluster.Config())
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func TestAPIStatusIsASubresource(t *testing.T) {
	t.Parallel()
	made := newObject("pull", "")
	made.Spec.Suspend = true // so that nobody else writes
	made = create(t, made)
	expectCondition(t, made.Name, v1alpha1.ConditionReady, metav1.ConditionUnknown, v1alpha1.ReasonSuspended)
	change := func() *v1alpha1.ImagePullSecret {
		object := get(t, made.Name)
		object.Spec.Target.Secret.Name, object.Status.Status = "other", "changed"
		return object
	}

	changed := change()
	if err := shared.api.Update(t.Context(), changed, client.DryRunAll); err != nil {
		t.Fatal(err)
	}
	if changed.Spec.Target.Secret.Name != "other" || changed.Status.Status == "changed" {
		t.Errorf("an update of the object made %+v", changed)
	}
	changed = change()
	if err := shared.api.Status().Update(t.Context(), changed, client.DryRunAll); err != nil {
		t.Fatal(err)
	}
	if changed.Spec.Target.Secret.Name != "pull" || changed.Status.Status != "changed" || changed.Generation != made.Generation {
		t.Errorf("an update of the status made %+v", changed)
	}
}

// refusedStatuses keep a status from growing with the cluster.
var refusedStatuses = map[string]struct {
	change      func(*v1alpha1.ImagePullSecretStatus)
	names, says string
}{
	"a negative generation": {
		func(s *v1alpha1.ImagePullSecretStatus) { s.ObservedGeneration = -1 },
		"status.observedGeneration", "should be greater than or equal to 0",
	},
	"a negative count": {
		func(s *v1alpha1.ImagePullSecretStatus) { s.Targets.Failing = -1 },
		"status.targets.failing", "should be greater than or equal to 0",
	},
	"101 credentials": {
		func(s *v1alpha1.ImagePullSecretStatus) {
			s.Credentials = slices.Repeat([]v1alpha1.CredentialStatus{anyCredential}, 101)
		},
		"status.credentials", tooMany100,
	},
	"33 registries": {
		func(s *v1alpha1.ImagePullSecretStatus) {
			many := anyCredential
			many.Registries = slices.Repeat([]string{"x"}, 33)
			s.Credentials = []v1alpha1.CredentialStatus{many}
		},
		"status.credentials[0].registries", "must have at most 32 items",
	},
	"21 failing namespaces": {
		func(s *v1alpha1.ImagePullSecretStatus) {
			for i := range 21 {
				s.Failing = append(s.Failing, v1alpha1.FailingTarget{Namespace: fmt.Sprint(i), Reason: "x"})
			}
		},
		"status.failing", "must have at most 20 items",
	},
	"101 namespaces": {
		func(s *v1alpha1.ImagePullSecretStatus) { s.ManagedNamespaces = slices.Repeat([]string{"x"}, 101) },
		"status.managedNamespaces", tooMany100,
	},
}

var anyCredential = v1alpha1.CredentialStatus{Name: "x/y", Ready: metav1.ConditionTrue, Reason: "x"}

func TestAPIRefusesStatus(t *testing.T) {
	t.Parallel()
	made := newObject("pull", "")
	made.Spec.Suspend = true // so that nobody else writes
	name := create(t, made).Name
	expectCondition(t, name, v1alpha1.ConditionReady, metav1.ConditionUnknown, v1alpha1.ReasonSuspended)
	for sentence, test := range refusedStatuses {
		t.Run(sentence, func(t *testing.T) {
			object := get(t, name)
			test.change(&object.Status)
			err := shared.api.Status().Update(t.Context(), object, client.DryRunAll)
			if !slices.ContainsFunc(causesOf(err), func(cause metav1.StatusCause) bool {
				return saysOf(cause, test.names, test.says)
			}) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestAPIPrintsColumns(t *testing.T) {
	label := unique("label")
	home := namespace(t, label, "yes")
	account := newECRAccount(t)
	name := object(t, "pull", label, staticSource(t, home, "registry.example.com"), source(t, home, v1alpha1.SecretTypeECR, account.data())).Name
	expectReady(t, name, 1)

	table := tableOf(t, name)
	var columns, wide []string
	row := map[string]any{}
	for i, column := range table.ColumnDefinitions {
		columns = append(columns, strings.ToUpper(column.Name))
		if column.Priority > 0 {
			wide = append(wide, column.Name)
		}
		row[column.Name] = table.Rows[0].Cells[i]
	}
	if want := []string{"NAME", "READY", "REASON", "TARGETS", "FAILING", "EXPIRES", "SECRET", "AGE"}; !slices.Equal(columns, want) {
		t.Errorf("columns are %v", columns)
	}
	if !slices.Equal(wide, []string{"Secret"}) {
		t.Errorf("columns with -o wide only are %v", wide)
	}
	delete(row, "Age") // as time passes
	// The expiry is ahead, which a column of type date can't print.
	want := map[string]any{"Name": name, "Ready": "True", "Reason": "Ready", "Targets": 1.0, "Failing": 0.0, "Secret": "pull",
		"Expires": get(t, name).Status.ExpiresAt.UTC().Format("2006-01-02T15:04:05Z")}
	if !maps.Equal(row, want) {
		t.Errorf("the row is %v", row)
	}
}

// tableOf returns what kubectl get prints of an object.
func tableOf(t *testing.T, name string) metav1.Table {
	t.Helper()
	answer, err := discoverer(t).RESTClient().Get().
		AbsPath("apis", v1alpha1.GroupVersion.Group, v1alpha1.GroupVersion.Version, "imagepullsecrets", name).
		SetHeader("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io").DoRaw(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var table metav1.Table
	if err := json.Unmarshal(answer, &table); err != nil || len(table.Rows) != 1 {
		t.Fatalf("%v in %s", err, answer)
	}
	return table
}

func TestAPITakes300NamesThatWork(t *testing.T) {
	last := namespace(t)
	made := newObject("pull", "", staticSource(t, last, "registry.example.com"))
	for i := range 299 {
		made.Spec.Target.Namespaces.Names = append(made.Spec.Target.Namespaces.Names, fmt.Sprintf("no-such-namespace-%d", i))
	}
	made.Spec.Target.Namespaces.Names = append(made.Spec.Target.Namespaces.Names, last)
	create(t, made)
	expectSecret(t, last, "pull", "registry.example.com")
	expectReady(t, made.Name, 1)
}

// A key or value that the CRD lets through must be one that a Secret takes.
func TestAPILetsThroughWhatASecretTakes(t *testing.T) {
	selected := namespace(t)
	made := newObject("pull.registry-1", "", staticSource(t, selected, "registry.example.com"))
	made.Spec.Target.Namespaces.Names = []string{selected}
	made.Spec.Target.Secret.Labels = map[string]v1alpha1.LabelValue{strings.Repeat("a.", 126) + "a/" + strings.Repeat("X", 63): "A_1.b-2", "empty": ""}
	made.Spec.Target.Secret.Annotations = map[string]v1alpha1.AnnotationValue{"Example.com/Note_1": "Schlüssel für €\n日本語"}
	create(t, made)
	secret := expectSecret(t, selected, "pull.registry-1", "registry.example.com")
	for key, value := range made.Spec.Target.Secret.Labels {
		if secret.Labels[key] != string(value) {
			t.Errorf("labels are %v", secret.Labels)
		}
	}
	if got := secret.Annotations["Example.com/Note_1"]; got != "Schlüssel für €\n日本語" {
		t.Errorf("the annotation is %q", got)
	}
	if secret.Type != corev1.SecretTypeDockerConfigJson {
		t.Errorf("the type is %s", secret.Type)
	}
}
