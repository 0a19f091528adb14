package fakecloud_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/imagepullsecrets/operator/tests/fakecloud"
)

const (
	azureTenant = "11111111-2222-3333-4444-555555555555"
	azureClient = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
	azureImage  = "example.azurecr.io/team/app:v1"
)

// signInAzure asks an authority for a token of an application.
func signInAzure(t *testing.T, cloud *fakecloud.Cloud, authority, assertion string, changes ...string) answer {
	t.Helper()
	return sendForm(t, cloud, "https://"+authority+"/"+azureTenant+"/oauth2/v2.0/token", url.Values{
		"grant_type": {"client_credentials"}, "client_id": {azureClient},
		"scope":                 {"https://containerregistry.azure.net/.default"},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		"client_assertion":      {assertion},
	}, changes...)
}

func federatedAzureAD(_ *testing.T, cloud *fakecloud.Cloud, i *issuer) federated {
	cloud.AddAzureApplication(fakecloud.AzureApplication{TenantID: azureTenant, ClientID: azureClient, Issuer: i.URL, Subject: subject})
	cloud.GrantACR("example.azurecr.io", azureClient)
	malformed := refusal{http.StatusBadRequest, `"error_codes":[50027]`}
	unsigned := refusal{http.StatusUnauthorized, `"error_codes":[700027]`}
	outside := refusal{http.StatusUnauthorized, "AADSTS700024: Client assertion is not within its valid time range. Current time: 2"}
	return federated{
		service: fakecloud.AzureAD, audience: "api://AzureADTokenExchange",
		exchange: func(t *testing.T, token string) answer {
			signedIn := signInAzure(t, cloud, "login.microsoftonline.com", token)
			if access := signedIn.field("access_token"); access != "" {
				return exchangeACR(t, cloud, "example.azurecr.io", access)
			}
			return signedIn
		},
		userName: "00000000-0000-0000-0000-000000000000", password: acrPassword, lifetime: 3 * time.Hour,
		ref: azureImage, foreign: "other.azurecr.io/team/app:v1",
		problems: map[string]refusal{
			"no token at all":       malformed,
			"algorithm none":        malformed,
			"algorithm HS256":       malformed,
			"an unknown key":        unsigned,
			"a forged signature":    unsigned,
			"expired":               outside,
			"not valid yet":         outside,
			"an unknown issuer":     {http.StatusUnauthorized, "AADSTS700211: No matching federated identity record found for presented assertion issuer 'https://unknown.example'."},
			"an unreachable issuer": {http.StatusBadRequest, "AADSTS501661: "},
			"another subject":       {http.StatusUnauthorized, "AADSTS700213: No matching federated identity record found for presented assertion subject 'system:serviceaccount:team:puller-2'."},
			"another audience":      {http.StatusUnauthorized, "AADSTS700212: No matching federated identity record found for presented assertion audience 'https://kubernetes.default.svc'."},
		},
		faults: map[fakecloud.FaultKind]refusal{
			fakecloud.Throttle:    {http.StatusTooManyRequests, `"error":"temporarily_unavailable"`},
			fakecloud.ServerError: {http.StatusInternalServerError, `"error":"server_error"`},
			fakecloud.Denied:      {http.StatusBadRequest, `"error":"access_denied"`},
		},
	}
}

