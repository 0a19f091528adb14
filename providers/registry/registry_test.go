package registry_test

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/internal/dockerconfig"
	"github.com/imagepullsecrets/operator/providers"
	"github.com/imagepullsecrets/operator/providers/registry"
)

const (
	planted = "planted-secret"
	role    = "arn:aws:iam::111122223333:role/pull"
)

func secret(secretType corev1.SecretType, data map[string]string) *corev1.Secret {
	result := &corev1.Secret{Type: secretType, Data: map[string][]byte{}}
	for key, value := range data {
		result.Data[key] = []byte(value)
	}
	return result
}

// ecrSecret returns a complete Secret with changes; a value of "-" removes a
// key.
func ecrSecret(changes map[string]string) *corev1.Secret {
	data := map[string]string{
		"accessKeyID": "AKIAIOSFODNN7EXAMPLE", "secretKey": planted, "region": "eu-central-1", "accountID": "111122223333",
	}
	maps.Copy(data, changes)
	maps.DeleteFunc(data, func(_, value string) bool { return value == "-" })
	return secret(v1alpha1.SecretTypeECR, data)
}

// fromSecret asks for the source that a Secret alone is.
func fromSecret(secret *corev1.Secret) (providers.Source, error) {
	return registry.New(registry.Options{}).Source(v1alpha1.CredentialSource{Namespace: "ns", Name: "source"}, secret, nil)
}

func TestFromSecretWithLoginsAsTheyAre(t *testing.T) {
	want := dockerconfig.Logins{"reg.example": {Username: "me", Password: planted}}
	for name, input := range map[string]*corev1.Secret{
		"dockerconfigjson": secret(corev1.SecretTypeDockerConfigJson, map[string]string{
			".dockerconfigjson": `{"auths":{"reg.example":{"username":"me","password":"planted-secret"},"bad.example":{"auth":"%"}}}`,
		}),
		"dockercfg": secret(corev1.SecretTypeDockercfg, map[string]string{
			".dockercfg": `{"reg.example":{"username":"me","password":"planted-secret"},"bad.example":{"auth":"%"}}`,
		}),
	} {
		t.Run(name, func(t *testing.T) {
			source, err := fromSecret(input)
			if err != nil {
				t.Fatal(err)
			}
			if source.Name != "static" || source.Provider != nil {
				t.Errorf("got %q with provider %v", source.Name, source.Provider)
			}
			if diff := cmp.Diff(want, source.Logins); diff != "" {
				t.Error(diff)
			}
			if len(source.Problems) != 1 || source.Problems[0].Key != "bad.example" {
				t.Errorf("got problems %v", source.Problems)
			}
		})
	}
}

func TestFromSecretWithAccessKeys(t *testing.T) {
	const host = "111122223333.dkr.ecr.eu-central-1.amazonaws.com"
	for name, test := range map[string]struct {
		changes map[string]string
		want    []string
	}{
		"the four keys":             {nil, []string{host}},
		"line breaks at the end":    {map[string]string{"region": "eu-central-1\n", "accountID": "111122223333\n"}, []string{host}},
		"a role":                    {map[string]string{"roleArn": role}, []string{host}},
		"a role by its other key":   {map[string]string{"roleARN": role}, []string{host}},
		"the same role by both":     {map[string]string{"roleArn": role, "roleARN": role + "\n"}, []string{host}},
		"an empty role is no role":  {map[string]string{"roleArn": " "}, []string{host}},
		"empty switches are off":    {map[string]string{"useFIPS": "", "useDualStack": "\n"}, []string{host}},
		"switches that are off":     {map[string]string{"useFIPS": "false", "useDualStack": "0"}, []string{host}},
		"FIPS":                      {map[string]string{"useFIPS": "true\n"}, []string{host, "111122223333.dkr.ecr-fips.eu-central-1.amazonaws.com"}},
		"dual-stack":                {map[string]string{"useDualStack": "1"}, []string{host, "111122223333.dkr-ecr.eu-central-1.on.aws"}},
		"keys that nobody knows of": {map[string]string{"comment": "x"}, []string{host}},
		"China": {
			map[string]string{"region": "cn-north-1", "roleArn": "arn:aws-cn:iam::111122223333:role/pull"},
			[]string{"111122223333.dkr.ecr.cn-north-1.amazonaws.com.cn"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			source, err := fromSecret(ecrSecret(test.changes))
			if err != nil {
				t.Fatal(err)
			}
			if source.Name != "ecr" || source.Provider.Name() != "ecr" || source.Logins != nil || source.Problems != nil {
				t.Errorf("got %+v", source)
			}
			if diff := cmp.Diff(test.want, source.Provider.Registries()); diff != "" {
				t.Error(diff)
			}
			if printed := fmt.Sprintf("%v %+v %#v", source, source, source); strings.Contains(printed, planted) {
				t.Errorf("%q tells the secret", printed)
			}
		})
	}
}

