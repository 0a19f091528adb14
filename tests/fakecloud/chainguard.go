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

	"github.com/distribution/distribution/v3/registry/auth"
)

const (
	chainguardHost     = "issuer.enforce.dev"
	chainguardIssuer   = "https://" + chainguardHost
	chainguardExchange = "/sts/exchange"
	chainguardRegistry = "cgr.dev"
	chainguardUserName = "_token"
	chainguardLifetime = time.Hour
)

// chainguardPullers are the roles that may pull.
var chainguardPullers = []string{"registry.pull", "viewer", "editor", "owner"}

// ChainguardIdentity is an assumable identity of Chainguard.
type ChainguardIdentity struct {
	// UID is its UIDP: 40 hexadecimal digits, and any number of "/" with 16 more.
	UID string
	// Issuer and Subject are those of the tokens that may assume it.
	Issuer, Subject string
	// Audience is who these tokens must be meant for. Empty means
	// https://issuer.enforce.dev.
	Audience string
	// Roles are bound to it. Without registry.pull, viewer, editor or owner it
	// gets tokens that pull nothing. Nil means registry.pull.
	Roles []string
}

// chainguard is the token service of Chainguard, and knows the tokens that it
// issued.
type chainguard struct {
	issuers *issuers
	tokens  *issued[chainguardToken]

	mu         sync.Mutex
	identities map[string]ChainguardIdentity // by UID
}

// chainguardToken is what a token stands for.
type chainguardToken struct {
	identity  string
	audiences []string
}

func newChainguard(clock func() time.Time, issuers *issuers, ledger *ledger) *chainguard {
	return &chainguard{issuers: issuers, tokens: newIssued[chainguardToken](clock, ledger), identities: map[string]ChainguardIdentity{}}
}

// AddChainguardIdentity makes an identity, or replaces the one of this UID. Roles
// are looked at on every pull. It panics on a UID that is not one.
func (c *Cloud) AddChainguardIdentity(i ChainguardIdentity) {
	if !chainguardUID.MatchString(i.UID) {
		panic(fmt.Sprintf("fakecloud: %q is no UID of Chainguard", i.UID))
	}
	i.Audience = cmp.Or(i.Audience, chainguardIssuer)
	if i.Roles == nil {
		i.Roles = []string{"registry.pull"}
	}
	i.Roles = slices.Clone(i.Roles)
	c.chainguard.mu.Lock()
	defer c.chainguard.mu.Unlock()
	c.chainguard.identities[i.UID] = i
}

var chainguardUID = regexp.MustCompile(`^[0-9a-f]{40}(/[0-9a-f]{16})*$`)

func (*chainguard) service() Service { return Chainguard }

func (*chainguard) owns(host string) bool { return host == chainguardHost }

func (g *chainguard) identity(uid string) (ChainguardIdentity, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	identity, ok := g.identities[uid]
	return identity, ok
}

// content differs from one name to another.
func (*chainguard) content(host string) (string, bool) {
	return host, host == chainguardRegistry || strings.HasSuffix(host, "."+chainguardRegistry)
}

// admits wants a token for the registries whose identity may pull.
func (g *chainguard) admits(_, userName, password string, access []auth.Access) bool {
	token, ok := g.tokens.find(password)
	if !ok || userName != chainguardUserName || !slices.Contains(token.audiences, chainguardRegistry) {
		return false
	}
	identity, _ := g.identity(token.identity)
	return onlyPulls(access) &&
		slices.ContainsFunc(identity.Roles, func(role string) bool { return slices.Contains(chainguardPullers, role) })
}

func (*chainguard) challenge(host string) challenge { return bearerChallenge(host, "/token") }

// grpcCode is a status code of gRPC.
type grpcCode int

const (
	grpcInvalidArgument   grpcCode = 3
	grpcNotFound          grpcCode = 5
	grpcPermissionDenied  grpcCode = 7
	grpcResourceExhausted grpcCode = 8
	grpcUnimplemented     grpcCode = 12
	grpcInternal          grpcCode = 13
	grpcUnavailable       grpcCode = 14
	grpcUnauthenticated   grpcCode = 16
)

// grpcHTTP gives codes of gRPC the HTTP statuses that its gateway answers with.
var grpcHTTP = map[grpcCode]int{
	grpcInvalidArgument:   http.StatusBadRequest,
	grpcNotFound:          http.StatusNotFound,
	grpcPermissionDenied:  http.StatusForbidden,
	grpcResourceExhausted: http.StatusTooManyRequests,
	grpcUnimplemented:     http.StatusNotImplemented,
	grpcInternal:          http.StatusInternalServerError,
	grpcUnavailable:       http.StatusServiceUnavailable,
	grpcUnauthenticated:   http.StatusUnauthorized,
}

