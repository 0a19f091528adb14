package v1alpha1

// CredentialSource is where registry logins come from: a Secret by name and
// namespace, or exactly one provider that gives short-lived ones.
//
// +kubebuilder:validation:XValidation:rule="has(self.name) == has(self.__namespace__)",message="name and namespace belong together: they name a Secret"
// +kubebuilder:validation:XValidation:rule="[has(self.name) || has(self.__namespace__), has(self.ecr), has(self.ecrPublic), has(self.googleArtifactRegistry), has(self.chainguard), has(self.azureContainerRegistry), has(self.quay), has(self.tokenExchange)].filter(set, set).size() == 1",message="must be either a Secret by name and namespace, or exactly one of ecr, ecrPublic, googleArtifactRegistry, chainguard, azureContainerRegistry, quay and tokenExchange"
type CredentialSource struct {
	// name is the source Secret's name. Its type decides how it is read:
	// kubernetes.io/dockerconfigjson, kubernetes.io/dockercfg or
	// banzaicloud.io/aws-ecr-login-config.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`

	// namespace is the source Secret's namespace.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Namespace string `json:"namespace,omitempty"`

	// ecr gets logins for AWS Elastic Container Registry.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec,displayName="Amazon ECR"
	ECR *ECRSource `json:"ecr,omitempty"`

	// ecrPublic gets a login for AWS's public gallery, public.ecr.aws.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec,displayName="Amazon ECR Public"
	ECRPublic *ECRPublicSource `json:"ecrPublic,omitempty"`

	// googleArtifactRegistry gets logins for Google Artifact Registry and
	// gcr.io.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	GoogleArtifactRegistry *GoogleArtifactRegistrySource `json:"googleArtifactRegistry,omitempty"`

	// chainguard gets a login for Chainguard's registry, cgr.dev.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	Chainguard *ChainguardSource `json:"chainguard,omitempty"`

	// azureContainerRegistry gets a login for an Azure Container Registry.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	AzureContainerRegistry *AzureContainerRegistrySource `json:"azureContainerRegistry,omitempty"`

	// quay gets a login for Quay as a robot account with federation.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	Quay *QuaySource `json:"quay,omitempty"`

	// tokenExchange gets a login from any server that exchanges a
	// ServiceAccount's token for its own (RFC 8693).
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	TokenExchange *TokenExchangeSource `json:"tokenExchange,omitempty"`
}

// ServiceAccountReference names the ServiceAccount whose tokens are exchanged
// for logins.
type ServiceAccountReference struct {
	// name is the ServiceAccount's name.
	// +required
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`

	// namespace is the ServiceAccount's namespace.
	// +required
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace,omitempty"`
}

// Audience is who a ServiceAccount's token is meant for. It must not be the
// API server's own.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=1024
type Audience string

// RegistryHost is the host of a registry, with a port if it is other than 443.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=260
// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*(:[0-9]{1,5})?$')",message="must be the host of a registry in lower case, without https:// and path, such as registry.example.com"
type RegistryHost string

// AWSRoleARN is the ARN of an IAM role.
//
// +kubebuilder:validation:MaxLength=2048
// +kubebuilder:validation:XValidation:rule="self.matches('^arn:aws[a-z-]*:iam::[0-9]{12}:role/.+$')",message="must be the ARN of a role, such as arn:aws:iam::111122223333:role/pull"
type AWSRoleARN string

// AWSIdentity says who asks AWS. With serviceAccount, a token of it is
// exchanged for a session of roleARN (AssumeRoleWithWebIdentity). Without, it
// is the operator's own identity, by roles for service accounts, EKS Pod
// Identity or the node's instance role, where the operator runs with
// --ambient-credentials=aws.
//
// +kubebuilder:validation:XValidation:rule="has(self.serviceAccount) == has(self.roleARN)",message="serviceAccount and roleARN belong together; without both the operator's own identity is used, and assumeRoles names the roles to go on to"
// +kubebuilder:validation:XValidation:rule="!has(self.audience) || has(self.serviceAccount)",message="audience is that of serviceAccount's token: set serviceAccount too"
type AWSIdentity struct {
	// serviceAccount is the ServiceAccount that the role trusts.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	ServiceAccount *ServiceAccountReference `json:"serviceAccount,omitempty"`

	// roleARN is the role that trusts the ServiceAccount.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	RoleARN AWSRoleARN `json:"roleARN,omitempty"`

	// audience of the ServiceAccount's token, as it stands in the account's
	// identity provider; sts.amazonaws.com if absent.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	Audience Audience `json:"audience,omitempty"`

	// assumeRoles are further roles to assume in turn, each by the session of
	// the one before it.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=5
	AssumeRoles []AWSRole `json:"assumeRoles,omitempty"`
}

