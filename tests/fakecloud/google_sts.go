package fakecloud

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// googleSTS is the Security Token Service of Google, in every universe: it turns
// the tokens of a workload identity provider into access tokens.
type googleSTS struct{ *google }

func (googleSTS) service() Service { return GoogleSTS }

func (s googleSTS) owns(host string) bool {
	_, ok := s.universe(host)
	return ok
}

var googleRegionalSTS = regexp.MustCompile(`^sts\.[a-z]+-[a-z]+\d+\.rep\.googleapis\.com$`)

// universe returns the universe of a global or regional endpoint.
func (s googleSTS) universe(host string) (string, bool) {
	if googleRegionalSTS.MatchString(host) {
		return googleUniverse, true
	}
	return s.universeOf(host, "sts")
}

// googleExchange is a request for a token. The names are those of the JSON form;
// forms have them in snake case.
type googleExchange struct {
	GrantType          string `json:"grantType"`
	RequestedTokenType string `json:"requestedTokenType"`
	SubjectTokenType   string `json:"subjectTokenType"`
	SubjectToken       string `json:"subjectToken"`
	Audience           string `json:"audience"`
	Scope              string `json:"scope"`
}

func (s googleSTS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/v1/token" || r.Method != http.MethodPost {
		sendJSON(w, http.StatusNotFound, newGoogleError(http.StatusNotFound, "NOT_FOUND", "Requested entity was not found."))
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, requestLimit)
	universe, _ := s.universe(hostKey(r.Host))
	answer, failure := s.answer(r, universe)
	if failure != nil {
		sendJSON(w, failure.status, failure)
		return
	}
	sendJSON(w, http.StatusOK, answer)
}

// answer checks the form of a request and exchanges its token.
func (s googleSTS) answer(r *http.Request, universe string) (any, *oauthError) {
	if r.Header.Get("Authorization") != "" {
		return nil, invalidGoogleRequest("The request must not be authorized.")
	}
	request, err := readGoogleExchange(r)
	switch {
	case err != nil:
		return nil, invalidGoogleRequest("The request is malformed.")
	case request.GrantType != grantTokenExchange:
		return nil, &oauthError{http.StatusBadRequest, "unsupported_grant_type", "Invalid value for \"grant_type\"."}
	case request.RequestedTokenType != tokenTypeAccess:
		return nil, invalidGoogleRequest("Invalid value for \"requested_token_type\".")
	case request.SubjectTokenType != tokenTypeJWT && request.SubjectTokenType != tokenTypeID:
		return nil, invalidGoogleRequest("Invalid value for \"subject_token_type\".")
	case request.Scope == "":
		return nil, &oauthError{http.StatusBadRequest, "invalid_scope", "Scopes must be specified."}
	case !isGoogleAudience(request.Audience):
		return nil, invalidGoogleRequest("Invalid value for \"audience\". This value should be the full resource name of the Identity Provider. " +
			"See https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token for the list of possible formats.")
	}
	provider, ok := s.provider(request.Audience, universe)
	if !ok {
		return nil, &oauthError{http.StatusBadRequest, "invalid_target", "The target service indicated by the \"audience\" parameters is invalid. " +
			"This might either be because the pool or provider is disabled or deleted or because it doesn't exist."}
	}
	principal, failure := s.principal(r.Context(), provider, request.SubjectToken)
	if failure != nil {
		return nil, failure
	}
	token, _ := s.issue(googleAccess{principal, universe, strings.Fields(request.Scope)}, googleTokenLifetime)
	return map[string]any{
		"access_token": token, "issued_token_type": tokenTypeAccess,
		"token_type": "Bearer", "expires_in": int(s.tokens.lifetime(googleTokenLifetime).Seconds()),
	}, nil
}

func invalidGoogleRequest(description string) *oauthError {
	return &oauthError{http.StatusBadRequest, "invalid_request", description}
}

func invalidGoogleGrant(format string, values ...any) *oauthError {
	return &oauthError{http.StatusBadRequest, "invalid_grant", fmt.Sprintf(format, values...)}
}

