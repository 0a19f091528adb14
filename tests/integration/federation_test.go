package integration

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/tests/federation"
)

// identity makes a ServiceAccount whose tokens the operator may mint.
func identity(t *testing.T) federation.Identity {
	t.Helper()
	id := identityWithoutRights(t)
	for _, object := range id.Rights() {
		create(t, object)
	}
	return id
}

// identityWithoutRights makes a ServiceAccount that the operator knows nothing of.
func identityWithoutRights(t *testing.T) federation.Identity {
	t.Helper()
	id := federation.Identity{Issuer: shared.cluster.Issuer(), Namespace: namespace(t), Name: unique("puller")}
	create(t, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: id.Namespace, Name: id.Name}})
	return id
}

// number makes a number that no other test uses.
func number() int { return int(counter.Add(1)) }

// pull pulls an image from a registry with the login that a Secret holds for
// it, and returns why it can't.
func pull(ctx context.Context, secret *corev1.Secret, registry string) error {
	document, err := authsOf(secret)
	if err != nil {
		return err
	}
	login, found := document.Auths[registry]
	if !found {
		return fmt.Errorf("no login for %s", registry)
	}
	image := registry + "/team/app:v1"
	if strings.Contains(registry, "index.docker.io") { // its key is a URL, and its users have a repository each
		image = "index.docker.io/" + login.Username + "/app:v1"
	}
	if err := shared.cloud.PushImage(ctx, image); err != nil {
		return err
	}
	ref, err := name.ParseReference(image)
	if err != nil {
		return err
	}
	got, err := remote.Image(ref, remote.WithContext(ctx), remote.WithTransport(shared.cloud.HTTPClient().Transport),
		remote.WithAuth(&authn.Basic{Username: login.Username, Password: login.Password}))
	if err != nil {
		return err
	}
	_, err = got.Manifest()
	return err
}

// One object, every kind of source: no long-lived password anywhere.
func TestEverySourceFeedsOneSecret(t *testing.T) {
	t.Parallel()
	id, label := identity(t), unique("label")
	selected := namespace(t, label, "yes")
	sources := federation.Kinds(shared.cloud, id, number())
	var entries []v1alpha1.CredentialSource
	var registries []string
	for _, source := range sources {
		entries = append(entries, source.Entry)
		registries = append(registries, source.Registry)
	}
	imps := object(t, "pull", label, entries...)
	expectReady(t, imps.Name, 1)
	secret := expectSecret(t, selected, "pull", append(slices.Clone(registries), "ecr-public.aws.com")...)
	status := get(t, imps.Name).Status
	for i, source := range sources {
		t.Run(source.Name, func(t *testing.T) {
			if err := pull(t.Context(), secret, source.Registry); err != nil {
				t.Errorf("pulling from %s: %v", source.Registry, err)
			}
			told := status.Credentials[i]
			if told.ExpiresAt == nil || told.RenewAt == nil || !told.RenewAt.Before(told.ExpiresAt) || !slices.Contains(told.Registries, source.Registry) {
				t.Errorf("the status tells %+v", told)
			}
			if want := fmt.Sprintf("credentials[%d].%s", i, source.Entry.Kind()); told.Name != want || told.Provider != source.Entry.Kind() {
				t.Errorf("it is called %q from %q, want %q", told.Name, told.Provider, want)
			}
		})
	}
}