// AWSRole is a role to assume.
type AWSRole struct {
	// roleARN is the role.
	// +required
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	RoleARN AWSRoleARN `json:"roleARN,omitempty"`

	// externalID is what the role's trust policy demands as sts:ExternalId.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=1224
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9_+=,.@:/-]*$')",message="must consist of letters, digits and _+=,.@:/-"
	ExternalID string `json:"externalID,omitempty"`
}

// ECRSource is a private registry of AWS Elastic Container Registry.
type ECRSource struct {
	AWSIdentity `json:",inline"`

	// accountID is the account that the registry belongs to.
	// +required
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	// +kubebuilder:validation:MaxLength=12
	// +kubebuilder:validation:XValidation:rule="self.matches('^[0-9]{12}$')",message="must be the account's 12 digits, in quotes"
	AccountID string `json:"accountID,omitempty"`

	// region is the registry's region, such as eu-central-1. It decides on the
	// partition.
	// +required
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z]{2,8}(-[a-z]{2,16}){1,3}-[0-9]{1,2}$')",message="must be a region, such as eu-central-1"
	Region string `json:"region,omitempty"`

	// registries are further registries of the same region that the login
	// opens, such as those of other accounts.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=20
	Registries []RegistryHost `json:"registries,omitempty"`

	// useFIPS makes the exchange with FIPS endpoints and adds the registry's
	// FIPS host.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec,xDescriptors={"urn:alm:descriptor:com.tectonic.ui:booleanSwitch"}
	UseFIPS bool `json:"useFIPS,omitempty"`

	// useDualStack makes the exchange with dual-stack (IPv6) endpoints and
	// adds the registry's dual-stack host.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec,xDescriptors={"urn:alm:descriptor:com.tectonic.ui:booleanSwitch"}
	UseDualStack bool `json:"useDualStack,omitempty"`
}

// ECRPublicSource is AWS's public gallery, which limits what is pulled without
// a login.
type ECRPublicSource struct {
	AWSIdentity `json:",inline"`
}

// GoogleArtifactRegistrySource is Google Artifact Registry or gcr.io. With
// serviceAccount, a token of it is exchanged through workload identity
// federation. Without, it is the operator's own identity, by GKE workload
// identity or the node's service account, where the operator runs with
// --ambient-credentials=google.
//
// +kubebuilder:validation:XValidation:rule="!(has(self.workloadIdentityProvider) && has(self.gkeCluster))",message="workloadIdentityProvider and gkeCluster exclude one another"
// +kubebuilder:validation:XValidation:rule="has(self.serviceAccount) == (has(self.workloadIdentityProvider) || has(self.gkeCluster))",message="serviceAccount needs workloadIdentityProvider or gkeCluster, and they need serviceAccount; without them the operator's own identity is used"
// +kubebuilder:validation:XValidation:rule="!has(self.audience) || has(self.workloadIdentityProvider)",message="audience is that of a token for workloadIdentityProvider: set that too"
// +kubebuilder:validation:XValidation:rule="!has(self.delegates) || has(self.googleServiceAccount)",message="delegates lead to googleServiceAccount: set that too"
type GoogleArtifactRegistrySource struct {
	// registries are the hosts that the login opens, such as
	// europe-west1-docker.pkg.dev or gcr.io.
	// +required
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=20
	Registries []RegistryHost `json:"registries,omitempty"`

	// serviceAccount is the ServiceAccount that the pool's provider trusts.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	ServiceAccount *ServiceAccountReference `json:"serviceAccount,omitempty"`

	// workloadIdentityProvider is the provider's full name,
	// projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	WorkloadIdentityProvider string `json:"workloadIdentityProvider,omitempty"`

	// gkeCluster is the GKE cluster whose own pool is used instead,
	// projects/PROJECT/locations/LOCATION/clusters/CLUSTER.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec,displayName="GKE Cluster"
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.matches('^projects/[^/]+/locations/[^/]+/clusters/[^/]+$')",message="must be projects/PROJECT/locations/LOCATION/clusters/CLUSTER"
	GKECluster string `json:"gkeCluster,omitempty"`

	// audience of the ServiceAccount's token, if the provider names allowed
	// audiences; the provider's own name if absent.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	Audience Audience `json:"audience,omitempty"`

	// googleServiceAccount is the email of a Google service account to
	// impersonate; without it the federated identity itself reads the registry.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=320
	GoogleServiceAccount string `json:"googleServiceAccount,omitempty"`

	// delegates are emails of Google service accounts that lead, one to the
	// next, to googleServiceAccount.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=5
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=320
	Delegates []string `json:"delegates,omitempty"`

	// universeDomain is that of a sovereign cloud; googleapis.com if absent.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)+$')",message="must be a domain, such as googleapis.com"
	UniverseDomain string `json:"universeDomain,omitempty"`
}

