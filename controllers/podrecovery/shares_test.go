package podrecovery

import (
	"testing"
	"time"
)

func TestANamespaceThatTellsALotDelaysNobodyElse(t *testing.T) {
	var s shares
	taken, last := 0, time.Duration(0)
	for range 10_000 {
		if in, ok := s.turn("loud", noon); ok {
			taken++
			last = in
		}
	}
	if want := shareBurst + int(longestTurn.Seconds()*shareRate); taken != want || last != longestTurn {
		t.Errorf("%d turns were taken, the last in %s, want %d", taken, last, want)
	}
	if in, ok := s.turn("quiet", noon); !ok || in != 0 {
		t.Errorf("another namespace's turn is in %s, %t", in, ok)
	}
	// What was refused is not owed.
	if in, ok := s.turn("loud", noon.Add(longestTurn+time.Minute)); !ok || in != 0 {
		t.Errorf("later its turn is in %s, %t", in, ok)
	}
}

func TestSharesAreForgotten(t *testing.T) {
	var s shares
	for range shareBurst + 1 {
		s.turn("team-a", noon)
	}
	if in, ok := s.turn("team-a", noon.Add(remembered)); !ok || in != 0 {
		t.Errorf("the turn is in %s, %t", in, ok)
	}
}

// A kubelet tells of one Pod again and again.
func TestAPodTakesOneTurnUntilItIsLookedAt(t *testing.T) {
	w := newWorld(t)
	left := func() int {
		for n := 0; ; n++ {
			if in, _ := w.shares.turn("team-a", w.clock.Now()); in > 0 {
				w.shares = shares{}
				return n
			}
		}
	}
	for range 5 * shareBurst {
		w.Failed(keyOf(w.pod))
	}
	if n := left(); n != shareBurst-1 {
		t.Errorf("%d turns are left at once, want %d", n, shareBurst-1)
	}
	w.look(t)
	w.Failed(keyOf(w.pod))
	if n := left(); n != shareBurst-1 {
		t.Errorf("once it was looked at, %d turns are left at once, want %d", n, shareBurst-1)
	}
}
