package fakecloud

import (
	"io"
	"net/http"
)

// ambient is an endpoint that gives the processes around it an identity without
// their asking for a particular one. It has no name: it is a port on loopback, given
// to a child process by its environment. The one in the list of services has no
// handler, it only makes faults known to [Cloud.Fail].
type ambient struct{ http.Handler }

func (ambient) service() Service { return Ambient }

func (ambient) owns(string) bool { return false }

// ambientFaults gives the injected faults that are errors their statuses.
var ambientFaults = map[FaultKind]int{
	Throttle:    http.StatusTooManyRequests,
	ServerError: http.StatusInternalServerError,
	Denied:      http.StatusForbidden,
	Empty:       http.StatusOK,
}

func (ambient) writeFault(w http.ResponseWriter, kind FaultKind) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(ambientFaults[kind])
	_, _ = io.WriteString(w, "{}")
}

// serveAmbient serves an endpoint until the cloud stops, and returns its address. It
// panics if it cannot: a stopped cloud has no endpoints.
func (c *Cloud) serveAmbient(handler http.Handler) string {
	endpoint := ambient{handler}
	c.ambientMu.Lock()
	defer c.ambientMu.Unlock()
	if c.ctx.Err() != nil {
		panic("fakecloud: the cloud is stopped")
	}
	server, err := c.listen(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.ledger.count(Ambient)
		if fault, ok := c.faults.next(Ambient, ""); ok {
			c.serveFault(w, r, endpoint, fault)
			return
		}
		endpoint.ServeHTTP(w, r)
	}), nil)
	if err != nil {
		panic("fakecloud: " + err.Error())
	}
	c.ambients = append(c.ambients, server)
	return server.address()
}

// closeAmbients ends all endpoints. The cloud's context is done already, so no other
// can follow.
func (c *Cloud) closeAmbients() {
	c.ambientMu.Lock()
	defer c.ambientMu.Unlock()
	for _, s := range c.ambients {
		s.close()
	}
}
