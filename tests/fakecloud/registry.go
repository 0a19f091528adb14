package fakecloud

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory" // the storage of every registry here
	"github.com/sirupsen/logrus"
)

// registry is every container registry of the cloud: a real one, embedded, for
// each account and region of ECR and for each host with static logins. All that is
// fake is who may come in.
type registry struct {
	ecr *ecr

	mu     sync.Mutex
	static map[string]map[string]string // host to user name to password
	stores map[string]*handlers.App     // by the key of their content
}

// newRegistry sends the log of the registry library to log. The library takes no
// logger, it uses the process-wide one of logrus, which nothing else here does.
func newRegistry(ecr *ecr, log io.Writer) *registry {
	logrus.SetOutput(log)
	return &registry{ecr: ecr, static: map[string]map[string]string{}, stores: map[string]*handlers.App{}}
}

// AddStaticLogin makes host, such as registry.example.com or example.com:5000, a
// private registry, and userName with password a login that may pull from and push
// to it. A host may have several logins. It panics on a host that the cloud has
// for something else.
func (c *Cloud) AddStaticLogin(host, userName, password string) {
	host = hostKey(host)
	owner := c.backendFor(host)
	c.registry.mu.Lock()
	defer c.registry.mu.Unlock()
	if c.registry.static[host] == nil {
		if owner != nil {
			panic(fmt.Sprintf("fakecloud: the host %q belongs to %s already", host, owner.service()))
		}
		c.registry.static[host] = map[string]string{}
	}
	c.registry.static[host][userName] = password
}

func (*registry) service() Service { return Registry }

func (g *registry) owns(host string) bool {
	_, ok := g.contentKey(host)
	return ok
}

// contentKey returns what tells the content of one registry from that of another.
// All host names of an ECR registry lead to the same content.
func (g *registry) contentKey(host string) (string, bool) {
	if at, ok := parseECRRegistry(host); ok {
		return at.account + "/" + at.region, true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	_, ok := g.static[host]
	return host, ok
}

func (g *registry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key, ok := g.contentKey(hostKey(r.Host))
	if !ok {
		http.Error(w, "fakecloud: no registry under this name", http.StatusNotFound)
		return
	}
	g.store(key).ServeHTTP(w, r)
}

// store returns the registry that holds the content of key, empty at first.
func (g *registry) store(key string) *handlers.App {
	g.mu.Lock()
	defer g.mu.Unlock()
	app, ok := g.stores[key]
	if !ok {
		app = handlers.NewApp(context.Background(), g.configuration())
		g.stores[key] = app
	}
	return app
}

// configuration is that of an empty registry in memory which asks g about every
// access. The purger would be a goroutine that outlives the cloud.
func (g *registry) configuration() *configuration.Configuration {
	config := &configuration.Configuration{
		Storage: configuration.Storage{
			"inmemory":    nil,
			"maintenance": {"uploadpurging": map[any]any{"enabled": false}},
		},
		Auth: configuration.Auth{authName: {authParameter: g}},
	}
	config.HTTP.RelativeURLs = true // the app cannot know its many names
	config.HTTP.Secret = randomSecret(32)
	return config
}

// close ends the registries. The library leaves one idle goroutine behind for each:
// its event broadcaster, which nothing outside can close.
func (g *registry) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, app := range g.stores {
		_ = app.Shutdown() // fails for pull-through caches only, which these are not
	}
}

// registryFaults gives the injected faults that are errors their codes.
var registryFaults = map[FaultKind]struct {
	status        int
	code, message string
}{
	Throttle:    {http.StatusTooManyRequests, "TOOMANYREQUESTS", "Rate exceeded"},
	ServerError: {http.StatusInternalServerError, "UNKNOWN", "unknown error"},
	Denied:      {http.StatusForbidden, "DENIED", "requested access to the resource is denied"},
}

func (*registry) writeFault(w http.ResponseWriter, kind FaultKind) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	if kind == Empty {
		w.WriteHeader(http.StatusOK)
		return
	}
	type entry struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	fault := registryFaults[kind]
	w.WriteHeader(fault.status)
	_ = json.NewEncoder(w).Encode(map[string][]entry{"errors": {{fault.code, fault.message}}})
}
