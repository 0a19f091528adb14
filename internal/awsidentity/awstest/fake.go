// Package awstest stands in for AWS in unit tests: it speaks the wire format
// of the calls over TLS and answers what a test lays down. It verifies nothing;
// tests/fakecloud does.
package awstest

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"

	"github.com/imagepullsecrets/operator/providers"
)

// What must never show up in a message. Their forms differ so that no single
// rule of the scrubber hides them all.
const (
	KeyID     = "AKIAPLANTED0000EXAMP"
	SecretKey = "planted-secret/key"
	Session   = "IQoJb3JpZ2luX2VjEPLANTEDplantedPLANTEDplantedPLANTEDplanted//////////wEaCXVzLWVhc3QtMSJ=="
	SessionID = "ASIAPLANTED0000EXAMP"
	// SessionKey is unknown to anybody before there is a session.
	SessionKey = "planted-temporary/key"
	Password   = "eyJwYXlsb2FkIjoicGxhbnRlZHBsYW50ZWRwbGFudGVk:with:colons"
)

// The actions that the fake knows.
const (
	AssumeRole  = "AssumeRole"
	WebIdentity = "AssumeRoleWithWebIdentity"
	GetToken    = "GetAuthorizationToken"
)

// Now is the time in tests. The SDK signs by the real clock, which the fake
// does not look at.
var Now = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

// Secrets are all that is planted.
func Secrets() []string {
	return []string{KeyID, SecretKey, Session, SessionID, SessionKey, Password, EncodedToken()}
}

// Leaks returns what a text tells of the secrets.
func Leaks(text string) []string {
	return slices.DeleteFunc(Secrets(), func(secret string) bool { return !strings.Contains(text, secret) })
}

// Reply is one answer of the fake.
type Reply struct {
	Status int
	Header map[string]string
	Body   string
}

// With returns the reply with another header.
func (r Reply) With(key, value string) Reply {
	header := map[string]string{}
	for k, v := range r.Header {
		header[k] = v
	}
	header[key] = value
	r.Header = header
	return r
}

// Received is what the fake keeps of a request.
type Received struct {
	Action, Host, Authorization, SessionToken, UserAgent, Body string
	// Form is the body of a call to STS.
	Form url.Values
}

// Server is the fake. Every host leads to it. For each action it gives its
// replies in turn, the last one for ever.
type Server struct {
	server *httptest.Server

	mutex    sync.Mutex
	replies  map[string][]Reply
	requests []Received
}

// NewServer returns a fake whose calls succeed.
func NewServer(t testing.TB) *Server {
	t.Helper()
	s := &Server{replies: map[string][]Reply{
		AssumeRole:  {Sessions(AssumeRole)},
		WebIdentity: {Sessions(WebIdentity)},
	}}
	s.server = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	// A client that gives up makes the server complain.
	s.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.server.StartTLS()
	t.Cleanup(s.server.Close)
	return s
}

// Answer lays down the replies for an action.
func (s *Server) Answer(action string, replies ...Reply) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.replies[action] = replies
}

// Requests returns what arrived.
func (s *Server) Requests() []Received {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return slices.Clone(s.requests)
}

// Actions returns the actions of what arrived.
func (s *Server) Actions() []string {
	var actions []string
	for _, request := range s.Requests() {
		actions = append(actions, request.Action)
	}
	return actions
}

// Client returns a client that reaches the fake under any name.
func (s *Server) Client() *http.Client { return &http.Client{Transport: s} }

// RoundTrip sends every request for a host of AWS to the fake, and none to
// another host.
func (s *Server) RoundTrip(request *http.Request) (*http.Response, error) {
	if !strings.Contains(request.URL.Host, "amazonaws") || request.URL.Scheme != "https" {
		return nil, fmt.Errorf("a request for %s://%s", request.URL.Scheme, request.URL.Host)
	}
	request = request.Clone(request.Context())
	request.Host = request.URL.Host
	request.URL.Host = s.server.Listener.Addr().String()
	return s.server.Client().Transport.RoundTrip(request)
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	got := Received{
		Host: r.Host, Authorization: r.Header.Get("Authorization"),
		SessionToken: r.Header.Get("X-Amz-Security-Token"), UserAgent: r.UserAgent(), Body: string(body),
	}
	if _, operation, ok := strings.Cut(r.Header.Get("X-Amz-Target"), "."); ok {
		got.Action = operation
	} else if got.Form, err = url.ParseQuery(string(body)); err == nil {
		got.Action = got.Form.Get("Action")
	}
	answer := s.next(got)
	// No date unless a test sets one: it would be the real clock's.
	w.Header()["Date"] = nil
	for key, value := range answer.Header {
		w.Header().Set(key, value)
	}
	w.WriteHeader(cmp.Or(answer.Status, http.StatusNotFound))
	_, _ = w.Write([]byte(answer.Body)) // a client may give up
}

