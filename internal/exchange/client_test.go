package exchange

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// trusting returns newClient's client for a test server, whose certificate is
// for example.com.
func trusting(t *testing.T, server *httptest.Server) *http.Client {
	t.Helper()
	roots, err := ParseRoots(bundleOf(server))
	if err != nil {
		t.Fatal(err)
	}
	client := newClient(roots)
	transport := transportOf(t, client)
	t.Cleanup(transport.CloseIdleConnections)
	transport.TLSClientConfig.ServerName = "example.com"
	return client
}

func bundleOf(server *httptest.Server) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
}

func transportOf(t *testing.T, client *http.Client) *http.Transport {
	t.Helper()
	transport, ok := client.Transport.(*http.Transport)
	if !ok {
		t.Fatalf("the transport is a %T", client.Transport)
	}
	return transport
}

func get(t *testing.T, client *http.Client, address string) (*http.Response, error) {
	t.Helper()
	response, err := client.Do(newGet(t, address))
	if err == nil {
		_ = response.Body.Close()
	}
	return response, err
}

func newGet(t *testing.T, address string) *http.Request {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	return request
}

func TestClientDoesNotFollowRedirects(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/elsewhere" {
			t.Error("the redirect was followed")
			return
		}
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	}))
	defer server.Close()
	response, err := get(t, trusting(t, server), server.URL)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != http.StatusTemporaryRedirect {
		t.Errorf("got %s", response.Status)
	}
}

func TestWithoutRedirectsLeavesTheGivenClientAlone(t *testing.T) {
	given := &http.Client{Transport: &http.Transport{}}
	if got := WithoutRedirects(given); got.Transport != given.Transport || got.CheckRedirect == nil {
		t.Errorf("got %+v", got)
	}
	if given.CheckRedirect != nil {
		t.Error("the given client was changed")
	}
}

func TestClientRefusesOldTLS(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.TLS = &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}
	server.StartTLS()
	defer server.Close()
	if response, err := get(t, trusting(t, server), server.URL); err == nil {
		t.Errorf("got %s by TLS %x", response.Status, response.TLS.Version)
	}
}

func TestClientTrustsOnlyItsRoots(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	if _, err := get(t, trusting(t, server), server.URL); err != nil {
		t.Errorf("with its certificate among the roots: %v", err)
	}
	client := newClient(nil)
	transportOf(t, client).TLSClientConfig.ServerName = "example.com"
	_, err := get(t, client, server.URL)
	var refusal *tls.CertificateVerificationError
	if !errors.As(err, &refusal) {
		t.Errorf("without it: %v", err)
	}
}

func TestParseRootsKeepsTheSystemsOwn(t *testing.T) {
	system, err := x509.SystemCertPool()
	if err != nil {
		t.Skip(err)
	}
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	got, err := ParseRoots(bundleOf(server))
	if err != nil {
		t.Fatal(err)
	}
	system.AddCert(server.Certificate())
	if !got.Equal(system) {
		t.Error("the roots are not the system's and the bundle's")
	}
}

func TestParseRootsRefusesWhatHoldsNoCertificate(t *testing.T) {
	for name, bundle := range map[string]string{
		"nothing":             "",
		"a text":              "planted",
		"a broken block":      "-----BEGIN CERTIFICATE-----\nplanted\n-----END CERTIFICATE-----\n",
		"a key":               "-----BEGIN PRIVATE KEY-----\ncGxhbnRlZA==\n-----END PRIVATE KEY-----\n",
		"no real certificate": "-----BEGIN CERTIFICATE-----\ncGxhbnRlZA==\n-----END CERTIFICATE-----\n",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseRoots(bundle)
			if err == nil || err.Error() != "holds no certificate in PEM form" {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestClientsAreSharedByTheirBundles(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	bundle := bundleOf(server)
	numbered := func(n int) *http.Client {
		client, err := ClientTrusting(fmt.Sprintf("%s\n# %s %d\n", bundle, t.Name(), n))
		if err != nil {
			t.Fatal(err)
		}
		return client
	}
	first := numbered(0)
	roots, err := ParseRoots(bundle)
	if err != nil || !transportOf(t, first).TLSClientConfig.RootCAs.Equal(roots) {
		t.Errorf("the client doesn't trust the bundle (%v)", err)
	}
	if numbered(0) != first {
		t.Error("one bundle has two clients")
	}
	if numbered(1) == first || first == Shared() {
		t.Error("two bundles have one client")
	}
	for n := range maxBundles {
		numbered(n)
	}
	if numbered(0) != first {
		t.Error("a client was dropped although there was room")
	}
	numbered(maxBundles)
	if numbered(0) == first || len(bundled.clients) != maxBundles || len(bundled.order) != maxBundles {
		t.Errorf("%d clients are kept, and the oldest among them", len(bundled.clients))
	}
}

func TestWithoutABundleTheClientIsTheSharedOne(t *testing.T) {
	if client, err := ClientTrusting(""); err != nil || client != Shared() {
		t.Errorf("got another one, %v", err)
	}
	if client, err := ClientTrusting("planted"); client != nil || err == nil || err.Error() != "holds no certificate in PEM form" {
		t.Errorf("of a bundle that is none: %v, %v", client, err)
	}
}

func TestThereIsOneSharedClient(t *testing.T) {
	if one, other := Shared(), Shared(); one != other {
		t.Error("two clients, thus two pools of connections")
	}
}

func TestClientTellsAProxysRefusal(t *testing.T) {
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			t.Errorf("got %s", r.Method)
		}
		w.WriteHeader(http.StatusForbidden)
	}))
	defer proxy.Close()
	address, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	client := newClient(nil)
	transportOf(t, client).Proxy = http.ProxyURL(address)
	_, err = get(t, client, "https://service.example/")
	var refusal *proxyRefusal
	if !errors.As(err, &refusal) || refusal.status != http.StatusForbidden {
		t.Errorf("got %v", err)
	}
}

func TestAProxysConsentIsNoRefusal(t *testing.T) {
	if err := checkProxyAnswer(t.Context(), nil, nil, &http.Response{StatusCode: http.StatusOK}); err != nil {
		t.Error(err)
	}
}

func TestTheEnvironmentsProxyIsUsed(t *testing.T) {
	// The standard library reads the environment once, so this test takes it
	// as it is.
	request := newGet(t, "https://example.com")
	want, wantErr := http.ProxyFromEnvironment(request)
	got, err := environmentProxy(request)
	if (err == nil) != (wantErr == nil) || got != want && got.String() != want.String() {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
}

func TestStatusText(t *testing.T) {
	for status, want := range map[int]string{404: "404 Not Found", 599: "599"} {
		if got := StatusText(status); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestMediaType(t *testing.T) {
	for text, want := range map[string]string{
		"text/html":                        "text/html",
		"TEXT/HTML; charset=utf-8":         "text/html",
		"text/html; charset":               "text/html",
		"":                                 "",
		"no type \x01":                     "",
		"text/" + strings.Repeat("x", 100): "",
	} {
		if got := mediaTypeOf(http.Header{"Content-Type": {text}}); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
