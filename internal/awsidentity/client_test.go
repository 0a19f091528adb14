package awsidentity

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/imagepullsecrets/operator/internal/awsidentity/awstest"
	"github.com/imagepullsecrets/operator/internal/exchange"
)

var _ aws.HTTPClient = (*recorder)(nil)

func TestRecorderLimitsBodies(t *testing.T) {
	for name, test := range map[string]struct {
		length  int
		tooLong bool
	}{
		"as long as allowed":    {exchange.MaxBody, false},
		"longer by a character": {exchange.MaxBody + 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			body := &closing{Reader: strings.NewReader(strings.Repeat("x", test.length))}
			recording := &recorder{client: &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: 200, Body: body, Header: http.Header{"Content-Type": {"text/html; charset=x"}}}, nil
			})}}
			response, err := recording.Do(request(t, nil))
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
			if recording.status != 200 || recording.header.Get("Content-Type") != "text/html; charset=x" {
				t.Errorf("recorded %d %v", recording.status, recording.header)
			}
		})
	}
}

func TestRecorderForgetsAnAnswerWhenTheNextAttemptGetsNone(t *testing.T) {
	recording := &recorder{client: &http.Client{Transport: awstest.Broken{Err: io.ErrUnexpectedEOF}}, status: 503, header: http.Header{}}
	response, err := recording.Do(request(t, nil))
	if err == nil {
		_ = response.Body.Close()
		t.Fatal("no error")
	}
	if recording.status != 0 || recording.header != nil {
		t.Errorf("still has %d", recording.status)
	}
}

func request(t *testing.T, body io.Reader) *http.Request {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://example.com", body)
	if err != nil {
		t.Fatal(err)
	}
	return request
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
	asked := request(t, original)
	response, err := recording.Do(asked)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	_ = asked.Body.Close()
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
			recording := &recorder{client: &http.Client{Transport: awstest.Broken{Err: errors.New("a request was sent")}}}
			response, err := recording.Do(request(t, body))
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
