package registry_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/providers"
	"github.com/imagepullsecrets/operator/providers/registry"
)

const (
	roleARN  = v1alpha1.AWSRoleARN(role)
	identity = "0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a/1b1b1b1b1b1b1b1b"
	pool     = "projects/123456789012/locations/global/workloadIdentityPools/clusters/providers/main"
)

var reference = v1alpha1.ServiceAccountReference{Namespace: "registry-access", Name: "puller"}

func account(uid types.UID) *corev1.ServiceAccount {
	return &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: reference.Namespace, Name: reference.Name, UID: uid}}
}

func clientSecret(data map[string]string) *corev1.Secret {
	return secret(v1alpha1.SecretTypeClientSecret, data)
}

// federated are entries that exchange a ServiceAccount's token, by what the
// provider is called.
func federated() map[string]v1alpha1.CredentialSource {
	aws := v1alpha1.AWSIdentity{ServiceAccount: &reference, RoleARN: roleARN}
	return map[string]v1alpha1.CredentialSource{
		"ecr":       {ECR: &v1alpha1.ECRSource{AWSIdentity: aws, AccountID: "111122223333", Region: "eu-central-1"}},
		"ecrPublic": {ECRPublic: &v1alpha1.ECRPublicSource{AWSIdentity: aws}},
		"googleArtifactRegistry": {GoogleArtifactRegistry: &v1alpha1.GoogleArtifactRegistrySource{
			Registries: []v1alpha1.RegistryHost{"europe-docker.pkg.dev"}, ServiceAccount: &reference, WorkloadIdentityProvider: pool,
		}},
		"chainguard": {Chainguard: &v1alpha1.ChainguardSource{Identity: identity, ServiceAccount: reference}},
		"azureContainerRegistry": {AzureContainerRegistry: &v1alpha1.AzureContainerRegistrySource{
			Registry: "example.azurecr.io", TenantID: "contoso.onmicrosoft.com", ClientID: "00000000-0000-0000-0000-000000000000",
			ServiceAccount: reference, Cloud: v1alpha1.AzurePublic,
		}},
		"quay": {Quay: &v1alpha1.QuaySource{Registry: "quay.io", Robot: "example+pull", ServiceAccount: reference}},
		"tokenExchange": {TokenExchange: &v1alpha1.TokenExchangeSource{
			Registries: []string{"reg.example.com"}, Endpoint: "https://idp.example.com/token", ServiceAccount: reference,
			TokenAudience: "idp", Format: v1alpha1.RequestForm, Username: "robot",
		}},
	}
}

func TestEveryProviderIsMadeOfItsEntry(t *testing.T) {
	registries := map[string][]string{
		"ecr": {"111122223333.dkr.ecr.eu-central-1.amazonaws.com"}, "ecrPublic": {"public.ecr.aws", "ecr-public.aws.com"},
		"googleArtifactRegistry": {"europe-docker.pkg.dev"}, "chainguard": {"cgr.dev"},
		"azureContainerRegistry": {"example.azurecr.io"}, "quay": {"quay.io"}, "tokenExchange": {"reg.example.com"},
	}
	keys := map[string]string{}
	for name, entry := range federated() {
		t.Run(name, func(t *testing.T) {
			source, err := registry.New(registry.Options{}).Source(entry, nil, account("uid-1"))
			if err != nil {
				t.Fatal(err)
			}
			if source.Name != name || source.Provider.Name() != name || entry.Kind() != name {
				t.Errorf("it is called %q, %q and %q", source.Name, source.Provider.Name(), entry.Kind())
			}
			if diff := cmp.Diff(registries[name], source.Provider.Registries()); diff != "" {
				t.Error(diff)
			}
			if len(source.Provider.Endpoints()) == 0 {
				t.Error("it names no endpoint")
			}
			key := source.Provider.Key()
			if other, taken := keys[key]; taken {
				t.Errorf("it shares a key with %s", other)
			}
			keys[key] = name
			again, err := registry.New(registry.Options{}).Source(entry, nil, account("uid-2"))
			if err != nil || again.Provider.Key() == key {
				t.Errorf("a ServiceAccount that was made anew gets what the old one got (%v)", err)
			}
		})
	}
}

