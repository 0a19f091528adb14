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

const awsRegion = "eu-central-1"

// role makes an AWS role that trusts an identity and returns its ARN.
func role(cloud *fakecloud.Cloud, id Identity, account string) string {
	cloud.AddOIDCProvider(account, id.Issuer, "sts.amazonaws.com")
	arn := fmt.Sprintf("arn:aws:iam::%s:role/%s.%s", account, id.Namespace, id.Name)
	cloud.AddRole(arn, fakecloud.Trust{WebIdentities: []fakecloud.WebIdentity{
		{Issuer: id.Issuer, Audience: "sts.amazonaws.com", Subject: id.Subject()},
	}})
	return arn
}

func webIdentity(id Identity, roleARN string) v1alpha1.AWSIdentity {
	reference := id.Reference()
	return v1alpha1.AWSIdentity{ServiceAccount: &reference, RoleARN: v1alpha1.AWSRoleARN(roleARN)}
}

// ECR is a private registry of AWS, opened by a role that trusts the identity.
func ECR(cloud *fakecloud.Cloud, id Identity, number int) Source {
	account := fmt.Sprintf("%012d", 200000000000+number)
	arn := role(cloud, id, account)
	cloud.GrantECR(arn, account)
	return Source{
		Name:     "ECR",
		Entry:    v1alpha1.CredentialSource{ECR: &v1alpha1.ECRSource{AWSIdentity: webIdentity(id, arn), AccountID: account, Region: awsRegion}},
		Registry: account + ".dkr.ecr." + awsRegion + ".amazonaws.com", Service: fakecloud.STS,
	}
}

// ECRChained is the registry of another account, opened by a role there that
// the identity's role assumes with an external ID.
func ECRChained(cloud *fakecloud.Cloud, id Identity, number int) Source {
	near, far := fmt.Sprintf("%012d", 300000000000+number), fmt.Sprintf("%012d", 400000000000+number)
	first, last := role(cloud, id, near), "arn:aws:iam::"+far+":role/reader"
	cloud.AddRole(last, fakecloud.Trust{Principals: []string{first}, ExternalID: "external-" + far})
	cloud.GrantECR(last, far)
	identity := webIdentity(id, first)
	identity.AssumeRoles = []v1alpha1.AWSRole{{RoleARN: v1alpha1.AWSRoleARN(last), ExternalID: "external-" + far}}
	return Source{
		Name:     "ECR through a chain of roles",
		Entry:    v1alpha1.CredentialSource{ECR: &v1alpha1.ECRSource{AWSIdentity: identity, AccountID: far, Region: awsRegion}},
		Registry: far + ".dkr.ecr." + awsRegion + ".amazonaws.com", Service: fakecloud.STS,
	}
}

// ECRPublic is AWS's public gallery.
func ECRPublic(cloud *fakecloud.Cloud, id Identity, number int) Source {
	arn := role(cloud, id, fmt.Sprintf("%012d", 500000000000+number))
	cloud.GrantECRPublic(arn)
	return Source{
		Name:     "ECR Public",
		Entry:    v1alpha1.CredentialSource{ECRPublic: &v1alpha1.ECRPublicSource{AWSIdentity: webIdentity(id, arn)}},
		Registry: "public.ecr.aws", Service: fakecloud.STS,
	}
}

// pool makes a workload identity pool's provider that trusts the cluster.
func pool(cloud *fakecloud.Cloud, id Identity, number int) (provider, principal string) {
	pool := fmt.Sprintf("projects/%d/locations/global/workloadIdentityPools/clusters", 100000000000+number)
	provider = pool + "/providers/cluster"
	cloud.AddWorkloadIdentityProvider(fakecloud.WorkloadIdentityProvider{Name: provider, Issuer: id.Issuer})
	return provider, "principal://iam.googleapis.com/" + pool + "/subject/" + id.Subject()
}

func garSource(id Identity, registry string) *v1alpha1.GoogleArtifactRegistrySource {
	reference := id.Reference()
	return &v1alpha1.GoogleArtifactRegistrySource{Registries: []v1alpha1.RegistryHost{v1alpha1.RegistryHost(registry)}, ServiceAccount: &reference}
}

