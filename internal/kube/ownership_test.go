package kube

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
)

func entry(manager string, operation metav1.ManagedFieldsOperationType, fields string) metav1.ManagedFieldsEntry {
	e := metav1.ManagedFieldsEntry{Manager: manager, Operation: operation, FieldsV1: &metav1.FieldsV1{}}
	e.FieldsV1.SetRawString(fields)
	return e
}

const (
	credentialFields = `{"f:data":{".":{},"f:.dockerconfigjson":{}},"f:type":{}}`
	labelFields      = `{"f:metadata":{"f:labels":{"f:a":{}}}}`
)

func TestIntact(t *testing.T) {
	ours := entry(v1alpha1.FieldManager, metav1.ManagedFieldsOperationApply, credentialFields)
	cases := map[string]struct {
		entries []metav1.ManagedFieldsEntry
		want    bool
	}{
		"we wrote the credentials last":                   {[]metav1.ManagedFieldsEntry{entry("kubectl", "Update", labelFields), ours}, true},
		"someone else did":                                {[]metav1.ManagedFieldsEntry{entry(v1alpha1.FieldManager, "Apply", labelFields), entry("kubectl", "Update", credentialFields)}, false},
		"we never did":                                    {[]metav1.ManagedFieldsEntry{entry("kubectl", "Update", credentialFields)}, false},
		"someone wrote them in our name but not by apply": {[]metav1.ManagedFieldsEntry{entry(v1alpha1.FieldManager, "Update", credentialFields)}, false},
		"the entry can't be read":                         {[]metav1.ManagedFieldsEntry{entry(v1alpha1.FieldManager, "Apply", `{"f:data":7}`)}, false},
		"nobody is known":                                 {nil, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			secret := SecretMetadata()
			secret.ManagedFields = c.entries
			if got := Intact(secret); got != c.want {
				t.Errorf("intact is %t", got)
			}
			for range 2 { // the cache may show its own result to it
				if _, err := TransformTarget(secret); err != nil {
					t.Fatal(err)
				}
				if got := Intact(secret); got != c.want || len(secret.ManagedFields) > 1 {
					t.Errorf("transformed, intact is %t with %d entries", got, len(secret.ManagedFields))
				}
			}
		})
	}
}

func TestTransformsKeepWhatSelectionNeeds(t *testing.T) {
	for name, transform := range map[string]func(any) (any, error){"namespace": TransformNamespace, "pod": TransformPod} {
		t.Run(name, func(t *testing.T) {
			object := NamespaceMetadata()
			object.Namespace, object.Name, object.ResourceVersion = "ns", "name", "7"
			object.Labels = map[string]string{"a": "b"}
			object.Annotations = map[string]string{"c": "d", corev1.LastAppliedConfigAnnotation: "long"}
			object.ManagedFields = []metav1.ManagedFieldsEntry{{}}
			for range 2 { // the cache may show its own result to it
				if _, err := transform(object); err != nil {
					t.Fatal(err)
				}
			}
			if object.Namespace != "ns" || object.Name != "name" || object.ResourceVersion != "7" ||
				object.Labels["a"] != "b" || len(object.Annotations) != 1 || object.ManagedFields != nil {
				t.Errorf("transformed: %+v", object.ObjectMeta)
			}
		})
	}
}

// Of ServiceAccounts, too, nothing is kept but what decides.
func TestTransformServiceAccountKeepsWhatAttachingNeeds(t *testing.T) {
	going := metav1.Now()
	want := &corev1.ServiceAccount{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "ns", Name: "name", UID: "uid", ResourceVersion: "7", DeletionTimestamp: &going,
			Labels: map[string]string{"a": "b"}, Annotations: map[string]string{"c": "d"},
		},
		ImagePullSecrets: []corev1.LocalObjectReference{{Name: "pull"}},
	}
	whole := want.DeepCopy()
	whole.Annotations[corev1.LastAppliedConfigAnnotation] = "long"
	whole.ManagedFields, whole.OwnerReferences = []metav1.ManagedFieldsEntry{{}}, []metav1.OwnerReference{{}}
	whole.Secrets = []corev1.ObjectReference{{Name: "token"}}
	var object any = whole
	for range 2 { // the cache may show its own result to it
		var err error
		if object, err = TransformServiceAccount(object); err != nil {
			t.Fatal(err)
		}
	}
	if !equality.Semantic.DeepEqual(object, want) {
		t.Errorf("transformed: %+v", object)
	}
}
