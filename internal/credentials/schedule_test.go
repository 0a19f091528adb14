package credentials

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/imagepullsecrets/operator/providers"
)

func TestRenewAt(t *testing.T) {
	cases := map[string]struct{ life, earliest, latest time.Duration }{
		"half of its life, a tenth earlier or later at most": {10 * time.Hour, 4*time.Hour + 30*time.Minute, 5*time.Hour + 30*time.Minute},
		"never at once":                       {time.Second, shortestWait, shortestWait},
		"even if it has expired when it came": {-time.Hour, shortestWait, shortestWait},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			for _, key := range []string{"a", "b", "c", "d", "e"} {
				got := renewAt(key, start, start.Add(c.life))
				if wait := got.Sub(start); wait < c.earliest || wait > c.latest {
					t.Errorf("%s: after %s, want %s to %s", key, wait, c.earliest, c.latest)
				}
				if again := renewAt(key, start, start.Add(c.life)); !again.Equal(got) {
					t.Errorf("%s: %s and then %s", key, got, again)
				}
			}
		})
	}
}

// Leases that were taken together are not renewed together.
func TestRenewalsAreSpread(t *testing.T) {
	var tenths [10]int
	for i := range 1000 {
		tenths[int(spread(fmt.Sprint("key-", i), start)*10)]++
	}
	for tenth, count := range tenths {
		if count < 50 || count > 150 {
			t.Errorf("%d of 1000 renewals in tenth %d", count, tenth)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	transient := errors.New("boom")
	cases := map[string]struct {
		err       error
		failures  int
		remaining time.Duration
		want      time.Duration
	}{
		"the first failure is retried soon":                     {transient, 1, 0, time.Second},
		"the wait doubles":                                      {transient, 4, 0, 8 * time.Second},
		"up to a limit":                                         {transient, 100, 0, longestRetry},
		"what a person must mend is looked at now and then":     {providers.Errorf(providers.Denied, "x"), 1, 0, probeInterval},
		"so is what is invalid":                                 {providers.Errorf(providers.Invalid, "x"), 9, 0, probeInterval},
		"throttling begins with a longer wait":                  {providers.Errorf(providers.Throttled, "x"), 1, 0, 8 * time.Second},
		"what the provider asks for is done":                    {&providers.Error{Class: providers.Throttled, RetryAfter: time.Minute}, 1, 0, time.Minute},
		"but not for ever":                                      {&providers.Error{Class: providers.Throttled, RetryAfter: 24 * time.Hour}, 1, 0, longestRetry},
		"the nearer the end of the login in use, the sooner":    {transient, 100, 40 * time.Second, 10 * time.Second},
		"at its very end not without a pause":                   {transient, 100, time.Millisecond, firstRetry},
		"a person's mistake is not waited for with a short one": {providers.Errorf(providers.Denied, "x"), 1, time.Minute, 15 * time.Second},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := retryAfter(c.err, c.failures, c.remaining, 0.5); got != c.want {
				t.Errorf("after %s, want %s", got, c.want)
			}
		})
	}
}