func TestAzureADRefusesByItsNumbers(t *testing.T) {
	cloud, clock := start(t)
	i := newIssuer(t, cloud, clock)
	f := federatedAzureAD(t, cloud, i)
	second := newIssuer(t, cloud, clock)
	token := i.token(t, f.audience)
	const public = "login.microsoftonline.com"
	signIn := func(changes ...string) answer { return signInAzure(t, cloud, public, token, changes...) }
	to := func(path string) answer {
		return sendForm(t, cloud, "https://"+public+path, url.Values{"grant_type": {"client_credentials"}})
	}
	claims := func(changes map[string]any) answer {
		return signInAzure(t, cloud, public, i.token(t, f.audience, changes))
	}

	tests := map[string]struct {
		got  answer
		want int
		part string
	}{
		"all is well":                            {signIn(), 200, `"expires_in":3599`},
		"a lifetime of 25 hours will do":         {claims(map[string]any{"exp": i.ago(-25 * time.Hour)}), 200, `"token_type":"Bearer"`},
		"a longer one will not":                  {claims(map[string]any{"exp": i.ago(-26 * time.Hour)}), 401, "AADSTS70023: "},
		"nor one that cannot be told":            {claims(map[string]any{"iat": nil}), 401, "AADSTS70023: "},
		"an unknown tenant is not found":         {to("/99999999-2222-3333-4444-555555555555/oauth2/v2.0/token"), 400, "AADSTS90002: Tenant '99999999-2222-3333-4444-555555555555' not found."},
		"a tenant must look like one":            {to("/common/oauth2/v2.0/token"), 400, "AADSTS900023: "},
		"a tenant is one segment of the path":    {to("/a/" + azureTenant + "/oauth2/v2.0/token"), 404, ""},
		"a tenant is of one cloud":               {signInAzure(t, cloud, "login.microsoftonline.us", token), 400, "AADSTS90002: "},
		"an unknown application is not found":    {signIn("client_id", "99999999-bbbb-cccc-dddd-eeeeeeeeeeee"), 400, `"error":"unauthorized_client","error_description":"AADSTS700016: `},
		"a grant type is wanted":                 {signIn("grant_type", ""), 400, "AADSTS900144: The request body must contain the following parameter: 'grant_type'."},
		"another grant type is not supported":    {signIn("grant_type", "password"), 400, `"error":"unsupported_grant_type"`},
		"a client is wanted":                     {signIn("client_id", ""), 400, "'client_id'"},
		"a scope is wanted":                      {signIn("scope", ""), 400, "'scope'"},
		"another scope is refused":               {signIn("scope", "https://graph.microsoft.com/.default"), 400, "AADSTS70011: "},
		"a secret is wrong, whatever it is":      {signIn("client_secret", "s"), 401, "AADSTS7000215: Invalid client secret provided."},
		"nothing proves the application":         {signIn("client_assertion", ""), 401, "AADSTS7000218: "},
		"an assertion must be called what it is": {signIn("client_assertion_type", "jwt"), 401, "AADSTS7000218: "},
		"GET does not do":                        {send(t, cloud, http.MethodGet, "https://"+public+"/"+azureTenant+"/oauth2/v2.0/token", http.NoBody, nil), 400, "AADSTS900561: "},
		"an issuer is of an application":         {signInAzure(t, cloud, public, second.token(t, f.audience)), 401, "AADSTS700211: "},
		"an error says where to read on":         {signIn("grant_type", ""), 400, `"error_uri":"https://login.microsoftonline.com/error?code=900144"`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) { tt.got.has(t, tt.want, tt.part) })
	}
}

func TestAnAzureApplicationMayHaveSeveralFederations(t *testing.T) {
	cloud, clock := start(t)
	i := newIssuer(t, cloud, clock)
	f := federatedAzureAD(t, cloud, i)
	other := map[string]any{"sub": "system:serviceaccount:team:other"}
	f.exchange(t, i.token(t, f.audience, other)).has(t, http.StatusUnauthorized, "AADSTS700213: ")
	cloud.AddAzureApplication(fakecloud.AzureApplication{
		TenantID: azureTenant, ClientID: azureClient, Issuer: i.URL, Subject: "system:serviceaccount:team:other", Audience: "example",
	})
	f.exchange(t, i.token(t, "example", other)).has(t, http.StatusOK, "refresh_token")
	f.exchange(t, i.token(t, f.audience)).has(t, http.StatusOK, "refresh_token")
	f.exchange(t, i.token(t, "example")).has(t, http.StatusUnauthorized, "AADSTS700212: ")
}
