package ecr

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"
)

// trusting returns NewClient's client with a test server's certificate, which
// is for example.com, among the trusted ones.
func trusting(t *testing.T, server *httptest.Server) (*http.Client, *http.Transport) {
	t.Helper()
	client := NewClient()
	transport, ok := client.Transport.(*http.Transport)
	if !ok {
		t.Fatalf("the transport is a %T", client.Transport)
	}
	t.Cleanup(transport.CloseIdleConnections)
	transport.TLSClientConfig.RootCAs = x509.NewCertPool()
	transport.TLSClientConfig.RootCAs.AddCert(server.Certificate())
	transport.TLSClientConfig.ServerName = "example.com"
	return client, transport
}

func get(t *testing.T, client *http.Client, address string) (*http.Response, error) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(request)
	if err == nil {
		_ = response.Body.Close()
	}
	return response, err
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
	client, _ := trusting(t, server)
	response, err := get(t, client, server.URL)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != http.StatusTemporaryRedirect {
		t.Errorf("got %s", response.Status)
	}
}

func TestClientRefusesOldTLS(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.TLS = &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}
	server.StartTLS()
	defer server.Close()
	client, _ := trusting(t, server)
	if response, err := get(t, client, server.URL); err == nil {
		t.Errorf("got %s by TLS %x", response.Status, response.TLS.Version)
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
	client := NewClient()
	transport, _ := client.Transport.(*http.Transport)
	transport.Proxy = http.ProxyURL(address)
	_, err = get(t, client, "https://api.ecr.eu-central-1.amazonaws.com/")
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

func TestStatusText(t *testing.T) {
	for status, want := range map[int]string{404: "404 Not Found", 599: "599"} {
		if got := statusText(status); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestRecorderLimitsBodies(t *testing.T) {
	for name, test := range map[string]struct {
		length  int
		tooLong bool
	}{
		"as long as allowed":    {maxBody, false},
		"longer by a character": {maxBody + 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			body := &closing{Reader: strings.NewReader(strings.Repeat("x", test.length))}
			recording := &recorder{client: &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: 200, Body: body, Header: http.Header{"Content-Type": {"text/html; charset=x"}}}, nil
			})}}
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://example.com", nil)
			if err != nil {
				t.Fatal(err)
			}
			response, err := recording.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			_, err = io.ReadAll(response.Body)
			var tooLong *http.MaxBytesError
			if errors.As(err, &tooLong) != test.tooLong {
				t.Errorf("got %v", err)
			}
			if err := response.Body.Close(); err != nil || !body.closed {
				t.Errorf("the body is not closed: %v", err)
			}
			if recording.last.status != 200 || recording.last.contentType != "text/html" {
				t.Errorf("recorded %+v", recording.last)
			}
		})
	}
}

type closing struct {
	io.Reader
	closed bool
}

func (c *closing) Close() error { c.closed = true; return nil }

// The SDK closes its body when an answer begins, while the transport may still
// be looking for the body's end.
func TestRecorderSendsABodyThatTheSDKCannotClose(t *testing.T) {
	var sent io.Reader
	recording := &recorder{client: &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		sent = r.Body
		return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
	})}}
	original := &closing{Reader: strings.NewReader("{}")}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://example.com", original)
	if err != nil {
		t.Fatal(err)
	}
	response, err := recording.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	_ = request.Body.Close()
	if body, err := io.ReadAll(sent); err != nil || string(body) != "{}" || !original.closed {
		t.Errorf("sent %q, %v; the original is closed: %t", body, err, original.closed)
	}
}

func TestRecorderPassesOnABodyThatFails(t *testing.T) {
	for name, body := range map[string]io.ReadCloser{
		"at reading": io.NopCloser(iotest.ErrReader(io.ErrUnexpectedEOF)),
		"at closing": failingClose{strings.NewReader("")},
	} {
		t.Run(name, func(t *testing.T) {
			recording := &recorder{client: &http.Client{Transport: broken{errors.New("a request was sent")}}}
			request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://example.com", body)
			if err != nil {
				t.Fatal(err)
			}
			response, err := recording.Do(request)
			if err == nil {
				_ = response.Body.Close()
			}
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("got %v", err)
			}
		})
	}
}

type failingClose struct{ io.Reader }

func (failingClose) Close() error { return io.ErrUnexpectedEOF }

func TestTheEnvironmentsProxyIsUsed(t *testing.T) {
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://example.com", nil)
	if err != nil {
		t.Fatal(err)
	}
	// The standard library reads the environment once, so this test takes it
	// as it is.
	want, wantErr := http.ProxyFromEnvironment(request)
	got, err := environmentProxy(request)
	if (err == nil) != (wantErr == nil) || got != want && got.String() != want.String() {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
}

func TestMediaType(t *testing.T) {
	for text, want := range map[string]string{
		"text/html":                        "text/html",
		"TEXT/HTML; charset=utf-8":         "text/html",
		"":                                 "",
		"no type \x01":                     "",
		"text/" + strings.Repeat("x", 100): "",
	} {
		if got := mediaType(http.Header{"Content-Type": {text}}); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
