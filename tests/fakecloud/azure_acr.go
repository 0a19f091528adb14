package fakecloud

import (
	"fmt"
	"net/http"
	"regexp"
	"sync"
	"time"

	"github.com/distribution/distribution/v3/registry/auth"
)

const (
	acrExchange = "/oauth2/exchange"
	acrUserName = "00000000-0000-0000-0000-000000000000"
	acrLifetime = 3 * time.Hour
)

// acr is the token service of Azure Container Registry, which answers under the
// name of each registry, and knows the refresh tokens that it issued.
type acr struct {
	directory *azureAD
	tokens    *issued[acrToken]

	mu     sync.Mutex
	grants map[acrGrant]bool
}

// acrToken is what a refresh token stands for.
type acrToken struct {
	host   string
	client string
}

// acrGrant is the right of an application to pull from a registry.
type acrGrant = acrToken

func newACR(clock func() time.Time, directory *azureAD, ledger *ledger) *acr {
	return &acr{directory: directory, tokens: newIssued[acrToken](clock, ledger), grants: map[acrGrant]bool{}}
}

// GrantACR lets an application pull from a registry such as example.azurecr.io.
// It panics on a host that is no registry of Azure.
func (c *Cloud) GrantACR(registryHost, clientID string) {
	host := hostKey(registryHost)
	if !c.acr.owns(host) {
		panic(fmt.Sprintf("fakecloud: %q is no registry of Azure", registryHost))
	}
	c.acr.mu.Lock()
	defer c.acr.mu.Unlock()
	c.acr.grants[acrGrant{host: host, client: clientID}] = true
}

var acrHost = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{3,61}[a-z0-9](\.azurecr\.(?:io|cn|us))$`)

func (*acr) service() Service { return ACR }

func (*acr) owns(host string) bool { return acrHost.MatchString(host) }

func (*acr) ownsPath(path string) bool { return path == acrExchange }

func (a *acr) content(host string) (string, bool) { return host, a.owns(host) }

// admits wants a refresh token of that very registry whose holder may pull.
func (a *acr) admits(host, userName, password string, access []auth.Access) bool {
	token, ok := a.tokens.find(password)
	return ok && userName == acrUserName && onlyPulls(access) && token.host == host && a.granted(token)
}

func (*acr) challenge(host string) challenge { return bearerChallenge(host, "/oauth2/token") }

func (a *acr) granted(g acrGrant) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.grants[g]
}

// registryError is an error in the form of the registry protocol, which services
// beside registries took over.
type registryError struct {
	status        int
	code, message string
}

func (e registryError) write(w http.ResponseWriter) {
	writeRegistryError(w, e.status, e.code, e.message)
}

var (
	acrWrongVerb    = registryError{http.StatusNotFound, "NOT_FOUND", "404 page not found"}
	acrBadRequest   = registryError{http.StatusBadRequest, "BAD_REQUEST", "grant_type must be access_token, and service this registry"}
	acrUnauthorized = registryError{http.StatusUnauthorized, "UNAUTHORIZED",
		"authentication required, visit https://aka.ms/acr/authorization for more information."}
)

// ServeHTTP exchanges a token of the directory for a refresh token of the
// registry that was asked.
func (a *acr) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		acrWrongVerb.write(w)
		return
	}
	host := hostKey(r.Host)
	if err := r.ParseForm(); err != nil || r.PostForm.Get("grant_type") != "access_token" || r.PostForm.Get("service") != host {
		acrBadRequest.write(w)
		return
	}
	holder, ok := a.directory.tokens.find(r.PostForm.Get("access_token"))
	tenant := r.PostForm.Get("tenant")
	if !ok || holder.cloud != acrHost.FindStringSubmatch(host)[1] || tenant != "" && tenant != holder.tenant {
		acrUnauthorized.write(w)
		return
	}
	meaning := acrToken{host: host, client: holder.client}
	if !a.granted(meaning) {
		acrUnauthorized.write(w)
		return
	}
	expires := a.tokens.expiry(acrLifetime)
	token := newJWT(map[string]any{
		"iss": "Azure Container Registry", "aud": host, "sub": holder.client, "tenant": holder.tenant,
		"grant_type": "refresh_token", "exp": expires.Unix(),
	})
	a.tokens.add(token, meaning, expires)
	sendJSON(w, http.StatusOK, map[string]string{"refresh_token": token})
}

// acrFaults gives the injected faults that are errors their codes.
var acrFaults = map[FaultKind]registryError{
	Throttle:    {http.StatusTooManyRequests, "TOOMANYREQUESTS", "too many requests"},
	ServerError: {http.StatusInternalServerError, "UNKNOWN", "unknown error"},
	Denied:      {http.StatusForbidden, "DENIED", "requested access to the resource is denied"},
}

func (*acr) writeFault(w http.ResponseWriter, kind FaultKind) {
	if kind == Empty {
		sendJSON(w, http.StatusOK, struct{}{})
		return
	}
	acrFaults[kind].write(w)
}
