package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/tests/fakecloud"
	"github.com/imagepullsecrets/operator/tests/federation"
)

// badExchange is a source of which one thing is wrong: in the entry, or on the
// cloud's side.
type badExchange struct {
	// source makes one that would work.
	source func(*fakecloud.Cloud, federation.Identity, int) federation.Source
	// trusts changes the identity that the cloud is told to trust; nil for the
	// right one.
	trusts func(*federation.Identity)
	// entry spoils the entry; nil if it is right.
	entry func(*v1alpha1.CredentialSource)
	// reason and says are what people are told. {subject} stands for the
	// ServiceAccount's, {number} for what is unique to the source, {issuer} for
	// the cluster's.
	reason string
	says   []string
}

// Whom a cloud may trust instead.
func anotherCluster(id *federation.Identity) { id.Issuer = "https://other.example.com" }
func anotherAccount(id *federation.Identity) { id.Name = "other" }

// registryHost names a registry in an entry of any provider of this file.
func registryHost(host string) func(*v1alpha1.CredentialSource) {
	return func(entry *v1alpha1.CredentialSource) {
		switch {
		case entry.Chainguard != nil:
			entry.Chainguard.Registries = []v1alpha1.RegistryHost{v1alpha1.RegistryHost(host)}
		case entry.AzureContainerRegistry != nil:
			entry.AzureContainerRegistry.Registry = v1alpha1.RegistryHost(host)
		case entry.Quay != nil:
			entry.Quay.Registry = v1alpha1.RegistryHost(host)
		}
	}
}

// chainguard, azure, quay and exchange spoil an entry of that provider.
func chainguard(spoil func(*v1alpha1.ChainguardSource)) func(*v1alpha1.CredentialSource) {
	return func(entry *v1alpha1.CredentialSource) { spoil(entry.Chainguard) }
}

func azure(spoil func(*v1alpha1.AzureContainerRegistrySource)) func(*v1alpha1.CredentialSource) {
	return func(entry *v1alpha1.CredentialSource) { spoil(entry.AzureContainerRegistry) }
}

func quay(spoil func(*v1alpha1.QuaySource)) func(*v1alpha1.CredentialSource) {
	return func(entry *v1alpha1.CredentialSource) { spoil(entry.Quay) }
}

func exchange(spoil func(*v1alpha1.TokenExchangeSource)) func(*v1alpha1.CredentialSource) {
	return func(entry *v1alpha1.CredentialSource) { spoil(entry.TokenExchange) }
}

const (
	atChainguard = "token exchange at issuer.enforce.dev: "
	atAzure      = "sign-in at login.microsoftonline.com: "
	atQuay       = "robot federation at quay-{number}.example.com: "
	atServer     = "token exchange at idp-{number}.example.com: "
	atJFrog      = "token exchange at example-{number}.jfrog.io: "
	atDockerHub  = "token exchange at identity.docker.com: "
)

var badChainguard = map[string]badExchange{
	"a token for another audience": {
		entry:  chainguard(func(c *v1alpha1.ChainguardSource) { c.Audience = "https://other.example.com" }),
		reason: v1alpha1.ReasonDenied,
		says:   []string{atChainguard + "PermissionDenied: ", "trust this cluster's issuer, the subject {subject} and the audience https://other.example.com"},
	},
	"an identity that trusts another cluster": {
		trusts: anotherCluster, reason: v1alpha1.ReasonDenied,
		says: []string{atChainguard + "PermissionDenied: ", "trust this cluster's issuer, the subject {subject} and the audience https://issuer.enforce.dev"},
	},
	"an identity that trusts another ServiceAccount": {
		trusts: anotherAccount, reason: v1alpha1.ReasonDenied,
		says: []string{atChainguard + "PermissionDenied: ", "the subject {subject}", "role with registry.pull"},
	},
	"an identity that there is not": {
		entry:  chainguard(func(c *v1alpha1.ChainguardSource) { c.Identity = strings.Repeat("0a", 20) }),
		reason: v1alpha1.ReasonDenied,
		says:   []string{atChainguard + "NotFound: ", "let the identity " + strings.Repeat("0a", 20) + " trust"},
	},
	"an identity of too few digits": {
		entry:  chainguard(func(c *v1alpha1.ChainguardSource) { c.Identity = "0a1b" }),
		reason: v1alpha1.ReasonSourceInvalid,
		says:   []string{atChainguard + "InvalidArgument: identity is not a valid UIDP; check identity 0a1b"},
	},
	"a registry that goes on behind cgr.dev": {
		entry: registryHost("cgr.dev.evil.example"), reason: v1alpha1.ReasonSourceInvalid,
		says: []string{`spec.registry.credentials[0].chainguard: registries must be cgr.dev or subdomains of it, not "cgr.dev.evil.example"`},
	},
	"a registry that ends like cgr.dev": {
		entry: registryHost("evilcgr.dev"), reason: v1alpha1.ReasonSourceInvalid,
		says: []string{`registries must be cgr.dev or subdomains of it, not "evilcgr.dev"`},
	},
}

