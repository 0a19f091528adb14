package awsidentity

import (
	"bytes"
	"fmt"
	"io"
	"net/http"

	"github.com/imagepullsecrets/operator/internal/exchange"
)

// recorder is the HTTP client of one call: it limits bodies and remembers the
// last answer's head, which the SDK doesn't hand out when it could not read
// the body. It is not safe for concurrent use; attempts follow one another.
type recorder struct {
	client *http.Client
	// status is 0 as long as nothing was answered.
	status int
	header http.Header
}

// Do sends a request.
func (r *recorder) Do(request *http.Request) (*http.Response, error) {
	r.status, r.header = 0, nil
	response, err := limitedDo(r.client, request)
	if err != nil {
		return nil, err
	}
	r.status, r.header = response.StatusCode, response.Header
	return response, nil
}

// limitedDo sends a request of the SDK, follows no redirect and limits the
// answer's body.
func limitedDo(client *http.Client, request *http.Request) (*http.Response, error) {
	if err := holdBody(request); err != nil {
		return nil, err
	}
	response, err := exchange.WithoutRedirects(client).Do(request) //nolint:gosec // G704: the SDK knows its hosts
	if err != nil {
		return nil, err
	}
	response.Body = &limitedBody{Reader: http.MaxBytesReader(nil, response.Body, exchange.MaxBody), Closer: response.Body}
	return response, nil
}

// holdBody reads a request's body into memory. The SDK closes its body as soon
// as an answer begins, which may be before the transport has looked for the
// body's end; the transport then gives the connection up and with it the rest
// of the answer. The bodies are a few kilobytes.
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
