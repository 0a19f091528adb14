package target

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/imagepullsecrets/operator/internal/grant"
	"github.com/imagepullsecrets/operator/internal/scope"
)

// nothing is a cache that is empty.
type nothing struct{ client.Reader }

func (nothing) Get(_ context.Context, key client.ObjectKey, _ client.Object, _ ...client.GetOption) error {
	return apierrors.NewNotFound(corev1.Resource("namespaces"), key.Name)
}

type noSecrets struct{ SecretReader }

func (noSecrets) Get(_ context.Context, key types.NamespacedName) (*metav1.PartialObjectMetadata, error) {
	return nil, apierrors.NewNotFound(corev1.Resource("secrets"), key.Name)
}

// The last that is heard of a namespace is that its Secret is gone as well.
func TestASecretThatWentWithItsNamespaceIsNoFailure(t *testing.T) {
	book := &grant.Book{}
	c := New(Deps{
		Book: book, Board: grant.NewBoard(func(string) {}), Secrets: noSecrets{},
		Scope: scope.New(scope.Deps{Book: book, Namespaces: nothing{}}), Clock: clocktesting.NewFakePassiveClock(time.Unix(100, 0)),
	})
	result, err := c.Reconcile(t.Context(), reconcile.Request{NamespacedName: key})
	if err != nil || result != (reconcile.Result{}) {
		t.Errorf("got %+v and %v, want that nothing is left to do", result, err)
	}
}
