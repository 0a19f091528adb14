// Package federation sets a credential source up on both sides: the trust in
// the fake cloud, and the entry of an ImagePullSecret that makes use of it. It
// is for tests, benchmarks and the demo.
package federation

import (
	"context"
	"fmt"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/tests/cluster"
	"github.com/imagepullsecrets/operator/tests/fakecloud"
	"github.com/imagepullsecrets/operator/tests/operator"
)

// TrustCluster lets a cloud verify the tokens of a cluster's ServiceAccounts,
// as if the cluster's issuer could be reached from the internet.
func TrustCluster(cloud *fakecloud.Cloud, c *cluster.Cluster) error {
	reader, err := rest.HTTPClientFor(c.Config())
	if err != nil {
		return fmt.Errorf("making a client for the cluster's keys: %w", err)
	}
	cloud.AddIssuer(fakecloud.Issuer{
		URL: c.Issuer(), Server: c.Config().Host,
		Client: &http.Client{Transport: reader.Transport, Timeout: reader.Timeout},
	})
	return nil
}

// Identity is a ServiceAccount as a cloud sees it.
type Identity struct {
	// Issuer is the cluster's.
	Issuer          string
	Namespace, Name string
}

// Subject is what the tokens' sub says.
func (i Identity) Subject() string { return "system:serviceaccount:" + i.Namespace + ":" + i.Name }

// Reference names the ServiceAccount in an entry.
func (i Identity) Reference() v1alpha1.ServiceAccountReference {
	return v1alpha1.ServiceAccountReference{Namespace: i.Namespace, Name: i.Name}
}

// Create makes the ServiceAccount, in a namespace that exists, with the rights
// that the operator needs to mint its tokens: those of the chart's value
// identities.
func (i Identity) Create(ctx context.Context, api client.Client) error {
	meta := metav1.ObjectMeta{Namespace: i.Namespace, Name: i.Name}
	return createAll(ctx, api, append([]client.Object{&corev1.ServiceAccount{ObjectMeta: meta}}, i.Rights()...)...)
}

// Rights are the Role and the RoleBinding that let the operator mint tokens of
// the ServiceAccount.
func (i Identity) Rights() []client.Object {
	meta := metav1.ObjectMeta{Namespace: i.Namespace, Name: "imagepullsecret-operator-" + i.Name}
	return []client.Object{
		&rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"serviceaccounts"}, ResourceNames: []string{i.Name}, Verbs: []string{"get", "list", "watch"}},
			{APIGroups: []string{""}, Resources: []string{"serviceaccounts/token"}, ResourceNames: []string{i.Name}, Verbs: []string{"create"}},
		}},
		&rbacv1.RoleBinding{
			ObjectMeta: meta,
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: meta.Name},
			Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: operator.Namespace, Name: operator.ServiceAccount}},
		},
	}
}

func createAll(ctx context.Context, api client.Client, objects ...client.Object) error {
	for _, object := range objects {
		if err := api.Create(ctx, object); err != nil {
			return fmt.Errorf("creating %T %s/%s: %w", object, object.GetNamespace(), object.GetName(), err)
		}
	}
	return nil
}
