package exchange

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/imagepullsecrets/operator/providers"
)

var testNow = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

type slow struct{}

func (slow) Error() string   { return "i/o timeout" }
func (slow) Timeout() bool   { return true }
func (slow) Temporary() bool { return true }

func TestNoConnectionIsExplained(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		want string
	}{
		"no such host":       {&net.DNSError{Err: "no such host", Name: "sts.example", IsNotFound: true}, "the host sts.example does not exist in DNS"},
		"a broken DNS":       {&net.DNSError{Err: "server misbehaving", Name: "sts.example", IsTemporary: true}, "the host sts.example could not be looked up"},
		"a closed port":      {&net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}, "could not be reached: connection refused; check HTTPS_PROXY"},
		"an absent proxy":    {&net.OpError{Op: "proxyconnect", Net: "tcp", Err: syscall.ECONNREFUSED}, "the proxy of HTTPS_PROXY could not be reached"},
		"a proxy's refusal":  {&proxyRefusal{status: 407}, "the proxy refused to connect: 407 Proxy Authentication Required"},
		"a broken setting":   {errProxySetting, "the proxy's address in the environment can't be parsed"},
		"an unknown CA":      {&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, "the certificate is not trusted"},
		"a slow network":     {&net.OpError{Op: "dial", Net: "tcp", Err: slow{}}, "could not be reached in time"},
		"any other mischief": {errors.New("proxy http://user:" + plantedSecret + "@proxy"), "the connection failed"},
	} {
		t.Run(name, func(t *testing.T) {
			call := Call{Action: "token exchange", Host: "sts.example"}
			err := call.Unanswered(t.Context(), fmt.Errorf("sending: %w", test.err))
			if err.Class != providers.Transient || !strings.HasPrefix(err.Error(), "token exchange at sts.example: "+test.want) {
				t.Errorf("got %s %q, want %q", err.Class, err, test.want)
			}
			if strings.Contains(err.Error(), plantedSecret) {
				t.Errorf("%q tells the secret", err)
			}
			if !errors.Is(err, test.err) {
				t.Error("errors.Is does not find the cause")
			}
			if providers.DownHost(err) != "sts.example" {
				t.Errorf("%q is said to be down", providers.DownHost(err))
			}
		})
	}
}

func TestAnEndedContextIsTold(t *testing.T) {
	late, cancelLate := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancelLate()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for want, test := range map[string]struct {
		ctx  context.Context
		down string
	}{"no answer within the time allowed": {late, "b"}, "cancelled": {ended, ""}} {
		if err := (Call{"a", "b"}).Unanswered(test.ctx, test.ctx.Err()); err.Error() != "a at b: "+want || providers.DownHost(err) != test.down {
			t.Errorf("got %q with %q down, want %q", err, providers.DownHost(err), want)
		}
	}
}

func TestRetryAfterIsTakenFromTheHeader(t *testing.T) {
	for name, test := range map[string]struct {
		value string
		want  time.Duration
	}{
		"seconds":                    {"17", 17 * time.Second},
		"a date":                     {testNow.Add(90 * time.Second).Format(http.TimeFormat), 90 * time.Second},
		"a date in the past":         {testNow.Add(-time.Hour).Format(http.TimeFormat), 0},
		"a date in a century is cut": {testNow.AddDate(100, 0, 0).Format(http.TimeFormat), time.Hour},
		"fewer than no seconds":      {"-5", 0},
		"a century is cut":           {"3155760000", time.Hour},
		"more than a number can say": {"99999999999999999999", 0},
		"nonsense":                   {"soon", 0},
		"nothing":                    {"", 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got := RetryAfter(http.Header{"Retry-After": {test.value}}, testNow); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
	if got := RetryAfter(nil, testNow); got != 0 {
		t.Errorf("without a header: got %s", got)
	}
}

func FuzzRetryAfter(f *testing.F) {
	for _, seed := range []string{"", "0", "17", "-1", "9223372036854775807", "1e9", "Wed, 02 Jan 2030 03:05:05 GMT", "Wednesday, 02-Jan-30 03:05:05 GMT", "Wed Jan  2 03:05:05 2030"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if got := RetryAfter(http.Header{"Retry-After": {value}}, testNow); got < 0 || got > maxRetryAfter {
			t.Errorf("%q: got %s", value, got)
		}
	})
}

func TestClassOfStatus(t *testing.T) {
	for status, want := range map[int]providers.Class{
		400: providers.Invalid, 401: providers.Denied, 403: providers.Denied, 404: providers.Invalid, 408: providers.Transient,
		422: providers.Invalid, 429: providers.Throttled, 500: providers.Transient, 503: providers.Transient, 599: providers.Transient,
	} {
		if got := ClassOfStatus(status); got != want {
			t.Errorf("%d: got %s, want %s", status, got, want)
		}
	}
}

func TestClocksAreCompared(t *testing.T) {
	date := func(at time.Time) http.Header { return http.Header{"Date": {at.Format(http.TimeFormat)}} }
	for name, test := range map[string]struct {
		header http.Header
		now    time.Time
		want   string
	}{
		"a slow clock":             {date(testNow.Add(7 * time.Minute)), testNow, "this machine's clock is 7m0s behind AWS's"},
		"a fast clock":             {date(testNow.Add(-7 * time.Minute)), testNow, "this machine's clock is 7m0s ahead of AWS's"},
		"a right clock":            {date(testNow), testNow, ""},
		"slower by what's allowed": {date(testNow.Add(tolerance)), testNow, ""},
		"faster by what's allowed": {date(testNow.Add(-tolerance)), testNow, ""},
		"slower by a second more":  {date(testNow.Add(tolerance + time.Second)), testNow, "this machine's clock is 31s behind AWS's"},
		"an answer without a date": {nil, testNow, ""},
		"a date that is none":      {http.Header{"Date": {plantedSecret}}, testNow, ""},
		"a clock that nobody read": {date(testNow), time.Time{}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := ClockDifference(test.header, test.now, "this machine's", "AWS's"); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
