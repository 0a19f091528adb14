// Package static reads the logins that stand in a Secret as they are. There is
// nothing to exchange and nothing that expires, so there is no Provider.
package static

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/imagepullsecrets/operator/internal/dockerconfig"
	"github.com/imagepullsecrets/operator/providers"
)

// Name is the source's name in status, metrics and documentation.
const Name = "static"

// Parse returns the logins in the data of a Secret of type
// kubernetes.io/dockerconfigjson or kubernetes.io/dockercfg, and a Problem for
// every entry that was left out. A document without any entry gives no logins
// and no error.
//
// The error is a *providers.Error of class Invalid; it and the Problems hold
// no part of a credential.
func Parse(secretType corev1.SecretType, data map[string][]byte) (dockerconfig.Logins, []dockerconfig.Problem, error) {
	switch secretType {
	case corev1.SecretTypeDockerConfigJson:
		return read(data, corev1.DockerConfigJsonKey, dockerconfig.Parse)
	case corev1.SecretTypeDockercfg:
		return read(data, corev1.DockerConfigKey, dockerconfig.ParseLegacy)
	default:
		return nil, nil, providers.Errorf(providers.Invalid,
			"type %q holds no logins as they are; the types that do are %s and %s",
			secretType, corev1.SecretTypeDockerConfigJson, corev1.SecretTypeDockercfg)
	}
}

// parser reads one form of the document.
type parser func([]byte) (dockerconfig.Logins, []dockerconfig.Problem, error)

func read(data map[string][]byte, key string, parse parser) (dockerconfig.Logins, []dockerconfig.Problem, error) {
	document, present := data[key]
	if !present {
		return nil, nil, providers.Errorf(providers.Invalid, "key %s is missing", key)
	}
	logins, problems, err := parse(document)
	if err != nil {
		return nil, nil, &providers.Error{
			Class:   providers.Invalid,
			Message: fmt.Sprintf("key %s: %s", key, err),
			Cause:   err,
		}
	}
	return logins, problems, nil
}