// ChainguardSource is Chainguard's registry.
type ChainguardSource struct {
	// identity is the UID of the assumable identity.
	// +required
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.matches('^[0-9a-f]+(/[0-9a-f]+)*$')",message="must be an identity's UID, as in chainctl iam identities list: hexadecimal parts separated by /"
	Identity string `json:"identity,omitempty"`

	// serviceAccount is the ServiceAccount that the identity trusts.
	// +required
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	ServiceAccount ServiceAccountReference `json:"serviceAccount,omitzero"`

	// audience of the ServiceAccount's token, as the identity names it;
	// https://issuer.enforce.dev if absent.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	Audience Audience `json:"audience,omitempty"`

	// registries are the hosts that the login opens: cgr.dev, which is meant
	// if absent, and its subdomains.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=20
	Registries []RegistryHost `json:"registries,omitempty"`
}

// AzureCloud is one of Azure's clouds.
//
// +kubebuilder:validation:Enum=AzurePublic;AzureChina;AzureUSGovernment
type AzureCloud string

// The values of AzureCloud.
const (
	AzurePublic       AzureCloud = "AzurePublic"
	AzureChina        AzureCloud = "AzureChina"
	AzureUSGovernment AzureCloud = "AzureUSGovernment"
)

// AzureContainerRegistrySource is an Azure Container Registry.
type AzureContainerRegistrySource struct {
	// registry is the registry's login server, such as example.azurecr.io.
	// +required
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	Registry RegistryHost `json:"registry,omitempty"`

	// tenantID is the Entra ID tenant of the application.
	// +required
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9][A-Za-z0-9.-]*$')",message="must be a tenant's ID or domain"
	TenantID string `json:"tenantID,omitempty"`

	// clientID is that of the application or managed identity with a
	// federated credential for the ServiceAccount.
	// +required
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	// +kubebuilder:validation:MaxLength=36
	// +kubebuilder:validation:XValidation:rule="self.matches('^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$')",message="must be a client ID, such as 00000000-0000-0000-0000-000000000000"
	ClientID string `json:"clientID,omitempty"`

	// serviceAccount is the ServiceAccount that the federated credential names.
	// +required
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	ServiceAccount ServiceAccountReference `json:"serviceAccount,omitzero"`

	// cloud is the Azure cloud.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec,xDescriptors={"urn:alm:descriptor:com.tectonic.ui:select:AzurePublic","urn:alm:descriptor:com.tectonic.ui:select:AzureChina","urn:alm:descriptor:com.tectonic.ui:select:AzureUSGovernment"}
	// +default="AzurePublic"
	// +kubebuilder:default=AzurePublic
	Cloud AzureCloud `json:"cloud,omitempty"`

	// audience of the ServiceAccount's token, as the federated credential
	// names it; api://AzureADTokenExchange, or the cloud's variant of it, if
	// absent.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	Audience Audience `json:"audience,omitempty"`
}

