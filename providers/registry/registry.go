// Package registry is the one place that knows every provider. It turns what a
// person configured into a providers.Source.
package registry

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/providers"
	"github.com/imagepullsecrets/operator/providers/ecr"
	"github.com/imagepullsecrets/operator/providers/static"
)

// FromSecret returns what a source Secret stands for, by the Secret's type. It
// makes no connection.
//
// The error is a *providers.Error of class Invalid. Its message names the keys
// and what to do, holds no value that may be a secret, and does not name the
// Secret, which the caller knows.
func FromSecret(secret *corev1.Secret) (providers.Source, error) {
	switch secret.Type {
	case corev1.SecretTypeDockerConfigJson, corev1.SecretTypeDockercfg:
		logins, problems, err := static.Parse(secret.Type, secret.Data)
		if err != nil {
			return providers.Source{}, err
		}
		return providers.Source{Name: static.Name, Logins: logins, Problems: problems}, nil
	case v1alpha1.SecretTypeECR:
		config, err := ecrConfig(secret.Data)
		if err != nil {
			return providers.Source{}, err
		}
		provider, err := ecr.New(config, nil)
		if err != nil {
			return providers.Source{}, err
		}
		return providers.Source{Name: ecr.Name, Provider: provider}, nil
	default:
		return providers.Source{}, unknownType(secret)
	}
}

// unknownType says which types there are and, if the keys tell it, which one
// was meant.
func unknownType(secret *corev1.Secret) error {
	message := fmt.Sprintf("Secret type %q is not supported; supported are %s, %s and %s",
		secret.Type, corev1.SecretTypeDockerConfigJson, corev1.SecretTypeDockercfg, v1alpha1.SecretTypeECR)
	if meant := typeByKeys(secret.Data); meant != "" {
		message += fmt.Sprintf("; by its keys it should be of type %s: delete it and create it again with that type, as a Secret's type can't be changed", meant)
	}
	return providers.Errorf(providers.Invalid, "%s", message)
}

// typeByKeys guesses the type that a Secret of another type should have, or
// returns "".
func typeByKeys(data map[string][]byte) corev1.SecretType {
	has := func(key string) bool { _, present := data[key]; return present }
	switch {
	case has(corev1.DockerConfigJsonKey):
		return corev1.SecretTypeDockerConfigJson
	case has(corev1.DockerConfigKey):
		return corev1.SecretTypeDockercfg
	case has(keyAccessKeyID) || has(keySecretKey):
		return v1alpha1.SecretTypeECR
	default:
		return ""
	}
}
