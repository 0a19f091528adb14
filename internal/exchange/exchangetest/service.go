// Package exchangetest stands in for clouds in the tests of exchanges.
package exchangetest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/imagepullsecrets/operator/providers"
)

// Reply is how a Service answers one request.
type Reply struct {
	// Status is 200 if it is 0.
	Status int
	// Header may replace the type application/json. There is no Date unless
	// it is set here: it would be the real clock's.
	Header map[string]string
	Body   string
}

// Request is what a Service keeps of a request.
type Request struct {
	Method, Host, Path string
	Header             http.Header
	Query, Form        url.Values
}

// Service answers every request for every host, over TLS.
type Service struct {
	server *httptest.Server
	reply  func(Request) Reply

	mutex    sync.Mutex
	requests []Request
}

// NewService starts a Service that answers by a function.
func NewService(t testing.TB, reply func(Request) Reply) *Service {
	t.Helper()
	service := &Service{reply: reply}
	service.server = httptest.NewUnstartedServer(http.HandlerFunc(service.serve))
	// A client that gives up makes the server complain.
	service.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	service.server.StartTLS()
	t.Cleanup(service.server.Close)
	return service
}

// Requests returns the requests so far.
func (s *Service) Requests() []Request {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return append([]Request(nil), s.requests...)
}

// CABundle returns the Service's authority in PEM form.
func (s *Service) CABundle() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.server.Certificate().Raw}))
}

// Client returns a client for which every host is the Service.
func (s *Service) Client() *http.Client {
	roots := x509.NewCertPool()
	roots.AddCert(s.server.Certificate())
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, s.server.Listener.Addr().String())
		},
		// The certificate of httptest is for this name.
		TLSClientConfig:   &tls.Config{RootCAs: roots, ServerName: "example.com", MinVersion: tls.VersionTLS12},
		DisableKeepAlives: true,
	}}
}

func (s *Service) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	form, _ := url.ParseQuery(string(body)) // a body that is no form has no fields
	request := Request{
		Method: r.Method, Host: r.Host, Path: r.URL.Path,
		Header: r.Header, Query: r.URL.Query(), Form: form,
	}
	s.mutex.Lock()
	s.requests = append(s.requests, request)
	s.mutex.Unlock()
	answer := s.reply(request)
	w.Header()["Date"] = nil
	w.Header().Set("Content-Type", "application/json")
	for key, value := range answer.Header {
		w.Header().Set(key, value)
	}
	if answer.Status == 0 {
		answer.Status = http.StatusOK
	}
	w.WriteHeader(answer.Status)
	_, _ = w.Write([]byte(answer.Body)) // whoever went away doesn't want it
}

// JWT returns a token with these claims that nobody signed. The spaces in it
// keep a scrubber from knowing it by its looks: it must have been told of it.
func JWT(claims map[string]any) string {
	payload, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(` {"alg":"RS256"}`)) + "." + encode([]byte(" "+string(payload))) + "." + encode([]byte("signature"))
}

// CheckError checks an error's class, that its text has all parts, and that it
// has none of the secrets.
func CheckError(t testing.TB, err error, class providers.Class, parts, secrets []string) {
	t.Helper()
	var failure *providers.Error
	if !errors.As(err, &failure) {
		t.Fatalf("got %v, want a *providers.Error", err)
	}
	if failure.Class != class {
		t.Errorf("got class %s, want %s: %v", failure.Class, class, err)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in %q", part, err)
		}
	}
	for _, secret := range secrets {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("%q tells %q", err, secret)
		}
	}
	if length := len([]rune(err.Error())); length > 1024 {
		t.Errorf("the message has %d characters", length)
	}
}
