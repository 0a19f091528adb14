package exchange_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/imagepullsecrets/operator/internal/exchange"
	"github.com/imagepullsecrets/operator/internal/exchange/exchangetest"
	"github.com/imagepullsecrets/operator/providers"
)

const planted = "planted-secret/key"

var call = exchange.Call{Action: "token exchange", Host: "sts.example"}

// do sends a form to a service that gives one reply.
func do(t *testing.T, reply exchangetest.Reply) (exchange.Answer, error) {
	t.Helper()
	service := exchangetest.NewService(t, func(exchangetest.Request) exchangetest.Reply { return reply })
	return call.Do(service.Client(), newForm(t.Context(), t))
}

func newForm(ctx context.Context, t *testing.T) *http.Request {
	t.Helper()
	request, err := exchange.NewForm(ctx, "https://sts.example/token?v=1", url.Values{"a": {"b c&d"}})
	if err != nil {
		t.Fatal(err)
	}
	return request
}

func TestDoSendsTheFormAndReturnsTheAnswer(t *testing.T) {
	service := exchangetest.NewService(t, func(exchangetest.Request) exchangetest.Reply {
		return exchangetest.Reply{Status: http.StatusTeapot, Body: `{"a":"b"}`}
	})
	answer, err := call.Do(service.Client(), newForm(t.Context(), t))
	if err != nil {
		t.Fatal(err)
	}
	if answer.Status != http.StatusTeapot || answer.OK() || string(answer.Body) != `{"a":"b"}` || answer.Header.Get("Content-Type") == "" {
		t.Errorf("got %+v", answer)
	}
	requests := service.Requests()
	if len(requests) != 1 {
		t.Fatalf("got %d requests", len(requests))
	}
	got := requests[0]
	if got.Method != http.MethodPost || got.Host != "sts.example" || got.Path != "/token" {
		t.Errorf("got %s %s%s", got.Method, got.Host, got.Path)
	}
	if diff := cmp.Diff(url.Values{"a": {"b c&d"}}, got.Form); diff != "" {
		t.Error(diff)
	}
	for header, want := range map[string]string{
		"User-Agent": exchange.UserAgent, "Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded",
	} {
		if value := got.Header.Get(header); value != want {
			t.Errorf("%s: got %q, want %q", header, value, want)
		}
	}
}

func TestNewFormRefusesABrokenAddress(t *testing.T) {
	if _, err := exchange.NewForm(t.Context(), "https://\x00", nil); err == nil {
		t.Error("no error")
	}
}

func TestOnlyA200AndItsLikeAreOK(t *testing.T) {
	for status, want := range map[int]bool{199: false, 200: true, 204: true, 299: true, 300: false, 400: false, 500: false} {
		if got := (exchange.Answer{Status: status}).OK(); got != want {
			t.Errorf("%d: got %t", status, got)
		}
	}
}

func TestDoRefusesWhatIsNoAnswerOfTheService(t *testing.T) {
	for name, test := range map[string]struct {
		reply exchangetest.Reply
		class providers.Class
		want  string
	}{
		"a portal's page": {
			exchangetest.Reply{Body: planted, Header: map[string]string{"Content-Type": "text/html; charset=utf-8"}}, providers.Transient,
			"answered 200 OK with text/html instead of data; a proxy in between?",
		},
		"a page whose type has a broken parameter": {
			exchangetest.Reply{Body: planted, Header: map[string]string{"Content-Type": "text/html; charset"}}, providers.Transient,
			"answered 200 OK with text/html instead of data",
		},
		"a proxy's refusal": {
			exchangetest.Reply{Status: 403, Body: planted, Header: map[string]string{"Content-Type": "text/html"}}, providers.Transient,
			"answered 403 Forbidden with text/html",
		},
		"a gateway's page for too many requests": {
			exchangetest.Reply{Status: 429, Body: planted, Header: map[string]string{"Content-Type": "text/html"}}, providers.Throttled,
			"answered 429 Too Many Requests with text/html",
		},
		"a redirect": {
			exchangetest.Reply{Status: 307, Header: map[string]string{"Location": "https://elsewhere.example/" + planted}}, providers.Transient,
			"answered with a redirect (307 Temporary Redirect), which is not followed; a proxy in between?",
		},
		"a redirect to nowhere": {
			exchangetest.Reply{Status: 302}, providers.Transient, "answered with a redirect (302 Found)",
		},
		"more than is read": {
			exchangetest.Reply{Body: strings.Repeat("x", exchange.MaxBody+1)}, providers.Transient,
			"the answer (200 OK) is longer than 1048576 bytes",
		},
		"a body that breaks off": {
			exchangetest.Reply{Status: 500, Body: `{`, Header: map[string]string{"Content-Length": "100"}}, providers.Transient,
			"answered 500 Internal Server Error",
		},
		"a good answer that breaks off": {
			exchangetest.Reply{Body: `{`, Header: map[string]string{"Content-Length": "100"}}, providers.Transient,
			"answered 200 OK with application/json that can't be read",
		},
	} {
		t.Run(name, func(t *testing.T) {
			answer, err := do(t, test.reply)
			exchangetest.CheckError(t, err, test.class, []string{"token exchange at sts.example: " + test.want}, []string{planted})
			blamed := test.reply.Status >= 400 && test.reply.Status < 500 // the request, not the host
			if down := providers.DownHost(err); (down == "sts.example") == blamed {
				t.Errorf("%q is said to be down", down)
			}
			if want := max(test.reply.Status, http.StatusOK); answer.Status != want || answer.Header == nil || answer.Body != nil {
				t.Errorf("got %+v, want status %d, the header and no body", answer, want)
			}
		})
	}
}

