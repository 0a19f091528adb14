package fakecloud

import (
	"cmp"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

const exchangeTokenLength = 60 // bytes before base64

// ClientAuthentication is how a client of a [TokenServer] proves itself.
type ClientAuthentication string

// RequestFormat is how a [TokenServer] takes its parameters.
type RequestFormat string

// ExpiryStyle is how a [TokenServer] says when a token expires.
type ExpiryStyle string

const (
	// BasicClient is a login in the Authorization header, as RFC 6749 §2.3.1 has
	// it. It is how clients prove themselves unless a server says otherwise.
	BasicClient ClientAuthentication = "Basic"
	// PostClient is client_id and client_secret among the parameters.
	PostClient ClientAuthentication = "Post"

	// FormRequest is a form, as RFC 8693 has it.
	FormRequest RequestFormat = "Form"
	// JSONRequest is a JSON object of strings.
	JSONRequest RequestFormat = "JSON"

	// ExpiresIn is a number of seconds, as RFC 8693 has it.
	ExpiresIn ExpiryStyle = "ExpiresIn"
	// ExpiresAt is a time in the form of RFC 3339.
	ExpiresAt ExpiryStyle = "ExpiresAt"
	// ExpiryInToken says nothing: the token is a JWT with exp.
	ExpiryInToken ExpiryStyle = "InToken"
)

// TokenServer is a server of RFC 8693 that exchanges the tokens of one subject for
// the login of some registries.
type TokenServer struct {
	// Host and Path are where it takes POST requests. An empty Path means /token.
	Host, Path string
	// Issuer, Audience and Subject are those of the tokens that it exchanges.
	Issuer, Audience, Subject string
	// Registries are the hosts that its tokens open, as passwords of Username.
	Registries []string
	Username   string
	// Lifetime is that of its tokens. Zero means one hour.
	Lifetime time.Duration

	// Format is how it takes parameters. Empty means [FormRequest].
	Format RequestFormat
	// ClientID and ClientSecret must be presented if ClientID is not empty.
	ClientID, ClientSecret string
	// ClientAuthentication is how. Empty means [BasicClient].
	ClientAuthentication ClientAuthentication
	// SubjectTokenType is what the token must be called. Empty means
	// urn:ietf:params:oauth:token-type:jwt.
	SubjectTokenType string
	// RequestAudience must be asked for, as audience, if it is not empty.
	RequestAudience string
	// Scopes are all that may be asked for, and have to be, if there are any.
	Scopes []string
	// Parameters must be sent besides, with these values.
	Parameters map[string]string

	// TokenField is where the answer has the token: names of nested JSON objects,
	// joined by dots, such as data.token. Empty means access_token.
	TokenField string
	// Expiry is how the answer says when the token expires. Empty means
	// [ExpiresIn].
	Expiry ExpiryStyle
	// ExpiryField is where, in the form of TokenField. Empty means expires_in or
	// expires_at.
	ExpiryField string
	// UsernameField is where the answer states Username, in the form of TokenField.
	// Empty means nowhere.
	UsernameField string
}

// withDefaults returns s with its empty fields filled in and nothing shared with
// the caller.
func (s TokenServer) withDefaults() TokenServer {
	s.Host = hostKey(s.Host)
	s.Path = cmp.Or(s.Path, "/token")
	s.Lifetime = cmp.Or(s.Lifetime, time.Hour)
	s.Format = cmp.Or(s.Format, FormRequest)
	s.ClientAuthentication = cmp.Or(s.ClientAuthentication, BasicClient)
	s.SubjectTokenType = cmp.Or(s.SubjectTokenType, tokenTypeJWT)
	s.TokenField = cmp.Or(s.TokenField, "access_token")
	s.Expiry = cmp.Or(s.Expiry, ExpiresIn)
	if s.Expiry == ExpiresAt {
		s.ExpiryField = cmp.Or(s.ExpiryField, "expires_at")
	}
	s.ExpiryField = cmp.Or(s.ExpiryField, "expires_in")
	s.Registries = hostKeys(s.Registries)
	s.Scopes = slices.Clone(s.Scopes)
	s.Parameters = maps.Clone(s.Parameters)
	return s
}

// exchangeServers are all servers of RFC 8693. They know the tokens that they
// issued.
type exchangeServers struct {
	clock   func() time.Time
	issuers *issuers
	logins  *hostLogins

	mu      sync.Mutex
	servers map[string]map[string]TokenServer // by host, then by path
}

func newExchangeServers(clock func() time.Time, issuers *issuers, ledger *ledger) *exchangeServers {
	return &exchangeServers{
		clock: clock, issuers: issuers, logins: newHostLogins(clock, ledger, func(host string) challenge { return challenge{realm: host} }), servers: map[string]map[string]TokenServer{},
	}
}

// AddTokenServer makes a token server and its registries, or replaces the server
// of this host and path. It panics on a host that the cloud has for something
// else.
func (c *Cloud) AddTokenServer(s TokenServer) {
	s = s.withDefaults()
	c.claimHost(s.Host, c.exchange)
	c.claimRegistries(s.Registries, c.exchange.logins)
	c.exchange.logins.addHosts(s.Registries)
	c.exchange.mu.Lock()
	defer c.exchange.mu.Unlock()
	if c.exchange.servers[s.Host] == nil {
		c.exchange.servers[s.Host] = map[string]TokenServer{}
	}
	c.exchange.servers[s.Host][s.Path] = s
}

func (*exchangeServers) service() Service { return TokenExchange }

func (e *exchangeServers) owns(host string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.servers[host]) > 0
}

