package integration

import (
	"maps"
	"strings"
	"testing"
)

// What the API says about a source.
const (
	nameAndNamespace = "name and namespace belong together: they name a Secret"
	exactlyOne       = "must be either a Secret by name and namespace, or exactly one of ecr, ecrPublic,"
	noHost           = "must be the host of a registry in lower case, without https:// and path, such as registry.example.com"
	noRole           = "must be the ARN of a role, such as arn:aws:iam::111122223333:role/pull"
	accountAndRole   = "serviceAccount and roleARN belong together"
	accountAndPool   = "serviceAccount needs workloadIdentityProvider or gkeCluster, and they need serviceAccount"
)

const (
	someRole = "arn:aws:iam::111122223333:role/pull"
	somePool = "projects/1/locations/global/workloadIdentityPools/p/providers/k"
)

var someAccount = values{"name": "puller", "namespace": "registry-access"}

// complete are the smallest entries that are accepted, by provider.
var complete = map[string]values{
	"ecr":                    {"accountID": "111122223333", "region": "eu-central-1", "serviceAccount": someAccount, "roleARN": someRole},
	"ecrPublic":              {"serviceAccount": someAccount, "roleARN": someRole},
	"googleArtifactRegistry": {"registries": items{"europe-docker.pkg.dev"}, "serviceAccount": someAccount, "workloadIdentityProvider": somePool},
	"chainguard":             {"identity": strings.Repeat("0a", 20) + "/" + strings.Repeat("1b", 8), "serviceAccount": someAccount},
	"azureContainerRegistry": {
		"registry": "example.azurecr.io", "tenantID": "contoso.onmicrosoft.com",
		"clientID": "00000000-0000-0000-0000-000000000000", "serviceAccount": someAccount,
	},
	"quay":          {"robot": "example+pull", "serviceAccount": someAccount},
	"tokenExchange": {"registries": items{"reg.example.com"}, "endpoint": "https://idp.example.com/token", "serviceAccount": someAccount, "tokenAudience": "idp"},
}

// providing is an entry of a provider, a complete one with changes; nil takes a field away.
func providing(provider string, changes values) values {
	fields := maps.Clone(complete[provider])
	maps.Copy(fields, changes)
	maps.DeleteFunc(fields, func(_ string, value any) bool { return value == nil })
	return values{provider: fields}
}

var acceptedSources = map[string]values{
	"ECR with a ServiceAccount":      providing("ecr", nil),
	"ECR as the operator":            providing("ecr", values{"serviceAccount": nil, "roleARN": nil}),
	"ECR as the operator and a role": providing("ecr", values{"serviceAccount": nil, "roleARN": nil, "assumeRoles": items{values{"roleARN": someRole}}}),
	"ECR with everything": providing("ecr", values{
		"audience": "sts.amazonaws.com", "assumeRoles": items{values{"roleARN": someRole, "externalID": "a:b/c-1"}},
		"registries": items{"444455556666.dkr.ecr.eu-central-1.amazonaws.com"}, "useFIPS": true, "useDualStack": true,
	}),
	"ECR in China":                  providing("ecr", values{"region": "cn-north-1", "roleARN": "arn:aws-cn:iam::111122223333:role/pull"}),
	"ECR in the sovereign cloud":    providing("ecr", values{"region": "eusc-de-east-1", "roleARN": "arn:aws-eusc:iam::111122223333:role/a/b"}),
	"ECR Public":                    providing("ecrPublic", nil),
	"ECR Public as the operator":    providing("ecrPublic", values{"serviceAccount": nil, "roleARN": nil}),
	"Google with a pool":            providing("googleArtifactRegistry", nil),
	"Google with a GKE cluster":     providing("googleArtifactRegistry", values{"workloadIdentityProvider": nil, "gkeCluster": "projects/p/locations/europe-west1/clusters/c"}),
	"Google as the operator":        providing("googleArtifactRegistry", values{"workloadIdentityProvider": nil, "serviceAccount": nil}),
	"Google with an impersonation":  providing("googleArtifactRegistry", values{"googleServiceAccount": "a@p.iam.gserviceaccount.com", "delegates": items{"b@p.iam.gserviceaccount.com"}}),
	"Google with an audience":       providing("googleArtifactRegistry", values{"audience": "me"}),
	"Google in another universe":    providing("googleArtifactRegistry", values{"universeDomain": "apis-s3ns.fr"}),
	"Chainguard":                    providing("chainguard", nil),
	"Chainguard's subdomains":       providing("chainguard", values{"registries": items{"cgr.dev", "skills.cgr.dev"}}),
	"Azure":                         providing("azureContainerRegistry", nil),
	"Azure in China":                providing("azureContainerRegistry", values{"registry": "example.azurecr.cn", "cloud": "AzureChina", "audience": "api://x"}),
	"Quay":                          providing("quay", nil),
	"one's own Quay":                providing("quay", values{"registry": "quay.example.com:8443", "caBundle": "x", "audience": "quay"}),
	"a token exchange":              providing("tokenExchange", nil),
	"a token exchange with a port":  providing("tokenExchange", values{"endpoint": "https://idp.example.com:8443/a/b?c=d"}),
	"a token exchange with a login": providing("tokenExchange", values{"clientAuthentication": values{"clientID": "c", "secret": values{"name": "s", "namespace": "n", "key": "k"}}}),
	"a token exchange in full": providing("tokenExchange", values{
		"format": "JSON", "grantType": "g", "subjectTokenType": "s", "requestedTokenType": "r", "audience": "a", "resource": "r",
		"scopes": items{"pull"}, "parameters": values{"provider_name": "k8s"}, "caBundle": "x", "username": "u",
		"fields": values{"token": "data.token", "expiresIn": "e", "expiresAt": "f", "username": "g"},
	}),
}

