package providers

import (
	"errors"
	"fmt"
	"time"
)

// Class says what kind of failure an exchange met. The class alone decides on
// retries, conditions and events.
type Class int

const (
	// Invalid: the configuration is wrong; a person must change it.
	Invalid Class = iota + 1
	// Denied: the provider refused the identity; a person must change
	// something, here or there, and it may take minutes to have an effect.
	Denied
	// Throttled: the provider asked for fewer requests.
	Throttled
	// ClockSkew: the two sides disagree on the time.
	ClockSkew
	// Transient: anything that may be gone at the next attempt: no
	// connection, a server's error, an answer that can't be read.
	Transient
	// Forbidden: this cluster does not let the operator do its part; a person
	// must grant it a right.
	Forbidden
)

// Error is a failed exchange.
type Error struct {
	// Class decides what happens next.
	Class Class
	// Message says what went wrong and what to do about it. It is shown to
	// people as it is: no secrets, no foreign bodies, at most 256 characters
	// of a foreign description.
	Message string
	// RetryAfter is how long the provider asked to wait; 0 if it did not say.
	RetryAfter time.Duration
	// Host is whom the failed request went to, as Provider.Endpoints names it if
	// it is one of them; "" if nothing was asked of anybody.
	Host string
	// Down: Host did not do its work. It could not be reached, answered what
	// nobody can read, or failed itself, so its other users had better wait.
	// It is false where the host did its work, be it to refuse, to throttle or
	// to tell of somebody else's trouble.
	Down bool
	// Cause is the underlying error for errors.Is and errors.As; it is never
	// printed. It may be nil.
	Cause error
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Errorf returns an Error of a class without a cause.
func Errorf(class Class, format string, args ...any) *Error {
	return &Error{Class: class, Message: fmt.Sprintf(format, args...)}
}

// ClassOf returns an error's class: Transient for one that has none, since
// nobody said that it will stay.
func ClassOf(err error) Class {
	var e *Error
	if errors.As(err, &e) {
		return e.Class
	}
	return Transient
}

// RetryAfter returns how long the provider asked to wait, or 0.
func RetryAfter(err error) time.Duration {
	var e *Error
	if errors.As(err, &e) {
		return e.RetryAfter
	}
	return 0
}

// HostOf returns whom the failed request went to, or "".
func HostOf(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Host
	}
	return ""
}

// DownHost returns the host that did not do its work, or "".
func DownHost(err error) string {
	var e *Error
	if errors.As(err, &e) && e.Down {
		return e.Host
	}
	return ""
}

// String names the class in lower case, for metrics and logs.
func (c Class) String() string {
	switch c {
	case Invalid:
		return "invalid"
	case Denied:
		return "denied"
	case Throttled:
		return "throttled"
	case ClockSkew:
		return "clock_skew"
	case Transient:
		return "transient"
	case Forbidden:
		return "forbidden"
	default:
		return "unknown"
	}
}
