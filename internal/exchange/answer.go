package exchange

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/imagepullsecrets/operator/providers"
)

// Answer is a service's own answer, read to its end.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// OK tells whether the service did what it was asked for.
func (a Answer) OK() bool { return a.Status >= 200 && a.Status < 300 }

// Decode reads the body as one JSON value into v. Fields that v does not have
// are ignored.
func (a Answer) Decode(v any) error {
	if err := json.Unmarshal(a.Body, v); err != nil {
		return errors.New("the body is not the JSON that was expected")
	}
	return nil
}

// Decode reads an answer of the call into v, or returns Unreadable's error. A
// refusal may come without a body, which leaves v as it is.
func (c Call) Decode(answer Answer, v any) error {
	if len(answer.Body) == 0 && !answer.OK() {
		return nil
	}
	if err := answer.Decode(v); err != nil {
		return c.Unreadable(answer.Status, answer.Header, err)
	}
	return nil
}

// Do sends a request and returns the answer, whatever its status. The error is
// that of Unanswered or Unreadable, for what is no answer of the service: no
// connection, a redirect, HTML, a body that breaks off or exceeds MaxBody. The
// Answer beside it has the status and the header, if there were any.
//
// Whatever the client's own settings are, redirects aren't followed.
func (c Call) Do(client *http.Client, request *http.Request) (Answer, error) {
	request.Header.Set("User-Agent", UserAgent)
	response, err := WithoutRedirects(client).Do(request) //nolint:gosec // G704: providers check hosts, and only cluster-wide objects may name any
	if err != nil {
		return Answer{}, c.Unanswered(request.Context(), err)
	}
	defer func() { _ = response.Body.Close() }() // it was read, or nobody wants it
	answer := Answer{Status: response.StatusCode, Header: response.Header}
	if answer.Status >= 300 && answer.Status < 400 || strings.HasSuffix(mediaTypeOf(answer.Header), "html") {
		return answer, c.Unreadable(answer.Status, answer.Header, nil)
	}
	body, err := io.ReadAll(http.MaxBytesReader(nil, response.Body, MaxBody))
	if err != nil {
		if request.Context().Err() != nil {
			return answer, c.Unanswered(request.Context(), err)
		}
		return answer, c.Unreadable(answer.Status, answer.Header, err)
	}
	answer.Body = body
	return answer, nil
}

// NewForm returns a POST of a form.
func NewForm(ctx context.Context, address string, form url.Values) (*http.Request, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Accept", "application/json")
	return request, nil
}

// Refusal is a service's refusal in its own words.
type Refusal struct {
	// Class is the verdict on it.
	Class providers.Class
	// Code and Description are the service's, as they came.
	Code, Description string
	// NoCode is told in the place of a code that may not be shown; the HTTP
	// status if empty.
	NoCode string
	// RequestID is what the service's support asks for; it may be empty.
	RequestID string
	// Hint says what to do; it may be empty.
	Hint string
}

// Mentions tells whether a refusal's description holds one of some texts:
// services give several causes one code, and tell them apart in words only.
func Mentions(description string, texts []string) bool {
	return slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(description, text) })
}

// Refused is the error for a refusal: code, description and request id as far
// as they may be shown, and what to do.
func (c Call) Refused(answer Answer, refusal Refusal, scrub *Scrubber) *providers.Error {
	what := cmp.Or(scrub.Name(refusal.Code), refusal.NoCode, StatusText(answer.Status))
	if description := scrub.Describe(refusal.Description); description != "" {
		what += ": " + description
	}
	if id := scrub.Name(refusal.RequestID); id != "" {
		what += " (request id " + id + ")"
	}
	if refusal.Hint != "" {
		what += "; " + refusal.Hint
	}
	failure := c.Errorf(refusal.Class, "%s", what)
	failure.RetryAfter = RetryAfter(answer.Header, time.Now())
	if answer.Status >= http.StatusInternalServerError && refusal.Class == providers.Transient {
		failure.Down = true
	}
	return failure
}