func TestBadOtherChainguardIsToldAndTheRestWorks(t *testing.T) {
	t.Parallel()
	expectBadExchanges(t, federation.Chainguard, badChainguard)
}

var badAzure = map[string]badExchange{
	"a token for another audience": {
		entry:  azure(func(a *v1alpha1.AzureContainerRegistrySource) { a.Audience = "api://other" }),
		reason: v1alpha1.ReasonDenied,
		says:   []string{atAzure + "AADSTS700212: No matching federated identity record found for presented assertion audience 'api://other'", "the subject {subject} and the audience api://other"},
	},
	"an application that trusts another cluster": {
		trusts: anotherCluster, reason: v1alpha1.ReasonDenied,
		says: []string{atAzure + "AADSTS700211: ", "assertion issuer '{issuer}'", "federated credential for this cluster's issuer, the subject {subject} and the audience api://AzureADTokenExchange"},
	},
	"an application that trusts another ServiceAccount": {
		trusts: anotherAccount, reason: v1alpha1.ReasonDenied,
		says: []string{atAzure + "AADSTS700213: ", "assertion subject '{subject}'"},
	},
	"an application that there is not": {
		entry:  azure(func(a *v1alpha1.AzureContainerRegistrySource) { a.ClientID = "33333333-0000-4000-8000-000000000000" }),
		reason: v1alpha1.ReasonSourceInvalid,
		says:   []string{atAzure + "AADSTS700016: Application with identifier '33333333-0000-4000-8000-000000000000' was not found", "; check clientID and tenantID"},
	},
	"a tenant that there is not": {
		entry:  azure(func(a *v1alpha1.AzureContainerRegistrySource) { a.TenantID = "44444444-0000-4000-8000-000000000000" }),
		reason: v1alpha1.ReasonSourceInvalid,
		says:   []string{atAzure + "AADSTS90002: Tenant '44444444-0000-4000-8000-000000000000' not found.", "; check tenantID and cloud"},
	},
	"a tenant's domain that there is not": {
		entry:  azure(func(a *v1alpha1.AzureContainerRegistrySource) { a.TenantID = "nobody.onmicrosoft.com" }),
		reason: v1alpha1.ReasonSourceInvalid,
		says:   []string{atAzure + "AADSTS900023: ", "; check tenantID and cloud"},
	},
	"a tenant for everybody": {
		entry:  azure(func(a *v1alpha1.AzureContainerRegistrySource) { a.TenantID = "common" }),
		reason: v1alpha1.ReasonSourceInvalid,
		says:   []string{`spec.registry.credentials[0].azureContainerRegistry: tenantID must be a directory's id, such as 00000000-0000-0000-0000-000000000000, or its domain, not "common"`},
	},
	"a registry that goes on behind Azure's name": {
		entry: registryHost("example.azurecr.io.evil.example"), reason: v1alpha1.ReasonSourceInvalid,
		says: []string{`registry must be a login server of AzurePublic, such as example.azurecr.io, in lower case, not "example.azurecr.io.evil.example"`},
	},
	"a registry that ends like Azure's name": {
		entry: registryHost("example-azurecr.io"), reason: v1alpha1.ReasonSourceInvalid,
		says: []string{`registry must be a login server of AzurePublic`},
	},
	"a registry on another port": {
		entry: registryHost("example.azurecr.io:8443"), reason: v1alpha1.ReasonSourceInvalid,
		says: []string{`registry must be a login server of AzurePublic`},
	},
	"a registry's data endpoint": {
		entry: registryHost("example.westeurope.data.azurecr.io"), reason: v1alpha1.ReasonSourceInvalid,
		says: []string{"registry must be a login server, not ", "which is a data endpoint: nobody logs in there"},
	},
	"a registry of another cloud": {
		entry: registryHost("example.azurecr.cn"), reason: v1alpha1.ReasonSourceInvalid,
		says: []string{`registry must be a login server of AzurePublic, such as example.azurecr.io, in lower case, not "example.azurecr.cn"`},
	},
	"a cloud that is not the registry's": {
		entry:  azure(func(a *v1alpha1.AzureContainerRegistrySource) { a.Cloud = v1alpha1.AzureUSGovernment }),
		reason: v1alpha1.ReasonSourceInvalid,
		says:   []string{`registry must be a login server of AzureUSGovernment, such as example.azurecr.us, in lower case, not "example{number}.azurecr.io"`},
	},
	"a cloud that is not the tenant's": {
		entry: azure(func(a *v1alpha1.AzureContainerRegistrySource) {
			a.Cloud, a.Registry = v1alpha1.AzureChina, "example.azurecr.cn"
		}),
		reason: v1alpha1.ReasonSourceInvalid,
		says:   []string{"sign-in at login.chinacloudapi.cn: AADSTS90002: ", "; check tenantID and cloud"},
	},
	"an application without AcrPull": {
		entry: registryHost("notgranted.azurecr.io"), reason: v1alpha1.ReasonDenied,
		says: []string{"token exchange at notgranted.azurecr.io: UNAUTHORIZED: authentication required",
			"; give 11111111-0000-4000-8000-{number padded} the role AcrPull on the registry; its directory must be 00000000-0000-4000-8000-{number padded}"},
	},
}

