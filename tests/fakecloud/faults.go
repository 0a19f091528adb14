package fakecloud

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"time"
)

// FaultKind is one way for a service to misbehave.
type FaultKind string

const (
	// Throttle refuses with the service's own throttling error.
	Throttle FaultKind = "Throttle"
	// ServerError answers 500 with the service's own error for its own failure.
	ServerError FaultKind = "ServerError"
	// BadGateway answers 502 with a page of HTML, as a load balancer does.
	BadGateway FaultKind = "BadGateway"
	// Denied refuses with the service's own error for a missing permission.
	Denied FaultKind = "Denied"
	// Empty answers 200 in the service's protocol, without what was asked for:
	// no authorizationData, no Credentials, no content.
	Empty FaultKind = "Empty"
	// HTML answers 200 with a page of HTML, as a captive portal does.
	HTML FaultKind = "HTML"
	// Truncate gives the real answer and hangs up in the middle of its body.
	Truncate FaultKind = "Truncate"
	// Oversize answers 200 with [OversizeBytes] of white space.
	Oversize FaultKind = "Oversize"
	// Redirect answers 307 to [RedirectHost], which no service owns: a client
	// that follows shows up in [Cloud.UnknownHosts].
	Redirect FaultKind = "Redirect"
	// Hang holds the request until the client goes away or the cloud stops.
	Hang FaultKind = "Hang"
)

var faultKinds = []FaultKind{Throttle, ServerError, BadGateway, Denied, Empty, HTML, Truncate, Oversize, Redirect, Hang}

const (
	// OversizeBytes is the length of the body of an [Oversize] answer.
	OversizeBytes = 10 << 20
	// RedirectHost is where a [Redirect] answer points to.
	RedirectHost = "redirect.fakecloud.example"
)

// Fault is a misbehaviour to inject.
type Fault struct {
	// Kind is what goes wrong.
	Kind FaultKind
	// Count is how many requests it befalls; 0 means all, until
	// [Cloud.ClearFaults].
	Count int
	// Host, if set, is the only host of the service that misbehaves, so that
	// those who use others are not disturbed.
	Host string
	// RetryAfter, if set, is sent as a Retry-After header in whole seconds.
	RetryAfter time.Duration
}

// Fail makes a service misbehave from its next request on. Faults of one service
// queue up: each befalls its requests when those before it are used up. It panics
// on a service that the cloud does not have and on a kind that there is not.
func (c *Cloud) Fail(service Service, f Fault) {
	if !slices.Contains(faultKinds, f.Kind) {
		panic("fakecloud: no kind of fault " + strconv.Quote(string(f.Kind)))
	}
	for _, b := range c.backends {
		if b.service() == service {
			c.faults.add(service, f)
			return
		}
	}
	panic("fakecloud: cannot inject a fault into the service " + strconv.Quote(string(service)))
}

// ClearFaults ends all faults. Requests already held by [Hang] stay held.
func (c *Cloud) ClearFaults() { c.faults.clear() }

// ClearFaultsOf ends the faults of one host.
func (c *Cloud) ClearFaultsOf(host string) { c.faults.clearHost(host) }

// faultQueue holds the faults not yet used up, by service.
type faultQueue struct {
	mu    sync.Mutex
	queue map[Service][]Fault
}

func newFaultQueue() *faultQueue { return &faultQueue{queue: map[Service][]Fault{}} }

func (q *faultQueue) add(s Service, f Fault) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.queue[s] = append(q.queue[s], f)
}

func (q *faultQueue) clear() {
	q.mu.Lock()
	defer q.mu.Unlock()
	clear(q.queue)
}

func (q *faultQueue) clearHost(host string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for service, faults := range q.queue {
		q.queue[service] = slices.DeleteFunc(faults, func(f Fault) bool { return f.Host == host })
	}
}

// next takes the fault that befalls the next request of s under host, if one
// does.
func (q *faultQueue) next(s Service, host string) (Fault, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	faults := q.queue[s]
	i := slices.IndexFunc(faults, func(f Fault) bool { return f.Host == "" || f.Host == host })
	if i < 0 {
		return Fault{}, false
	}
	f := faults[i]
	switch f.Count {
	case 0: // stays until cleared
	case 1:
		q.queue[s] = slices.Delete(faults, i, i+1)
	default:
		faults[i].Count--
	}
	return f, true
}

// serveFault answers a request with a fault: in the shape of b's protocol if it
// has one, else in the one that all share.
func (c *Cloud) serveFault(w http.ResponseWriter, r *http.Request, b backend, f Fault) {
	if f.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(f.RetryAfter/time.Second)))
	}
	switch f.Kind {
	case HTML:
		writeHTML(w, http.StatusOK, "Welcome to this network. Please sign in.")
	case BadGateway:
		writeHTML(w, http.StatusBadGateway, "502 Bad Gateway")
	case Redirect:
		http.Redirect(w, r, "https://"+RedirectHost+r.URL.RequestURI(), http.StatusTemporaryRedirect)
	case Oversize:
		writeOversize(w)
	case Truncate:
		writeTruncated(w, r, b)
	case Hang:
		c.hang(w, r)
	default:
		b.writeFault(w, f.Kind)
	}
}

func writeHTML(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, "<!DOCTYPE html><html><body><h1>"+text+"</h1></body></html>\n")
}

func writeOversize(w http.ResponseWriter) {
	chunk := bytes.Repeat([]byte(" "), 64<<10)
	for range OversizeBytes / len(chunk) {
		if _, err := w.Write(chunk); err != nil {
			return // the client has had enough, as it should
		}
	}
}

// writeTruncated announces the length of the real answer and sends half of it;
// the server then closes the connection, for the length was not kept.
func writeTruncated(w http.ResponseWriter, r *http.Request, b backend) {
	answer := httptest.NewRecorder()
	b.ServeHTTP(answer, r)
	body := answer.Body.Bytes()
	if len(body) < 2 {
		abort(w) // no middle to hang up in
		return
	}
	for name, values := range answer.Header() {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(answer.Code)
	_, _ = w.Write(body[:len(body)/2])
}

// hang waits for the client or the cloud to give up. The body is read first, for
// only then does the server notice a client that goes away.
func (c *Cloud) hang(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	select {
	case <-r.Context().Done():
	case <-c.ctx.Done():
	}
	abort(w)
}

// abort closes the connection without an answer: returning would send a 200.
func abort(w http.ResponseWriter) {
	if connection, _, err := http.NewResponseController(w).Hijack(); err == nil {
		_ = connection.Close()
	}
}