func TestDoReadsAsMuchAsIsAllowed(t *testing.T) {
	answer, err := do(t, exchangetest.Reply{Body: strings.Repeat("x", exchange.MaxBody)})
	if err != nil || len(answer.Body) != exchange.MaxBody {
		t.Errorf("got %d bytes, %v", len(answer.Body), err)
	}
}

func TestAnUnreadableAnswersRetryAfterIsKept(t *testing.T) {
	_, err := do(t, exchangetest.Reply{Status: 503, Header: map[string]string{"Content-Type": "text/html", "Retry-After": "17"}})
	if got := providers.RetryAfter(err); got != 17*time.Second {
		t.Errorf("got %s: %v", got, err)
	}
}

func TestDoEndsWithTheContext(t *testing.T) {
	for name, test := range map[string]struct {
		cut  func(*testing.T, context.CancelFunc) *http.Client
		want string
	}{
		"before the answer": {func(t *testing.T, cancel context.CancelFunc) *http.Client {
			released := make(chan struct{})
			service := exchangetest.NewService(t, func(exchangetest.Request) exchangetest.Reply {
				cancel()
				<-released
				return exchangetest.Reply{}
			})
			t.Cleanup(func() { close(released) }) // before the service's end, which waits for its answers
			return service.Client()
		}, "cancelled"},
		"in the middle of the answer": {func(_ *testing.T, cancel context.CancelFunc) *http.Client {
			return &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
				body := io.NopCloser(readerFunc(func([]byte) (int, error) { cancel(); return 0, context.Canceled }))
				return &http.Response{StatusCode: 200, Header: http.Header{}, Body: body}, nil
			})}
		}, "cancelled"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			_, err := call.Do(test.cut(t, cancel), newForm(ctx, t))
			exchangetest.CheckError(t, err, providers.Transient, []string{"token exchange at sts.example: " + test.want}, nil)
			if !errors.Is(err, context.Canceled) {
				t.Errorf("errors.Is does not find the cause in %v", errors.Unwrap(err))
			}
		})
	}
	t.Run("a deadline", func(t *testing.T) {
		ctx, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
		defer cancel()
		service := exchangetest.NewService(t, func(exchangetest.Request) exchangetest.Reply { return exchangetest.Reply{} })
		_, err := call.Do(service.Client(), newForm(ctx, t))
		exchangetest.CheckError(t, err, providers.Transient, []string{"no answer within the time allowed"}, nil)
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestDecode(t *testing.T) {
	for name, test := range map[string]struct {
		answer exchange.Answer
		want   string
		err    string
	}{
		"an object":                  {answer: exchange.Answer{Status: 200, Body: []byte(`{"token":"a","more":[1]}`)}, want: "a"},
		"a refusal's object":         {answer: exchange.Answer{Status: 400, Body: []byte(`{"token":"a"}`)}, want: "a"},
		"a refusal without a body":   {answer: exchange.Answer{Status: 400}},
		"a success without a body":   {answer: exchange.Answer{Status: 200}, err: "answered 200 OK with a body of no type that can't be read"},
		"a truncated body":           {answer: exchange.Answer{Status: 200, Body: []byte(`{"token":"planted-se`)}, err: "that can't be read"},
		"another type":               {answer: exchange.Answer{Status: 200, Body: []byte(`{"token":["planted-secret/key"]}`)}, err: "that can't be read"},
		"text behind the value":      {answer: exchange.Answer{Status: 200, Body: []byte(`{} planted-secret/key`)}, err: "that can't be read"},
		"a refusal that is no JSON":  {answer: exchange.Answer{Status: 401, Body: []byte(planted)}, err: "answered 401 Unauthorized with"},
		"a server's error as a text": {answer: exchange.Answer{Status: 503, Body: []byte(planted)}, err: "answered 503 Service Unavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			var got struct {
				Token string `json:"token"`
			}
			err := call.Decode(test.answer, &got)
			if test.err != "" {
				exchangetest.CheckError(t, err, providers.Transient, []string{"token exchange at sts.example: ", test.err}, []string{"planted"})
				return
			}
			if err != nil || got.Token != test.want {
				t.Errorf("got %q, %v; want %q", got.Token, err, test.want)
			}
		})
	}
}