// QuaySource is Quay, in the cloud or one's own.
type QuaySource struct {
	// registry is Quay's host.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	// +default="quay.io"
	// +kubebuilder:default="quay.io"
	Registry RegistryHost `json:"registry,omitempty"`

	// robot is the robot account with a federation for the ServiceAccount,
	// such as example+pull.
	// +required
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9_.-]+[+][a-z0-9_.-]+$')",message="must be a robot account with its organisation or user, such as example+pull"
	Robot string `json:"robot,omitempty"`

	// serviceAccount is the ServiceAccount that the robot's federation names.
	// +required
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	ServiceAccount ServiceAccountReference `json:"serviceAccount,omitzero"`

	// audience of the ServiceAccount's token; the registry's host if absent.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	Audience Audience `json:"audience,omitempty"`

	// caBundle holds certificates in PEM form that are trusted beside the
	// system's.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec,displayName="CA Bundle"
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=65536
	CABundle string `json:"caBundle,omitempty"`
}

// RequestFormat is how a request is written.
//
// +kubebuilder:validation:Enum=Form;JSON
type RequestFormat string

// The values of RequestFormat.
const (
	RequestForm RequestFormat = "Form"
	RequestJSON RequestFormat = "JSON"
)

// TokenExchangeSource is a server that exchanges a ServiceAccount's token for
// one of its own (RFC 8693).
type TokenExchangeSource struct {
	// registries are the registries that the token opens.
	// +required
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=20
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=512
	Registries []string `json:"registries,omitempty"`

	// endpoint is the server's https URL.
	// +required
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getScheme() == 'https' && url(self).getHost() != ''",message="must be an https URL, such as https://idp.example.com/oauth/token"
	Endpoint string `json:"endpoint,omitempty"`

	// serviceAccount is the ServiceAccount whose token is exchanged.
	// +required
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	ServiceAccount ServiceAccountReference `json:"serviceAccount,omitzero"`

	// tokenAudience is the audience of the ServiceAccount's token: what the
	// server takes itself to be.
	// +required
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	TokenAudience Audience `json:"tokenAudience,omitempty"`

	// format is how the request is written.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec,xDescriptors={"urn:alm:descriptor:com.tectonic.ui:select:Form","urn:alm:descriptor:com.tectonic.ui:select:JSON"}
	// +default="Form"
	// +kubebuilder:default=Form
	Format RequestFormat `json:"format,omitempty"`

	// grantType of the request;
	// urn:ietf:params:oauth:grant-type:token-exchange if absent.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	GrantType string `json:"grantType,omitempty"`

	// subjectTokenType of the request; urn:ietf:params:oauth:token-type:jwt if
	// absent.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	SubjectTokenType string `json:"subjectTokenType,omitempty"`

	// requestedTokenType of the request; left out if absent.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	RequestedTokenType string `json:"requestedTokenType,omitempty"`

	// audience of the request: who the new token is for; left out if absent.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	Audience string `json:"audience,omitempty"`

	// resource of the request; left out if absent.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	Resource string `json:"resource,omitempty"`

	// scopes of the request; left out if absent.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=50
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=256
	Scopes []string `json:"scopes,omitempty"`

	// parameters are further members of the request.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	// +kubebuilder:validation:MaxProperties=20
	Parameters map[string]ParameterValue `json:"parameters,omitempty"`

	// clientAuthentication is how the operator shows itself to the server as
	// an OAuth client, if the server wants that.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	ClientAuthentication *ClientAuthentication `json:"clientAuthentication,omitempty"`

	// caBundle holds certificates in PEM form that are trusted beside the
	// system's.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec,displayName="CA Bundle"
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=65536
	CABundle string `json:"caBundle,omitempty"`

	// username of the login; by default it is read from the answer, see
	// fields.username.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:XValidation:rule="!self.contains(':')",message="must not contain a colon"
	Username string `json:"username,omitempty"`

	// fields say where in the answer things are.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	Fields TokenExchangeFields `json:"fields,omitzero"`
}

// ParameterValue is the value of a member of a request.
//
// +kubebuilder:validation:MaxLength=2048
type ParameterValue string