func TestBadOtherAzureIsToldAndTheRestWorks(t *testing.T) {
	t.Parallel()
	expectBadExchanges(t, federation.AzureContainerRegistry, badAzure)
	for _, host := range shared.cloud.UnknownHosts() {
		if strings.Contains(host, "azurecr") {
			t.Errorf("%s was asked", host)
		}
	}
}

var badQuay = map[string]badExchange{
	"a token for another audience": {
		entry:  quay(func(q *v1alpha1.QuaySource) { q.Audience = "other.example.com" }),
		reason: v1alpha1.ReasonDenied,
		says:   []string{atQuay + "401 Unauthorized: Invalid token: Audience doesn't match", "the subject {subject} and, if it names audiences, other.example.com"},
	},
	"a robot that trusts another cluster": {
		trusts: anotherCluster, reason: v1alpha1.ReasonDenied,
		says: []string{atQuay + "401 Unauthorized: issuer {issuer} not configured for this robot", "let the robot federation of example+pull name this cluster's issuer"},
	},
	"a robot that trusts another ServiceAccount": {
		trusts: anotherAccount, reason: v1alpha1.ReasonDenied,
		says: []string{atQuay + "401 Unauthorized: Token does not match robot", "the subject {subject} and, if it names audiences, quay-{number}.example.com"},
	},
	"a robot that there is not": {
		entry:  quay(func(q *v1alpha1.QuaySource) { q.Robot = "example+nobody" }),
		reason: v1alpha1.ReasonDenied,
		says:   []string{atQuay + "401 Unauthorized: Could not find robot with username: example+nobody; check robot: is there a robot account example+nobody?"},
	},
	"a robot whose name Quay does not allow": {
		entry:  quay(func(q *v1alpha1.QuaySource) { q.Robot = "example+1" }),
		reason: v1alpha1.ReasonDenied,
		says:   []string{atQuay + "401 Unauthorized: Invalid robot; check robot: is there a robot account example+1?"},
	},
	"a registry that is no Quay": {
		entry: registryHost("index.docker.io"), reason: v1alpha1.ReasonSourceInvalid,
		says: []string{"robot federation at index.docker.io: 404 Not Found", "; check registry; robot federation needs Quay 3.13 or later"},
	},
	"a registry that nothing answers for": {
		entry: registryHost("quay.nowhere.example"), reason: v1alpha1.ReasonUnavailable,
		says: []string{"robot federation at quay.nowhere.example: the proxy refused to connect: 502 Bad Gateway"},
	},
	"a CA bundle that is none": {
		entry:  quay(func(q *v1alpha1.QuaySource) { q.CABundle = "-----BEGIN CERTIFICATE-----" }),
		reason: v1alpha1.ReasonSourceInvalid,
		says:   []string{"spec.registry.credentials[0].quay: caBundle: holds no certificate in PEM form"},
	},
}

func TestBadOtherQuayIsToldAndTheRestWorks(t *testing.T) {
	t.Parallel()
	expectBadExchanges(t, federation.Quay, badQuay)
}