func TestTheRoleDecidesOnTheKey(t *testing.T) {
	key := func(changes map[string]string) string {
		source, err := fromSecret(ecrSecret(changes))
		if err != nil {
			t.Fatal(err)
		}
		return source.Provider.Key()
	}
	none, byName, byAlias, other := key(nil), key(map[string]string{"roleArn": role}),
		key(map[string]string{"roleARN": role}), key(map[string]string{"roleArn": role + "2"})
	if byName != byAlias {
		t.Error("the two spellings make two keys")
	}
	if none == byName || none == other || byName == other {
		t.Error("two roles share a key")
	}
}

var refused = map[string]struct {
	input *corev1.Secret
	want  []string
}{
	"access keys that are all missing": {
		secret(v1alpha1.SecretTypeECR, nil), []string{"missing or empty: accessKeyID, secretKey, region, accountID"},
	},
	"access keys of which some are missing or empty": {
		ecrSecret(map[string]string{"region": "-", "accountID": " \n"}), []string{"missing or empty: region, accountID"},
	},
	"a key in another case": {
		ecrSecret(map[string]string{"accountID": "-", "accountId": "111122223333"}),
		[]string{`key "accountId" must be written accountID`, "missing or empty: accountID"},
	},
	"a role in another case": {
		ecrSecret(map[string]string{"rolearn": role}), []string{`key "rolearn" must be written roleArn`},
	},
	"two roles": {
		ecrSecret(map[string]string{"roleArn": role, "roleARN": role + "2"}), []string{"keys roleArn and roleARN are both set and differ; remove one"},
	},
	"a switch that is neither on nor off": {
		ecrSecret(map[string]string{"useFIPS": planted}), []string{`key useFIPS must be "true" or "false"`},
	},
	"another such switch": {
		ecrSecret(map[string]string{"useDualStack": "yes"}), []string{`key useDualStack must be "true" or "false"`},
	},
	"values that make no sense": {
		ecrSecret(map[string]string{"region": "Frankfurt", "accountID": "1", "roleArn": "pull"}),
		[]string{"accountID must match", "region must match", "roleArn must be a role's ARN"},
	},
	"a dockerconfigjson without its key": {
		secret(corev1.SecretTypeDockerConfigJson, nil), []string{"key .dockerconfigjson is missing"},
	},
	"an unknown type": {
		secret(corev1.SecretTypeBasicAuth, map[string]string{"password": planted}),
		[]string{`Secret type "kubernetes.io/basic-auth" is not supported; supported are kubernetes.io/dockerconfigjson, kubernetes.io/dockercfg and banzaicloud.io/aws-ecr-login-config`},
	},
	"an Opaque Secret with access keys": {
		secret(corev1.SecretTypeOpaque, map[string]string{"accessKeyID": "x", "secretKey": planted}),
		[]string{"should be of type banzaicloud.io/aws-ecr-login-config: delete it and create it again"},
	},
	"an Opaque Secret with a dockerconfigjson": {
		secret(corev1.SecretTypeOpaque, map[string]string{".dockerconfigjson": planted}),
		[]string{"should be of type kubernetes.io/dockerconfigjson: delete it"},
	},
	"an Opaque Secret with a dockercfg": {
		secret(corev1.SecretTypeOpaque, map[string]string{".dockercfg": planted}),
		[]string{"should be of type kubernetes.io/dockercfg: delete it"},
	},
}

func TestFromSecretRefuses(t *testing.T) {
	for name, test := range refused {
		t.Run(name, func(t *testing.T) {
			source, err := fromSecret(test.input)
			var failure *providers.Error
			if !errors.As(err, &failure) || failure.Class != providers.Invalid {
				t.Fatalf("got %v", err)
			}
			for _, part := range test.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q is not in %q", part, err)
				}
			}
			if strings.Contains(err.Error(), planted) {
				t.Errorf("%q tells the secret", err)
			}
			if diff := cmp.Diff(providers.Source{}, source); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAnUnknownTypeWithoutTellingKeysGetsNoHint(t *testing.T) {
	_, err := fromSecret(secret(corev1.SecretTypeOpaque, map[string]string{"region": "x"}))
	if err == nil || strings.Contains(err.Error(), "should be") {
		t.Errorf("got %v", err)
	}
}
