package ecr

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
)

// What must never show up in a message. Their forms differ so that no single
// rule of the scrubber hides them all.
const (
	plantedKeyID    = "AKIAPLANTED0000EXAMP"
	plantedSecret   = "planted-secret/key"
	plantedSession  = "IQoJb3JpZ2luX2VjEPLANTEDplantedPLANTEDplantedPLANTEDplanted//////////wEaCXVzLWVhc3QtMSJ=="
	plantedTempID   = "ASIAPLANTED0000EXAMP"
	plantedTempKey  = "planted-temporary/key"
	plantedPassword = "eyJwYXlsb2FkIjoicGxhbnRlZHBsYW50ZWRwbGFudGVk:with:colons"
)

var planted = []string{plantedKeyID, plantedSecret, plantedSession, plantedTempID, plantedTempKey, plantedPassword}

const (
	actionAssumeRole = "AssumeRole"
	actionToken      = "GetAuthorizationToken"
)

// reply is one answer of the fake.
type reply struct {
	status int
	header map[string]string
	body   string
}

// received is what the fake keeps of a request.
type received struct {
	action, host, authorization, sessionToken, userAgent, body string
}

// fakeAWS speaks the wire format of the two calls over TLS. Every host leads
// to it. For each action it gives its replies in turn, the last one for ever.
type fakeAWS struct {
	*httptest.Server

	mutex    sync.Mutex
	replies  map[string][]reply
	requests []received
}

func newFakeAWS(t *testing.T) *fakeAWS {
	t.Helper()
	fake := &fakeAWS{replies: map[string][]reply{
		actionAssumeRole: {session()},
		actionToken:      {token(testNow.Add(12 * time.Hour))},
	}}
	fake.Server = httptest.NewUnstartedServer(http.HandlerFunc(fake.serve))
	// A client that gives up makes the server complain.
	fake.Config.ErrorLog = log.New(io.Discard, "", 0)
	fake.StartTLS()
	t.Cleanup(fake.Close)
	return fake
}

func (f *fakeAWS) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	action := r.Header.Get("X-Amz-Target")
	if _, operation, ok := strings.Cut(action, "."); ok {
		action = operation
	} else if form, err := url.ParseQuery(string(body)); err == nil {
		action = form.Get("Action")
	}
	f.mutex.Lock()
	f.requests = append(f.requests, received{
		action: action, host: r.Host, authorization: r.Header.Get("Authorization"),
		sessionToken: r.Header.Get("X-Amz-Security-Token"), userAgent: r.UserAgent(), body: string(body),
	})
	answer := reply{status: http.StatusNotFound}
	if left := f.replies[action]; len(left) > 0 {
		answer = left[0]
		if len(left) > 1 {
			f.replies[action] = left[1:]
		}
	}
	f.mutex.Unlock()
	// No date unless a test sets one: it would be the real clock's.
	w.Header()["Date"] = nil
	for key, value := range answer.header {
		w.Header().Set(key, value)
	}
	w.WriteHeader(answer.status)
	_, _ = w.Write([]byte(answer.body))
}

// RoundTrip sends every request for a host of AWS to the fake.
func (f *fakeAWS) RoundTrip(request *http.Request) (*http.Response, error) {
	if strings.HasSuffix(request.URL.Host, ".example") {
		return nil, fmt.Errorf("sent away to %s", request.URL.Host)
	}
	request = request.Clone(request.Context())
	request.Host = request.URL.Host
	request.URL.Host = f.Listener.Addr().String()
	return f.Client().Transport.RoundTrip(request)
}

func (f *fakeAWS) actions() []string {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	var actions []string
	for _, request := range f.requests {
		actions = append(actions, request.action)
	}
	return actions
}

// testNow is the time in tests. The SDK signs by the real clock, which the
// fake does not look at.
var testNow = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

func testConfig() Config {
	return Config{
		AccessKeyID:     plantedKeyID,
		SecretAccessKey: plantedSecret,
		Region:          "eu-central-1",
		AccountID:       "111122223333",
	}
}

func withRole(c Config) Config {
	c.RoleARN = "arn:aws:iam::111122223333:role/team/pull"
	return c
}

// newProvider returns a Provider that reaches a fake and retries at once.
func newProvider(t *testing.T, config Config, transport http.RoundTripper) *Provider {
	t.Helper()
	provider, err := New(config, &http.Client{Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	provider.now = func() time.Time { return testNow }
	provider.calls.newRetryer = func() aws.Retryer {
		return retry.NewStandard(func(o *retry.StandardOptions) {
			o.MaxAttempts = maxAttempts
			o.Backoff = retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return 0, nil })
		})
	}
	return provider
}

func session() reply {
	return reply{status: 200, header: map[string]string{"Content-Type": "text/xml"}, body: fmt.Sprintf(
		`<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>
		<AssumedRoleUser><Arn>arn:aws:sts::111122223333:assumed-role/pull/imagepullsecret-operator</Arn><AssumedRoleId>AROAEXAMPLE:imagepullsecret-operator</AssumedRoleId></AssumedRoleUser>
		<Credentials><AccessKeyId>%s</AccessKeyId><SecretAccessKey>%s</SecretAccessKey><SessionToken>%s</SessionToken><Expiration>2030-01-02T04:04:05Z</Expiration></Credentials>
		</AssumeRoleResult><ResponseMetadata><RequestId>11111111-2222-3333-4444-555555555555</RequestId></ResponseMetadata></AssumeRoleResponse>`,
		plantedTempID, plantedTempKey, plantedSession)}
}

func encodedToken() string {
	return base64.StdEncoding.EncodeToString([]byte("AWS:" + plantedPassword))
}

func token(expiresAt time.Time) reply {
	return ecrAnswer(200, fmt.Sprintf(
		`{"authorizationData":[{"authorizationToken":%q,"expiresAt":%d.25,"proxyEndpoint":"https://999999999999.dkr.ecr.eu-central-1.amazonaws.com"}]}`,
		encodedToken(), expiresAt.Unix()))
}

func ecrAnswer(status int, body string) reply {
	return reply{status: status, body: body, header: map[string]string{
		"Content-Type": "application/x-amz-json-1.1", "X-Amzn-Requestid": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
	}}
}

func ecrError(status int, code, message string) reply {
	return ecrAnswer(status, fmt.Sprintf(`{"__type":%q,"message":%q}`, code, message))
}

func stsError(status int, code, message string) reply {
	return reply{status: status, header: map[string]string{"Content-Type": "text/xml"}, body: fmt.Sprintf(
		`<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error><RequestId>11111111-2222-3333-4444-555555555555</RequestId></ErrorResponse>`,
		code, message)}
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

// fetch runs Fetch under a deadline that no test should meet.
func fetch(t *testing.T, provider *Provider) (map[string]string, time.Time, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	credential, err := provider.Fetch(ctx)
	if err != nil {
		return nil, time.Time{}, err
	}
	logins := map[string]string{}
	for registry, login := range credential.Logins {
		logins[registry] = login.Username + ":" + login.Password
	}
	return logins, credential.ExpiresAt, nil
}

// leaks returns what a text tells of the planted secrets.
func leaks(text string) []string {
	var found []string
	for _, secret := range append([]string{encodedToken()}, planted...) {
		if strings.Contains(text, secret) {
			found = append(found, secret)
		}
	}
	return found
}