func TestARefusalIsTold(t *testing.T) {
	for name, test := range map[string]struct {
		refusal exchange.Refusal
		want    string
	}{
		"in full": {
			exchange.Refusal{Code: "invalid_grant", Description: "no " + planted, RequestID: "aaaa-bbbb", Hint: "change it"},
			"token exchange at sts.example: invalid_grant: no *** (request id aaaa-bbbb); change it",
		},
		"without any word": {exchange.Refusal{}, "token exchange at sts.example: 400 Bad Request"},
		"with a code that may be a secret": {
			exchange.Refusal{Code: planted, Description: "no", RequestID: "AKIAIOSFODNN7EXAMPLE"},
			"token exchange at sts.example: 400 Bad Request: no",
		},
		"with other words for a code that may be a secret": {
			exchange.Refusal{Code: planted, NoCode: "an odd code", Description: "no"}, "token exchange at sts.example: an odd code: no",
		},
		"with a code that needs no other words": {exchange.Refusal{Code: "denied", NoCode: "an odd code"}, "token exchange at sts.example: denied"},
		"with a hint alone":                     {exchange.Refusal{Hint: "change it"}, "token exchange at sts.example: 400 Bad Request; change it"},
	} {
		t.Run(name, func(t *testing.T) {
			test.refusal.Class = providers.Denied
			answer := exchange.Answer{Status: 400, Header: http.Header{"Retry-After": {"3"}}}
			err := call.Refused(answer, test.refusal, exchange.NewScrubber(planted))
			if err.Error() != test.want || err.Class != providers.Denied || err.RetryAfter != 3*time.Second {
				t.Errorf("got %+v, want %q", err, test.want)
			}
		})
	}
}

func TestMentions(t *testing.T) {
	texts := []string{"expired", "not yet valid"}
	for description, want := range map[string]bool{
		"the token is not yet valid": true,
		"expired":                    true,
		"the token is valid":         false,
		"":                           false,
	} {
		if got := exchange.Mentions(description, texts); got != want {
			t.Errorf("%q: got %t", description, got)
		}
	}
}

func TestOnlyAServersOwnFailureIsAnOutage(t *testing.T) {
	for name, test := range map[string]struct {
		status int
		class  providers.Class
		down   string
	}{
		"a failure of its own":             {500, providers.Transient, "sts.example"},
		"a gateway's":                      {504, providers.Transient, "sts.example"},
		"a refusal with a server's status": {500, providers.Denied, ""},
		"somebody else's trouble":          {400, providers.Transient, ""},
		"too many requests":                {503, providers.Throttled, ""},
		"a refusal":                        {403, providers.Denied, ""},
	} {
		t.Run(name, func(t *testing.T) {
			err := call.Refused(exchange.Answer{Status: test.status}, exchange.Refusal{Class: test.class}, exchange.NewScrubber())
			if providers.DownHost(err) != test.down {
				t.Errorf("%q is said to be down, want %q", providers.DownHost(err), test.down)
			}
		})
	}
}
