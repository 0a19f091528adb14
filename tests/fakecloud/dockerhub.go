package fakecloud

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/distribution/distribution/v3/registry/auth"
)

const (
	dockerHubHost     = "identity.docker.com"
	dockerHubAudience = "https://" + dockerHubHost
	dockerHubExchange = "/oauth/token"
	dockerHubShortest = 300 * time.Second
	dockerHubLongest  = 3600 * time.Second
)

// dockerHubRegistries are the names of Docker's registry. They all lead to the
// same content.
var dockerHubRegistries = []string{"docker.io", "index.docker.io", "registry-1.docker.io"}

// DockerHubConnection is an OIDC connection of an organisation of Docker Hub, with
// one rule.
type DockerHubConnection struct {
	// ID is a UUID.
	ID string
	// Organisation is whose images are pulled, and the user name of the login.
	Organisation string
	// Issuer and Subject are those of the tokens that are exchanged. They must be
	// meant for https://identity.docker.com.
	Issuer, Subject string
}

// dockerHub is the identity service of Docker, and knows the tokens that it
// issued.
type dockerHub struct {
	issuers *issuers
	tokens  *issued[string] // organisations

	mu          sync.Mutex
	connections map[string]DockerHubConnection // by ID
}

func newDockerHub(clock func() time.Time, issuers *issuers, ledger *ledger) *dockerHub {
	return &dockerHub{issuers: issuers, tokens: newIssued[string](clock, ledger), connections: map[string]DockerHubConnection{}}
}

// AddDockerHubConnection makes a connection, or replaces the one of this ID. It
// panics on an ID that is no UUID.
func (c *Cloud) AddDockerHubConnection(connection DockerHubConnection) {
	if !uuidPattern.MatchString(connection.ID) {
		panic(fmt.Sprintf("fakecloud: %q is no UUID", connection.ID))
	}
	c.dockerHub.mu.Lock()
	defer c.dockerHub.mu.Unlock()
	c.dockerHub.connections[connection.ID] = connection
}

func (*dockerHub) service() Service { return DockerHub }

func (*dockerHub) owns(host string) bool { return host == dockerHubHost }

// content is the same under all names.
func (*dockerHub) content(host string) (string, bool) {
	return dockerHubRegistries[0], slices.Contains(dockerHubRegistries, host)
}

// admits wants a token of an organisation, with its name, for its own images.
func (d *dockerHub) admits(_, userName, password string, access []auth.Access) bool {
	organisation, ok := d.tokens.find(password)
	foreign := func(a auth.Access) bool { return !strings.HasPrefix(a.Name, organisation+"/") }
	return ok && userName == organisation && onlyPulls(access) && !slices.ContainsFunc(access, foreign)
}

// challenge has the realm on the registry's own host; the real one has it at
// auth.docker.io.
func (*dockerHub) challenge(host string) challenge { return bearerChallenge(host, "/token") }

// dockerHubError is an error of the service, as its wire format has it.
type dockerHubError struct {
	status  int
	Message string `json:"message"`
}

func (d *dockerHub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != dockerHubExchange || r.Method != http.MethodPost {
		sendJSON(w, http.StatusNotFound, dockerHubError{Message: "not found"})
		return
	}
	answer, failure := d.answer(r)
	if failure != nil {
		sendJSON(w, failure.status, failure)
		return
	}
	sendJSON(w, http.StatusOK, answer)
}

// dockerHubAnswer is a token on the wire.
type dockerHubAnswer struct {
	Token     string `json:"access_token"`
	ExpiresIn int    `json:"expires_in"`
	Type      string `json:"token_type"`
	Issued    string `json:"issued_token_type"`
}

// answer exchanges the token of a request.
func (d *dockerHub) answer(r *http.Request) (*dockerHubAnswer, *dockerHubError) {
	if err := r.ParseForm(); err != nil {
		return nil, &dockerHubError{http.StatusBadRequest, "malformed form"}
	}
	if failure := checkExchange(r.PostForm, tokenTypeID); failure != nil {
		return nil, &dockerHubError{http.StatusBadRequest, failure.Description}
	}
	lifetime, ok := dockerHubLifetime(r.PostForm)
	if !ok {
		return nil, &dockerHubError{http.StatusBadRequest, "expires_in must be between 300 and 3600"}
	}
	claims, problem := d.issuers.verify(r.Context(), r.PostForm.Get("subject_token"))
	if problem != nil && problem.problem == tokenKeysUnreachable {
		return nil, &dockerHubError{http.StatusServiceUnavailable, problem.Error()}
	}
	if problem != nil {
		return nil, &dockerHubError{http.StatusUnauthorized, "invalid subject token: " + problem.Error()}
	}
	d.mu.Lock()
	connection, ok := d.connections[r.PostForm.Get("connection_id")]
	d.mu.Unlock()
	if !ok || !(federation{connection.Issuer, dockerHubAudience, connection.Subject}).trusts(claims) {
		return nil, &dockerHubError{http.StatusForbidden, "no rule of the connection matches the subject token"}
	}
	expires := d.tokens.expiry(lifetime)
	token := newJWT(map[string]any{"iss": dockerHubAudience, "sub": connection.Organisation, "exp": expires.Unix()})
	d.tokens.add(token, connection.Organisation, expires)
	return &dockerHubAnswer{Token: token, ExpiresIn: int(d.tokens.lifetime(lifetime) / time.Second), Type: "Bearer", Issued: tokenTypeAccess}, nil
}

// dockerHubLifetime reads how long a token is to last. Nothing asked is the
// shortest.
func dockerHubLifetime(form url.Values) (time.Duration, bool) {
	if !form.Has("expires_in") {
		return dockerHubShortest, true
	}
	seconds, err := strconv.ParseInt(form.Get("expires_in"), 10, 32)
	lifetime := time.Duration(seconds) * time.Second
	return lifetime, err == nil && lifetime >= dockerHubShortest && lifetime <= dockerHubLongest
}

// dockerHubFaults gives the injected faults that are errors their answers.
var dockerHubFaults = map[FaultKind]dockerHubError{
	Throttle:    {http.StatusTooManyRequests, "too many requests"},
	ServerError: {http.StatusInternalServerError, "internal server error"},
	Denied:      {http.StatusForbidden, "access denied"},
}

func (*dockerHub) writeFault(w http.ResponseWriter, kind FaultKind) {
	if kind == Empty {
		sendJSON(w, http.StatusOK, struct{}{})
		return
	}
	fault := dockerHubFaults[kind]
	sendJSON(w, fault.status, fault)
}
