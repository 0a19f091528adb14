package fakecloud

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"
)

const (
	jfrogExchange = "/access/api/v1/oidc/token"
	jfrogLifetime = time.Hour
)

// JFrogProvider is an OIDC integration of a JFrog platform with one identity
// mapping.
type JFrogProvider struct {
	// Host is the platform, such as example.jfrog.io.
	Host string
	// Name is that of the integration.
	Name string
	// ProjectKey must be named if it is not empty.
	ProjectKey string
	// IdentityMapping is the name of the mapping, which requests may state.
	IdentityMapping string
	// Issuer and Subject are those of the tokens that are mapped.
	Issuer, Subject string
	// Audience is who these tokens must be meant for. Empty means anyone.
	Audience string
	// Username is whom they are mapped to.
	Username string
	// OmitUsername leaves the user name out of the answer, as older platforms do:
	// the subject of the token ends in it.
	OmitUsername bool
	// Registries are the hosts that the user pulls from. Nil means Host.
	Registries []string
}

// jfrog is the access service of every JFrog platform, and knows the tokens that
// it issued.
type jfrog struct {
	issuers *issuers
	logins  *hostLogins

	mu        sync.Mutex
	providers map[string]map[string]JFrogProvider // by host, then by name
}

func newJFrog(clock func() time.Time, issuers *issuers, ledger *ledger) *jfrog {
	return &jfrog{issuers: issuers, logins: newHostLogins(clock, ledger, func(host string) challenge { return bearerChallenge(host, "/v2/token") }), providers: map[string]map[string]JFrogProvider{}}
}

// AddJFrogProvider makes an integration, its platform and its registries, or
// replaces the integration of this host and name. It panics on a host that the
// cloud has for something else.
func (c *Cloud) AddJFrogProvider(p JFrogProvider) {
	p.Host = hostKey(p.Host)
	if p.Registries == nil {
		p.Registries = []string{p.Host}
	}
	p.Registries = hostKeys(p.Registries)
	c.claimHost(p.Host, c.jfrog)
	c.claimRegistries(p.Registries, c.jfrog.logins)
	c.jfrog.logins.addHosts(p.Registries)
	c.jfrog.mu.Lock()
	defer c.jfrog.mu.Unlock()
	if c.jfrog.providers[p.Host] == nil {
		c.jfrog.providers[p.Host] = map[string]JFrogProvider{}
	}
	c.jfrog.providers[p.Host][p.Name] = p
}

func (*jfrog) service() Service { return JFrog }

func (j *jfrog) owns(host string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.providers[host]) > 0
}

func (*jfrog) ownsPath(path string) bool { return path == jfrogExchange }

func (j *jfrog) provider(host, name string) (JFrogProvider, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	provider, ok := j.providers[host][name]
	return provider, ok
}

// jfrogAnswer is a token on the wire.
type jfrogAnswer struct {
	Token     string `json:"access_token"`
	ExpiresIn int    `json:"expires_in"`
	Scope     string `json:"scope"`
	Type      string `json:"token_type"`
	Issued    string `json:"issued_token_type"`
	Username  string `json:"username,omitempty"`
}

func (j *jfrog) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != jfrogExchange || r.Method != http.MethodPost {
		registryError{http.StatusNotFound, "NOT_FOUND", "Not Found"}.write(w)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, requestLimit)
	provider, failure := j.check(r)
	if failure != nil {
		failure.write(w)
		return
	}
	expires := j.logins.expiry(jfrogLifetime)
	subject := "jfac@01fakecloud/users/" + provider.Username
	token := newJWT(map[string]any{"iss": "jfac@01fakecloud", "sub": subject, "scp": "applied-permissions/user", "exp": expires.Unix()})
	j.logins.add(token, hostLogin{userName: provider.Username, hosts: provider.Registries}, expires)
	answer := jfrogAnswer{
		Token: token, ExpiresIn: int(j.logins.lifetime(jfrogLifetime) / time.Second), Scope: "applied-permissions/user",
		Type: "Bearer", Issued: tokenTypeAccess, Username: provider.Username,
	}
	if provider.OmitUsername {
		answer.Username = ""
	}
	sendJSON(w, http.StatusOK, answer)
}

// check returns the integration that takes the token of a request.
func (j *jfrog) check(r *http.Request) (JFrogProvider, *registryError) {
	parameters, err := jsonParameters(r)
	if err != nil {
		return JFrogProvider{}, jfrogBadRequest("Failed to parse the request body")
	}
	if failure := checkExchange(parameters, tokenTypeID); failure != nil {
		return JFrogProvider{}, jfrogBadRequest(failure.Description)
	}
	name := parameters.Get("provider_name")
	provider, ok := j.provider(hostKey(r.Host), name)
	if !ok {
		return JFrogProvider{}, &registryError{http.StatusNotFound, "NOT_FOUND", fmt.Sprintf("OIDC provider '%s' was not found", name)}
	}
	claims, problem := j.issuers.verify(r.Context(), parameters.Get("subject_token"))
	switch {
	case problem != nil && problem.problem == tokenKeysUnreachable:
		return JFrogProvider{}, &registryError{http.StatusInternalServerError, "INTERNAL_SERVER_ERROR", "Failed to fetch the keys of the OIDC provider"}
	case problem != nil:
		return JFrogProvider{}, &registryError{http.StatusUnauthorized, "UNAUTHORIZED", "Token validation failed: " + problem.Error()}
	case claims.Issuer != provider.Issuer:
		return JFrogProvider{}, jfrogBadRequest("Invalid issuer")
	case provider.Audience != "" && !slices.Contains(claims.Audience, provider.Audience):
		return JFrogProvider{}, jfrogBadRequest("Invalid audience")
	case !provider.maps(claims, parameters):
		return JFrogProvider{}, &registryError{http.StatusForbidden, "FORBIDDEN", "No identity mapping matches the token"}
	default:
		return provider, nil
	}
}

// maps says whether the identity mapping of p is for a token.
func (p JFrogProvider) maps(claims tokenClaims, parameters url.Values) bool {
	asked := cmp.Or(parameters.Get("identity_mapping_name"), p.IdentityMapping)
	return claims.Subject == p.Subject && asked == p.IdentityMapping && parameters.Get("project_key") == p.ProjectKey
}

func jfrogBadRequest(message string) *registryError {
	return &registryError{http.StatusBadRequest, "BAD_REQUEST", message}
}

// jfrogFaults gives the injected faults that are errors their codes.
var jfrogFaults = map[FaultKind]registryError{
	Throttle:    {http.StatusTooManyRequests, "TOO_MANY_REQUESTS", "Too many requests"},
	ServerError: {http.StatusInternalServerError, "INTERNAL_SERVER_ERROR", "Internal server error"},
	Denied:      {http.StatusForbidden, "FORBIDDEN", "Forbidden"},
}

func (*jfrog) writeFault(w http.ResponseWriter, kind FaultKind) {
	if kind == Empty {
		sendJSON(w, http.StatusOK, struct{}{})
		return
	}
	jfrogFaults[kind].write(w)
}