// ClientAuthenticationMethod is where a request carries the client's secret
// (RFC 6749, section 2.3.1).
//
// +kubebuilder:validation:Enum=Basic;Post
type ClientAuthenticationMethod string

// The values of ClientAuthenticationMethod.
const (
	ClientAuthenticationBasic ClientAuthenticationMethod = "Basic"
	ClientAuthenticationPost  ClientAuthenticationMethod = "Post"
)

// ClientAuthentication shows the operator to a server as an OAuth client.
type ClientAuthentication struct {
	// method is where the request carries the secret: Basic in a header, Post
	// in the body.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec,xDescriptors={"urn:alm:descriptor:com.tectonic.ui:select:Basic","urn:alm:descriptor:com.tectonic.ui:select:Post"}
	// +default="Basic"
	// +kubebuilder:default=Basic
	Method ClientAuthenticationMethod `json:"method,omitempty"`

	// clientID is the client's ID.
	// +required
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	ClientID string `json:"clientID,omitempty"`

	// secret is where the client's secret is. The Secret must be of type
	// images.banzaicloud.io/client-secret.
	// +required
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	Secret SecretKeyReference `json:"secret,omitzero"`
}

// SecretKeyReference names a key of a Secret.
type SecretKeyReference struct {
	// name is the Secret's name.
	// +required
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`

	// namespace is the Secret's namespace.
	// +required
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace,omitempty"`

	// key is the key in the Secret's data.
	// +required
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Key string `json:"key,omitempty"`
}

// FieldPath is the way to a value in a JSON object: names separated by dots,
// such as data.token.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=256
type FieldPath string

// TokenExchangeFields say where in a server's answer things are.
type TokenExchangeFields struct {
	// token is the password; access_token if absent.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	Token FieldPath `json:"token,omitempty"`

	// expiresIn is the token's life in seconds; expires_in if absent.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	ExpiresIn FieldPath `json:"expiresIn,omitempty"`

	// expiresAt is when the token ends, in RFC 3339 or in seconds since 1970.
	// It is looked at before expiresIn.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	ExpiresAt FieldPath `json:"expiresAt,omitempty"`

	// username is the login's user, if spec has none; where there is neither,
	// it is the last part of the token's own subject.
	// +optional
	// +operator-sdk:csv:customresourcedefinitions:type=spec
	Username FieldPath `json:"username,omitempty"`
}

// Kind names what the source is: "secret", or its provider's field, such as
// "ecr"; "" if it is nothing.
func (s *CredentialSource) Kind() string {
	switch {
	case s.ECR != nil:
		return "ecr"
	case s.ECRPublic != nil:
		return "ecrPublic"
	case s.GoogleArtifactRegistry != nil:
		return "googleArtifactRegistry"
	case s.Chainguard != nil:
		return "chainguard"
	case s.AzureContainerRegistry != nil:
		return "azureContainerRegistry"
	case s.Quay != nil:
		return "quay"
	case s.TokenExchange != nil:
		return "tokenExchange"
	case s.Name != "":
		return "secret"
	default:
		return ""
	}
}

// Account returns the ServiceAccount whose tokens the source exchanges, or nil.
func (s *CredentialSource) Account() *ServiceAccountReference {
	switch {
	case s.ECR != nil:
		return s.ECR.ServiceAccount
	case s.ECRPublic != nil:
		return s.ECRPublic.ServiceAccount
	case s.GoogleArtifactRegistry != nil:
		return s.GoogleArtifactRegistry.ServiceAccount
	case s.Chainguard != nil:
		return &s.Chainguard.ServiceAccount
	case s.AzureContainerRegistry != nil:
		return &s.AzureContainerRegistry.ServiceAccount
	case s.Quay != nil:
		return &s.Quay.ServiceAccount
	case s.TokenExchange != nil:
		return &s.TokenExchange.ServiceAccount
	default:
		return nil
	}
}

// ClientSecret returns where the secret is that a provider shows itself with,
// or nil.
func (s *CredentialSource) ClientSecret() *SecretKeyReference {
	if s.TokenExchange == nil || s.TokenExchange.ClientAuthentication == nil {
		return nil
	}
	return &s.TokenExchange.ClientAuthentication.Secret
}
