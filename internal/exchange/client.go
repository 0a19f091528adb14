// Package exchange is how providers talk HTTP to clouds: one shared client
// with the limits that all of them need, answers that are read with care, and
// failures in words that may be shown to people.
package exchange

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// MaxBody is how many bytes of an answer are read. A token is a few kilobytes.
const MaxBody = 1 << 20

// UserAgent tells the other side who is calling.
const UserAgent = "imagepullsecret-operator"

// newClient returns a client for exchanges: through the proxy that the
// environment names, TLS 1.2 or later, no redirects. It has no time limit of
// its own; that is the context's business. roots are the authorities that it
// trusts; nil stands for the system's.
func newClient(roots *x509.CertPool) *http.Client {
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	return WithoutRedirects(&http.Client{Transport: &http.Transport{
		Proxy:                  environmentProxy,
		OnProxyConnectResponse: checkProxyAnswer,
		DialContext:            dialer.DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		TLSHandshakeTimeout:    10 * time.Second,
		ForceAttemptHTTP2:      true,
		// Exchanges are hours apart; retries and role sessions are not.
		MaxIdleConns:    10,
		IdleConnTimeout: 30 * time.Second,
	}})
}

// Shared returns the process's one client that trusts the system's
// authorities, made when first used.
var Shared = sync.OnceValue(func() *http.Client { return newClient(nil) })

// maxBundles bounds how many clients ClientTrusting keeps.
const maxBundles = 64

// bundled are clients by the SHA-256 of their bundles.
var bundled struct {
	sync.Mutex
	clients map[[sha256.Size]byte]*http.Client
	order   [][sha256.Size]byte // the oldest first
}

// ClientTrusting returns the process's client that trusts the system's
// authorities and those of a PEM bundle: Shared if the bundle is empty. Clients
// are kept, as parsing takes long, and each has connections of its own. The
// error is ParseRoots'.
func ClientTrusting(bundle string) (*http.Client, error) {
	if bundle == "" {
		return Shared(), nil
	}
	key := sha256.Sum256([]byte(bundle))
	bundled.Lock()
	defer bundled.Unlock()
	if client, known := bundled.clients[key]; known {
		return client, nil
	}
	roots, err := ParseRoots(bundle)
	if err != nil {
		return nil, err
	}
	if bundled.clients == nil {
		bundled.clients = map[[sha256.Size]byte]*http.Client{}
	}
	if len(bundled.order) == maxBundles {
		delete(bundled.clients, bundled.order[0])
		bundled.order = bundled.order[1:]
	}
	client := newClient(roots)
	bundled.clients[key] = client
	bundled.order = append(bundled.order, key)
	return client, nil
}

// WithoutRedirects returns a copy of a client that takes a redirect for the
// answer: a credential must not go to where somebody else points.
func WithoutRedirects(client *http.Client) *http.Client {
	copied := *client
	copied.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &copied
}

// ParseRoots returns the system's authorities and those of a PEM bundle beside
// them. The error says what is wrong with the bundle and does not quote it.
func ParseRoots(bundle string) (*x509.CertPool, error) {
	roots, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("reading the system's certificate authorities: %w", err)
	}
	if !roots.AppendCertsFromPEM([]byte(bundle)) {
		return nil, errors.New("holds no certificate in PEM form")
	}
	return roots, nil
}

// errProxySetting stands for the standard library's error, which quotes the
// setting and a password in it.
var errProxySetting = errors.New("the proxy's address in the environment can't be parsed")

func environmentProxy(request *http.Request) (*url.URL, error) {
	proxy, err := http.ProxyFromEnvironment(request)
	if err != nil {
		return nil, errProxySetting
	}
	return proxy, nil
}

// proxyRefusal is a proxy's answer other than 200 to CONNECT.
type proxyRefusal struct{ status int }

// Error says what the proxy answered.
func (e *proxyRefusal) Error() string {
	return "the proxy refused to connect: " + StatusText(e.status)
}

func checkProxyAnswer(_ context.Context, _ *url.URL, _ *http.Request, answer *http.Response) error {
	if answer.StatusCode != http.StatusOK {
		return &proxyRefusal{status: answer.StatusCode}
	}
	return nil
}

// StatusText returns an HTTP status as messages show it, such as
// "503 Service Unavailable".
func StatusText(status int) string {
	if text := http.StatusText(status); text != "" {
		return fmt.Sprintf("%d %s", status, text)
	}
	return fmt.Sprint(status)
}
