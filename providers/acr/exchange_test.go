package acr

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/imagepullsecrets/operator/internal/exchange"
	"github.com/imagepullsecrets/operator/internal/exchange/exchangetest"
	"github.com/imagepullsecrets/operator/providers"
)

var (
	testNow = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	expiry  = testNow.Add(3 * time.Hour)

	// The tokens of the ServiceAccount, the directory and the registry.
	assertion = exchangetest.JWT(map[string]any{"iat": testNow.Unix()})
	access    = "planted-access~token"
	refresh   = exchangetest.JWT(map[string]any{"sub": "planted-refresh", "exp": expiry.Unix()})
	secrets   = []string{assertion, access, refresh, "planted"}

	signedIn  = exchangetest.Reply{Body: `{"token_type":"Bearer","expires_in":3599,"ext_expires_in":3599,"access_token":"` + access + `"}`}
	exchanged = exchangetest.Reply{Body: `{"refresh_token":"` + refresh + `"}`}
)

// azure is a directory and a registry that give one reply each.
type azure struct {
	*exchangetest.Service
	provider *Provider
}

func newAzure(t *testing.T, directory, registry exchangetest.Reply) azure {
	t.Helper()
	service := exchangetest.NewService(t, func(request exchangetest.Request) exchangetest.Reply {
		if request.Host == "login.microsoftonline.com" {
			return directory
		}
		return registry
	})
	provider := mustNew(t, testConfig(), service.Client())
	provider.now = func() time.Time { return testNow }
	return azure{service, provider}
}

func (a azure) fetch(t *testing.T) (providers.Credential, error) {
	t.Helper()
	minted := 0
	credential, err := a.provider.Fetch(t.Context(), minting(t, &minted))
	if minted != 1 {
		t.Errorf("minted %d tokens", minted)
	}
	return credential, err
}

func TestFetchSendsWhatAzureReads(t *testing.T) {
	fake := newAzure(t, signedIn, exchanged)
	for range 2 {
		credential, err := fake.fetch(t)
		if err != nil {
			t.Fatal(err)
		}
		if credential.Login.Username != "00000000-0000-0000-0000-000000000000" || credential.Login.Password != refresh {
			t.Errorf("got %+v", credential.Login)
		}
		if !credential.ExpiresAt.Equal(expiry) {
			t.Errorf("expires at %s", credential.ExpiresAt)
		}
	}
	requests := fake.Requests()
	if len(requests) != 4 {
		t.Fatalf("made %d requests, want two for each exchange", len(requests))
	}
	type sent struct {
		Target      string
		Query, Form url.Values
	}
	want := []sent{
		{"POST login.microsoftonline.com/" + tenant + "/oauth2/v2.0/token", url.Values{}, url.Values{
			"grant_type": {"client_credentials"}, "client_id": {client}, "scope": {"https://containerregistry.azure.net/.default"},
			"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {assertion},
		}},
		{"POST example.azurecr.io/oauth2/exchange", url.Values{"api-version": {"2021-07-01"}}, url.Values{
			"grant_type": {"access_token"}, "service": {"example.azurecr.io"}, "tenant": {tenant}, "access_token": {access},
		}},
	}
	for i, request := range requests[:2] {
		if diff := cmp.Diff(want[i], sent{request.Method + " " + request.Host + request.Path, request.Query, request.Form}); diff != "" {
			t.Error(diff)
		}
		if got := request.Header.Get("Authorization"); got != "" {
			t.Errorf("got authorization %q", got)
		}
	}
}

func directoryRefusal(status int, code string, numbers []int, description string) exchangetest.Reply {
	body, _ := json.Marshal(map[string]any{
		"error": code, "error_description": description + " Trace ID: 8eea681d-a1eb-487d-9be7-d61225177f00 Correlation ID: d0f0de73-8a5d-4de0-99b6-83e71da1f7a4 Timestamp: 2030-01-02 03:04:05Z",
		"error_codes": numbers, "timestamp": "2030-01-02 03:04:05Z", "trace_id": "8eea681d-a1eb-487d-9be7-d61225177f00",
	})
	return exchangetest.Reply{Status: status, Body: string(body)}
}