func (e *exchangeServers) ownsPath(path string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, byPath := range e.servers {
		if _, ok := byPath[path]; ok {
			return true
		}
	}
	return false
}

func (e *exchangeServers) server(host, path string) (TokenServer, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	server, ok := e.servers[host][path]
	return server, ok
}

func (e *exchangeServers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	server, ok := e.server(hostKey(r.Host), r.URL.Path)
	if !ok {
		http.NotFound(w, r)
		return
	}
	if failure := e.check(w, r, server); failure != nil {
		if failure.status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf("Basic realm=%q", server.Host))
		}
		sendJSON(w, failure.status, failure)
		return
	}
	sendJSON(w, http.StatusOK, e.issue(server))
}

// check says why a request is not served: its form, its client, what it asks for,
// its token.
func (e *exchangeServers) check(w http.ResponseWriter, r *http.Request, s TokenServer) *oauthError {
	if r.Method != http.MethodPost {
		return &oauthError{http.StatusMethodNotAllowed, "invalid_request", "the token endpoint takes POST only"}
	}
	r.Body = http.MaxBytesReader(w, r.Body, requestLimit)
	parameters, err := s.Format.parameters(r)
	if err != nil {
		return &oauthError{http.StatusBadRequest, "invalid_request", "the parameters cannot be read"}
	}
	if !s.knowsClient(r, parameters) {
		return &oauthError{http.StatusUnauthorized, "invalid_client", "client authentication failed"}
	}
	if failure := checkExchange(parameters, s.SubjectTokenType); failure != nil {
		return failure
	}
	if failure := s.checkTarget(parameters); failure != nil {
		return failure
	}
	claims, problem := e.issuers.verify(r.Context(), parameters.Get("subject_token"))
	switch {
	case problem != nil && problem.problem == tokenKeysUnreachable:
		return &oauthError{http.StatusServiceUnavailable, "temporarily_unavailable", problem.Error()}
	case problem != nil:
		// RFC 8693 §2.2.2 has invalid_request for whatever is wrong with a token.
		return &oauthError{http.StatusBadRequest, "invalid_request", "the subject_token is invalid: " + problem.Error()}
	case !(federation{s.Issuer, s.Audience, s.Subject}).trusts(claims):
		return &oauthError{http.StatusBadRequest, "invalid_request", "the subject_token is not acceptable: its issuer, audience or subject is not trusted"}
	default:
		return nil
	}
}

// parameters reads the parameters of a request.
func (f RequestFormat) parameters(r *http.Request) (url.Values, error) {
	if f == FormRequest {
		err := r.ParseForm()
		return r.PostForm, err
	}
	return jsonParameters(r)
}

// jsonParameters reads parameters from a body that is a JSON object of strings.
func jsonParameters(r *http.Request) (url.Values, error) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return nil, errors.New("the body is not declared as JSON")
	}
	var object map[string]string
	if err := json.NewDecoder(r.Body).Decode(&object); err != nil {
		return nil, err
	}
	parameters := url.Values{}
	for name, value := range object {
		parameters.Set(name, value)
	}
	return parameters, nil
}