func readGoogleExchange(r *http.Request) (googleExchange, error) {
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		var request googleExchange
		err := json.NewDecoder(r.Body).Decode(&request)
		return request, err
	}
	err := r.ParseForm()
	return googleExchange{
		GrantType: r.PostForm.Get("grant_type"), RequestedTokenType: r.PostForm.Get("requested_token_type"),
		SubjectTokenType: r.PostForm.Get("subject_token_type"), SubjectToken: r.PostForm.Get("subject_token"),
		Audience: r.PostForm.Get("audience"), Scope: r.PostForm.Get("scope"),
	}, err
}

// isGoogleAudience says whether an audience has one of the forms there are. The host
// in it is the same in every universe.
func isGoogleAudience(audience string) bool {
	name, ok := strings.CutPrefix(audience, "//iam.googleapis.com/")
	return ok && googleProviderName.MatchString(name) || strings.HasPrefix(audience, "identitynamespace:")
}

// principal returns who the bearer of a token is to a provider.
func (s googleSTS) principal(ctx context.Context, provider googleProvider, token string) (string, *oauthError) {
	claims, problem := s.issuers.verify(ctx, token)
	if problem != nil {
		claims = problem.claims
	}
	if claims.Issuer != "" && claims.Issuer != provider.Issuer {
		return "", invalidGoogleGrant("The issuer in ID Token %s does not match the expected ones: %s", claims.Issuer, provider.Issuer)
	}
	if problem != nil {
		return "", googleTokenError(problem)
	}
	if claims.IssuedAt.IsZero() {
		return "", invalidGoogleGrant("The ID Token has no claim iat.")
	}
	if s.clock().Sub(claims.IssuedAt) > provider.MaxTokenAge {
		return "", staleGoogleToken(claims)
	}
	if !slices.ContainsFunc(claims.Audience, func(a string) bool { return slices.Contains(provider.Audiences, a) }) {
		return "", invalidGoogleGrant("The audience in ID Token %v does not match the expected audience.", claims.Audience)
	}
	if provider.Condition != nil && !provider.Condition(claims.All) {
		return "", &oauthError{http.StatusUnauthorized, "unauthorized_client", "The given credential is rejected by the attribute condition."}
	}
	principal, ok := provider.principal(claims.Subject)
	if !ok {
		return "", invalidGoogleGrant("The subject in ID Token is no ServiceAccount.")
	}
	return principal, nil
}

func staleGoogleToken(claims tokenClaims) *oauthError {
	return invalidGoogleGrant("ID Token issued at %d is stale to sign-in.", claims.IssuedAt.Unix())
}

// googleTokenError words why a token was not accepted.
func googleTokenError(e *tokenError) *oauthError {
	switch e.problem {
	case tokenExpired:
		return staleGoogleToken(e.claims)
	case tokenKeysUnreachable:
		return invalidGoogleGrant("Error connecting to the given credential's issuer.")
	case tokenNotYetValid:
		return invalidGoogleGrant("ID Token issued at %d is not yet valid.", e.claims.IssuedAt.Unix())
	case tokenUnknownKey, tokenBadSignature:
		return invalidGoogleGrant("The signature of the ID Token is invalid.")
	case tokenBadAlgorithm:
		return invalidGoogleGrant("The algorithm of the ID Token is not supported.")
	default:
		return invalidGoogleGrant("Unable to parse the ID Token.")
	}
}

// googleSTSFaults gives the injected faults that are errors their codes.
var googleSTSFaults = map[FaultKind]oauthError{
	Throttle:    {http.StatusTooManyRequests, "rate_limit_exceeded", "Quota exceeded for quota metric 'Token exchange requests'."},
	ServerError: {http.StatusInternalServerError, "internal_failure", "Internal error encountered."},
	Denied:      {http.StatusForbidden, "access_denied", "The caller does not have permission."},
}

func (googleSTS) writeFault(w http.ResponseWriter, kind FaultKind) {
	if kind == Empty {
		sendJSON(w, http.StatusOK, struct{}{})
		return
	}
	fault := googleSTSFaults[kind]
	sendJSON(w, fault.status, &fault)
}
