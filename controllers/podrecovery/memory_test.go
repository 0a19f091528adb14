package podrecovery

import (
	"testing"
	"time"
)

func TestRecentForgets(t *testing.T) {
	var r recent[string, int]
	r.put("a", 1, noon)
	if got, known := r.get("a", noon.Add(remembered-1)); !known || got != 1 {
		t.Errorf("got %d, %t just before it is to be forgotten", got, known)
	}
	if _, known := r.get("a", noon.Add(remembered)); known {
		t.Error("it is known for longer than it is to be remembered")
	}
	r.put("b", 1, noon)
	if r.forget("b"); len(r.entries) != 1 {
		t.Error("what is to be forgotten is still there")
	}
}

func TestRecentKeepsTheFirstUntilItIsForgotten(t *testing.T) {
	var r recent[string, int]
	for _, step := range []struct {
		after time.Duration
		value int
		is    bool
		want  int
	}{{0, 1, true, 1}, {time.Hour, 2, false, 1}, {remembered, 3, true, 3}} {
		now := noon.Add(step.after)
		if got := r.first("a", step.value, now); got != step.is {
			t.Errorf("after %s: first is %t", step.after, got)
		}
		if got, _ := r.get("a", now); got != step.want {
			t.Errorf("after %s: %d is known", step.after, got)
		}
	}
}

func TestRecentIsBounded(t *testing.T) {
	var r recent[int, int]
	for i := range mostRemembered + 100 {
		r.put(i, i, noon.Add(time.Duration(i)*time.Millisecond))
	}
	if len(r.entries) != mostRemembered {
		t.Errorf("%d are remembered, want %d", len(r.entries), mostRemembered)
	}
	if _, known := r.get(99, noon); known {
		t.Error("an old one is kept")
	}
	if _, known := r.get(100, noon); !known {
		t.Error("a newer one is dropped")
	}
	r.put(-1, 0, noon.Add(2*remembered))
	if len(r.entries) != 1 {
		t.Errorf("%d are kept, of which one is not to be forgotten", len(r.entries))
	}
}

func TestWaitsGrow(t *testing.T) {
	for earlier, want := range seconds(5, 10, 20, 40, 80, 160, 300, 300) {
		if got := growing(5*time.Second, earlier); got != want {
			t.Errorf("after %d waits: %s", earlier, got)
		}
	}
	if got := growing(time.Second, 1<<40); got != longestWait {
		t.Errorf("after very many waits: %s", got)
	}
}

func seconds(numbers ...int) []time.Duration {
	var all []time.Duration
	for _, number := range numbers {
		all = append(all, time.Duration(number)*time.Second)
	}
	return all
}
