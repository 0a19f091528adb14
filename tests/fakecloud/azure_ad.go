package fakecloud

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	azureScope            = "https://containerregistry.azure.net/.default"
	azureAssertionType    = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	azureTokenLifetime    = 3599 * time.Second
	azureAssertionLongest = 25 * time.Hour // what may lie between iat and exp
)

// azureCloud is one of the clouds of Azure, which share neither tenants nor
// registries.
type azureCloud struct {
	authorities []string // host names of its token service
	audience    string   // of tokens to be exchanged, unless an application names another
	registries  string   // suffix of its registries
}

var azureClouds = []azureCloud{
	{[]string{"login.microsoftonline.com"}, "api://AzureADTokenExchange", ".azurecr.io"},
	{[]string{"login.partner.microsoftonline.cn", "login.chinacloudapi.cn"}, "api://AzureADTokenExchangeChina", ".azurecr.cn"},
	{[]string{"login.microsoftonline.us"}, "api://AzureADTokenExchangeUSGov", ".azurecr.us"},
}

// azureCloudOf returns the cloud whose token service answers under host.
func azureCloudOf(host string) (azureCloud, bool) {
	i := slices.IndexFunc(azureClouds, func(c azureCloud) bool { return slices.Contains(c.authorities, host) })
	if i < 0 {
		return azureCloud{}, false
	}
	return azureClouds[i], true
}

// AzureApplication is an application, or a managed identity, with one federated
// credential.
type AzureApplication struct {
	// Authority is the host of the token service of the tenant's cloud. Empty means
	// login.microsoftonline.com.
	Authority string
	// TenantID and ClientID are UUIDs.
	TenantID, ClientID string
	// Issuer and Subject are those of the tokens that are taken for the
	// application.
	Issuer, Subject string
	// Audience is who these tokens must be meant for. Empty means the default of
	// the cloud, such as api://AzureADTokenExchange.
	Audience string
}

// azureAD is the token service of Azure, in all its clouds. It knows the tokens
// that it issued.
type azureAD struct {
	clock   func() time.Time
	issuers *issuers
	tokens  *issued[azureClient]

	mu      sync.Mutex
	tenants map[string]map[string][]federation // by authority of the cloud and tenant, then by client ID
}

// azureClient is who holds a token.
type azureClient struct {
	cloud  string // suffix of the cloud's registries
	tenant string
	client string
}

func newAzureAD(clock func() time.Time, issuers *issuers, ledger *ledger) *azureAD {
	return &azureAD{clock: clock, issuers: issuers, tokens: newIssued[azureClient](clock, ledger), tenants: map[string]map[string][]federation{}}
}

// AddAzureApplication makes an application and the tenant that it is in, or gives
// one that is there another federated credential. It panics on an authority that
// there is not and on IDs that are no UUIDs.
func (c *Cloud) AddAzureApplication(a AzureApplication) {
	cloud, ok := azureCloudOf(cmp.Or(a.Authority, azureClouds[0].authorities[0]))
	if !ok {
		panic(fmt.Sprintf("fakecloud: Azure has no authority %q", a.Authority))
	}
	if !uuidPattern.MatchString(a.TenantID) || !uuidPattern.MatchString(a.ClientID) {
		panic(fmt.Sprintf("fakecloud: tenant %q or client %q is no UUID", a.TenantID, a.ClientID))
	}
	tenant := azureTenantKey(cloud, a.TenantID)
	c.azureAD.mu.Lock()
	defer c.azureAD.mu.Unlock()
	if c.azureAD.tenants[tenant] == nil {
		c.azureAD.tenants[tenant] = map[string][]federation{}
	}
	c.azureAD.tenants[tenant][a.ClientID] = append(c.azureAD.tenants[tenant][a.ClientID],
		federation{issuer: a.Issuer, audience: cmp.Or(a.Audience, cloud.audience), subject: a.Subject})
}

var uuidPattern = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

func azureTenantKey(cloud azureCloud, tenant string) string { return cloud.registries + "/" + tenant }

func (*azureAD) service() Service { return AzureAD }

func (*azureAD) owns(host string) bool {
	_, ok := azureCloudOf(host)
	return ok
}

// azureFailure is an error of the service: a code of OAuth and a number of its
// own with a text.
type azureFailure struct {
	status int
	oauth  string
	number int
	text   string
}

// azureError is an error on the wire.
type azureError struct {
	Error         string `json:"error"`
	Description   string `json:"error_description"`
	Codes         []int  `json:"error_codes"`
	Timestamp     string `json:"timestamp"`
	TraceID       string `json:"trace_id"`
	CorrelationID string `json:"correlation_id"`
	URI           string `json:"error_uri"`
}

