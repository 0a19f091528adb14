package credentials

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/imagepullsecrets/operator/providers"
)

func TestRenewAt(t *testing.T) {
	bounded := Schedule{Fraction: 0.5, Shortest: time.Minute, Longest: time.Hour}
	cases := map[string]struct {
		schedule               Schedule
		life, earliest, latest time.Duration
	}{
		"half of its life, a tenth earlier or later at most": {DefaultSchedule, 10 * time.Hour, 4*time.Hour + 30*time.Minute, 5*time.Hour + 30*time.Minute},
		"another part of its life":                           {Schedule{Fraction: 0.8}, 10 * time.Hour, 7*time.Hour + 12*time.Minute, 8*time.Hour + 48*time.Minute},
		"not so late that it may end before":                 {Schedule{Fraction: 0.9}, 10 * time.Hour, 8*time.Hour + 6*time.Minute, 9 * time.Hour},
		"not later than the longest wait, a tenth aside":     {bounded, 12 * time.Hour, 54 * time.Minute, 66 * time.Minute},
		"not earlier than the shortest":                      {bounded, 90 * time.Second, time.Minute, time.Minute},
		"but before its end all the same":                    {bounded, 40 * time.Second, 36 * time.Second, 36 * time.Second},
		"never at once":                                      {DefaultSchedule, time.Second, time.Second, time.Second},
		"even if it has expired when it came":                {DefaultSchedule, -time.Hour, time.Second, time.Second},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			for _, key := range []string{"a", "b", "c", "d", "e"} {
				got := c.schedule.renewAt(key, start, start.Add(c.life))
				if wait := got.Sub(start); wait < c.earliest || wait > c.latest {
					t.Errorf("%s: after %s, want %s to %s", key, wait, c.earliest, c.latest)
				}
				if again := c.schedule.renewAt(key, start, start.Add(c.life)); !again.Equal(got) {
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
		"up to a limit":                                         {transient, 100, 24 * time.Hour, longestRetry},
		"which is lower where there is no login":                {transient, 100, 0, urgentRetry},
		"what a person must mend is looked at now and then":     {providers.Errorf(providers.Denied, "x"), 1, 0, probeInterval},
		"so is what is invalid":                                 {providers.Errorf(providers.Invalid, "x"), 9, 0, probeInterval},
		"a right in this cluster is looked for soon":            {providers.Errorf(providers.Forbidden, "x"), 100, 0, grantInterval},
		"throttling begins with a longer wait":                  {providers.Errorf(providers.Throttled, "x"), 1, 0, 8 * time.Second},
		"what the provider asks for is done, and a bit more":    {&providers.Error{Class: providers.Throttled, RetryAfter: time.Minute}, 1, 0, 63 * time.Second},
		"a short wait that it asks for each time is no hurry":   {&providers.Error{Class: providers.Throttled, RetryAfter: time.Second}, 10, 0, longestRetry},
		"nor is one beside a refusal":                           {&providers.Error{Class: providers.Denied, RetryAfter: time.Second}, 1, 0, probeInterval},
		"but not for ever":                                      {&providers.Error{Class: providers.Throttled, RetryAfter: 24 * time.Hour}, 1, 0, longestRetry * 21 / 20},
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