func (s *Server) next(got Received) Reply {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.requests = append(s.requests, got)
	left := s.replies[got.Action]
	if len(left) == 0 {
		return Reply{}
	}
	if len(left) > 1 {
		s.replies[got.Action] = left[1:]
	}
	return left[0]
}

// Sessions is the success of AssumeRole or AssumeRoleWithWebIdentity.
func Sessions(action string) Reply {
	return Reply{Status: 200, Header: map[string]string{"Content-Type": "text/xml"}, Body: fmt.Sprintf(
		`<%[1]sResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><%[1]sResult>
		<AssumedRoleUser><Arn>arn:aws:sts::111122223333:assumed-role/pull/me</Arn><AssumedRoleId>AROAEXAMPLE:me</AssumedRoleId></AssumedRoleUser>
		<Credentials><AccessKeyId>%[2]s</AccessKeyId><SecretAccessKey>%[3]s</SecretAccessKey><SessionToken>%[4]s</SessionToken><Expiration>2130-01-02T04:04:05Z</Expiration></Credentials>
		</%[1]sResult><ResponseMetadata><RequestId>11111111-2222-3333-4444-555555555555</RequestId></ResponseMetadata></%[1]sResponse>`,
		action, SessionID, SessionKey, Session)}
}

// STSError is a refusal of STS.
func STSError(status int, code, message string) Reply {
	return Reply{Status: status, Header: map[string]string{"Content-Type": "text/xml"}, Body: fmt.Sprintf(
		`<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error><RequestId>11111111-2222-3333-4444-555555555555</RequestId></ErrorResponse>`,
		code, message)}
}

// JSON is an answer of the registry services.
func JSON(status int, body string) Reply {
	return Reply{Status: status, Body: body, Header: map[string]string{
		"Content-Type": "application/x-amz-json-1.1", "X-Amzn-Requestid": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
	}}
}

// JSONError is a refusal of the registry services.
func JSONError(status int, code, message string) Reply {
	return JSON(status, fmt.Sprintf(`{"__type":%q,"message":%q}`, code, message))
}

// HTML is the page of something in between, with a text in it.
func HTML(status int, text string) Reply {
	return Reply{Status: status, Body: "<html><body>portal" + text + "</body></html>", Header: map[string]string{"Content-Type": "text/html; charset=utf-8"}}
}

// EncodedToken is an authorizationToken with the Password.
func EncodedToken() string { return base64.StdEncoding.EncodeToString([]byte("AWS:" + Password)) }

// Minter stands for the API server: it mints a token per request.
type Minter struct {
	// IssuedAt is what the tokens say.
	IssuedAt time.Time
	// Err is returned instead of a token, if set.
	Err error
	// Asked are the requests, each as <namespace>/<name> for <audience>.
	Asked []string
}

// Env lends the Minter to an exchange.
func (m *Minter) Env() providers.Env { return providers.Env{Token: m.mint} }

func (m *Minter) mint(_ context.Context, account providers.ServiceAccount, audience string) (string, error) {
	m.Asked = append(m.Asked, account.String()+" for "+audience)
	if m.Err != nil {
		return "", m.Err
	}
	return Token(len(m.Asked), m.IssuedAt), nil
}

// Token returns the nth token that a Minter mints.
func Token(n int, issuedAt time.Time) string {
	encode := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	return encode(`{"alg":"RS256"}`) + "." +
		encode(fmt.Sprintf(`{"iss":"https://issuer.example","iat":%d,"jti":"%d"}`, issuedAt.Unix(), n)) + ".c2lnbmVk"
}

// Broken is a network that fails.
type Broken struct{ Err error }

// RoundTrip fails.
func (b Broken) RoundTrip(*http.Request) (*http.Response, error) { return nil, b.Err }

// Canned is a network on which everybody answers the same. Any Status becomes
// one of HTTP's.
type Canned struct {
	Status int
	Body   string
}

// RoundTrip answers.
func (c Canned) RoundTrip(request *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: 100 + (c.Status%500+500)%500, Header: http.Header{"Content-Type": {"application/x-amz-json-1.1"}},
		Body: io.NopCloser(strings.NewReader(c.Body)), Request: request, ContentLength: int64(len(c.Body)),
	}, nil
}

// CheckError tests that an error is one of providers, of a class, with all
// parts in its message and no secret.
func CheckError(t testing.TB, err error, class providers.Class, parts ...string) {
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
	if found := Leaks(err.Error()); len(found) > 0 {
		t.Errorf("%q tells %q", err, found)
	}
}

// Retryer retries at once.
func Retryer(attempts int) aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = attempts
		o.Backoff = retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return 0, nil })
	})
}