// azureToken is the answer to a request for a token on the wire.
type azureToken struct {
	Type             string `json:"token_type"`
	ExpiresIn        int    `json:"expires_in"`
	ExtendedExpiryIn int    `json:"ext_expires_in"`
	Token            string `json:"access_token"`
}

func (a *azureAD) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	tenant, ok := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/"), "/oauth2/v2.0/token")
	if !ok || strings.Contains(tenant, "/") {
		http.NotFound(w, r)
		return
	}
	answer, failure := a.answer(r, tenant)
	if failure != nil {
		a.writeFailure(w, r.Host, failure)
		return
	}
	sendJSON(w, http.StatusOK, answer)
}

// answer issues a token for the registries to an application that proves itself
// by the token of another issuer.
func (a *azureAD) answer(r *http.Request, tenant string) (*azureToken, *azureFailure) {
	if r.Method != http.MethodPost {
		return nil, &azureFailure{http.StatusBadRequest, "invalid_request", 900561,
			fmt.Sprintf("The endpoint only accepts POST requests. Received a %s request.", r.Method)}
	}
	if err := r.ParseForm(); err != nil {
		return nil, azureMissing("grant_type")
	}
	cloud, _ := azureCloudOf(hostKey(r.Host))
	credentials, failure := a.credentialsOf(cloud, tenant, r.PostForm)
	if failure != nil {
		return nil, failure
	}
	claims, problem := a.issuers.verify(r.Context(), r.PostForm.Get("client_assertion"))
	if problem != nil {
		return nil, a.tokenFailure(problem)
	}
	if failure := azureTrust(credentials, claims); failure != nil {
		return nil, failure
	}
	holder := azureClient{cloud: cloud.registries, tenant: tenant, client: r.PostForm.Get("client_id")}
	expires := a.tokens.expiry(azureTokenLifetime)
	token := newJWT(map[string]any{
		"aud": "https://containerregistry.azure.net", "iss": "https://" + cloud.authorities[0] + "/" + tenant + "/v2.0",
		"appid": holder.client, "tid": tenant, "exp": expires.Unix(),
	})
	a.tokens.add(token, holder, expires)
	seconds := int(a.tokens.lifetime(azureTokenLifetime) / time.Second)
	return &azureToken{Type: "Bearer", ExpiresIn: seconds, ExtendedExpiryIn: seconds, Token: token}, nil
}

