package credentials

import (
	"fmt"
	"hash/fnv"
	"time"

	"github.com/imagepullsecrets/operator/providers"
)

const (
	// renewalFraction of a login's life passes before it is renewed.
	renewalFraction = 0.5
	// jitter moves a renewal by up to this part of the wait, either way, so
	// that leases taken together are not renewed together.
	jitter = 0.1
	// shortestWait is the least time between two exchanges for one key.
	shortestWait = time.Second

	// firstRetry and longestRetry bound the doubling wait after a failure
	// that may pass by itself.
	firstRetry   = time.Second
	longestRetry = 5 * time.Minute
	// probeInterval is the wait after a failure that a person must mend; the
	// cloud's side of a change takes minutes to have an effect.
	probeInterval = 10 * time.Minute
)

// renewAt returns when the login of a key, which was issued and expires at the
// given times, is to be renewed. A restart does not change it.
func renewAt(key string, issued, expires time.Time) time.Time {
	wait := float64(expires.Sub(issued)) * renewalFraction
	wait *= 1 - jitter + 2*jitter*spread(key, issued)
	return issued.Add(max(time.Duration(wait), shortestWait))
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
// random is in [0, 1).
func retryAfter(err error, failures int, remaining time.Duration, random float64) time.Duration {
	if asked := providers.RetryAfter(err); asked > 0 {
		return min(asked, longestRetry)
	}
	wait := backoff(failures)
	switch providers.ClassOf(err) {
	case providers.Invalid, providers.Denied:
		wait = probeInterval
	case providers.Throttled:
		wait = backoff(failures + 3)
	case providers.ClockSkew, providers.Transient:
	}
	if remaining > 0 {
		wait = min(wait, max(remaining/4, firstRetry))
	}
	return time.Duration(float64(wait) * (1 - jitter + 2*jitter*random))
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