func TestAPIAcceptsSources(t *testing.T) {
	t.Parallel()
	for name, accepted := range acceptedSources {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := dryCreate(t, field{inCredentials, items{accepted}}); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("a hundred of the largest kind", func(t *testing.T) {
		t.Parallel()
		hundred := times(100, func(int) any { return acceptedSources["a token exchange in full"] })
		if err := dryCreate(t, field{inCredentials, hundred}); err != nil {
			t.Error(err)
		}
	})
}

// refusedSources are entries that are refused with words about a field; ""
// stands for the entry itself.
var refusedSources = map[string]struct {
	entry    values
	at, says string
}{
	"nothing":                      {values{}, "", exactlyOne},
	"a name without a namespace":   {values{"name": "x"}, "", nameAndNamespace},
	"a namespace without a name":   {values{"namespace": "x"}, "", nameAndNamespace},
	"a Secret and a provider":      {merged(values{"name": "x", "namespace": "y"}, providing("quay", nil)), "", exactlyOne},
	"half a Secret and a provider": {merged(values{"name": "x"}, providing("quay", nil)), "", exactlyOne},
	"two providers":                {merged(providing("chainguard", nil), providing("quay", nil)), "", exactlyOne},
	"three providers":              {merged(providing("chainguard", nil), providing("quay", nil), providing("ecr", nil)), "", exactlyOne},

	"an account of 11 digits":          {providing("ecr", values{"accountID": "11112222333"}), ".ecr.accountID", "must be the account's 12 digits, in quotes"},
	"an account without quotes":        {providing("ecr", values{"accountID": int64(111122223333)}), ".ecr.accountID", "must be of type string"},
	"no account":                       {providing("ecr", values{"accountID": nil}), ".ecr.accountID", "Required value"},
	"no region":                        {providing("ecr", values{"region": nil}), ".ecr.region", "Required value"},
	"a region's name":                  {providing("ecr", values{"region": "Frankfurt"}), ".ecr.region", "must be a region, such as eu-central-1"},
	"a region that is a host":          {providing("ecr", values{"region": "eu-central-1.evil.example"}), ".ecr.region", "must be a region, such as eu-central-1"},
	"a role's name":                    {providing("ecr", values{"roleARN": "pull"}), ".ecr.roleARN", noRole},
	"a user's ARN":                     {providing("ecr", values{"roleARN": "arn:aws:iam::111122223333:user/pull"}), ".ecr.roleARN", noRole},
	"a ServiceAccount without a role":  {providing("ecr", values{"roleARN": nil}), ".ecr", accountAndRole},
	"a role without a ServiceAccount":  {providing("ecrPublic", values{"serviceAccount": nil}), ".ecrPublic", accountAndRole},
	"an audience of nobody":            {providing("ecr", values{"serviceAccount": nil, "roleARN": nil, "audience": "x"}), ".ecr", "audience is that of serviceAccount's token: set serviceAccount too"},
	"six roles":                        {providing("ecr", values{"assumeRoles": times(6, func(int) any { return values{"roleARN": someRole} })}), ".ecr.assumeRoles", "must have at most 5 items"},
	"an external ID with a space":      {providing("ecr", values{"assumeRoles": items{values{"roleARN": someRole, "externalID": "a b"}}}), ".ecr.assumeRoles[0].externalID", "must consist of letters, digits and _+=,.@:/-"},
	"a registry that is a URL":         {providing("ecr", values{"registries": items{"https://444455556666.dkr.ecr.eu-central-1.amazonaws.com"}}), ".ecr.registries[0]", noHost},
	"a ServiceAccount of no namespace": {providing("quay", values{"serviceAccount": values{"name": "x"}}), ".quay.serviceAccount.namespace", "Required value"},
	"no ServiceAccount":                {providing("quay", values{"serviceAccount": nil}), ".quay.serviceAccount", "Required value"},
	"a ServiceAccount that is a text":  {providing("quay", values{"serviceAccount": "ns/name"}), ".quay.serviceAccount", "must be of type object"},
	"an empty audience":                {providing("quay", values{"audience": ""}), ".quay.audience", tooShort},

	"Google without registries":         {providing("googleArtifactRegistry", values{"registries": items{}}), ".googleArtifactRegistry.registries", "should have at least 1 items"},
	"a repository for a registry":       {providing("googleArtifactRegistry", values{"registries": items{"europe-docker.pkg.dev/p/r"}}), ".googleArtifactRegistry.registries[0]", noHost},
	"a registry in upper case":          {providing("googleArtifactRegistry", values{"registries": items{"GCR.io"}}), ".googleArtifactRegistry.registries[0]", noHost},
	"a ServiceAccount without a pool":   {providing("googleArtifactRegistry", values{"workloadIdentityProvider": nil}), ".googleArtifactRegistry", accountAndPool},
	"a pool without a ServiceAccount":   {providing("googleArtifactRegistry", values{"serviceAccount": nil}), ".googleArtifactRegistry", accountAndPool},
	"a pool and a GKE cluster":          {providing("googleArtifactRegistry", values{"gkeCluster": "projects/p/locations/l/clusters/c"}), ".googleArtifactRegistry", "workloadIdentityProvider and gkeCluster exclude one another"},
	"a GKE cluster's name":              {providing("googleArtifactRegistry", values{"workloadIdentityProvider": nil, "gkeCluster": "c"}), ".googleArtifactRegistry.gkeCluster", "must be projects/PROJECT/locations/LOCATION/clusters/CLUSTER"},
	"delegates that lead nowhere":       {providing("googleArtifactRegistry", values{"delegates": items{"a@b.c"}}), ".googleArtifactRegistry", "delegates lead to googleServiceAccount: set that too"},
	"an audience for a GKE cluster":     {providing("googleArtifactRegistry", values{"workloadIdentityProvider": nil, "gkeCluster": "projects/p/locations/l/clusters/c", "audience": "x"}), ".googleArtifactRegistry", "audience is that of a token for workloadIdentityProvider: set that too"},
	"a universe that is a URL":          {providing("googleArtifactRegistry", values{"universeDomain": "https://googleapis.com"}), ".googleArtifactRegistry.universeDomain", "must be a domain, such as googleapis.com"},
	"an identity with path characters":  {providing("chainguard", values{"identity": "0a/../1b"}), ".chainguard.identity", "must be an identity's UID"},
	"an identity with a query":          {providing("chainguard", values{"identity": "0a?x=y"}), ".chainguard.identity", "must be an identity's UID"},
	"a tenant with a slash":             {providing("azureContainerRegistry", values{"tenantID": "a/b"}), ".azureContainerRegistry.tenantID", "must be a tenant's ID or domain"},
	"a client's name":                   {providing("azureContainerRegistry", values{"clientID": "pull"}), ".azureContainerRegistry.clientID", "must be a client ID"},
	"a cloud that there is not":         {providing("azureContainerRegistry", values{"cloud": "AzureGermany"}), ".azureContainerRegistry.cloud", "Unsupported value"},
	"a robot without its organisation":  {providing("quay", values{"robot": "pull"}), ".quay.robot", "must be a robot account with its organisation or user, such as example+pull"},
	"a robot with a colon":              {providing("quay", values{"robot": "example+pull:x"}), ".quay.robot", "must be a robot account with its organisation or user, such as example+pull"},
	"an endpoint without TLS":           {providing("tokenExchange", values{"endpoint": "http://idp.example.com"}), ".tokenExchange.endpoint", "must be an https URL"},
	"an endpoint that is a host":        {providing("tokenExchange", values{"endpoint": "idp.example.com"}), ".tokenExchange.endpoint", "must be an https URL"},
	"no audience of the token":          {providing("tokenExchange", values{"tokenAudience": nil}), ".tokenExchange.tokenAudience", "Required value"},
	"21 registries":                     {providing("tokenExchange", values{"registries": times(21, func(int) any { return "r.example.com" })}), ".tokenExchange.registries", "must have at most 20 items"},
	"a format that there is not":        {providing("tokenExchange", values{"format": "XML"}), ".tokenExchange.format", "Unsupported value"},
	"a user with a colon":               {providing("tokenExchange", values{"username": "a:b"}), ".tokenExchange.username", "must not contain a colon"},
	"a client without a secret":         {providing("tokenExchange", values{"clientAuthentication": values{"clientID": "c"}}), ".tokenExchange.clientAuthentication.secret", "Required value"},
	"a way to log in that there is not": {providing("tokenExchange", values{"clientAuthentication": values{"method": "Digest", "clientID": "c", "secret": values{"name": "s", "namespace": "n", "key": "k"}}}), ".tokenExchange.clientAuthentication.method", "Unsupported value"},
	"an empty path of a field":          {providing("tokenExchange", values{"fields": values{"token": ""}}), ".tokenExchange.fields.token", tooShort},
}

func merged(all ...values) values {
	result := values{}
	for _, one := range all {
		maps.Copy(result, one)
	}
	return result
}

func TestAPIRefusesSources(t *testing.T) {
	t.Parallel()
	for name, refused := range refusedSources {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := dryCreate(t, field{inCredentials, items{refused.entry}})
			if err == nil {
				t.Fatal("it is accepted")
			}
			for _, part := range []string{inCredentials + "[0]" + refused.at + ":", refused.says} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q is not in %q", part, err)
				}
			}
		})
	}
}
