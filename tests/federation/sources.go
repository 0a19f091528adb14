package federation

import (
	"fmt"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/tests/fakecloud"
)

// Source is a credential source that works: the cloud trusts the identity, and
// the login opens the registry.
type Source struct {
	// Name tells the kind of source, such as "ECR through a chain of roles".
	Name string
	// Entry goes into spec.registry.credentials.
	Entry v1alpha1.CredentialSource
	// Registry is one that the login opens.
	Registry string
	// Service is the one that an exchange asks first.
	Service fakecloud.Service
}

// Kinds makes a source of each kind for an identity. number makes accounts,
// registries and names that no other number has.
func Kinds(cloud *fakecloud.Cloud, id Identity, number int) []Source {
	var sources []Source
	for _, make := range []func(*fakecloud.Cloud, Identity, int) Source{
		ECR, ECRChained, ECRPublic, ArtifactRegistry, ArtifactRegistryImpersonated, ArtifactRegistryGKE,
		Chainguard, AzureContainerRegistry, Quay, TokenExchange, JFrog, DockerHub,
	} {
		sources = append(sources, make(cloud, id, number))
	}
	return sources
}

// Audiences are those of the kinds that have no usual one: whoever uses them adds
// such to fence.audiences.
func Audiences() []string {
	return []string{"quay-*.example.com", "idp-*.example.com", "example-*.jfrog.io"}
}

// Chainguard is Chainguard's registry.
func Chainguard(cloud *fakecloud.Cloud, id Identity, number int) Source {
	uid := fmt.Sprintf("%040x/%016x", number, number)
	cloud.AddChainguardIdentity(fakecloud.ChainguardIdentity{UID: uid, Issuer: id.Issuer, Subject: id.Subject()})
	return Source{
		Name:     "Chainguard",
		Entry:    v1alpha1.CredentialSource{Chainguard: &v1alpha1.ChainguardSource{Identity: uid, ServiceAccount: id.Reference()}},
		Registry: "cgr.dev", Service: fakecloud.Chainguard,
	}
}

// Quay is an installation of Quay's own.
func Quay(cloud *fakecloud.Cloud, id Identity, number int) Source {
	registry := fmt.Sprintf("quay-%d.example.com", number)
	cloud.AddQuayRobot(fakecloud.QuayRobot{Host: registry, Name: "example+pull", Issuer: id.Issuer, Subject: id.Subject(), Audience: registry})
	return Source{
		Name: "Quay",
		Entry: v1alpha1.CredentialSource{Quay: &v1alpha1.QuaySource{
			Registry: v1alpha1.RegistryHost(registry), Robot: "example+pull", ServiceAccount: id.Reference(),
		}},
		Registry: registry, Service: fakecloud.Quay,
	}
}

// TokenExchange is any server that exchanges tokens (RFC 8693).
func TokenExchange(cloud *fakecloud.Cloud, id Identity, number int) Source {
	host, registry := fmt.Sprintf("idp-%d.example.com", number), fmt.Sprintf("registry-%d.example.com", number)
	cloud.AddTokenServer(fakecloud.TokenServer{
		Host: host, Path: "/token", Issuer: id.Issuer, Subject: id.Subject(), Audience: host,
		Registries: []string{registry}, Username: "robot", Scopes: []string{"pull"}, RequestAudience: registry,
	})
	return Source{
		Name: "RFC 8693",
		Entry: v1alpha1.CredentialSource{TokenExchange: &v1alpha1.TokenExchangeSource{
			Registries: []string{registry}, Endpoint: "https://" + host + "/token", ServiceAccount: id.Reference(),
			TokenAudience: v1alpha1.Audience(host), Audience: registry, Scopes: []string{"pull"}, Username: "robot",
		}},
		Registry: registry, Service: fakecloud.TokenExchange,
	}
}

// TokenExchangeWithClient is one that wants the operator to show itself as an
// OAuth client with a secret; to keep that where the entry says is up to the
// caller.
func TokenExchangeWithClient(cloud *fakecloud.Cloud, id Identity, number int, secret string) Source {
	source := TokenExchange(cloud, id, number)
	host := fmt.Sprintf("idp-%d.example.com", number)
	cloud.AddTokenServer(fakecloud.TokenServer{
		Host: host, Path: "/token", Issuer: id.Issuer, Subject: id.Subject(), Audience: host,
		Registries: []string{source.Registry}, Username: "robot", Scopes: []string{"pull"}, RequestAudience: source.Registry,
		ClientID: "operator", ClientSecret: secret,
	})
	source.Entry.TokenExchange.ClientAuthentication = &v1alpha1.ClientAuthentication{
		ClientID: "operator",
		Secret:   v1alpha1.SecretKeyReference{Namespace: id.Namespace, Name: fmt.Sprintf("idp-%d", number), Key: "secret"},
	}
	return source
}

// JFrog is a JFrog platform, by the preset of the documentation.
func JFrog(cloud *fakecloud.Cloud, id Identity, number int) Source {
	host := fmt.Sprintf("example-%d.jfrog.io", number)
	cloud.AddJFrogProvider(fakecloud.JFrogProvider{
		Host: host, Name: "kubernetes", Issuer: id.Issuer, Subject: id.Subject(), Audience: host, Username: "puller",
	})
	return Source{
		Name: "JFrog",
		Entry: v1alpha1.CredentialSource{TokenExchange: &v1alpha1.TokenExchangeSource{
			Registries: []string{host}, Endpoint: "https://" + host + "/access/api/v1/oidc/token", ServiceAccount: id.Reference(),
			TokenAudience: v1alpha1.Audience(host), Format: v1alpha1.RequestJSON,
			SubjectTokenType: "urn:ietf:params:oauth:token-type:id_token",
			Parameters:       map[string]v1alpha1.ParameterValue{"provider_name": "kubernetes"},
			Fields:           v1alpha1.TokenExchangeFields{Username: "username"},
		}},
		Registry: host, Service: fakecloud.JFrog,
	}
}

// DockerHub is Docker Hub, by the preset of the documentation.
func DockerHub(cloud *fakecloud.Cloud, id Identity, number int) Source {
	connection := fmt.Sprintf("22222222-0000-4000-8000-%012d", number)
	organisation := fmt.Sprintf("organisation%d", number)
	cloud.AddDockerHubConnection(fakecloud.DockerHubConnection{
		ID: connection, Organisation: organisation, Issuer: id.Issuer, Subject: id.Subject(),
	})
	return Source{
		Name: "Docker Hub",
		Entry: v1alpha1.CredentialSource{TokenExchange: &v1alpha1.TokenExchangeSource{
			Registries: []string{"https://index.docker.io/v1/"}, Endpoint: "https://identity.docker.com/oauth/token", ServiceAccount: id.Reference(),
			TokenAudience: "https://identity.docker.com", SubjectTokenType: "urn:ietf:params:oauth:token-type:id_token",
			Parameters: map[string]v1alpha1.ParameterValue{"connection_id": v1alpha1.ParameterValue(connection), "expires_in": "3600"},
			Username:   organisation,
		}},
		Registry: "https://index.docker.io/v1/", Service: fakecloud.DockerHub,
	}
}
