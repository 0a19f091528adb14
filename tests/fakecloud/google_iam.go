package fakecloud

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	impersonatePrefix = "/v1/projects/-/serviceAccounts/"
	impersonateSuffix = ":generateAccessToken"
	delegatePrefix    = "projects/-/serviceAccounts/"
	iamScope          = "https://www.googleapis.com/auth/iam"
)

// googleIAM is the Service Account Credentials API of Google, over REST, in every
// universe: it gives tokens of service accounts to those that may impersonate them.
type googleIAM struct{ *google }

func (googleIAM) service() Service { return GoogleIAM }

func (g googleIAM) owns(host string) bool {
	_, ok := g.universeOf(host, "iamcredentials")
	return ok
}

// googleError is an error on the wire.
type googleError struct {
	Error googleErrorBody `json:"error"`
}

type googleErrorBody struct {
	Code    int               `json:"code"`
	Message string            `json:"message"`
	Status  string            `json:"status"`
	Details []googleErrorInfo `json:"details,omitempty"`
}

type googleErrorInfo struct {
	Type     string            `json:"@type"`
	Reason   string            `json:"reason"`
	Domain   string            `json:"domain"`
	Metadata map[string]string `json:"metadata,omitempty"`
}

func newGoogleError(code int, status, message string) *googleError {
	return &googleError{googleErrorBody{Code: code, Status: status, Message: message}}
}

// because adds the reason that programs read.
func (e *googleError) because(reason, domain string, metadata map[string]string) *googleError {
	e.Error.Details = append(e.Error.Details, googleErrorInfo{"type.googleapis.com/google.rpc.ErrorInfo", reason, domain, metadata})
	return e
}

func (g googleIAM) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, requestLimit)
	answer, failure := g.answer(r)
	if failure != nil {
		sendJSON(w, failure.Error.Code, failure)
		return
	}
	sendJSON(w, http.StatusOK, answer)
}

// impersonation is a request for a token of a service account.
type impersonation struct {
	Name      string   `json:"name"` // repeats the path, if it is there
	Delegates []string `json:"delegates"`
	Scope     []string `json:"scope"`
	Lifetime  string   `json:"lifetime"` // seconds with an "s"
}

// answer does not look at the query: clients put options for the form of the answer
// there.
func (g googleIAM) answer(r *http.Request) (any, *googleError) {
	rest, ok := strings.CutPrefix(r.URL.Path, impersonatePrefix)
	email, method := strings.CutSuffix(rest, impersonateSuffix)
	if !ok || !method || r.Method != http.MethodPost {
		return nil, newGoogleError(http.StatusNotFound, "NOT_FOUND", "Requested entity was not found.")
	}
	caller, failure := g.caller(r)
	if failure != nil {
		return nil, failure
	}
	var request impersonation
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&request); err != nil || request.Name != "" && request.Name != delegatePrefix+email {
		return nil, invalidArgument("Invalid JSON payload received.")
	}
	if len(request.Scope) == 0 {
		return nil, invalidArgument("Scope required.")
	}
	lifetime, err := googleDuration(request.Lifetime)
	if err != nil {
		return nil, invalidArgument("Invalid value at 'lifetime' (type.googleapis.com/google.protobuf.Duration)")
	}
	if failure := g.checkEnabled(caller.principal); failure != nil {
		return nil, failure
	}
	account, failure := g.impersonated(caller.principal, request.Delegates, email)
	if failure != nil {
		return nil, failure
	}
	if lifetime > account.MaxLifetime {
		return nil, invalidArgument(fmt.Sprintf("The access token lifetime cannot exceed %d seconds.", int(account.MaxLifetime.Seconds())))
	}
	token, expires := g.issue(googleAccess{"serviceAccount:" + email, caller.universe, request.Scope}, lifetime)
	return map[string]string{"accessToken": token, "expireTime": expires.UTC().Format(time.RFC3339)}, nil
}

func invalidArgument(message string) *googleError {
	return newGoogleError(http.StatusBadRequest, "INVALID_ARGUMENT", message)
}

