package registry

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/internal/awsidentity"
	"github.com/imagepullsecrets/operator/providers"
	"github.com/imagepullsecrets/operator/providers/acr"
	"github.com/imagepullsecrets/operator/providers/chainguard"
	"github.com/imagepullsecrets/operator/providers/ecr"
	"github.com/imagepullsecrets/operator/providers/ecrpublic"
	"github.com/imagepullsecrets/operator/providers/gar"
	"github.com/imagepullsecrets/operator/providers/quay"
	"github.com/imagepullsecrets/operator/providers/tokenexchange"
)

// provider returns the provider that an entry configures; nil if it configures
// none.
func (r *Registry) provider(entry v1alpha1.CredentialSource, secret *corev1.Secret, account providers.ServiceAccount) (providers.Provider, error) {
	switch {
	case entry.ECR != nil:
		return r.ecr(entry.ECR, account)
	case entry.ECRPublic != nil:
		return r.ecrPublic(entry.ECRPublic, account)
	case entry.GoogleArtifactRegistry != nil:
		return r.gar(entry.GoogleArtifactRegistry, account)
	case entry.Chainguard != nil:
		return orError(chainguard.New(chainguard.Config{
			Identity: entry.Chainguard.Identity, ServiceAccount: account,
			Audience: string(entry.Chainguard.Audience), Registries: plain(entry.Chainguard.Registries),
		}, nil))
	case entry.AzureContainerRegistry != nil:
		return orError(acr.New(acr.Config{
			Registry: string(entry.AzureContainerRegistry.Registry), Cloud: string(entry.AzureContainerRegistry.Cloud),
			TenantID: entry.AzureContainerRegistry.TenantID, ClientID: entry.AzureContainerRegistry.ClientID,
			ServiceAccount: account, Audience: string(entry.AzureContainerRegistry.Audience),
		}, nil))
	case entry.Quay != nil:
		return orError(quay.New(quay.Config{
			Registry: string(entry.Quay.Registry), Robot: entry.Quay.Robot,
			ServiceAccount: account, Audience: string(entry.Quay.Audience), CABundle: entry.Quay.CABundle,
		}, nil))
	case entry.TokenExchange != nil:
		return tokenExchange(entry.TokenExchange, secret, account)
	default:
		return nil, nil //nolint:nilnil // no provider is no failure: the entry may be a Secret
	}
}

// orError returns a provider that is nil if there is an error; a nil pointer
// in an interface is not nil.
func orError[P providers.Provider](provider P, err error) (providers.Provider, error) {
	if err != nil {
		return nil, err
	}
	return provider, nil
}

// plain returns API strings as plain ones.
func plain[S ~string](values []S) []string {
	plain := make([]string, len(values))
	for i, value := range values {
		plain[i] = string(value)
	}
	return plain
}

// ambient tells whether the operator's own identity is meant, and refuses that
// where it is not allowed.
func (r *Registry) ambient(account providers.ServiceAccount, cloud string) (bool, error) {
	switch {
	case account != providers.ServiceAccount{}:
		return false, nil
	case slices.Contains(r.options.Ambient, cloud):
		return true, nil
	default:
		return false, providers.Errorf(providers.Invalid,
			"it names no serviceAccount, so it would use the operator's own identity, which the operator's configuration does not allow: "+
				"add serviceAccount, or run the operator with --ambient-credentials=%s (chart: credentials.ambient)", cloud)
	}
}

func (r *Registry) awsIdentity(from v1alpha1.AWSIdentity, account providers.ServiceAccount) (awsidentity.Config, error) {
	ambient, err := r.ambient(account, ambientAWS)
	if err != nil {
		return awsidentity.Config{}, err
	}
	config := awsidentity.Config{
		ServiceAccount: account, Audience: string(from.Audience), RoleARN: string(from.RoleARN), Ambient: ambient,
	}
	for _, role := range from.AssumeRoles {
		config.AssumeRoles = append(config.AssumeRoles, awsidentity.Role{RoleARN: string(role.RoleARN), ExternalID: role.ExternalID})
	}
	return config, nil
}