func TestTheOperatorsOwnIdentityMustBeAllowed(t *testing.T) {
	entries := map[string]struct {
		entry v1alpha1.CredentialSource
		cloud string
	}{
		"ecr":       {v1alpha1.CredentialSource{ECR: &v1alpha1.ECRSource{AccountID: "111122223333", Region: "eu-central-1"}}, "aws"},
		"ecrPublic": {v1alpha1.CredentialSource{ECRPublic: &v1alpha1.ECRPublicSource{}}, "aws"},
		"googleArtifactRegistry": {v1alpha1.CredentialSource{GoogleArtifactRegistry: &v1alpha1.GoogleArtifactRegistrySource{
			Registries: []v1alpha1.RegistryHost{"gcr.io"},
		}}, "google"},
	}
	for name, c := range entries {
		t.Run(name, func(t *testing.T) {
			for _, allowed := range [][]string{nil, {"aws"}, {"google"}, {"google", "aws"}} {
				is := strings.Contains(strings.Join(allowed, ","), c.cloud)
				_, err := registry.New(registry.Options{Ambient: allowed}).Source(c.entry, nil, nil)
				if (err == nil) != is {
					t.Errorf("with %v allowed: %v", allowed, err)
				}
				if err != nil && (providers.ClassOf(err) != providers.Invalid || !strings.Contains(err.Error(), "--ambient-credentials="+c.cloud)) {
					t.Errorf("the refusal is %v", err)
				}
			}
		})
	}
}

// Not even where the operator's own may be used.
func TestAMissingServiceAccountIsNobody(t *testing.T) {
	for name, entry := range federated() {
		t.Run(name, func(t *testing.T) {
			_, err := registry.New(registry.Options{Ambient: registry.AmbientClouds}).Source(entry, nil, nil)
			if err == nil || !strings.Contains(err.Error(), "ServiceAccount registry-access/puller is not there") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestAClientsSecretIsPartOfTheIdentity(t *testing.T) {
	entry := federated()["tokenExchange"]
	entry.TokenExchange.ClientAuthentication = &v1alpha1.ClientAuthentication{
		Method: v1alpha1.ClientAuthenticationBasic, ClientID: "operator",
		Secret: v1alpha1.SecretKeyReference{Namespace: "registry-access", Name: "idp", Key: "secret"},
	}
	key := func(value string) string {
		source, err := registry.New(registry.Options{}).Source(entry, clientSecret(map[string]string{"secret": value}), account("uid-1"))
		if err != nil {
			t.Fatal(err)
		}
		if printed := fmt.Sprintf("%v %+v %#v", source, source, source); strings.Contains(printed, value) {
			t.Errorf("%q tells the secret", printed)
		}
		return source.Provider.Key()
	}
	if key(planted) == key("another-secret") {
		t.Error("two secrets share a key")
	}
}

func TestEntriesAreRefused(t *testing.T) {
	withSecret := federated()["tokenExchange"]
	withSecret.TokenExchange.ClientAuthentication = &v1alpha1.ClientAuthentication{
		ClientID: "operator", Method: v1alpha1.ClientAuthenticationPost,
		Secret: v1alpha1.SecretKeyReference{Namespace: "registry-access", Name: "idp", Key: "secret"},
	}
	evil := federated()["ecr"]
	evil.ECR.Registries = []v1alpha1.RegistryHost{"111122223333.dkr.ecr.eu-central-1.amazonaws.com.evil.example"}
	farRole := federated()["ecr"]
	farRole.ECR.RoleARN = "arn:aws-cn:iam::111122223333:role/pull"
	cases := map[string]struct {
		entry  v1alpha1.CredentialSource
		secret *corev1.Secret
		says   string
	}{
		"a client's secret under another key": {withSecret, clientSecret(map[string]string{"password": planted}), `clientAuthentication.secret: Secret registry-access/idp has no key "secret"`},
		"a client's secret that is not there": {withSecret, nil, "clientAuthentication.secret: Secret registry-access/idp is not there"},
		"a Secret that is there for another purpose": {withSecret, secret(corev1.SecretTypeServiceAccountToken, map[string]string{"secret": planted}),
			`clientAuthentication.secret: Secret registry-access/idp is of type "kubernetes.io/service-account-token", but a client's secret is only taken from a Secret of type images.banzaicloud.io/client-secret: ` +
				"delete it and create it again, as a type can't be changed, or create another one: " +
				"kubectl create secret generic idp --namespace registry-access --type=images.banzaicloud.io/client-secret --from-literal=secret=…"},
		"a Secret of the usual type":      {withSecret, secret(corev1.SecretTypeOpaque, map[string]string{"secret": planted}), `is of type "Opaque", but`},
		"a Secret of no type":             {withSecret, secret("", map[string]string{"secret": planted}), `is of type "", but`},
		"nothing at all":                  {v1alpha1.CredentialSource{}, nil, "names neither a Secret nor a provider"},
		"a host that only looks like ECR": {evil, nil, "evil.example"},
		"a role of another partition":     {farRole, nil, "partition"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			source, err := registry.New(registry.Options{}).Source(c.entry, c.secret, account("uid-1"))
			var failure *providers.Error
			if !errors.As(err, &failure) || failure.Class != providers.Invalid || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v", err)
			}
			if source.Provider != nil {
				t.Error("there is a provider all the same")
			}
			if err != nil && strings.Contains(err.Error(), planted) {
				t.Errorf("%q tells the secret", err)
			}
		})
	}
}
