package exchange

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"mime"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/imagepullsecrets/operator/providers"
)

// Call is one request of an exchange, as messages name it.
type Call struct {
	// Action is what is asked for, such as "token exchange".
	Action string
	// Host is who is asked.
	Host string
}

// String begins every message about the call.
func (c Call) String() string { return c.Action + " at " + c.Host }

// Errorf returns an error about the call.
func (c Call) Errorf(class providers.Class, format string, args ...any) *providers.Error {
	failure := providers.Errorf(class, "%s: %s", c, fmt.Sprintf(format, args...))
	failure.Host = c.Host
	return failure
}

// Unanswered is the Transient error for a request that met no answer. Only
// causes whose text is known to be harmless are told in full. ctx is the
// request's.
func (c Call) Unanswered(ctx context.Context, err error) *providers.Error {
	what, down := noConnection(err), true
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		what, down = "cancelled", false
	case ctx.Err() != nil:
		what = "no answer within the time allowed"
	}
	failure := c.Errorf(providers.Transient, "%s", what)
	failure.Down, failure.Cause = down, err
	return failure
}

// Unreadable is the error for an answer that is not the service's own, such as
// a proxy's page: Transient, or Throttled if it asks for fewer requests. Its
// body is not shown: nobody knows what is in it. err is why it could not be
// read; it may be nil. The host is down unless the status blames the request:
// what is refused to one may be fine for the next.
func (c Call) Unreadable(status int, header http.Header, err error) *providers.Error {
	class := providers.Transient
	if status == http.StatusTooManyRequests {
		class = providers.Throttled
	}
	failure := c.Errorf(class, "%s", unreadable(status, mediaTypeOf(header), err))
	failure.RetryAfter = RetryAfter(header, time.Now())
	failure.Down, failure.Cause = status < 400 || status >= 500, err
	return failure
}

func unreadable(status int, mediaType string, err error) string {
	var tooLong *http.MaxBytesError
	switch {
	case errors.As(err, &tooLong):
		return fmt.Sprintf("the answer (%s) is longer than %d bytes", StatusText(status), tooLong.Limit)
	case status >= 300 && status < 400:
		return fmt.Sprintf("answered with a redirect (%s), which is not followed; a proxy in between?", StatusText(status))
	case strings.HasSuffix(mediaType, "html"):
		return fmt.Sprintf("answered %s with %s instead of data; a proxy in between?", StatusText(status), mediaType)
	case status >= 500:
		return "answered " + StatusText(status)
	case mediaType == "":
		return fmt.Sprintf("answered %s with a body of no type that can't be read; a proxy in between?", StatusText(status))
	default:
		return fmt.Sprintf("answered %s with %s that can't be read; a proxy in between?", StatusText(status), mediaType)
	}
}

// noConnection describes, without anything secret, why nothing was answered.
func noConnection(err error) string {
	var (
		lookup      *net.DNSError
		refusal     *proxyRefusal
		certificate *tls.CertificateVerificationError
		number      syscall.Errno
		operation   *net.OpError
		timeout     net.Error
	)
	switch {
	case errors.Is(err, errProxySetting):
		return errProxySetting.Error()
	case errors.As(err, &refusal):
		return refusal.Error()
	case errors.As(err, &certificate):
		return "the certificate is not trusted; behind a proxy that opens TLS, its CA must be among the system's (SSL_CERT_FILE)"
	case errors.As(err, &lookup) && lookup.IsNotFound:
		return fmt.Sprintf("the host %s does not exist in DNS; check its name, and HTTPS_PROXY", lookup.Name)
	case errors.As(err, &lookup):
		return fmt.Sprintf("the host %s could not be looked up; check DNS and HTTPS_PROXY", lookup.Name)
	case errors.As(err, &operation) && operation.Op == "proxyconnect":
		return "the proxy of HTTPS_PROXY could not be reached"
	case errors.As(err, &number):
		return fmt.Sprintf("could not be reached: %s; check HTTPS_PROXY and network policies", number.Error())
	case errors.As(err, &timeout) && timeout.Timeout():
		return "could not be reached in time; check HTTPS_PROXY and network policies"
	default:
		return "the connection failed; check HTTPS_PROXY and network policies"
	}
}

// mediaTypeOf returns the type in a header if it is one, as it goes into
// messages; "" if not. Parameters that can't be read don't matter.
func mediaTypeOf(header http.Header) string {
	media, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) || len(media) > 64 {
		return ""
	}
	return media
}

// maxRetryAfter bounds what an answer may ask for, so that nobody on the way
// can put a credential to sleep.
const maxRetryAfter = time.Hour

// RetryAfter returns what an answer's Retry-After asks for at most an hour, or
// 0 (RFC 9110, section 10.2.3).
func RetryAfter(header http.Header, now time.Time) time.Duration {
	value := header.Get("Retry-After")
	if value == "" {
		return 0
	}
	if seconds, err := strconv.ParseInt(value, 10, 64); err == nil {
		return time.Duration(min(max(seconds, 0), int64(maxRetryAfter/time.Second))) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(at.Sub(now), 0), maxRetryAfter)
	}
	return 0
}

// ClassOfStatus judges a refusal by its HTTP status alone, for errors whose
// code says nothing.
func ClassOfStatus(status int) providers.Class {
	switch {
	case status == http.StatusTooManyRequests:
		return providers.Throttled
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return providers.Denied
	case status == http.StatusRequestTimeout, status >= 500:
		return providers.Transient
	default:
		return providers.Invalid
	}
}

// tolerance is the difference between two clocks that is not worth a word.
const tolerance = 30 * time.Second

// ClockDifference compares an answer's Date with whose clock said now, such as
// "this machine's". It returns a clause such as "this machine's clock is 5m0s
// ahead of AWS's", or "" if the two agree within 30 seconds or either doesn't
// tell its time.
func ClockDifference(header http.Header, now time.Time, whose, other string) string {
	date, err := http.ParseTime(header.Get("Date"))
	if err != nil || now.IsZero() {
		return ""
	}
	behind := date.Sub(now).Round(time.Second)
	switch {
	case behind > tolerance:
		return fmt.Sprintf("%s clock is %s behind %s", whose, behind, other)
	case behind < -tolerance:
		return fmt.Sprintf("%s clock is %s ahead of %s", whose, -behind, other)
	default:
		return ""
	}
}