// grpcStatus is an error of the service, as its wire format has it.
type grpcStatus struct {
	Code    grpcCode `json:"code"`
	Message string   `json:"message"`
	Details []any    `json:"details"`
}

func (s *grpcStatus) Error() string { return s.Message }

func newGRPCStatus(code grpcCode, message string) *grpcStatus {
	return &grpcStatus{Code: code, Message: message, Details: []any{}}
}

// chainguardAnswer is a token on the wire, in the names of protojson.
type chainguardAnswer struct {
	Token        string  `json:"token"`
	RefreshToken string  `json:"refreshToken"`
	Expiry       *string `json:"expiry"`
}

func (g *chainguard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer, failure := g.answer(r)
	if failure != nil {
		sendJSON(w, grpcHTTP[failure.Code], failure)
		return
	}
	sendJSON(w, http.StatusOK, answer)
}

// answer exchanges the bearer token of a request. Parameters are read from the
// query and from a form; the gateway maps no body of another type.
func (g *chainguard) answer(r *http.Request) (*chainguardAnswer, *grpcStatus) {
	if r.URL.Path != chainguardExchange {
		return nil, newGRPCStatus(grpcNotFound, "Not Found")
	}
	if r.Method != http.MethodPost && r.Method != http.MethodGet {
		return nil, newGRPCStatus(grpcUnimplemented, "Method Not Allowed")
	}
	bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || bearer == "" {
		return nil, newGRPCStatus(grpcUnauthenticated, "missing bearer token")
	}
	if err := r.ParseForm(); err != nil {
		return nil, newGRPCStatus(grpcInvalidArgument, "malformed parameters")
	}
	claims, problem := g.issuers.verify(r.Context(), bearer)
	if problem != nil {
		return nil, chainguardTokenStatus(problem)
	}
	return g.exchange(claims, r.Form)
}

// exchange issues a token to an identity that trusts the claims.
func (g *chainguard) exchange(claims tokenClaims, form url.Values) (*chainguardAnswer, *grpcStatus) {
	uid, audiences := form.Get("identity"), form["aud"]
	if len(audiences) == 0 {
		return nil, newGRPCStatus(grpcInvalidArgument, "at least one audience must be specified")
	}
	if !chainguardUID.MatchString(uid) {
		return nil, newGRPCStatus(grpcInvalidArgument, "identity is not a valid UIDP")
	}
	identity, ok := g.identity(uid)
	if !ok {
		return nil, newGRPCStatus(grpcNotFound, fmt.Sprintf("identity %q not found", uid))
	}
	if !(federation{identity.Issuer, identity.Audience, identity.Subject}).trusts(claims) {
		return nil, newGRPCStatus(grpcPermissionDenied, fmt.Sprintf("the presented token may not assume identity %q", uid))
	}
	expires := g.tokens.expiry(chainguardLifetime)
	token := newJWT(map[string]any{"iss": chainguardIssuer, "sub": uid, "aud": audiences, "exp": expires.Unix()})
	g.tokens.add(token, chainguardToken{identity: uid, audiences: slices.Clone(audiences)}, expires)
	expiry := expires.UTC().Format(time.RFC3339)
	return &chainguardAnswer{Token: token, Expiry: &expiry}, nil
}

// chainguardTokenStatus words why a token was not accepted.
func chainguardTokenStatus(problem *tokenError) *grpcStatus {
	if problem.problem == tokenKeysUnreachable {
		return newGRPCStatus(grpcUnavailable, "failed to fetch the keys of the issuer")
	}
	return newGRPCStatus(grpcUnauthenticated, "failed to verify the bearer token: "+problem.Error())
}

// chainguardFaults gives the injected faults that are errors their codes.
var chainguardFaults = map[FaultKind]*grpcStatus{
	Throttle:    newGRPCStatus(grpcResourceExhausted, "rate limit exceeded"),
	ServerError: newGRPCStatus(grpcInternal, "internal error"),
	Denied:      newGRPCStatus(grpcPermissionDenied, "permission denied"),
}

func (*chainguard) writeFault(w http.ResponseWriter, kind FaultKind) {
	if kind == Empty {
		sendJSON(w, http.StatusOK, chainguardAnswer{})
		return
	}
	fault := chainguardFaults[kind]
	sendJSON(w, grpcHTTP[fault.Code], fault)
}
