package order

import (
	"reflect"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
)

func orderWith(entries ...v1alpha1.CredentialSource) *Order {
	return &Order{Object: &v1alpha1.ImagePullSecret{Spec: v1alpha1.ImagePullSecretSpec{Registry: v1alpha1.RegistryConfig{Credentials: entries}}}}
}

func TestSourcesAreNamedByTheirSecretOrTheirPlace(t *testing.T) {
	got := sourcesOf(orderWith(
		v1alpha1.CredentialSource{Namespace: "ns", Name: "hub"},
		v1alpha1.CredentialSource{ECR: &v1alpha1.ECRSource{}},
	))
	if got[0].Name != "ns/hub" || got[1].Name != "credentials[1].ecr" || got[1].path() != "spec.registry.credentials[1].ecr" {
		t.Errorf("names are %q and %q", got[0].Name, got[1].Name)
	}
}

// What one entry gave must not be taken for what another would give.
func TestAnotherEntryIsAnotherSource(t *testing.T) {
	ecr := func(role string) v1alpha1.CredentialSource {
		source := v1alpha1.ECRSource{AccountID: "111122223333", Region: "eu-central-1"}
		source.RoleARN = v1alpha1.AWSRoleARN(role)
		return v1alpha1.CredentialSource{ECR: &source}
	}
	first := sourcesOf(orderWith(ecr("a")))[0]
	if moved := sourcesOf(orderWith(ecr("b"), ecr("a")))[1]; moved.ID != first.ID {
		t.Error("an entry is another source when it moves down")
	}
	if changed := sourcesOf(orderWith(ecr("b")))[0]; changed.ID == first.ID {
		t.Error("an entry with another role is the same source")
	}
}

// Whatever a provider needs of the cluster is watched for it: a new provider
// must not be forgotten in Kind and Account.
func TestEveryProviderTellsItsKindAndAccount(t *testing.T) {
	account := v1alpha1.ServiceAccountReference{Namespace: "ns", Name: "puller"}
	fields := reflect.TypeFor[v1alpha1.CredentialSource]()
	for i := range fields.NumField() {
		field := fields.Field(i)
		if field.Type.Kind() != reflect.Pointer {
			continue
		}
		t.Run(field.Name, func(t *testing.T) {
			var entry v1alpha1.CredentialSource
			provider := reflect.New(field.Type.Elem())
			reference := provider.Elem().FieldByName("ServiceAccount")
			if reference.Kind() == reflect.Pointer {
				reference.Set(reflect.ValueOf(&account))
			} else {
				reference.Set(reflect.ValueOf(account))
			}
			reflect.ValueOf(&entry).Elem().Field(i).Set(provider)
			got := sourcesOf(orderWith(entry))[0]
			if want := jsonName(field); entry.Kind() != want {
				t.Errorf("kind is %q, want %q", entry.Kind(), want)
			}
			if got.Account == nil || *got.Account != (types.NamespacedName{Namespace: "ns", Name: "puller"}) {
				t.Errorf("account is %v", got.Account)
			}
		})
	}
}

func jsonName(field reflect.StructField) string {
	name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
	return name
}

func TestAClientSecretIsASecretThatIsNeeded(t *testing.T) {
	entry := v1alpha1.CredentialSource{TokenExchange: &v1alpha1.TokenExchangeSource{
		ClientAuthentication: &v1alpha1.ClientAuthentication{Secret: v1alpha1.SecretKeyReference{Namespace: "ns", Name: "client", Key: "k"}},
	}}
	got := sourcesOf(orderWith(entry))
	if refs := secretsOf(got); len(refs) != 1 || refs[0].String() != "ns/client" || got[0].isSecret() {
		t.Errorf("needs %v", refs)
	}
}