// A ServiceAccount that comes later is noticed, and one that was made anew is
// another identity.
func TestAServiceAccountComesAndGoes(t *testing.T) {
	t.Parallel()
	id, label := identity(t), unique("label")
	selected := namespace(t, label, "yes")
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: id.Namespace, Name: id.Name}}
	remove(t, account)
	source := federation.Quay(shared.cloud, id, number())
	imps := object(t, "pull", label, source.Entry)

	message := expectCondition(t, imps.Name, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSourceNotFound)
	if want := fmt.Sprintf("ServiceAccount %s/%s does not exist: create it, or correct the name and namespace in spec.registry.credentials[0].quay", id.Namespace, id.Name); !strings.Contains(message, want) {
		t.Errorf("%q is not in %q", want, message)
	}
	create(t, &corev1.ServiceAccount{ObjectMeta: account.ObjectMeta})
	first := passwordOf(t, expectSecret(t, selected, "pull", source.Registry), source.Registry)

	remove(t, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: id.Namespace, Name: id.Name}})
	create(t, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: id.Namespace, Name: id.Name}})
	eventually(t, "the new account's own login", func() error {
		secret, err := secretIn(t, selected, "pull")
		if err != nil {
			return err
		}
		if passwordOf(t, secret, source.Registry) == first {
			return fmt.Errorf("the old account's login is still in use")
		}
		return nil
	})
}

// passwordOf is the password that a Secret holds for a registry.
func passwordOf(t *testing.T, secret *corev1.Secret, registry string) string {
	t.Helper()
	document, err := authsOf(secret)
	if err != nil {
		t.Fatal(err)
	}
	return document.Auths[registry].Password
}

// Without the right to see the ServiceAccount or to mint its tokens, the rule is
// named; with it, it works by itself.
func TestAMissingRightOnAServiceAccountNamesTheRule(t *testing.T) {
	t.Parallel()
	id, label := identityWithoutRights(t), unique("label")
	selected := namespace(t, label, "yes")
	source := federation.Chainguard(shared.cloud, id, number())
	imps := object(t, "pull", label, source.Entry)
	message := expectCondition(t, imps.Name, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSourceForbidden)
	for _, rule := range []string{
		fmt.Sprintf(`{apiGroups: [""], resources: [serviceaccounts/token], resourceNames: [%s], verbs: [create]}`, id.Name),
		"in namespace " + id.Namespace, "chart: identities",
	} {
		if !strings.Contains(message, rule) {
			t.Errorf("%q is not in %q", rule, message)
		}
	}
	for _, object := range id.Rights() {
		create(t, object)
	}
	eventuallyLong(t, "the login once the right is there", func() error {
		secret, err := secretIn(t, selected, "pull")
		if err != nil {
			return err
		}
		return sameRegistries(secret, []string{source.Registry})
	})
}

// A token for the API server's own audience would hand the cluster to a third
// party.
func TestTheAPIServersOwnAudienceIsRefused(t *testing.T) {
	t.Parallel()
	id, label := identity(t), unique("label")
	namespace(t, label, "yes")
	source := federation.TokenExchange(shared.cloud, id, number())
	source.Entry.TokenExchange.TokenAudience = v1alpha1.Audience(shared.cluster.Issuer())
	imps := object(t, "pull", label, source.Entry)
	message := expectCondition(t, imps.Name, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSourceInvalid)
	if !strings.Contains(message, "is the API server's own") {
		t.Errorf("the message is %q", message)
	}
}

// The client's secret of a token exchange comes from a Secret, whose change is
// noticed at once.
func TestAClientSecretIsReadFromItsSecret(t *testing.T) {
	t.Parallel()
	id, label := identity(t), unique("label")
	selected := namespace(t, label, "yes")
	secret := password()
	source := federation.TokenExchangeWithClient(shared.cloud, id, number(), secret)
	wrong := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: id.Namespace, Name: source.Entry.ClientSecret().Name},
		Type:       v1alpha1.SecretTypeClientSecret,
		StringData: map[string]string{source.Entry.ClientSecret().Key: password()},
	}
	create(t, wrong)
	imps := object(t, "pull", label, source.Entry)
	message := expectCondition(t, imps.Name, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonDenied)
	if !strings.Contains(message, "invalid_client") {
		t.Errorf("the message is %q", message)
	}
	right := wrong.DeepCopy()
	right.Data = map[string][]byte{source.Entry.ClientSecret().Key: []byte(secret)}
	if err := shared.api.Patch(t.Context(), right, client.MergeFrom(wrong)); err != nil {
		t.Fatal(err)
	}
	expectSecret(t, selected, "pull", source.Registry)
	expectReady(t, imps.Name, 1)
}