const notTrusted = atServer + "invalid_request: the subject_token is not acceptable: its issuer, audience or subject is not trusted; " +
	"check format, subjectTokenType, audience, resource and parameters; or else let the server trust this cluster's issuer, "

var badTokenExchange = map[string]badExchange{
	"a token for another audience": {
		entry:  exchange(func(e *v1alpha1.TokenExchangeSource) { e.TokenAudience = "other.example.com" }),
		reason: v1alpha1.ReasonDenied, says: []string{notTrusted + `the audience "other.example.com" and the subject {subject}`},
	},
	"a server that trusts another cluster": {
		trusts: anotherCluster, reason: v1alpha1.ReasonDenied, says: []string{notTrusted},
	},
	"a server that trusts another ServiceAccount": {
		trusts: anotherAccount, reason: v1alpha1.ReasonDenied, says: []string{notTrusted, "the subject {subject}"},
	},
	"an audience that the server does not know": {
		entry:  exchange(func(e *v1alpha1.TokenExchangeSource) { e.Audience = "other.example.com" }),
		reason: v1alpha1.ReasonSourceInvalid, says: []string{atServer + "invalid_target: the audience is unknown; check audience and resource"},
	},
	"a scope too many": {
		entry:  exchange(func(e *v1alpha1.TokenExchangeSource) { e.Scopes = append(e.Scopes, "push") }),
		reason: v1alpha1.ReasonSourceInvalid, says: []string{atServer + "invalid_scope: ", "; check scopes"},
	},
	"no scope at all": {
		entry:  exchange(func(e *v1alpha1.TokenExchangeSource) { e.Scopes = nil }),
		reason: v1alpha1.ReasonSourceInvalid, says: []string{atServer + "invalid_scope: ", "; check scopes"},
	},
	"a grant that the server does not know": {
		entry:  exchange(func(e *v1alpha1.TokenExchangeSource) { e.GrantType = "client_credentials" }),
		reason: v1alpha1.ReasonSourceInvalid, says: []string{atServer + "unsupported_grant_type: ", "; check grantType, format, and whether the server has token exchange switched on"},
	},
	"a token that is called something else": {
		entry:  exchange(func(e *v1alpha1.TokenExchangeSource) { e.SubjectTokenType = "urn:ietf:params:oauth:token-type:saml2" }),
		reason: v1alpha1.ReasonDenied, says: []string{atServer + "invalid_request: subject_token_type must be urn:ietf:params:oauth:token-type:jwt; check format, subjectTokenType"},
	},
	"a format that the server does not read": {
		entry:  exchange(func(e *v1alpha1.TokenExchangeSource) { e.Format = v1alpha1.RequestJSON }),
		reason: v1alpha1.ReasonDenied, says: []string{atServer + "invalid_request: ", "; check format"},
	},
	"an endpoint's path that leads nowhere": {
		entry:  exchange(func(e *v1alpha1.TokenExchangeSource) { e.Endpoint += "s" }),
		reason: v1alpha1.ReasonUnavailable, says: []string{atServer + "answered 404 Not Found with text/plain that can't be read; a proxy in between? Or is the path of endpoint wrong?"},
	},
	"an endpoint that nothing answers for": {
		entry:  exchange(func(e *v1alpha1.TokenExchangeSource) { e.Endpoint = "https://idp.nowhere.example/token" }),
		reason: v1alpha1.ReasonUnavailable, says: []string{"token exchange at idp.nowhere.example: the proxy refused to connect: 502 Bad Gateway"},
	},
	"an endpoint with a password": {
		entry:  exchange(func(e *v1alpha1.TokenExchangeSource) { e.Endpoint = "https://robot:word@idp.example.com/token" }),
		reason: v1alpha1.ReasonSourceInvalid, says: []string{"endpoint must not hold a user or a password; those of a client belong into clientAuthentication"},
	},
	"a token's path that leads nowhere": {
		entry:  exchange(func(e *v1alpha1.TokenExchangeSource) { e.Fields.Token = "data.token" }),
		reason: v1alpha1.ReasonUnavailable,
		says: []string{atServer + "the answer holds no text at data.token; set fields.token to where the token is " +
			"(its members: access_token, expires_in, issued_token_type, token_type)"},
	},
	"a token's path that leads to a number": {
		entry:  exchange(func(e *v1alpha1.TokenExchangeSource) { e.Fields.Token = "expires_in" }),
		reason: v1alpha1.ReasonUnavailable, says: []string{atServer + "the answer holds no text at expires_in; set fields.token"},
	},
	"a path of an expiry that leads to a text": {
		entry:  exchange(func(e *v1alpha1.TokenExchangeSource) { e.Fields.ExpiresAt = "token_type" }),
		reason: v1alpha1.ReasonUnavailable, says: []string{atServer + "the answer holds at token_type (fields.expiresAt) neither a time of RFC 3339 nor Unix seconds"},
	},
	"an answer that does not say when it expires": {
		source: serverWith(func(s *fakecloud.TokenServer) { s.ExpiryField = "valid_for" }),
		reason: v1alpha1.ReasonUnavailable,
		says:   []string{atServer + "the answer does not say when its token ends: nothing is at expires_in, and the token is no JWT with an exp; set fields.expiresIn or fields.expiresAt", "valid_for"},
	},
	"nobody's login": {
		entry:  exchange(func(e *v1alpha1.TokenExchangeSource) { e.Username = "" }),
		reason: v1alpha1.ReasonUnavailable, says: []string{atServer + "the answer does not say whose login its token is: it is not a JWT; set username or fields.username"},
	},
	"a user's path that leads nowhere": {
		entry:  exchange(func(e *v1alpha1.TokenExchangeSource) { e.Username, e.Fields.Username = "", "user.name" }),
		reason: v1alpha1.ReasonUnavailable, says: []string{atServer + "the answer holds no user at user.name (fields.username); set username or fields.username"},
	},
	"a parameter that is missing": {
		source: serverWith(func(s *fakecloud.TokenServer) { s.Parameters = map[string]string{"tenant": "example"} }),
		reason: v1alpha1.ReasonDenied, says: []string{atServer + "invalid_request: tenant is missing or wrong; check format, subjectTokenType, audience, resource and parameters"},
	},
	"a parameter that has a field of its own": {
		entry: exchange(func(e *v1alpha1.TokenExchangeSource) {
			e.Parameters = map[string]v1alpha1.ParameterValue{"scope": "pull"}
		}),
		reason: v1alpha1.ReasonSourceInvalid, says: []string{"spec.registry.credentials[0].tokenExchange: parameters must not hold scope: set scopes"},
	},
	"a registry that is a pattern": {
		entry:  exchange(func(e *v1alpha1.TokenExchangeSource) { e.Registries = []string{"*.example.com"} }),
		reason: v1alpha1.ReasonSourceInvalid, says: []string{`registries[0] must name one host, without "*"`},
	},
	"a CA bundle that is none": {
		entry:  exchange(func(e *v1alpha1.TokenExchangeSource) { e.CABundle = "/etc/ssl/ca.pem" }),
		reason: v1alpha1.ReasonSourceInvalid, says: []string{"spec.registry.credentials[0].tokenExchange: caBundle: holds no certificate in PEM form"},
	},
	"no client where the server wants one": {
		source: serverWith(func(s *fakecloud.TokenServer) { s.ClientID, s.ClientSecret = "operator", password() }),
		reason: v1alpha1.ReasonDenied, says: []string{atServer + "invalid_client: client authentication failed; the server wants to know its client: set clientAuthentication"},
	},
}