func registryRefusal(status int, code, message string) exchangetest.Reply {
	body, _ := json.Marshal(map[string]any{"errors": []any{map[string]any{"code": code, "message": message, "detail": nil}}})
	return exchangetest.Reply{Status: status, Body: string(body)}
}

func dated(reply exchangetest.Reply, at time.Time) exchangetest.Reply {
	reply.Header = map[string]string{"Date": at.Format(http.TimeFormat)}
	return reply
}

const (
	trust = "; give " + client + " a federated credential for this cluster's issuer, the subject system:serviceaccount:team:puller and the audience api://AzureADTokenExchange"
	role  = "; give " + client + " the role AcrPull on the registry; its directory must be " + tenant
)

var html = exchangetest.Reply{Body: "planted", Header: map[string]string{"Content-Type": "text/html"}}

var directoryRefusals = map[string]refusal{
	"no federated credential": {
		directoryRefusal(400, "invalid_request", []int{70021}, "AADSTS70021: No matching federated identity record found for presented assertion."), providers.Denied,
		[]string{"AADSTS70021: No matching federated identity record found for presented assertion. (request id 8eea681d-a1eb-487d-9be7-d61225177f00)" + trust},
	},
	"another issuer": {
		directoryRefusal(401, "invalid_client", []int{700211}, "AADSTS700211: No matching federated identity record found for presented assertion issuer 'https://issuer.example'."), providers.Denied,
		[]string{"AADSTS700211: No matching", "issuer 'https://issuer.example'", trust},
	},
	"another audience": {
		directoryRefusal(401, "invalid_client", []int{700212}, "AADSTS700212: No matching federated identity record found for presented assertion audience 'x'."), providers.Denied, []string{trust},
	},
	"another subject": {
		directoryRefusal(401, "invalid_client", []int{700213}, "AADSTS700213: No matching federated identity record found for presented assertion subject 'system:serviceaccount:xxx:yyy'. Check your federated identity credential Subject, Audience and Issuer against the presented assertion."), providers.Denied,
		[]string{"AADSTS700213: No matching", "system:serviceaccount:xxx:yyy", trust},
	},
	"a subject in another case": {
		directoryRefusal(401, "invalid_client", []int{7002138}, "AADSTS7002138: No matching federated identity record found for presented assertion subject 'x'. The subject matches with case-insensitive comparison, but not with case-sensitive comparison."), providers.Denied,
		[]string{"case-sensitive", trust},
	},
	"a token that is not valid yet, by a fast cluster": {
		dated(directoryRefusal(401, "invalid_client", []int{700024}, "AADSTS700024: Client assertion is not within its valid time range."), testNow.Add(-time.Hour)), providers.ClockSkew,
		[]string{"AADSTS700024: Client assertion", "; this cluster's clock is 1h0m0s ahead of Azure's: set it right"},
	},
	"a token of the wrong time, in older wording": {
		directoryRefusal(401, "invalid_client", []int{70002, 50012}, "AADSTS70002: Error validating credentials. AADSTS50012: Client assertion is not within its valid time range."), providers.ClockSkew,
		[]string{"set the clocks of the cluster's API servers right"},
	},
	"a token signed by a key that is not the issuer's": {
		directoryRefusal(401, "invalid_client", []int{50012}, "AADSTS50012: Client assertion contains an invalid signature."), providers.Denied,
		[]string{"give " + client + " a federated credential for this cluster's issuer"},
	},
	"a token that lives too long": {
		directoryRefusal(400, "invalid_request", []int{70023}, "AADSTS70023: The assertion's lifetime is too long."), providers.ClockSkew, []string{"AADSTS70023"},
	},
	"an unknown application": {
		directoryRefusal(400, "unauthorized_client", []int{700016}, "AADSTS700016: Application with identifier '"+client+"' was not found in the directory 'Example'."), providers.Invalid,
		[]string{"AADSTS700016: Application with identifier", "; check clientID and tenantID"},
	},
	"an unknown account": {
		directoryRefusal(400, "invalid_grant", []int{50034}, "AADSTS50034: The user account does not exist in the directory."), providers.Invalid, []string{"; check clientID and tenantID"},
	},
	"an unknown tenant": {
		directoryRefusal(400, "invalid_tenant", []int{90002}, "AADSTS90002: Tenant 'x' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud."), providers.Invalid,
		[]string{"AADSTS90002: Tenant 'x' not found", "; check tenantID and cloud"},
	},
	"a domain that is no tenant": {
		directoryRefusal(400, "invalid_request", []int{900023}, "AADSTS900023: Specified tenant identifier 'x' is neither a valid DNS name, nor a valid external domain."), providers.Invalid, []string{"; check tenantID and cloud"},
	},
	"a directory without registries": {
		directoryRefusal(400, "invalid_resource", []int{500011}, "AADSTS500011: The resource principal named https://containerregistry.azure.net was not found in the tenant."), providers.Denied,
		[]string{"the directory does not know Azure Container Registry"},
	},
	"a disabled application":        {directoryRefusal(401, "invalid_client", []int{7000112}, "AADSTS7000112: Application is disabled."), providers.Denied, []string{"; let an administrator enable the application"}},
	"a policy that forbids it":      {directoryRefusal(400, "invalid_grant", []int{53003}, "AADSTS53003: Access has been blocked by Conditional Access policies."), providers.Denied, []string{"conditional access policies"}},
	"an issuer that does not serve": {directoryRefusal(400, "invalid_request", []int{50166}, "AADSTS50166: Request to External OIDC endpoint failed."), providers.Transient, []string{"let the cluster's issuer serve its discovery document"}},
	"a busy directory":              {directoryRefusal(400, "temporarily_unavailable", []int{90033}, "AADSTS90033: A transient error has occurred."), providers.Transient, []string{"AADSTS90033: A transient error has occurred. (request id"}},
	"a code in the text alone":      {directoryRefusal(400, "invalid_tenant", nil, "AADSTS90002: Tenant 'x' not found."), providers.Invalid, []string{"check tenantID and cloud"}},
	"too many requests":             {directoryRefusal(429, "too_many_requests", nil, "slow down"), providers.Throttled, []string{"too_many_requests: slow down"}},
	"a code that nobody knows":      {directoryRefusal(401, "invalid_client", []int{1}, "AADSTS1: new"), providers.Denied, []string{"AADSTS1: new", trust}},
	"a request that it can't take":  {directoryRefusal(400, "invalid_request", []int{1}, "AADSTS1: new"), providers.Invalid, []string{"AADSTS1: new"}},
	"a refusal without a body":      {exchangetest.Reply{Status: 401}, providers.Denied, []string{"401 Unauthorized" + trust}},
	"a server's error":              {exchangetest.Reply{Status: 503, Body: "planted"}, providers.Transient, []string{"answered 503 Service Unavailable"}},
	"a refusal of another form":     {exchangetest.Reply{Status: 400, Body: `{"error_codes":"planted"}`}, providers.Transient, []string{"can't be read"}},
	"a portal's page":               {html, providers.Transient, []string{"with text/html instead of data"}},
	"a redirect":                    {exchangetest.Reply{Status: 302, Header: map[string]string{"Location": "https://evil.example/"}}, providers.Transient, []string{"redirect"}},
	"an endless answer":             {exchangetest.Reply{Body: strings.Repeat(" ", exchange.MaxBody+1)}, providers.Transient, []string{"longer than 1048576 bytes"}},
	"a truncated answer":            {exchangetest.Reply{Body: `{"access_token":"planted`}, providers.Transient, []string{"can't be read"}},
	"no token":                      {exchangetest.Reply{Body: `{}`}, providers.Transient, []string{"the answer holds no token"}},
	"a token that is no text":       {exchangetest.Reply{Body: `{"access_token":"planted\r\n"}`}, providers.Transient, []string{"characters that no token has"}},
}