func (r *Registry) ecr(from *v1alpha1.ECRSource, account providers.ServiceAccount) (providers.Provider, error) {
	identity, err := r.awsIdentity(from.AWSIdentity, account)
	if err != nil {
		return nil, err
	}
	return orError(ecr.New(ecr.Config{
		Identity: identity, Region: from.Region, AccountID: from.AccountID, Registries: plain(from.Registries),
		UseFIPS: from.UseFIPS, UseDualStack: from.UseDualStack,
	}, nil))
}

func (r *Registry) ecrPublic(from *v1alpha1.ECRPublicSource, account providers.ServiceAccount) (providers.Provider, error) {
	identity, err := r.awsIdentity(from.AWSIdentity, account)
	if err != nil {
		return nil, err
	}
	return orError(ecrpublic.New(ecrpublic.Config{Identity: identity}, nil))
}

func (r *Registry) gar(from *v1alpha1.GoogleArtifactRegistrySource, account providers.ServiceAccount) (providers.Provider, error) {
	ambient, err := r.ambient(account, ambientGoogle)
	if err != nil {
		return nil, err
	}
	return orError(gar.New(gar.Config{
		Registries: plain(from.Registries), ServiceAccount: account, Ambient: ambient,
		WorkloadIdentityProvider: from.WorkloadIdentityProvider, GKECluster: from.GKECluster,
		Audience: string(from.Audience), GoogleServiceAccount: from.GoogleServiceAccount, Delegates: from.Delegates,
		UniverseDomain: from.UniverseDomain,
	}, nil))
}

func tokenExchange(from *v1alpha1.TokenExchangeSource, secret *corev1.Secret, account providers.ServiceAccount) (providers.Provider, error) {
	config := tokenexchange.Config{
		Registries: from.Registries, Endpoint: from.Endpoint, ServiceAccount: account,
		TokenAudience: string(from.TokenAudience), Format: tokenexchange.Format(from.Format), GrantType: from.GrantType,
		SubjectTokenType: from.SubjectTokenType, RequestedTokenType: from.RequestedTokenType,
		Audience: from.Audience, Resource: from.Resource, Scopes: from.Scopes,
		Parameters: make(map[string]string, len(from.Parameters)), CABundle: from.CABundle, Username: from.Username,
		Fields: tokenexchange.Fields{
			Token: string(from.Fields.Token), ExpiresIn: string(from.Fields.ExpiresIn),
			ExpiresAt: string(from.Fields.ExpiresAt), Username: string(from.Fields.Username),
		},
	}
	for name, value := range from.Parameters {
		config.Parameters[name] = string(value)
	}
	if client := from.ClientAuthentication; client != nil {
		value, err := valueOf(secret, client.Secret)
		if err != nil {
			return nil, err
		}
		config.ClientAuthentication = tokenexchange.ClientAuthentication(client.Method)
		config.ClientID, config.ClientSecret = client.ClientID, value
	}
	return orError(tokenexchange.New(config, nil))
}

// valueOf returns the value of a Secret's key. A Secret of another type than
// that for clients' secrets is there for another purpose, and must not be sent
// to wherever an entry says.
func valueOf(secret *corev1.Secret, ref v1alpha1.SecretKeyReference) (string, error) {
	name := fmt.Sprintf("Secret %s/%s", ref.Namespace, ref.Name)
	if secret == nil {
		return "", providers.Errorf(providers.Invalid, "clientAuthentication.secret: %s is not there", name)
	}
	if secret.Type != v1alpha1.SecretTypeClientSecret {
		return "", providers.Errorf(providers.Invalid,
			"clientAuthentication.secret: %s is of type %q, but a client's secret is only taken from a Secret of type %s: "+
				"delete it and create it again, as a type can't be changed, or create another one: "+
				"kubectl create secret generic %s --namespace %s --type=%s --from-literal=%s=…",
			name, secret.Type, v1alpha1.SecretTypeClientSecret, ref.Name, ref.Namespace, v1alpha1.SecretTypeClientSecret, ref.Key)
	}
	value, found := secret.Data[ref.Key]
	if !found {
		return "", providers.Errorf(providers.Invalid, "clientAuthentication.secret: %s has no key %q: add it, or correct key", name, ref.Key)
	}
	return string(value), nil
}