// serverWith makes a server of RFC 8693 that differs from what the entry
// expects.
func serverWith(change func(*fakecloud.TokenServer)) func(*fakecloud.Cloud, federation.Identity, int) federation.Source {
	return func(cloud *fakecloud.Cloud, id federation.Identity, number int) federation.Source {
		made := federation.TokenExchange(cloud, id, number)
		host := fmt.Sprintf("idp-%d.example.com", number)
		server := fakecloud.TokenServer{
			Host: host, Path: "/token", Issuer: id.Issuer, Subject: id.Subject(), Audience: host,
			Registries: []string{made.Registry}, Username: "robot", Scopes: []string{"pull"}, RequestAudience: made.Registry,
		}
		change(&server)
		cloud.AddTokenServer(server)
		return made
	}
}

func TestBadOtherTokenExchangeIsToldAndTheRestWorks(t *testing.T) {
	t.Parallel()
	expectBadExchanges(t, federation.TokenExchange, badTokenExchange)
}

var badJFrog = map[string]badExchange{
	"a token for another audience": {
		entry:  exchange(func(e *v1alpha1.TokenExchangeSource) { e.TokenAudience = "other.example.com" }),
		reason: v1alpha1.ReasonSourceInvalid, says: []string{atJFrog + "BAD_REQUEST: Invalid audience; check format", `or else let the server trust this cluster's issuer, the audience "other.example.com" and the subject {subject}`},
	},
	"a provider that trusts another cluster": {
		trusts: anotherCluster, reason: v1alpha1.ReasonSourceInvalid, says: []string{atJFrog + "BAD_REQUEST: Invalid issuer; check format", "or else let the server trust this cluster's issuer, "},
	},
	"a mapping for another ServiceAccount": {
		trusts: anotherAccount, reason: v1alpha1.ReasonDenied,
		says: []string{atJFrog + "FORBIDDEN: No identity mapping matches the token; let the server trust this cluster's issuer, ", "the subject {subject}"},
	},
	"a provider that there is not": {
		entry: exchange(func(e *v1alpha1.TokenExchangeSource) {
			e.Parameters = map[string]v1alpha1.ParameterValue{"provider_name": "nobody"}
		}),
		reason: v1alpha1.ReasonSourceInvalid,
		says:   []string{atJFrog + "NOT_FOUND: OIDC provider 'nobody' was not found; check the path of endpoint, and what parameters name"},
	},
	"a mapping that there is not": {
		entry: exchange(func(e *v1alpha1.TokenExchangeSource) {
			e.Parameters = map[string]v1alpha1.ParameterValue{"provider_name": "kubernetes", "identity_mapping_name": "nobody"}
		}),
		reason: v1alpha1.ReasonDenied, says: []string{atJFrog + "FORBIDDEN: No identity mapping matches the token"},
	},
	"no provider at all": {
		entry:  exchange(func(e *v1alpha1.TokenExchangeSource) { e.Parameters = nil }),
		reason: v1alpha1.ReasonSourceInvalid, says: []string{atJFrog + "NOT_FOUND: ", "what parameters name"},
	},
	"a form instead of JSON": {
		entry:  exchange(func(e *v1alpha1.TokenExchangeSource) { e.Format = v1alpha1.RequestForm }),
		reason: v1alpha1.ReasonSourceInvalid, says: []string{atJFrog + "BAD_REQUEST: Failed to parse the request body; check format"},
	},
	"an answer without the user": {
		source: func(cloud *fakecloud.Cloud, id federation.Identity, number int) federation.Source {
			made := federation.JFrog(cloud, id, number)
			cloud.AddJFrogProvider(fakecloud.JFrogProvider{
				Host: made.Registry, Name: "kubernetes", Issuer: id.Issuer, Subject: id.Subject(), Audience: made.Registry, Username: "puller", OmitUsername: true,
			})
			return made
		},
		reason: v1alpha1.ReasonUnavailable, says: []string{atJFrog + "the answer holds no user at username (fields.username); set username or fields.username"},
	},
}

