package tokenexchange

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imagepullsecrets/operator/providers"
)

const (
	plantedSecret = "planted secret+/&="
	plantedToken  = "planted-registry-token"
)

// testNow is the time in tests, by every clock unless a test says otherwise.
var testNow = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

var testAccount = providers.ServiceAccount{Namespace: "registry-access", Name: "puller", UID: "11111111-2222-3333-4444-555555555555"}

// jwt returns a token with these claims, which nobody verifies here.
func jwt(claims map[string]any) string {
	payload, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"RS256"}`)) + "." + encode(payload) + "." + encode([]byte("planted-signature"))
}

// accountToken is what the cluster mints.
var accountToken = jwt(map[string]any{"iat": testNow.Unix(), "exp": testNow.Add(10 * time.Minute).Unix()})

// minted is what was asked of the cluster.
type minted struct {
	account  providers.ServiceAccount
	audience string
}

// environment mints accountToken and notes for whom.
func environment(noted *[]minted) providers.Env {
	return providers.Env{Token: func(_ context.Context, account providers.ServiceAccount, audience string) (string, error) {
		if noted != nil {
			*noted = append(*noted, minted{account, audience})
		}
		return accountToken, nil
	}}
}

// reply is one answer of the server.
type reply struct {
	status int
	header map[string]string
	body   string
}

func answerOf(status int, body string) reply {
	return reply{status: status, body: body, header: map[string]string{"Content-Type": "application/json"}}
}

func (r reply) with(key, value string) reply {
	header := map[string]string{key: value}
	for k, v := range r.header {
		if k != key {
			header[k] = v
		}
	}
	r.header = header
	return r
}

// received is what the server keeps of a request.
type received struct {
	method, host, path, contentType, accept, authorization, userAgent, body string
}

// server is an endpoint under whatever name it is called by.
type server struct {
	*httptest.Server

	mutex    sync.Mutex
	reply    reply
	requests []received
}

func newServer(t *testing.T, reply reply) *server {
	t.Helper()
	s := &server{reply: reply}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	// A client that doesn't trust the server makes it complain.
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func (s *server) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.requests = append(s.requests, received{
		method: r.Method, host: r.Host, path: r.URL.RequestURI(), contentType: r.Header.Get("Content-Type"),
		accept: r.Header.Get("Accept"), authorization: r.Header.Get("Authorization"), userAgent: r.UserAgent(), body: string(body),
	})
	// No date unless a test sets one: it would be the real clock's.
	w.Header()["Date"] = nil
	w.Header()["Content-Type"] = nil
	for key, value := range s.reply.header {
		w.Header().Set(key, value)
	}
	w.WriteHeader(s.reply.status)
	_, _ = w.Write([]byte(s.reply.body))
}

// client reaches the server under the name that its certificate has,
// example.com, and under any below it.
func (s *server) client() *http.Client {
	transport := s.Client().Transport.(*http.Transport).Clone()
	transport.TLSClientConfig.ServerName = "example.com"
	transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, s.Listener.Addr().String())
	}
	return &http.Client{Transport: transport}
}

// only returns the one request that was made.
func (s *server) only(t *testing.T) received {
	t.Helper()
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if len(s.requests) != 1 {
		t.Fatalf("%d requests, want 1", len(s.requests))
	}
	return s.requests[0]
}

func testConfig() Config {
	return Config{
		Endpoint:       "https://sso.example.com/token",
		Registries:     []string{"registry.example.com"},
		ServiceAccount: testAccount,
		TokenAudience:  "https://sso.example.com",
		Username:       "puller",
	}
}

// newProvider returns a Provider that reaches a server at testNow.
func newProvider(t *testing.T, config Config, server *server) *Provider {
	t.Helper()
	provider, err := New(config, server.client())
	if err != nil {
		t.Fatal(err)
	}
	provider.now = func() time.Time { return testNow }
	return provider
}

// fetch runs Fetch under a deadline that no test should meet.
func fetch(t *testing.T, provider *Provider) (providers.Credential, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return provider.Fetch(ctx, environment(nil))
}

// checkMessage checks an error's class and parts of its text, and that it
// tells no secret.
func checkMessage(t *testing.T, err error, class providers.Class, want ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	if got := providers.ClassOf(err); got != class {
		t.Errorf("got class %s, want %s: %v", got, class, err)
	}
	for _, part := range want {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("got  %q\nwant %q in it", err, part)
		}
	}
	if found := leaks(err.Error()); found != nil {
		t.Errorf("%q tells %q", err, found)
	}
}

// leaks returns what a text tells of the planted secrets.
func leaks(text string) []string {
	var found []string
	for _, secret := range []string{accountToken, plantedSecret, "planted"} {
		if strings.Contains(text, secret) {
			found = append(found, secret)
		}
	}
	return found
}
