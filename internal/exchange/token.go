package exchange

import (
	"net/http"
	"strings"
	"time"

	"github.com/imagepullsecrets/operator/internal/dockerconfig"
	"github.com/imagepullsecrets/operator/providers"
)

// maxToken is how long a token may be. Real ones have up to 12 KiB, and a
// Secret of at most 1 MiB holds each of them twice.
const maxToken = 64 << 10

// CheckToken says why a token that a service issued can't be a password. The
// error is Transient and does not quote it.
func (c Call) CheckToken(token string) error {
	switch {
	case token == "":
		return c.Errorf(providers.Transient, "the answer holds no token")
	case len(token) > maxToken:
		return c.Errorf(providers.Transient, "the answer's token is longer than %d bytes", maxToken)
	case strings.ContainsFunc(token, NotVisibleASCII):
		return c.Errorf(providers.Transient, "the answer's token holds characters that no token has")
	default:
		return nil
	}
}

// Credential makes a login that a service issued, in an answer to this call,
// a credential. expiresAt is by the clock of the service, or zero if nobody
// says; other is whose word it is, such as "AWS's". The errors are CheckExpiry's.
func (c Call) Credential(answer Answer, login dockerconfig.Login, expiresAt, now time.Time, other string) (providers.Credential, error) {
	expiresAt = LocalExpiry(answer.Header, expiresAt, now)
	if err := c.CheckExpiry(answer, expiresAt, now, other); err != nil {
		return providers.Credential{}, err
	}
	return providers.Credential{Login: login, ExpiresAt: expiresAt, Skew: Skew(answer.Header, now, other)}, nil
}

// Skew says by how much this machine's clock, which says now, differs from that
// of a service, as ClockDifference does.
func Skew(header http.Header, now time.Time, other string) string {
	return ClockDifference(header, now, "this machine's", other)
}

// LocalExpiry returns when a token is over by this machine's clock, which says
// now. expiresAt is by the clock of the service, which tells its time in the
// answer's header: where this machine's is more than 30 seconds behind that,
// the token is over as much earlier. An answer without Date says nothing of
// clocks.
//
// Where this machine's is ahead, expiresAt stays: a later time would be wrong
// as soon as the clock is set right, or for another machine that the login is
// handed on to. The token only seems to end early, which CheckExpiry tells once
// it matters.
func LocalExpiry(header http.Header, expiresAt, now time.Time) time.Time {
	date, err := http.ParseTime(header.Get("Date"))
	if err != nil || expiresAt.IsZero() {
		return expiresAt
	}
	if behind := date.Sub(now); behind > tolerance {
		return expiresAt.Add(-behind)
	}
	return expiresAt
}

// CheckExpiry says why a token that expires at a time, by the answer that it
// came with, is of no use: nobody says when it expires, or it is over already.
// The error is Transient, or ClockSkew if this machine's clock explains it.
// other is whose word it is, such as "AWS's".
func (c Call) CheckExpiry(answer Answer, expiresAt, now time.Time, other string) error {
	switch {
	case expiresAt.IsZero():
		return c.Errorf(providers.Transient, "the answer does not say when its token expires")
	case expiresAt.After(now):
		return nil
	}
	class, hint := providers.Transient, ""
	if difference := Skew(answer.Header, now, other); difference != "" {
		class, hint = providers.ClockSkew, "; "+difference+": set it right"
	}
	return c.Errorf(class, "the answer's token expired at %s already%s", expiresAt.UTC().Format(time.RFC3339), hint)
}

// ClusterClock says what to do when a service finds that a ServiceAccount's
// token is not valid at this time: its times are the API server's, so it is
// that one's clock which is compared with the answer's date.
func ClusterClock(header http.Header, token, other string) string {
	claims, _ := ParseClaims(token) // without them there is nothing to compare
	if difference := ClockDifference(header, claims.IssuedAt, "this cluster's", other); difference != "" {
		return difference + ": set it right"
	}
	return "set the clocks of the cluster's API servers right"
}

// NotVisibleASCII tells a character that neither a token nor an audience nor a
// key holds: a space, a control character, or one beyond ASCII.
func NotVisibleASCII(r rune) bool { return r <= ' ' || r > '~' }
