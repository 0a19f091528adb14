package fakecloud

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/distribution/distribution/v3/registry/auth"
)

const (
	ecrUserName       = "AWS"
	ecrTargetPrefix   = "AmazonEC2ContainerRegistry_V20150921."
	ecrGetToken       = ecrTargetPrefix + "GetAuthorizationToken"
	ecrPasswordLength = 1300 // bytes before base64: real passwords are about as long
)

// ecr is the API of AWS Elastic Container Registry, and knows the tokens that it
// issued.
type ecr struct {
	clock  func() time.Time
	iam    *iam
	ledger *ledger

	mu       sync.Mutex
	lifetime time.Duration
	tokens   map[[sha256.Size]byte]ecrToken // by hash of the password: a lookup that leaks no timing of secrets
}

// ecrToken is what a password stands for.
type ecrToken struct {
	holder  principal
	region  string
	expires time.Time
}

func newECR(clock func() time.Time, iam *iam, ledger *ledger, lifetime time.Duration) *ecr {
	return &ecr{clock: clock, iam: iam, ledger: ledger, lifetime: lifetime, tokens: map[[sha256.Size]byte]ecrToken{}}
}

func (*ecr) service() Service { return ECR }

func (*ecr) owns(host string) bool {
	_, ok := ecrEndpoint(host)
	return ok
}

func (e *ecr) setLifetime(d time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lifetime = d
}

// tokenLifetime is how long a token issued now is valid.
func (e *ecr) tokenLifetime() time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.lifetime
}

// issue makes a token for a caller, good in one region. It returns the token as
// the API states it.
func (e *ecr) issue(holder principal, region string) (token string, expires time.Time) {
	password := randomSecret(ecrPasswordLength)
	token = base64.StdEncoding.EncodeToString([]byte(ecrUserName + ":" + password))
	e.mu.Lock()
	expires = e.clock().Add(e.ledger.limited(e.lifetime)).Truncate(time.Millisecond) // as precise as the answer states it
	e.tokens[sha256.Sum256([]byte(password))] = ecrToken{holder: holder, region: region, expires: expires}
	e.mu.Unlock()
	e.ledger.issue(token, password)
	return token, expires
}

// content is the same under all host names of a registry.
func (*ecr) content(host string) (string, bool) {
	at, ok := parseECRRegistry(host)
	return at.account + "/" + at.region, ok
}

// admits wants an unexpired token of the registry's region whose holder may pull
// from its account. Tokens only pull: pushing is a permission of its own, which
// this cloud does not have.
func (e *ecr) admits(host, userName, password string, access []auth.Access) bool {
	at, _ := parseECRRegistry(host)
	e.mu.Lock()
	token, ok := e.tokens[sha256.Sum256([]byte(password))]
	e.mu.Unlock()
	return ok && userName == ecrUserName && onlyPulls(access) &&
		token.region == at.region && e.clock().Before(token.expires) &&
		e.iam.mayPull(token.holder, at.account)
}

func (*ecr) challenge(host string) challenge {
	return challenge{realm: "https://" + host + "/", service: "ecr.amazonaws.com"}
}

// ecrError is an error of the service, as its wire format has it.
type ecrError struct {
	status  int
	Code    string `json:"__type"`
	Message string `json:"message"`
}

func (e *ecrError) Error() string { return e.Code + ": " + e.Message }

func (e *ecr) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer, err := e.answer(w, r)
	if err != nil {
		writeECRError(w, err)
		return
	}
	writeJSON(w, http.StatusOK, answer)
}

func (e *ecr) answer(w http.ResponseWriter, r *http.Request) (*authorizationTokens, error) {
	at, _ := ecrEndpoint(hostKey(r.Host))
	if r.Method != http.MethodPost || r.Header.Get("X-Amz-Target") != ecrGetToken {
		return nil, &ecrError{status: http.StatusBadRequest, Code: "UnknownOperationException"}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, requestLimit))
	if err != nil {
		return nil, &ecrError{http.StatusBadRequest, "SerializationException", "The request body cannot be read."}
	}
	caller, err := e.iam.authenticate(r, body, at)
	if err != nil {
		return nil, err
	}
	return e.authorizationToken(caller, at, body)
}

// authorizationTokens is the answer to GetAuthorizationToken on the wire.
type authorizationTokens struct {
	Data []authorizationData `json:"authorizationData"`
}

type authorizationData struct {
	Token         string       `json:"authorizationToken"`
	ExpiresAt     awsTimestamp `json:"expiresAt"`
	ProxyEndpoint string       `json:"proxyEndpoint"`
}

