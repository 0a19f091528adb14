package fakecloud

import (
	"cmp"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/distribution/distribution/v3/registry/auth"
)

const (
	quayHost     = "quay.io"
	quayExchange = "/oauth2/federation/robot/token"
	quayLifetime = time.Hour
)

// QuayRobot is a robot account of a Quay with one federation.
type QuayRobot struct {
	// Host is its Quay. Empty means quay.io.
	Host string
	// Name is its full name, such as example+puller.
	Name string
	// Issuer and Subject are those of the tokens that are taken for the robot.
	Issuer, Subject string
	// Audience is who these tokens must be meant for. Empty means anyone, as in
	// Quay, which deprecates it.
	Audience string
}

// quay is every Quay: its federation of robots, beside its registry under the
// same name. It knows the tokens that it issued.
type quay struct {
	issuers *issuers
	tokens  *issued[quayRobotName]

	mu     sync.Mutex
	hosts  map[string]bool
	robots map[quayRobotName][]federation
}

// quayRobotName tells a robot from those of all other Quays.
type quayRobotName struct{ host, robot string }

func newQuay(clock func() time.Time, issuers *issuers, ledger *ledger) *quay {
	return &quay{
		issuers: issuers, tokens: newIssued[quayRobotName](clock, ledger),
		hosts: map[string]bool{quayHost: true}, robots: map[quayRobotName][]federation{},
	}
}

// AddQuayRobot makes a robot, and the Quay that it is in, or gives one that is
// there another federation. A robot pulls every image of its Quay. AddQuayRobot
// panics on a name that is no robot's and on a host that the cloud has for
// something else.
func (c *Cloud) AddQuayRobot(r QuayRobot) {
	if !quayRobot.MatchString(r.Name) {
		panic(fmt.Sprintf("fakecloud: %q is no robot of Quay", r.Name))
	}
	host := hostKey(cmp.Or(r.Host, quayHost))
	c.claimHost(host, c.quay)
	c.claimRegistries([]string{host}, c.quay)
	name := quayRobotName{host: host, robot: r.Name}
	c.quay.mu.Lock()
	defer c.quay.mu.Unlock()
	c.quay.hosts[host] = true
	c.quay.robots[name] = append(c.quay.robots[name], federation{r.Issuer, r.Audience, r.Subject})
}

var quayRobot = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]*\+[a-z][a-z0-9_-]*$`)

func (*quay) service() Service { return Quay }

func (q *quay) owns(host string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.hosts[host]
}

func (*quay) ownsPath(path string) bool { return strings.HasPrefix(path, "/oauth2/") }

func (q *quay) content(host string) (string, bool) { return host, q.owns(host) }

// admits wants a token of that Quay's robot.
func (q *quay) admits(host, userName, password string, access []auth.Access) bool {
	robot, ok := q.tokens.find(password)
	return ok && onlyPulls(access) && robot == quayRobotName{host: host, robot: userName}
}

func (*quay) challenge(host string) challenge { return bearerChallenge(host, "/v2/auth") }

// quayError is an error of the service, as its wire format has it.
type quayError struct {
	Message string `json:"error"`
}

// ServeHTTP gives a robot a token for the registry. The request's login is the
// robot with the token of its issuer. The answer does not state an expiry.
func (q *quay) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != quayExchange {
		http.NotFound(w, r)
		return
	}
	if r.Method != http.MethodGet {
		http.Error(w, "The method is not allowed for the requested URL.", http.StatusMethodNotAllowed)
		return
	}
	robot, token, ok := r.BasicAuth()
	if !ok {
		sendJSON(w, http.StatusUnauthorized, quayError{"Invalid basic auth header"})
		return
	}
	name := quayRobotName{host: hostKey(r.Host), robot: robot}
	claims, problem := q.issuers.verify(r.Context(), token)
	if refusal := q.refusal(name, claims, problem); refusal != "" {
		sendJSON(w, http.StatusUnauthorized, quayError{refusal})
		return
	}
	expires := q.tokens.expiry(quayLifetime)
	answer := newJWT(map[string]any{"iss": "quay", "aud": name.host, "sub": robot, "exp": expires.Unix()})
	q.tokens.add(answer, name, expires)
	sendJSON(w, http.StatusOK, map[string]string{"token": answer})
}

// refusal says why a robot is not given a token, empty if it is.
func (q *quay) refusal(name quayRobotName, claims tokenClaims, problem *tokenError) string {
	if !quayRobot.MatchString(name.robot) {
		return "Invalid robot"
	}
	q.mu.Lock()
	federations, ok := q.robots[name]
	q.mu.Unlock()
	if !ok {
		return "Could not find robot with username: " + name.robot
	}
	if problem != nil {
		return quayTokenRefusal(problem)
	}
	refusal := fmt.Sprintf("issuer %s not configured for this robot", claims.Issuer)
	for _, f := range federations {
		switch {
		case f.trusts(claims):
			return ""
		case f.issuer != claims.Issuer: // stays as it is
		case !f.addressed(claims):
			refusal = "Invalid token: Audience doesn't match"
		default:
			refusal = "Token does not match robot"
		}
	}
	return refusal
}

// quayTokenRefusal words why a token was not accepted.
func quayTokenRefusal(problem *tokenError) string {
	switch problem.problem {
	case tokenUnknownIssuer:
		return fmt.Sprintf("issuer %s not configured for this robot", problem.claims.Issuer)
	case tokenMalformed:
		return "Token does not contain issuer"
	case tokenExpired:
		return "Invalid token: Signature has expired"
	default:
		return "Invalid token: " + problem.Error()
	}
}

// quayFaults gives the injected faults that are errors their answers.
var quayFaults = map[FaultKind]struct {
	status int
	quayError
}{
	Throttle:    {http.StatusTooManyRequests, quayError{"slow_down"}},
	ServerError: {http.StatusInternalServerError, quayError{"Internal Server Error"}},
	Denied:      {http.StatusForbidden, quayError{"Unauthorized"}},
}

func (*quay) writeFault(w http.ResponseWriter, kind FaultKind) {
	if kind == Empty {
		sendJSON(w, http.StatusOK, struct{}{})
		return
	}
	fault := quayFaults[kind]
	sendJSON(w, fault.status, fault.quayError)
}