var registryRefusals = map[string]refusal{
	"an application without a role": {
		registryRefusal(401, "UNAUTHORIZED", "authentication required, visit https://aka.ms/acr/authorization for more information."), providers.Denied,
		[]string{"UNAUTHORIZED: authentication required, visit https://aka.ms/acr/authorization for more information." + role},
	},
	"a registry that denies":       {registryRefusal(403, "DENIED", "requested access to the resource is denied"), providers.Denied, []string{"DENIED: requested access", role}},
	"a network that isn't let in":  {registryRefusal(403, "DENIED", "client with IP '203.0.113.7' is not allowed access. Refer https://aka.ms/acr/firewall to grant access."), providers.Denied, []string{"203.0.113.7", "; let the network rules of the registry admit this cluster"}},
	"a code of a busy registry":    {registryRefusal(400, "TOOMANYREQUESTS", "too many requests"), providers.Throttled, []string{"TOOMANYREQUESTS: too many requests"}},
	"a registry without exchange":  {registryRefusal(404, "NOT_FOUND", "404 page not found"), providers.Invalid, []string{"NOT_FOUND", "; check registry"}},
	"a registry's server error":    {registryRefusal(500, "UNKNOWN", "oops"), providers.Transient, []string{"UNKNOWN: oops"}},
	"a refusal without a body":     {exchangetest.Reply{Status: 401}, providers.Denied, []string{"401 Unauthorized" + role}},
	"a refusal of no errors":       {exchangetest.Reply{Status: 429, Body: `{"errors":[]}`}, providers.Throttled, []string{"429 Too Many Requests"}},
	"a refusal of another form":    {exchangetest.Reply{Status: 400, Body: `{"errors":"planted"}`}, providers.Transient, []string{"can't be read"}},
	"a portal's page":              {html, providers.Transient, []string{"with text/html instead of data"}},
	"no token":                     {exchangetest.Reply{Body: `{}`}, providers.Transient, []string{"the answer holds no token"}},
	"a token that is no JWT":       {exchangetest.Reply{Body: `{"refresh_token":"planted"}`}, providers.Transient, []string{"the answer's token can't be read: it is not a JWT"}},
	"a token without an expiry":    {exchangetest.Reply{Body: `{"refresh_token":"e30.e30."}`}, providers.Transient, []string{"does not say when its token expires"}},
	"a token that is over already": {withExpiry(testNow), providers.Transient, []string{"expired at 2030-01-02T03:04:05Z already"}},
	"a token that is over by a fast clock": {dated(withExpiry(testNow.Add(-time.Minute)), testNow.Add(-3*time.Hour)), providers.ClockSkew,
		[]string{"this machine's clock is 3h0m0s ahead of Azure's: set it right"}},
}

