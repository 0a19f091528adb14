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

// The clouds whose identity the operator may have by itself.
const (
	ambientAWS    = "aws"
	ambientGoogle = "google"
)

// AmbientClouds are all of them.
var AmbientClouds = []string{ambientAWS, ambientGoogle}

// Options are what a person decides about providers.
type Options struct {
	// Ambient are the clouds where a source that names no identity may use
	// the operator's own; none by default, since that lends it to whoever
	// writes a source.
	Ambient []string
	// GuessTypes takes a source Secret of type Opaque for what its keys say.
	GuessTypes bool
}

// Registry turns sources into providers.
type Registry struct{ options Options }

// New returns a Registry.
func New(o Options) *Registry { return &Registry{options: o} }

// Source returns what an entry of spec.registry.credentials amounts to. secret
// is the Secret that the entry names, as its source or as the place of a
// client's secret, and account the ServiceAccount whose tokens it exchanges;
// each is nil where the entry names none. It makes no connection.
//
// The error is a *providers.Error of class Invalid. Its message names the
// fields or keys and what to do, holds no value that may be a secret, and does
// not say where the entry stands, which the caller knows.
func (r *Registry) Source(entry v1alpha1.CredentialSource, secret *corev1.Secret, account *corev1.ServiceAccount) (providers.Source, error) {
	if ref := entry.Account(); ref != nil && account == nil {
		// Without it, nobody else's identity must be taken for it.
		return providers.Source{}, providers.Errorf(providers.Invalid, "ServiceAccount %s/%s is not there", ref.Namespace, ref.Name)
	}
	provider, err := r.provider(entry, secret, identity(account))
	switch {
	case err != nil:
		return providers.Source{}, err
	case provider != nil:
		return providers.Source{Name: provider.Name(), Provider: provider}, nil
	case secret != nil:
		return r.fromSecret(secret)
	default:
		return providers.Source{}, providers.Errorf(providers.Invalid, "the entry names neither a Secret nor a provider that this version of the operator knows")
	}
}

// identity is a ServiceAccount as providers know it.
func identity(account *corev1.ServiceAccount) providers.ServiceAccount {
	if account == nil {
		return providers.ServiceAccount{}
	}
	return providers.ServiceAccount{Namespace: account.Namespace, Name: account.Name, UID: string(account.UID)}
}

// fromSecret returns what a source Secret stands for, by the Secret's type.
func (r *Registry) fromSecret(secret *corev1.Secret) (providers.Source, error) {
	kind := secret.Type
	if meant := typeByKeys(secret.Data); r.options.GuessTypes && kind == corev1.SecretTypeOpaque && meant != "" {
		kind = meant
	}
	switch kind {
	case corev1.SecretTypeDockerConfigJson, corev1.SecretTypeDockercfg:
		logins, problems, err := static.Parse(kind, secret.Data)
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
