package static_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/imagepullsecrets/operator/internal/dockerconfig"
	"github.com/imagepullsecrets/operator/providers"
	"github.com/imagepullsecrets/operator/providers/static"
)

const planted = "planted-secret"

func TestParse(t *testing.T) {
	login := dockerconfig.Login{Username: "me", Password: planted}
	for name, test := range map[string]struct {
		secretType corev1.SecretType
		data       map[string]string
		want       dockerconfig.Logins
		problems   []string
	}{
		"a dockerconfigjson": {
			corev1.SecretTypeDockerConfigJson,
			map[string]string{".dockerconfigjson": `{"auths":{"reg.example":{"username":"me","password":"planted-secret"}}}`},
			dockerconfig.Logins{"reg.example": login}, nil,
		},
		"a dockercfg": {
			corev1.SecretTypeDockercfg,
			map[string]string{".dockercfg": `{"reg.example":{"username":"me","password":"planted-secret"}}`},
			dockerconfig.Logins{"reg.example": login}, nil,
		},
		"other keys don't matter": {
			corev1.SecretTypeDockercfg,
			map[string]string{".dockerconfigjson": `broken`, ".dockercfg": `{"reg.example":{"username":"me","password":"planted-secret"}}`},
			dockerconfig.Logins{"reg.example": login}, nil,
		},
		"a bad entry does not spoil a good one": {
			corev1.SecretTypeDockerConfigJson,
			map[string]string{".dockerconfigjson": `{"auths":{"bad.example":{"auth":"%planted-secret%"},"reg.example":{"username":"me","password":"planted-secret"}}}`},
			dockerconfig.Logins{"reg.example": login}, []string{"bad.example"},
		},
		"no entries are no error": {
			corev1.SecretTypeDockerConfigJson, map[string]string{".dockerconfigjson": `{"auths":{}}`}, dockerconfig.Logins{}, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			logins, problems, err := static.Parse(test.secretType, bytes(test.data))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, logins); diff != "" {
				t.Error(diff)
			}
			var keys []string
			for _, problem := range problems {
				keys = append(keys, problem.Key)
				if strings.Contains(problem.Message, planted) {
					t.Errorf("%q tells the secret", problem.Message)
				}
			}
			if diff := cmp.Diff(test.problems, keys); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		secretType corev1.SecretType
		data       map[string]string
		want       string
	}{
		"a dockerconfigjson without its key": {corev1.SecretTypeDockerConfigJson, map[string]string{".dockercfg": "{}"}, "key .dockerconfigjson is missing"},
		"a dockercfg without its key":        {corev1.SecretTypeDockercfg, nil, "key .dockercfg is missing"},
		"what is not JSON":                   {corev1.SecretTypeDockerConfigJson, map[string]string{".dockerconfigjson": planted}, "key .dockerconfigjson: "},
		"an empty document":                  {corev1.SecretTypeDockercfg, map[string]string{".dockercfg": ""}, "key .dockercfg: "},
		"a type that holds no logins":        {corev1.SecretTypeOpaque, nil, `type "Opaque" holds no logins as they are; the types that do are kubernetes.io/dockerconfigjson and kubernetes.io/dockercfg`},
	} {
		t.Run(name, func(t *testing.T) {
			logins, problems, err := static.Parse(test.secretType, bytes(test.data))
			var failure *providers.Error
			if !errors.As(err, &failure) || failure.Class != providers.Invalid {
				t.Fatalf("got %v", err)
			}
			if !strings.HasPrefix(err.Error(), test.want) || strings.Contains(err.Error(), planted) {
				t.Errorf("got %q, want %q", err, test.want)
			}
			if logins != nil || problems != nil {
				t.Errorf("got %v, %v beside the error", logins, problems)
			}
		})
	}
}

func bytes(data map[string]string) map[string][]byte {
	converted := map[string][]byte{}
	for key, value := range data {
		converted[key] = []byte(value)
	}
	return converted
}