// awsTimestamp is a time as awsJson1.1 has it: seconds since 1970 with a fraction.
type awsTimestamp time.Time

// MarshalJSON writes it to the millisecond.
func (t awsTimestamp) MarshalJSON() ([]byte, error) {
	at := time.Time(t)
	return fmt.Appendf(nil, "%d.%03d", at.Unix(), at.UnixMilli()%1000), nil
}

// authorizationToken issues a token. It opens every registry that the caller may
// pull from, but proxyEndpoint names the caller's own, or those of the deprecated
// registryIds.
func (e *ecr) authorizationToken(caller principal, at awsEndpoint, body []byte) (*authorizationTokens, error) {
	var request struct {
		RegistryIDs []string `json:"registryIds"`
	}
	if err := json.Unmarshal(body, &request); err != nil {
		return nil, &ecrError{status: http.StatusBadRequest, Code: "SerializationException"}
	}
	if !e.iam.mayUseECR(caller) {
		return nil, deniedToken(caller, "ecr:GetAuthorizationToken")
	}
	accounts := request.RegistryIDs
	if len(accounts) == 0 {
		accounts = []string{caller.account}
	}
	answer := &authorizationTokens{}
	for _, account := range accounts {
		if !isAccountID(account) {
			return nil, &ecrError{http.StatusBadRequest, "InvalidParameterException",
				"Invalid parameter at 'registryIds' failed to satisfy constraint: 'must satisfy regular expression '[0-9]{12}''"}
		}
		token, expires := e.issue(caller, at.region)
		answer.Data = append(answer.Data, authorizationData{
			Token:         token,
			ExpiresAt:     awsTimestamp(expires),
			ProxyEndpoint: fmt.Sprintf("https://%s.dkr.ecr.%s.%s", account, at.region, at.partition.suffix),
		})
	}
	return answer, nil
}

// deniedToken refuses a token to a caller who lacks a permission.
func deniedToken(caller principal, permission string) *ecrError {
	return &ecrError{http.StatusBadRequest, "AccessDeniedException", fmt.Sprintf("User: %s is not authorized to perform: "+
		"%s on resource: * because no identity-based policy allows the %[2]s action", caller.arn, permission)}
}

// ecrAuthErrors gives the reasons of a failed authentication their codes.
var ecrAuthErrors = map[authReason]string{
	authMissing:    "MissingAuthenticationTokenException",
	authIncomplete: "IncompleteSignatureException",
	authUnknownKey: "UnrecognizedClientException",
	authExpired:    "ExpiredTokenException",
	authMismatch:   "InvalidSignatureException",
}

// ecrFaults gives the injected faults that are errors their codes.
var ecrFaults = map[FaultKind]ecrError{
	Throttle:    {http.StatusBadRequest, "ThrottlingException", "Rate exceeded"},
	ServerError: {http.StatusInternalServerError, "ServerException", "These errors are usually caused by a server-side issue."},
	Denied:      {http.StatusBadRequest, "AccessDeniedException", "User is not authorized to perform: ecr:GetAuthorizationToken on resource: *"},
}

func (*ecr) writeFault(w http.ResponseWriter, kind FaultKind) { writeECRFault(w, kind, "ecr") }

// writeECRFault answers with a fault in the name of either service.
func writeECRFault(w http.ResponseWriter, kind FaultKind, service string) {
	if kind == Empty {
		writeJSON(w, http.StatusOK, struct{}{})
		return
	}
	fault := ecrFaults[kind]
	fault.Message = strings.ReplaceAll(fault.Message, "ecr:", service+":")
	writeECRError(w, &fault)
}

func writeECRError(w http.ResponseWriter, err error) {
	failure := asECRError(err)
	writeJSON(w, failure.status, failure)
}

func asECRError(err error) *ecrError {
	if unauthenticated, ok := errors.AsType[*authError](err); ok {
		return &ecrError{http.StatusBadRequest, ecrAuthErrors[unauthenticated.reason], unauthenticated.message}
	}
	if failure, ok := errors.AsType[*ecrError](err); ok {
		return failure
	}
	return &ecrError{http.StatusInternalServerError, "ServerException", err.Error()}
}

// writeJSON sends an answer of the awsJson1.1 protocol.
func writeJSON(w http.ResponseWriter, status int, answer any) {
	body, err := json.Marshal(answer)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.Header().Set("X-Amzn-Requestid", newRequestID())
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
