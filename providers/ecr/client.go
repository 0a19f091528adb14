package ecr

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// maxBody is how much of an answer is read. A token is a few kilobytes.
const maxBody = 1 << 20

// NewClient returns a client for exchanges: through the proxy that the
// environment names, TLS 1.2 or later, no redirects. It has no time limit of
// its own; that is the context's business.
func NewClient() *http.Client {
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	return withoutRedirects(&http.Client{Transport: &http.Transport{
		Proxy:                  environmentProxy,
		OnProxyConnectResponse: checkProxyAnswer,
		DialContext:            dialer.DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    10 * time.Second,
		ForceAttemptHTTP2:      true,
		// Exchanges are hours apart; retries and role sessions are not.
		MaxIdleConns:    10,
		IdleConnTimeout: 30 * time.Second,
	}})
}

// sharedClient is the process's one client, made when first used.
var sharedClient = sync.OnceValue(NewClient)

// withoutRedirects returns a copy of a client that takes a redirect for the
// answer: a signed request must not go to where somebody else points.
func withoutRedirects(client *http.Client) *http.Client {
	copied := *client
	copied.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &copied
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
	return fmt.Sprintf("the proxy refused to connect: %s", statusText(e.status))
}

func checkProxyAnswer(_ context.Context, _ *url.URL, _ *http.Request, answer *http.Response) error {
	if answer.StatusCode != http.StatusOK {
		return &proxyRefusal{status: answer.StatusCode}
	}
	return nil
}

func statusText(status int) string {
	if text := http.StatusText(status); text != "" {
		return fmt.Sprintf("%d %s", status, text)
	}
	return fmt.Sprint(status)
}

// answer is what is remembered of the last answer for a message: the SDK
// doesn't hand it out when it could not read the body.
type answer struct {
	status      int
	contentType string
	header      http.Header
}

// recorder is the HTTP client of one exchange: it limits bodies and remembers
// the last answer's head. It is not safe for concurrent use; the calls of an
// exchange follow one another.
type recorder struct {
	client *http.Client
	last   answer
}

// Do sends a request.
func (r *recorder) Do(request *http.Request) (*http.Response, error) {
	r.last = answer{}
	if err := holdBody(request); err != nil {
		return nil, err
	}
	response, err := r.client.Do(request)
	if err != nil {
		return nil, err
	}
	r.last = answer{
		status:      response.StatusCode,
		contentType: mediaType(response.Header),
		header:      response.Header,
	}
	response.Body = &limitedBody{Reader: http.MaxBytesReader(nil, response.Body, maxBody), Closer: response.Body}
	return response, nil
}

// holdBody reads a request's body into memory. The SDK closes its body as soon
// as an answer begins, which may be before the transport has looked for the
// body's end; the transport then gives the connection up and with it the rest
// of the answer. The bodies are a few hundred bytes.
func holdBody(request *http.Request) error {
	if request.Body == nil {
		return nil
	}
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return fmt.Errorf("reading the request's body: %w", err)
	}
	if err := request.Body.Close(); err != nil {
		return fmt.Errorf("closing the request's body: %w", err)
	}
	request.Body = io.NopCloser(bytes.NewReader(body))
	return nil
}

// limitedBody closes the body that is read through the limit.
type limitedBody struct {
	io.Reader
	io.Closer
}

// mediaType returns the type in a header if it is one, as it goes into
// messages.
func mediaType(header http.Header) string {
	media, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil || len(media) > 64 {
		return ""
	}
	return media
}