func withExpiry(at time.Time) exchangetest.Reply {
	return exchangetest.Reply{Body: `{"refresh_token":"` + exchangetest.JWT(map[string]any{"exp": at.Unix()}) + `"}`}
}

type refusal struct {
	reply exchangetest.Reply
	class providers.Class
	want  []string
}

func TestFetchTellsWhatWentWrong(t *testing.T) {
	check := func(t *testing.T, fake azure, test refusal, where string, calls int) {
		t.Helper()
		credential, err := fake.fetch(t)
		exchangetest.CheckError(t, err, test.class, append(test.want, where), secrets)
		if credential != (providers.Credential{}) {
			t.Errorf("got a credential until %s", credential.ExpiresAt)
		}
		if got := len(fake.Requests()); got != calls {
			t.Errorf("made %d requests, want %d", got, calls)
		}
	}
	for name, test := range directoryRefusals {
		t.Run("the directory: "+name, func(t *testing.T) {
			check(t, newAzure(t, test.reply, exchanged), test, "sign-in at login.microsoftonline.com: ", 1)
		})
	}
	for name, test := range registryRefusals {
		t.Run("the registry: "+name, func(t *testing.T) {
			check(t, newAzure(t, signedIn, test.reply), test, "token exchange at example.azurecr.io: ", 2)
		})
	}
}