// googleDuration reads the JSON form of a duration; none is an hour.
func googleDuration(s string) (time.Duration, error) {
	if s == "" {
		return googleTokenLifetime, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 || !strings.HasSuffix(s, "s") || strings.ContainsAny(s, "mhµnu") {
		return 0, fmt.Errorf("%q is not a positive number of seconds", s)
	}
	return d, nil
}

// caller returns who a request is from.
func (g googleIAM) caller(r *http.Request) (googleAccess, *googleError) {
	unauthenticated := func(reason, problem string) (googleAccess, *googleError) {
		return googleAccess{}, newGoogleError(http.StatusUnauthorized, "UNAUTHENTICATED", problem+
			" Expected OAuth 2 access token, login cookie or other valid authentication credential. "+
			"See https://developers.google.com/identity/sign-in/web/devconsole-project.").because(reason, "googleapis.com", nil)
	}
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return unauthenticated("CREDENTIALS_MISSING", "Request is missing required authentication credential.")
	}
	universe, _ := g.universeOf(hostKey(r.Host), "iamcredentials")
	caller, ok := g.tokens.find(token)
	if !ok || caller.universe != universe {
		return unauthenticated("ACCESS_TOKEN_TYPE_UNSUPPORTED", "Request had invalid authentication credentials.")
	}
	if !slices.Contains(caller.scopes, googleScope) && !slices.Contains(caller.scopes, iamScope) {
		return googleAccess{}, newGoogleError(http.StatusForbidden, "PERMISSION_DENIED", "Request had insufficient authentication scopes.").
			because("ACCESS_TOKEN_SCOPE_INSUFFICIENT", "googleapis.com", nil)
	}
	return caller, nil
}

// impersonated returns the account at the end of a chain: caller may impersonate the
// first delegate, each delegate the next, and the last of them the account.
func (g googleIAM) impersonated(caller string, delegates []string, email string) (GoogleServiceAccount, *googleError) {
	for _, delegate := range delegates {
		next, ok := strings.CutPrefix(delegate, delegatePrefix)
		if !ok {
			return GoogleServiceAccount{}, invalidArgument("Invalid form of account ID " + url.PathEscape(delegate) + ".")
		}
		account, ok := g.account(next)
		if !ok || !slices.Contains(account.TokenCreators, caller) {
			return GoogleServiceAccount{}, permissionDenied("iam.serviceAccounts.implicitDelegation")
		}
		caller = "serviceAccount:" + next
	}
	account, ok := g.account(email)
	if !ok {
		return GoogleServiceAccount{}, newGoogleError(http.StatusNotFound, "NOT_FOUND", "Not found; Gaia id not found for email "+email)
	}
	if !slices.Contains(account.TokenCreators, caller) && !slices.Contains(account.WorkloadIdentityUsers, caller) {
		return GoogleServiceAccount{}, permissionDenied("iam.serviceAccounts.getAccessToken")
	}
	return account, nil
}

func permissionDenied(permission string) *googleError {
	return newGoogleError(http.StatusForbidden, "PERMISSION_DENIED",
		fmt.Sprintf("Permission '%s' denied on resource (or it may not exist).", permission)).
		because("IAM_PERMISSION_DENIED", "iam.googleapis.com", map[string]string{"permission": permission})
}

// googleIAMFaults gives the injected faults that are errors their codes.
var googleIAMFaults = map[FaultKind]*googleError{
	Throttle: newGoogleError(http.StatusTooManyRequests, "RESOURCE_EXHAUSTED", "Quota exceeded for quota metric 'Generate credentials requests'.").
		because("RATE_LIMIT_EXCEEDED", "googleapis.com", nil),
	ServerError: newGoogleError(http.StatusInternalServerError, "INTERNAL", "Internal error encountered."),
	Denied:      permissionDenied("iam.serviceAccounts.getAccessToken"),
}

func (googleIAM) writeFault(w http.ResponseWriter, kind FaultKind) {
	if kind == Empty {
		sendJSON(w, http.StatusOK, struct{}{})
		return
	}
	fault := googleIAMFaults[kind]
	sendJSON(w, fault.Error.Code, fault)
}
