package fakecloud

import (
	"context"
	"io"
	"net/http"
	"sync"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory" // the storage of every registry here
	"github.com/sirupsen/logrus"
)

// registry is every container registry of the cloud: a real one, embedded, for
// each that a doorkeeper keeps. All that is fake is who may come in.
type registry struct {
	doors  []doorkeeper
	tokens *issued[registryLogin]

	mu     sync.Mutex
	stores map[string]*handlers.App // by the key of their content
}

// newRegistry sends the log of the registry library to log. The library takes no
// logger, it uses the process-wide one of logrus, which nothing else here does.
func newRegistry(doors []doorkeeper, tokens *issued[registryLogin], log io.Writer) *registry {
	logrus.SetOutput(log)
	return &registry{doors: doors, tokens: tokens, stores: map[string]*handlers.App{}}
}

func (*registry) service() Service { return Registry }

func (g *registry) owns(host string) bool {
	_, _, ok := g.door(host)
	return ok
}

// door returns who keeps the registry of a host, and the key of its content.
func (g *registry) door(host string) (door doorkeeper, key string, ok bool) {
	for _, door := range g.doors {
		if key, ok := door.content(host); ok {
			return door, key, true
		}
	}
	return nil, "", false
}

func (g *registry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host := hostKey(r.Host)
	door, key, ok := g.door(host)
	if !ok {
		http.Error(w, "fakecloud: no registry under this name", http.StatusNotFound)
		return
	}
	if asks := door.challenge(host); asks.bearer && r.URL.Path == asks.path(host) {
		g.serveToken(w, r, door)
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
	if kind == Empty {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
		w.WriteHeader(http.StatusOK)
		return
	}
	fault := registryFaults[kind]
	writeRegistryError(w, fault.status, fault.code, fault.message)
}

// writeRegistryError sends an error in the form of the registry protocol.
func writeRegistryError(w http.ResponseWriter, status int, code, message string) {
	type entry struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	sendJSON(w, status, map[string][]entry{"errors": {{code, message}}})
}