// knowsClient says whether a request comes from the client of s, if it has one.
func (s TokenServer) knowsClient(r *http.Request, parameters url.Values) bool {
	if s.ClientID == "" {
		return true
	}
	id, secret := parameters.Get("client_id"), parameters.Get("client_secret")
	if s.ClientAuthentication == BasicClient {
		id, secret = basicClient(r)
	}
	return id == s.ClientID && subtle.ConstantTimeCompare([]byte(secret), []byte(s.ClientSecret)) == 1
}

// basicClient reads the login of a client. RFC 6749 §2.3.1 wants both halves
// encoded like values of a form.
func basicClient(r *http.Request) (id, secret string) {
	user, password, _ := r.BasicAuth()
	id, idErr := url.QueryUnescape(user)
	secret, secretErr := url.QueryUnescape(password)
	if idErr != nil || secretErr != nil {
		return "", ""
	}
	return id, secret
}

// checkExchange says why parameters are not those of an exchange of a token of
// this type.
func checkExchange(parameters url.Values, subjectTokenType string) *oauthError {
	switch grant := parameters.Get("grant_type"); {
	case grant == "":
		return &oauthError{http.StatusBadRequest, "invalid_request", "grant_type is missing"}
	case grant != grantTokenExchange:
		return &oauthError{http.StatusBadRequest, "unsupported_grant_type", "the grant type is not supported"}
	case parameters.Get("subject_token") == "":
		return &oauthError{http.StatusBadRequest, "invalid_request", "subject_token is missing"}
	case parameters.Get("subject_token_type") != subjectTokenType:
		return &oauthError{http.StatusBadRequest, "invalid_request", "subject_token_type must be " + subjectTokenType}
	default:
		return nil
	}
}

// checkTarget says why s does not give what parameters ask for.
func (s TokenServer) checkTarget(parameters url.Values) *oauthError {
	if s.RequestAudience != "" && parameters.Get("audience") != s.RequestAudience {
		return &oauthError{http.StatusBadRequest, "invalid_target", "the audience is unknown"}
	}
	asked := strings.Fields(parameters.Get("scope"))
	if !slices.Equal(slices.Sorted(slices.Values(asked)), slices.Sorted(slices.Values(s.Scopes))) {
		return &oauthError{http.StatusBadRequest, "invalid_scope", "the scope is not the one that is granted"}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Parameters)) {
		if parameters.Get(name) != s.Parameters[name] {
			return &oauthError{http.StatusBadRequest, "invalid_request", name + " is missing or wrong"}
		}
	}
	return nil
}

// issue makes a token and the answer that holds it.
func (e *exchangeServers) issue(s TokenServer) map[string]any {
	expires := e.logins.expiry(s.Lifetime)
	token := randomSecret(exchangeTokenLength)
	answer := map[string]any{"issued_token_type": tokenTypeAccess, "token_type": "Bearer"}
	switch s.Expiry {
	case ExpiryInToken:
		token = newJWT(map[string]any{"iss": "https://" + s.Host, "sub": s.Username, "exp": expires.Unix()})
	case ExpiresAt:
		setField(answer, s.ExpiryField, expires.UTC().Format(time.RFC3339))
	default:
		setField(answer, s.ExpiryField, int(e.logins.lifetime(s.Lifetime)/time.Second))
	}
	setField(answer, s.TokenField, token)
	if s.UsernameField != "" {
		setField(answer, s.UsernameField, s.Username)
	}
	e.logins.add(token, hostLogin{userName: s.Username, hosts: s.Registries}, expires)
	return answer
}

// setField sets what a path of names joined by dots leads to, and makes the
// objects on the way.
func setField(object map[string]any, path string, value any) {
	name, rest, nested := strings.Cut(path, ".")
	if !nested {
		object[name] = value
		return
	}
	inner, ok := object[name].(map[string]any)
	if !ok {
		inner = map[string]any{}
		object[name] = inner
	}
	setField(inner, rest, value)
}

// exchangeFaults gives the injected faults that are errors their codes.
var exchangeFaults = map[FaultKind]*oauthError{
	Throttle:    {http.StatusTooManyRequests, "slow_down", "too many requests"},
	ServerError: {http.StatusInternalServerError, "server_error", "an unexpected condition was encountered"},
	Denied:      {http.StatusForbidden, "access_denied", "the request was denied"},
}

func (*exchangeServers) writeFault(w http.ResponseWriter, kind FaultKind) {
	if kind == Empty {
		sendJSON(w, http.StatusOK, struct{}{})
		return
	}
	fault := exchangeFaults[kind]
	sendJSON(w, fault.status, fault)
}
