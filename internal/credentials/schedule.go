package credentials

import (
	"fmt"
	"hash/fnv"
	"time"

	"github.com/imagepullsecrets/operator/providers"
)

const (
	// jitter moves a renewal by up to this part of the wait, either way, so
	// that leases taken together are not renewed together.
	jitter = 0.1
	// latestPart of a login's life is when it is renewed at the latest,
	// whatever the schedule says.
	latestPart = 0.9

	// firstRetry and longestRetry bound the doubling wait after a failure
	// that may pass by itself; urgentRetry bounds it where there is no valid
	// login.
	firstRetry   = time.Second
	longestRetry = 5 * time.Minute
	urgentRetry  = time.Minute
	// probeInterval is the wait after a failure that a person must mend; the
	// cloud's side of a change takes minutes to have an effect.
	probeInterval = 10 * time.Minute
	// grantInterval is the wait for a right in this cluster, which takes
	// effect at once.
	grantInterval = 30 * time.Second
)

// Schedule says when logins are renewed.
type Schedule struct {
	// Fraction of a login's life passes before it is renewed; more than 0 and
	// less than 1.
	Fraction float64
	// Shortest and Longest bound the time from an exchange to the renewal; a
	// Longest of 0 is none. Neither moves a renewal beyond the login's end.
	Shortest, Longest time.Duration
}

// DefaultSchedule renews at half of a login's life.
var DefaultSchedule = Schedule{Fraction: 0.5, Shortest: time.Second}

// renewAt returns when the login of a key, which was issued and expires at the
// given times, is to be renewed. A restart does not change it.
func (s Schedule) renewAt(key string, issued, expires time.Time) time.Time {
	life := expires.Sub(issued)
	wait := time.Duration(float64(life) * s.Fraction)
	if s.Longest > 0 {
		wait = min(wait, s.Longest)
	}
	wait = time.Duration(float64(wait) * (1 - jitter + 2*jitter*spread(key, issued)))
	wait = min(max(wait, s.Shortest), time.Duration(float64(life)*latestPart))
	return issued.Add(max(wait, firstRetry))
}

// spread returns a number in [0, 1) that is evenly spread over keys and times.
func spread(key string, issued time.Time) float64 {
	hash := fnv.New32a()
	fmt.Fprint(hash, key, issued.UnixNano())
	return float64(hash.Sum32()) / (1 << 32)
}

// retryAfter returns how long to wait after the failures-th failure in a row
// (1 is the first). remaining is the life left in the login that is in use, 0
// or less if there is none; the nearer its end, the sooner the next attempt.
// What the provider asked for may make the wait longer, up to longestRetry,
// and never shorter: who asks for a second each time would be asked each
// second. random is in [0, 1).
func retryAfter(err error, failures int, remaining time.Duration, random float64) time.Duration {
	wait := backoff(failures)
	switch providers.ClassOf(err) {
	case providers.Invalid, providers.Denied:
		wait = probeInterval
	case providers.Forbidden:
		wait = min(wait, grantInterval)
	case providers.Throttled:
		wait = backoff(failures + 3)
	case providers.ClockSkew, providers.Transient:
		if remaining <= 0 {
			wait = min(wait, urgentRetry)
		}
	}
	if remaining > 0 {
		wait = min(wait, max(remaining/4, firstRetry))
	}
	wait = time.Duration(float64(wait) * (1 - jitter + 2*jitter*random))
	// Not earlier than asked, and not all who were told the same at once.
	asked := float64(min(providers.RetryAfter(err), longestRetry)) * (1 + jitter*random)
	return max(wait, time.Duration(asked))
}

// backoff doubles from firstRetry to longestRetry.
func backoff(failures int) time.Duration {
	wait := firstRetry
	for range failures - 1 {
		if wait *= 2; wait >= longestRetry {
			return longestRetry
		}
	}
	return wait
}
