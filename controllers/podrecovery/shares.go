package podrecovery

import (
	"time"

	"golang.org/x/time/rate"
)

const (
	// shareRate and shareBurst are how many Pods of one namespace are looked at
	// in a second, and at once: half of what is evicted in all, so that no
	// namespace, whatever it tells of its Pods, keeps others waiting for long.
	shareRate  = 0.5
	shareBurst = 10
	// longestTurn is the longest wait for a turn. Whose would come later is not
	// noted: its kubelet tells of it again, every five minutes at the latest.
	longestTurn = 5 * time.Minute
)

// shares give each namespace turns of its own. It is safe for concurrent use;
// the zero value is ready.
type shares struct {
	namespaces recent[string, *rate.Limiter]
}

// turn takes a turn for a namespace and returns in how long it comes; ok is
// false if that is too long, and then none is taken.
func (s *shares) turn(namespace string, now time.Time) (in time.Duration, ok bool) {
	limiter, known := s.namespaces.get(namespace, now)
	if !known {
		limiter = rate.NewLimiter(shareRate, shareBurst)
		s.namespaces.put(namespace, limiter, now)
	}
	reserved := limiter.ReserveN(now, 1)
	if in = reserved.DelayFrom(now); in > longestTurn {
		reserved.CancelAt(now)
		return 0, false
	}
	return in, true
}