// credentialsOf checks all of a request but the token in it, and returns the
// federated credentials of the application that it names.
func (a *azureAD) credentialsOf(cloud azureCloud, tenant string, form url.Values) ([]federation, *azureFailure) {
	if !uuidPattern.MatchString(tenant) {
		return nil, &azureFailure{http.StatusBadRequest, "invalid_request", 900023,
			fmt.Sprintf("Specified tenant identifier '%s' is neither a valid DNS name, nor a valid external domain.", tenant)}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	clients, ok := a.tenants[azureTenantKey(cloud, tenant)]
	if !ok {
		return nil, &azureFailure{http.StatusBadRequest, "invalid_request", 90002,
			fmt.Sprintf("Tenant '%s' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud.", tenant)}
	}
	if failure := azureParameters(form); failure != nil {
		return nil, failure
	}
	credentials, ok := clients[form.Get("client_id")]
	if !ok {
		return nil, &azureFailure{http.StatusBadRequest, "unauthorized_client", 700016,
			fmt.Sprintf("Application with identifier '%s' was not found in the directory '%s'.", form.Get("client_id"), tenant)}
	}
	return slices.Clone(credentials), azureProof(form)
}

// azureParameters checks what a request asks for.
func azureParameters(form url.Values) *azureFailure {
	for _, name := range []string{"grant_type", "client_id", "scope"} {
		if form.Get(name) == "" {
			return azureMissing(name)
		}
	}
	if form.Get("grant_type") != "client_credentials" {
		return &azureFailure{http.StatusBadRequest, "unsupported_grant_type", 70003, "The app requested an unsupported grant type."}
	}
	if scope := form.Get("scope"); scope != azureScope {
		return &azureFailure{http.StatusBadRequest, "invalid_scope", 70011,
			fmt.Sprintf("The provided request must include a 'scope' input parameter. The provided value for the input parameter 'scope' is not valid. "+
				"The scope %s is not valid.", scope)}
	}
	return nil
}

func azureMissing(parameter string) *azureFailure {
	return &azureFailure{http.StatusBadRequest, "invalid_request", 900144,
		fmt.Sprintf("The request body must contain the following parameter: '%s'.", parameter)}
}

// azureProof checks that an application proves itself by a token. None of them
// has a secret here.
func azureProof(form url.Values) *azureFailure {
	switch {
	case form.Has("client_secret"):
		return &azureFailure{http.StatusUnauthorized, "invalid_client", 7000215, "Invalid client secret provided. " +
			"Ensure the secret being sent in the request is the client secret value, not the client secret ID."}
	case form.Get("client_assertion") == "" || form.Get("client_assertion_type") != azureAssertionType:
		return &azureFailure{http.StatusUnauthorized, "invalid_client", 7000218,
			"The request body must contain the following parameter: 'client_assertion' or 'client_secret'."}
	default:
		return nil
	}
}

// tokenFailure words why a token was not accepted.
func (a *azureAD) tokenFailure(problem *tokenError) *azureFailure {
	switch problem.problem {
	case tokenUnknownIssuer:
		return azureNoMatch(700211, "issuer", problem.claims.Issuer)
	case tokenKeysUnreachable:
		return &azureFailure{http.StatusBadRequest, "invalid_request", 501661, "Request to External OIDC endpoint failed."}
	case tokenExpired, tokenNotYetValid:
		return a.outsideValidity(problem.claims)
	case tokenUnknownKey, tokenBadSignature:
		return &azureFailure{http.StatusUnauthorized, "invalid_client", 700027, "Client assertion failed signature validation."}
	default:
		return &azureFailure{http.StatusBadRequest, "invalid_request", 50027, "JWT token is invalid or malformed."}
	}
}

func (a *azureAD) outsideValidity(claims tokenClaims) *azureFailure {
	const precise = "2006-01-02T15:04:05.0000000Z"
	return &azureFailure{http.StatusUnauthorized, "invalid_client", 700024,
		fmt.Sprintf("Client assertion is not within its valid time range. Current time: %s, assertion valid from %s, expiry time of assertion %s.",
			a.clock().UTC().Format(precise), claims.NotBefore.UTC().Format(precise), claims.Expiry.UTC().Format(precise))}
}

// azureTrust says why none of an application's credentials takes a token: the
// issuer, the subject or the audience, whichever is wrong first.
func azureTrust(credentials []federation, claims tokenClaims) *azureFailure {
	// A token that does not say when it was issued has the longest of lifetimes.
	if claims.Expiry.Sub(claims.IssuedAt) > azureAssertionLongest {
		return &azureFailure{http.StatusUnauthorized, "invalid_client", 70023,
			"The lifetime of the presented external assertion exceeds the maximum, or it does not say when it was issued."}
	}
	if slices.ContainsFunc(credentials, func(f federation) bool { return f.trusts(claims) }) {
		return nil
	}
	ofIssuer := slices.DeleteFunc(slices.Clone(credentials), func(f federation) bool { return f.issuer != claims.Issuer })
	if len(ofIssuer) == 0 {
		return azureNoMatch(700211, "issuer", claims.Issuer)
	}
	if !slices.ContainsFunc(ofIssuer, func(f federation) bool { return f.subject == claims.Subject }) {
		return azureNoMatch(700213, "subject", claims.Subject)
	}
	return azureNoMatch(700212, "audience", strings.Join(claims.Audience, ","))
}

func azureNoMatch(number int, what, value string) *azureFailure {
	return &azureFailure{http.StatusUnauthorized, "invalid_client", number,
		fmt.Sprintf("No matching federated identity record found for presented assertion %s '%s'. "+
			"Check your federated identity credential Subject, Audience and Issuer against the presented assertion. "+
			"https://learn.microsoft.com/entra/workload-id/workload-identity-federation", what, value)}
}

// azureFaults gives the injected faults that are errors their codes.
var azureFaults = map[FaultKind]*azureFailure{
	Throttle:    {http.StatusTooManyRequests, "temporarily_unavailable", 90055, "The request was throttled due to excessive request rate."},
	ServerError: {http.StatusInternalServerError, "server_error", 90033, "A transient error has occurred. Please try again."},
	Denied:      {http.StatusBadRequest, "access_denied", 65004, "The resource owner or authorization server denied the request."},
}

func (a *azureAD) writeFault(w http.ResponseWriter, kind FaultKind) {
	if kind == Empty {
		sendJSON(w, http.StatusOK, struct{}{})
		return
	}
	a.writeFailure(w, azureClouds[0].authorities[0], azureFaults[kind])
}

func (a *azureAD) writeFailure(w http.ResponseWriter, host string, f *azureFailure) {
	trace, correlation := newRequestID(), newRequestID()
	now := a.clock().UTC().Format("2006-01-02 15:04:05Z")
	sendJSON(w, f.status, azureError{
		Error: f.oauth,
		Description: fmt.Sprintf("AADSTS%d: %s Trace ID: %s Correlation ID: %s Timestamp: %s",
			f.number, f.text, trace, correlation, now),
		Codes: []int{f.number}, Timestamp: now, TraceID: trace, CorrelationID: correlation,
		URI: fmt.Sprintf("https://%s/error?code=%d", host, f.number),
	})
}