func TestBadOtherJFrogIsToldAndTheRestWorks(t *testing.T) {
	t.Parallel()
	expectBadExchanges(t, federation.JFrog, badJFrog)
}

const noRule = atDockerHub + "403 Forbidden: no rule of the connection matches the subject token; let the server trust this cluster's issuer, "

var badDockerHub = map[string]badExchange{
	"a token for another audience": {
		entry:  exchange(func(e *v1alpha1.TokenExchangeSource) { e.TokenAudience = "https://other.example.com" }),
		reason: v1alpha1.ReasonDenied, says: []string{noRule + `the audience "https://other.example.com" and the subject {subject}`},
	},
	"a connection that trusts another cluster": {
		trusts: anotherCluster, reason: v1alpha1.ReasonDenied, says: []string{noRule},
	},
	"a connection that trusts another ServiceAccount": {
		trusts: anotherAccount, reason: v1alpha1.ReasonDenied, says: []string{noRule, "the subject {subject}"},
	},
	"a connection that there is not": {
		entry:  exchange(func(e *v1alpha1.TokenExchangeSource) { e.Parameters["connection_id"] = "nobody" }),
		reason: v1alpha1.ReasonDenied, says: []string{noRule},
	},
	"a lifetime that Docker does not give": {
		entry:  exchange(func(e *v1alpha1.TokenExchangeSource) { e.Parameters["expires_in"] = "60" }),
		reason: v1alpha1.ReasonSourceInvalid, says: []string{atDockerHub + "400 Bad Request: expires_in must be between 300 and 3600; check format, subjectTokenType, audience, resource and parameters"},
	},
	"a token that is not called an ID token": {
		entry:  exchange(func(e *v1alpha1.TokenExchangeSource) { e.SubjectTokenType = "" }),
		reason: v1alpha1.ReasonSourceInvalid, says: []string{atDockerHub + "400 Bad Request: subject_token_type must be urn:ietf:params:oauth:token-type:id_token; check format, subjectTokenType"},
	},
}

