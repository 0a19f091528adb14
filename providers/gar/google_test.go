package gar

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imagepullsecrets/operator/providers"
)

// testNow is the clock of all providers in these tests.
var testNow = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

const (
	testProvider = "projects/123456789/locations/global/workloadIdentityPools/clusters/providers/production"
	testCluster  = "projects/my-project/locations/europe-west1/clusters/production"
	testEmail    = "puller@my-project.iam.gserviceaccount.com"
	testMember   = "principal://iam.googleapis.com/projects/123456789/locations/global/workloadIdentityPools/clusters/subject/system:serviceaccount:team:puller"

	stsHost = "sts.googleapis.com"
	iamHost = "iamcredentials.googleapis.com"
)

// What must never show up in a message. The federated token has a form that no
// rule of the scrubber knows.
const (
	plantedFederated = "fed.planted-token"
	plantedGoogle    = "ya29.planted"
	plantedSignature = "cGxhbnRlZA"
)

// mint returns a token of a ServiceAccount that was issued at a time.
func mint(issued time.Time) string {
	claims := fmt.Sprintf(`{"iss":"https://issuer.example","iat":%d,"exp":%d}`, issued.Unix(), issued.Add(10*time.Minute).Unix())
	return "eyJhbGciOiJSUzI1NiJ9." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + "." + plantedSignature
}

// reply is one answer of the fake.
type reply struct {
	status int
	header map[string]string
	body   string
}

// received is what the fake keeps of a request.
type received struct {
	method, address, authorization, userAgent, body string
	form                                            url.Values
}

// fakeGoogle speaks over TLS under every host's name. For each it gives its
// replies in turn, the last one for ever.
type fakeGoogle struct {
	*httptest.Server

	mutex    sync.Mutex
	replies  map[string][]reply
	requests []received
}

func newFakeGoogle(t *testing.T) *fakeGoogle {
	t.Helper()
	fake := &fakeGoogle{replies: map[string][]reply{
		stsHost: {federated()},
		iamHost: {impersonated(testNow.Add(time.Hour))},
	}}
	fake.Server = httptest.NewUnstartedServer(http.HandlerFunc(fake.serve))
	// A client that gives up makes the server complain.
	fake.Config.ErrorLog = log.New(io.Discard, "", 0)
	fake.StartTLS()
	t.Cleanup(fake.Close)
	return fake
}

func (f *fakeGoogle) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	form, _ := url.ParseQuery(string(body))
	f.mutex.Lock()
	f.requests = append(f.requests, received{
		method: r.Method, address: "https://" + r.Host + r.URL.Path, authorization: r.Header.Get("Authorization"),
		userAgent: r.UserAgent(), body: string(body), form: form,
	})
	answer := reply{status: http.StatusNotFound}
	if left := f.replies[r.Host]; len(left) > 0 {
		answer = left[0]
		if len(left) > 1 {
			f.replies[r.Host] = left[1:]
		}
	}
	f.mutex.Unlock()
	// No date unless a test sets one: it would be the real clock's.
	w.Header()["Date"] = nil
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	for key, value := range answer.header {
		w.Header().Set(key, value)
	}
	w.WriteHeader(answer.status)
	_, _ = w.Write([]byte(answer.body))
}

// client dials the fake whatever the host.
func (f *fakeGoogle) client() *http.Client {
	roots := x509.NewCertPool()
	roots.AddCert(f.Certificate())
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, f.Listener.Addr().String())
		},
		TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "example.com"},
	}}
}

// sent returns what was received so far.
func (f *fakeGoogle) sent() []received {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return append([]received{}, f.requests...)
}

func federated() reply {
	return reply{status: 200, body: fmt.Sprintf(
		`{"access_token":%q,"issued_token_type":"urn:ietf:params:oauth:token-type:access_token","token_type":"Bearer","expires_in":3599}`, plantedFederated)}
}

func impersonated(expires time.Time) reply {
	return reply{status: 200, body: fmt.Sprintf(`{"accessToken":%q,"expireTime":%q}`, plantedGoogle, expires.Format(time.RFC3339))}
}

// oauthError is a refusal by the token exchange.
func oauthError(status int, code, description string) reply {
	return reply{status: status, body: fmt.Sprintf(`{"error":%q,"error_description":%q}`, code, description)}
}

// rpcError is a refusal by any other service of Google's.
func rpcError(code int, status, reason, message string) reply {
	return reply{status: code, body: fmt.Sprintf(
		`{"error":{"code":%d,"message":%q,"status":%q,"details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":%q,"domain":"googleapis.com","metadata":{"consumer":"projects/1"}}]}}`,
		code, message, status, reason)}
}

// dated returns the reply with a date.
func (r reply) dated(date time.Time) reply {
	r.header = maps.Clone(r.header)
	if r.header == nil {
		r.header = map[string]string{}
	}
	r.header["Date"] = date.Format(http.TimeFormat)
	return r
}

// account is the ServiceAccount of these tests.
func account() providers.ServiceAccount {
	return providers.ServiceAccount{Namespace: "team", Name: "puller", UID: "4711"}
}

// direct is a configuration that impersonates nobody.
func direct() Config {
	return Config{
		Registries:               []string{"europe-west1-docker.pkg.dev", "gcr.io"},
		ServiceAccount:           account(),
		WorkloadIdentityProvider: testProvider,
	}
}

// impersonating is a configuration that impersonates somebody.
func impersonating() Config {
	config := direct()
	config.GoogleServiceAccount = testEmail
	return config
}

func newProvider(t *testing.T, fake *fakeGoogle, config Config) *Provider {
	t.Helper()
	provider, err := New(config, fake.client())
	if err != nil {
		t.Fatal(err)
	}
	provider.now = func() time.Time { return testNow }
	provider.pause = 0
	return provider
}

// minted is a request for a token.
type minted struct {
	account  providers.ServiceAccount
	audience string
}

// env mints tokens that were issued at the given time, and keeps the requests.
func env(issued time.Time, requests *[]minted) providers.Env {
	return providers.Env{Token: func(_ context.Context, account providers.ServiceAccount, audience string) (string, error) {
		if requests != nil {
			*requests = append(*requests, minted{account, audience})
		}
		return mint(issued), nil
	}}
}

// failed returns a Fetch's error after having looked for secrets in it.
func failed(t *testing.T, err error) *providers.Error {
	t.Helper()
	var failure *providers.Error
	if !errors.As(err, &failure) {
		t.Fatalf("got %v, want a *providers.Error", err)
	}
	for _, secret := range []string{plantedFederated, plantedGoogle, plantedSignature, "eyJ"} {
		if strings.Contains(failure.Message, secret) {
			t.Errorf("the message holds a secret: %s", failure.Message)
		}
	}
	return failure
}

// scripted answers every request alike, without a connection.
func scripted(status int, body string) *http.Client {
	return &http.Client{Transport: script(func(request *http.Request) *http.Response {
		return &http.Response{
			StatusCode: status, Request: request, Body: io.NopCloser(strings.NewReader(body)),
			Header: http.Header{"Content-Type": {"application/json"}},
		}
	})}
}

type script func(*http.Request) *http.Response

func (s script) RoundTrip(request *http.Request) (*http.Response, error) { return s(request), nil }