// ArtifactRegistry is a registry of Google that the federated identity itself
// may read.
func ArtifactRegistry(cloud *fakecloud.Cloud, id Identity, number int) Source {
	registry := fmt.Sprintf("europe-west%d-docker.pkg.dev", number)
	provider, principal := pool(cloud, id, number)
	cloud.GrantArtifactRegistry(registry, principal)
	entry := garSource(id, registry)
	entry.WorkloadIdentityProvider = provider
	return Source{
		Name: "Google Artifact Registry", Entry: v1alpha1.CredentialSource{GoogleArtifactRegistry: entry},
		Registry: registry, Service: fakecloud.GoogleSTS,
	}
}

// ArtifactRegistryImpersonated is one that a Google service account may read,
// which the federated identity impersonates by way of a delegate.
func ArtifactRegistryImpersonated(cloud *fakecloud.Cloud, id Identity, number int) Source {
	registry := fmt.Sprintf("us-west%d-docker.pkg.dev", number)
	provider, principal := pool(cloud, id, number)
	delegate := fmt.Sprintf("delegate@project-%d.iam.gserviceaccount.com", number)
	reader := fmt.Sprintf("reader@project-%d.iam.gserviceaccount.com", number)
	cloud.AddGoogleServiceAccount(fakecloud.GoogleServiceAccount{
		Email: delegate, WorkloadIdentityUsers: []string{principal}, TokenCreators: []string{principal},
	})
	cloud.AddGoogleServiceAccount(fakecloud.GoogleServiceAccount{Email: reader, TokenCreators: []string{"serviceAccount:" + delegate}})
	cloud.GrantArtifactRegistry(registry, "serviceAccount:"+reader)
	entry := garSource(id, registry)
	entry.WorkloadIdentityProvider, entry.GoogleServiceAccount, entry.Delegates = provider, reader, []string{delegate}
	return Source{
		Name: "Google Artifact Registry by impersonation", Entry: v1alpha1.CredentialSource{GoogleArtifactRegistry: entry},
		Registry: registry, Service: fakecloud.GoogleSTS,
	}
}

// ArtifactRegistryGKE is one that the identity of a GKE cluster's own pool may
// read through a Google service account.
func ArtifactRegistryGKE(cloud *fakecloud.Cloud, id Identity, number int) Source {
	registry := fmt.Sprintf("asia-east%d-docker.pkg.dev", number)
	project := fmt.Sprintf("gke-%05d", number) // an ID has six characters at least
	name := "projects/" + project + "/locations/europe-west1/clusters/main"
	cloud.AddGKECluster(name, id.Issuer)
	reader := fmt.Sprintf("reader@%s.iam.gserviceaccount.com", project)
	member := fmt.Sprintf("serviceAccount:%s.svc.id.goog[%s/%s]", project, id.Namespace, id.Name)
	cloud.AddGoogleServiceAccount(fakecloud.GoogleServiceAccount{Email: reader, WorkloadIdentityUsers: []string{member}})
	cloud.GrantArtifactRegistry(registry, "serviceAccount:"+reader)
	entry := garSource(id, registry)
	entry.GKECluster, entry.GoogleServiceAccount = name, reader
	return Source{
		Name: "Google Artifact Registry by a GKE cluster's identity", Entry: v1alpha1.CredentialSource{GoogleArtifactRegistry: entry},
		Registry: registry, Service: fakecloud.GoogleSTS,
	}
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

// AzureContainerRegistry is a registry of Azure.
func AzureContainerRegistry(cloud *fakecloud.Cloud, id Identity, number int) Source {
	tenant, clientID := fmt.Sprintf("00000000-0000-4000-8000-%012d", number), fmt.Sprintf("11111111-0000-4000-8000-%012d", number)
	registry := fmt.Sprintf("example%d.azurecr.io", number)
	cloud.AddAzureApplication(fakecloud.AzureApplication{TenantID: tenant, ClientID: clientID, Issuer: id.Issuer, Subject: id.Subject()})
	cloud.GrantACR(registry, clientID)
	return Source{
		Name: "Azure Container Registry",
		Entry: v1alpha1.CredentialSource{AzureContainerRegistry: &v1alpha1.AzureContainerRegistrySource{
			Registry: v1alpha1.RegistryHost(registry), TenantID: tenant, ClientID: clientID, ServiceAccount: id.Reference(),
		}},
		Registry: registry, Service: fakecloud.AzureAD,
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