func TestBadOtherDockerHubIsToldAndTheRestWorks(t *testing.T) {
	t.Parallel()
	expectBadExchanges(t, federation.DockerHub, badDockerHub)
}

// expectBadExchanges tries sources of one kind, each in an object of its own
// beside a static one. Entries that are wrong are set right in the end.
func expectBadExchanges(t *testing.T, kind func(*fakecloud.Cloud, federation.Identity, int) federation.Source, table map[string]badExchange) {
	t.Helper()
	id, label := identity(t), unique("label")
	selected := namespace(t, label, "yes")
	static := staticSource(t, id.Namespace, goodRegistry)
	tried := map[string]triedExchange{}
	for sentence, bad := range table {
		if bad.source == nil {
			bad.source = kind
		}
		tried[sentence] = bad.try(t, id, label, static)
	}
	for sentence, one := range tried {
		t.Run(sentence, func(t *testing.T) {
			expectFailedExchange(t, one.object, one.reason, one.says...)
			expectSecret(t, selected, one.secret, goodRegistry)
			expectWell(t, one.object, 1, goodRegistry)
			if one.entry != nil {
				update(t, one.object, func(object *v1alpha1.ImagePullSecret) { object.Spec.Registry.Credentials[0] = one.good.Entry })
			}
		})
	}
	for sentence, one := range tried {
		if one.entry != nil {
			t.Run(sentence+", set right", func(t *testing.T) {
				expectReady(t, one.object, 1)
				expectSecret(t, selected, one.secret, goodRegistry, one.good.Registry)
			})
		}
	}
}

// triedExchange is a bad one in use.
type triedExchange struct {
	badExchange
	// good is the source with the right entry.
	good federation.Source
	// object and secret are the names of those that make use of it.
	object, secret string
}

func (bad badExchange) try(t *testing.T, id federation.Identity, label string, static v1alpha1.CredentialSource) triedExchange {
	t.Helper()
	tried, trusted, n := triedExchange{badExchange: bad, secret: unique("pull")}, id, number()
	if bad.trusts != nil {
		bad.trusts(&trusted)
	}
	tried.good = bad.source(shared.cloud, trusted, n)
	*tried.good.Entry.Account() = id.Reference()
	spoiled := *tried.good.Entry.DeepCopy()
	if bad.entry != nil {
		bad.entry(&spoiled)
	}
	tried.says = filledIn(bad.says, id, n)
	tried.object = object(t, tried.secret, label, spoiled, static).Name
	return tried
}

// filledIn puts what only the test knows into texts.
func filledIn(texts []string, id federation.Identity, n int) []string {
	fill := strings.NewReplacer("{number}", fmt.Sprint(n), "{number padded}", fmt.Sprintf("%012d", n), "{subject}", id.Subject(), "{issuer}", id.Issuer)
	filled := slices.Clone(texts)
	for i := range filled {
		filled[i] = fill.Replace(filled[i])
	}
	return filled
}

// expectFailedExchange waits until everything that tells of the failure of an
// object's first source does so: the conditions, the source's own status and
// an event.
func expectFailedExchange(t *testing.T, name, reason string, says ...string) {
	t.Helper()
	expectSaying(t, name, v1alpha1.ConditionCredentialsReady, reason, says...)
	expectSaying(t, name, v1alpha1.ConditionReady, reason, says...)
	credential := get(t, name).Status.Credentials[0]
	if credential.Ready != metav1.ConditionFalse || credential.Reason != reason || !containsAll(credential.Message, says) {
		t.Errorf("the source's status is %+v", credential)
	}
	expectWarning(t, name, reason, says[0])
	expectNoLeak(t, name)
}

func containsAll(text string, parts []string) bool {
	return !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(text, part) })
}