func TestTheHostThatIsDownIsToldFromTheOther(t *testing.T) {
	const directory, registry = "login.microsoftonline.com", "example.azurecr.io"
	oops := exchangetest.Reply{Status: 503, Body: `{}`}
	for name, test := range map[string]struct {
		directory, registry exchangetest.Reply
		down                string
	}{
		"the directory fails":                {oops, exchanged, directory},
		"the registry fails":                 {signedIn, oops, registry},
		"the directory's page is unreadable": {html, exchanged, directory},
		"the registry's page is unreadable":  {signedIn, html, registry},
		"the directory refuses":              {exchangetest.Reply{Status: 401}, exchanged, ""},
		"the registry refuses":               {signedIn, exchangetest.Reply{Status: 401}, ""},
		"the directory's answer is empty":    {exchangetest.Reply{Body: `{}`}, exchanged, ""},
		"the registry's answer is empty":     {signedIn, exchangetest.Reply{Body: `{}`}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			fake := newAzure(t, test.directory, test.registry)
			_, err := fake.fetch(t)
			if got := providers.DownHost(err); err == nil || got != test.down {
				t.Errorf("%q is said to be down: %v", got, err)
			}
			if got := fake.provider.Endpoints(); !slices.Equal(got, []string{directory, registry}) {
				t.Errorf("the endpoints are %s", got)
			}
		})
	}
}

func TestAMachineThatIsBehindTakesTheLoginForOverInTime(t *testing.T) {
	const behind = 7 * time.Minute
	credential, err := newAzure(t, signedIn, dated(withExpiry(expiry.Add(behind)), testNow.Add(behind))).fetch(t)
	if err != nil || !credential.ExpiresAt.Equal(expiry) || credential.Skew != "this machine's clock is 7m0s behind "+whose {
		t.Errorf("expires at %s, want %s, %q (%v)", credential.ExpiresAt, expiry, credential.Skew, err)
	}
}

func TestRefusalsThatQuoteTokensDoNotTellThem(t *testing.T) {
	_, err := newAzure(t, directoryRefusal(400, "invalid_request", nil, "AADSTS1: bad "+assertion), exchanged).fetch(t)
	exchangetest.CheckError(t, err, providers.Invalid, []string{"AADSTS1: bad ***"}, secrets)
	_, err = newAzure(t, signedIn, registryRefusal(400, access, "bad "+access+" "+assertion)).fetch(t)
	exchangetest.CheckError(t, err, providers.Invalid, []string{"400 Bad Request: bad *** ***"}, secrets)
}

func TestFetchEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	released := make(chan struct{})
	defer close(released)
	service := exchangetest.NewService(t, func(exchangetest.Request) exchangetest.Reply {
		cancel()
		<-released
		return signedIn
	})
	minted := 0
	_, err := mustNew(t, testConfig(), service.Client()).Fetch(ctx, minting(t, &minted))
	exchangetest.CheckError(t, err, providers.Transient, []string{"cancelled"}, secrets)
}

func FuzzAnswers(f *testing.F) {
	for _, seed := range []string{signedIn.Body, exchanged.Body, `{}`, `null`, `[]`, `{"refresh_token":"e30.eyJleHAiOjFlMzAwfQ.x"}`, `{"errors":[null]}`, `{"error_description":"AADSTS99999999999999999999: x"}`} {
		f.Add(200, seed)
	}
	for _, tests := range []map[string]refusal{directoryRefusals, registryRefusals} {
		for _, test := range tests {
			f.Add(max(test.reply.Status, 200), test.reply.Body)
		}
	}
	provider := mustNew(f, testConfig(), nil)
	f.Fuzz(func(t *testing.T, status int, body string) {
		answer := exchange.Answer{Status: status, Body: []byte(body)}
		run := run{Provider: provider, scrub: exchange.NewScrubber(assertion, access)}
		one, oneErr := readAccessToken(provider.directoryCall(), answer)
		other, _, otherErr := readRefreshToken(provider.registryCall(), answer)
		for _, read := range []struct {
			token string
			err   error
		}{{one, oneErr}, {other, otherErr}} {
			if read.err == nil && (read.token == "" || strings.ContainsAny(read.token, "\r\n \x00")) {
				t.Errorf("got token %q", read.token)
			}
		}
		for _, err := range []error{oneErr, otherErr, run.directoryRefused(answer, assertion), run.registryRefused(answer)} {
			var failure *providers.Error
			if err != nil && (!errors.As(err, &failure) || failure.Class == 0 || len([]rune(err.Error())) > 1024 || strings.Contains(err.Error(), access)) {
				t.Errorf("got %v", err)
			}
		}
	})
}
