//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// accountPullSecrets is what the operator's ServiceAccount lists.
func accountPullSecrets(t *testing.T) []corev1.LocalObjectReference {
	t.Helper()
	account := &corev1.ServiceAccount{}
	if err := shared.api.Get(t.Context(), client.ObjectKey{Namespace: operatorNamespace, Name: operatorName}, account); err != nil {
		t.Fatal(err)
	}
	return account.ImagePullSecrets
}

func csvName(release string) string { return operatorName + ".v" + release }

func olmObject(kind string) *unstructured.Unstructured {
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(schema.GroupVersionKind{Group: "operators.coreos.com", Version: "v1alpha1", Kind: kind})
	return object
}

func olmList(kind string) *unstructured.UnstructuredList {
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(schema.GroupVersionKind{Group: "operators.coreos.com", Version: "v1alpha1", Kind: kind + "List"})
	return list
}

// installedIs is nil if a release, and no other one, is installed: its CSV has
// succeeded, and the operator runs from its image.
func installedIs(ctx context.Context, release string) error {
	csvs := olmList("ClusterServiceVersion")
	if err := shared.api.List(ctx, csvs, client.InNamespace(operatorNamespace)); err != nil {
		return err
	}
	if len(csvs.Items) != 1 || csvs.Items[0].GetName() != csvName(release) {
		var names []string
		for i := range csvs.Items {
			phase, _, _ := unstructured.NestedString(csvs.Items[i].Object, "status", "phase")
			names = append(names, csvs.Items[i].GetName()+" "+phase)
		}
		return fmt.Errorf("there are the CSVs %v", names)
	}
	if err := statusIs(&csvs.Items[0], "Succeeded"); err != nil {
		return err
	}
	return runsFrom(ctx, imageOf(release))
}

// runsFrom is nil if the operator's Deployment is available and of an image.
func runsFrom(ctx context.Context, image string) error {
	deployment := &appsv1.Deployment{}
	if err := shared.api.Get(ctx, client.ObjectKey{Namespace: operatorNamespace, Name: operatorName}, deployment); err != nil {
		return err
	}
	if got := deployment.Spec.Template.Spec.Containers[0].Image; got != image {
		return fmt.Errorf("the operator's image is %s", got)
	}
	if deployment.Status.AvailableReplicas != 1 || deployment.Status.Replicas != 1 {
		return fmt.Errorf("of the operator's Pods are available: %d of %d", deployment.Status.AvailableReplicas, deployment.Status.Replicas)
	}
	return nil
}

// statusIs is nil if an object of OLM is in a phase, and its status says all of
// some texts.
func statusIs(object *unstructured.Unstructured, phase string, texts ...string) error {
	status, _, _ := unstructured.NestedMap(object.Object, "status")
	said := fmt.Sprintf("%v %v", status["reason"], status["message"])
	for _, text := range texts {
		if !strings.Contains(said, text) {
			return fmt.Errorf("%s is %v, %s", object.GetName(), status["phase"], said)
		}
	}
	if status["phase"] != phase {
		return fmt.Errorf("%s is %v, %s", object.GetName(), status["phase"], said)
	}
	return nil
}

// leftByOLM are the objects of the bundle that OLM does not delete: the CRD and
// the roles for people.
func leftByOLM() []client.Object {
	crd := &unstructured.Unstructured{}
	crd.SetGroupVersionKind(schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"})
	crd.SetName("imagepullsecrets.images.banzaicloud.io")
	return []client.Object{
		crd,
		&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: operatorName + "-editor"}},
		&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: operatorName + "-viewer"}},
	}
}

// listedOperator is OLM's list of what belongs to the operator in a namespace.
func listedOperator(namespace string) *unstructured.Unstructured {
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(schema.GroupVersionKind{Group: "operators.coreos.com", Version: "v1", Kind: "Operator"})
	object.SetName(operatorName + "." + namespace)
	return object
}

// deleteLeftByOLM removes, when the test ends, what the next one would stumble
// over.
func deleteLeftByOLM(t *testing.T) {
	t.Cleanup(func() {
		for _, object := range leftByOLM() {
			if err := client.IgnoreNotFound(shared.api.Delete(context.Background(), object)); err != nil {
				t.Error(err)
			}
		}
	})
}

// deleteNow deletes an object and returns when it is gone, as kubectl does.
func deleteNow(t *testing.T, object client.Object) {
	t.Helper()
	if err := client.IgnoreNotFound(shared.api.Delete(t.Context(), object)); err != nil {
		t.Fatal(err)
	}
	eventually(t, object.GetName()+" is gone", func(ctx context.Context) error {
		err := shared.api.Get(ctx, client.ObjectKeyFromObject(object), object)
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(err, errors.New("it is there"))
	})
}

// deleteAll deletes OLM's objects of a kind in a namespace.
func deleteAll(t *testing.T, kind, namespace string) {
	t.Helper()
	list := olmList(kind)
	if err := shared.api.List(t.Context(), list, client.InNamespace(namespace)); err != nil {
		t.Fatal(err)
	}
	for i := range list.Items {
		deleteNow(t, &list.Items[i])
	}
}