// The ways for a client to be refused, and what people are told.
var badClients = map[string]struct {
	entry        func(*v1alpha1.ClientAuthentication)
	reason, says string
}{
	"a secret in the wrong place of the request": {
		entry:  func(c *v1alpha1.ClientAuthentication) { c.Method = v1alpha1.ClientAuthenticationPost },
		reason: v1alpha1.ReasonDenied, says: atServer + "invalid_client: client authentication failed; check clientAuthentication: the clientID, the secret's value, and whether the server takes the method Post",
	},
	"a client that there is not": {
		entry:  func(c *v1alpha1.ClientAuthentication) { c.ClientID = "nobody" },
		reason: v1alpha1.ReasonDenied, says: atServer + "invalid_client: client authentication failed; check clientAuthentication",
	},
	"a secret that is not the client's": {
		entry:  func(c *v1alpha1.ClientAuthentication) { c.Secret.Key = "old" },
		reason: v1alpha1.ReasonDenied, says: atServer + "invalid_client: client authentication failed; check clientAuthentication",
	},
	"an empty secret": {
		entry:  func(c *v1alpha1.ClientAuthentication) { c.Secret.Key = "empty" },
		reason: v1alpha1.ReasonSourceInvalid, says: "clientAuthentication.secret's value is empty",
	},
	"a key that there is not": {
		entry:  func(c *v1alpha1.ClientAuthentication) { c.Secret.Key = "nothing" },
		reason: v1alpha1.ReasonSourceInvalid, says: `has no key "nothing": add it, or correct key`,
	},
	"a Secret that is for something else": {
		entry:  func(c *v1alpha1.ClientAuthentication) { c.Secret.Name += "-opaque" },
		reason: v1alpha1.ReasonSourceInvalid, says: `is of type "Opaque", but a client's secret is only taken from a Secret of type images.banzaicloud.io/client-secret`,
	},
	"a Secret that there is not": {
		entry:  func(c *v1alpha1.ClientAuthentication) { c.Secret.Name = "nothing" },
		reason: v1alpha1.ReasonSourceNotFound, says: "/nothing does not exist: create it",
	},
}

func TestBadOtherClientIsToldAndTheRestWorks(t *testing.T) {
	t.Parallel()
	for sentence, bad := range badClients {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			id, n, label, secret := identity(t), number(), unique("label"), password()
			selected := namespace(t, label, "yes")
			good := federation.TokenExchangeWithClient(shared.cloud, id, n, secret)
			reference := good.Entry.ClientSecret()
			for name, kind := range map[string]corev1.SecretType{reference.Name: v1alpha1.SecretTypeClientSecret, reference.Name + "-opaque": corev1.SecretTypeOpaque} {
				create(t, &corev1.Secret{
					ObjectMeta: metav1.ObjectMeta{Namespace: reference.Namespace, Name: name}, Type: kind,
					StringData: map[string]string{reference.Key: secret, "old": password(), "empty": " "},
				})
			}
			spoiled := *good.Entry.DeepCopy()
			bad.entry(spoiled.TokenExchange.ClientAuthentication)
			name := object(t, "pull", label, spoiled, staticSource(t, id.Namespace, goodRegistry)).Name
			expectFailedExchange(t, name, bad.reason, filledIn([]string{bad.says}, id, n)...)
			expectSecret(t, selected, "pull", goodRegistry)

			update(t, name, func(object *v1alpha1.ImagePullSecret) { object.Spec.Registry.Credentials[0] = good.Entry })
			expectReady(t, name, 1)
			expectSecret(t, selected, "pull", goodRegistry, good.Registry)
		})
	}
}

// Chainguard gives tokens to identities that may not pull, so that nobody but
// the registry can tell.
func TestBadOtherChainguardIdentityWithoutARoleFailsAtThePull(t *testing.T) {
	t.Parallel()
	id, label := identity(t), unique("label")
	selected := namespace(t, label, "yes")
	source := federation.Chainguard(shared.cloud, id, number())
	without := fakecloud.ChainguardIdentity{UID: source.Entry.Chainguard.Identity, Issuer: id.Issuer, Subject: id.Subject(), Roles: []string{}}
	shared.cloud.AddChainguardIdentity(without)
	name := object(t, "pull", label, source.Entry).Name
	expectReady(t, name, 1)
	secret := expectSecret(t, selected, "pull", source.Registry)
	if err := pull(t.Context(), secret, source.Registry); err == nil || !strings.Contains(err.Error(), "UNAUTHORIZED") {
		t.Errorf("the pull ends with %v", err)
	}
	without.Roles = []string{"registry.pull"}
	shared.cloud.AddChainguardIdentity(without)
	if err := pull(t.Context(), secret, source.Registry); err != nil {
		t.Errorf("with the role, the pull ends with %v", err)
	}
}
