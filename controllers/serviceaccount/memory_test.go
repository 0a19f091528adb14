package serviceaccount

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

var (
	key   = types.NamespacedName{Namespace: "team-a", Name: "default"}
	start = time.Unix(1_000_000, 0)
)

// contest is someone who takes "pull" away, on a clock that the test moves.
type contest struct {
	memory  memory
	now     time.Time
	version int
}

// add writes the name.
func (c *contest) add() {
	c.version++
	c.memory.wrote(key, "uid", strconv.Itoa(c.version), plan{Added: []string{"pull"}}, c.now)
}

// missing looks while the name is missing, and returns for how long it is held.
func (c *contest) missing() (wait time.Duration, news bool) {
	held, names := c.memory.look(key, "uid", []string{"pull"}, []string{"pull"}, c.now)
	if until, is := held["pull"]; is {
		wait = until.Sub(c.now)
	}
	return wait, slices.Equal(names, []string{"pull"})
}

func TestANameIsPutBackEverMoreRarely(t *testing.T) {
	c := &contest{now: start}
	c.add()
	var waits []time.Duration
	for range 13 {
		c.now = c.now.Add(time.Second)
		wait, news := c.missing()
		if news != (wait > 0) {
			t.Errorf("with a wait of %s it is news: %t", wait, news)
		}
		if again, news := c.missing(); again != wait || news {
			t.Errorf("asked again it is held for %s, and news: %t", again, news)
		}
		waits = append(waits, wait)
		c.now = c.now.Add(wait)
		if rest, _ := c.missing(); rest != 0 {
			t.Errorf("after the wait it is held for %s more", rest)
		}
		c.add()
	}
	s, m := time.Second, time.Minute
	want := []time.Duration{0, 10 * s, 20 * s, 40 * s, 80 * s, 160 * s, 320 * s, 640 * s, 1280 * s, 2560 * s, 60 * m, 60 * m, 60 * m}
	if !slices.Equal(waits, want) {
		t.Errorf("waits are %v, want %v", waits, want)
	}
}

func TestAQuietHourIsForgiven(t *testing.T) {
	for name, stood := range map[string]time.Duration{"not yet": time.Hour - time.Second, "now": time.Hour} {
		t.Run(name, func(t *testing.T) {
			c := &contest{now: start}
			for range 5 {
				c.add()
			}
			c.now = c.now.Add(stood)
			if wait, _ := c.missing(); (wait == 0) != (stood >= time.Hour) {
				t.Errorf("held for %s after it stood for %s", wait, stood)
			}
		})
	}
	c := &contest{now: start}
	c.add()
	c.now = c.now.Add(2 * time.Hour)
	c.memory.wrote(types.NamespacedName{Name: "other"}, "uid", "9", plan{Added: []string{"x"}}, c.now)
	if len(c.memory.accounts) != 1 {
		t.Errorf("%d ServiceAccounts are remembered, want the one that was written just now", len(c.memory.accounts))
	}
}

func TestAContestEnds(t *testing.T) {
	for name, end := range map[string]func(*contest){
		"when we take the name away": func(c *contest) {
			c.memory.wrote(key, "uid", "100", plan{Removed: []string{"pull"}}, c.now)
		},
		"when nobody wants the name any more": func(c *contest) { c.memory.look(key, "uid", nil, nil, c.now) },
		"when another ServiceAccount of that name comes": func(c *contest) {
			if held, _ := c.memory.look(key, "another", []string{"pull"}, []string{"pull"}, c.now); len(held) > 0 {
				t.Errorf("the new one is held: %v", held)
			}
			c.memory.wrote(key, "another", "100", plan{}, c.now)
		},
		"when the ServiceAccount goes": func(c *contest) { c.memory.forget(key) },
	} {
		t.Run(name, func(t *testing.T) {
			c := &contest{now: start}
			for range 5 {
				c.add()
			}
			end(c)
			if wait, _ := c.missing(); wait != 0 {
				t.Errorf("it is held for %s", wait)
			}
		})
	}
}

func TestANameThatIsBackIsHeldAnewWhenItGoes(t *testing.T) {
	c := &contest{now: start}
	c.add()
	c.add()
	c.missing()
	c.now = c.now.Add(5 * time.Second)
	c.memory.look(key, "uid", []string{"pull"}, nil, c.now) // someone else put it back
	c.now = c.now.Add(time.Second)
	if wait, news := c.missing(); wait != firstWait || !news {
		t.Errorf("held for %s, news: %t", wait, news)
	}
}

func TestACacheThatIsBehindIsKnown(t *testing.T) {
	var m memory
	m.wrote(key, "uid", "100", plan{}, start)
	for version, want := range map[string]bool{"99": true, "100": false, "101": false, "1000": false} {
		if got := m.ahead(key, version); got != want {
			t.Errorf("at %s: %t", version, got)
		}
	}
	if m.ahead(types.NamespacedName{Name: "other"}, "1") {
		t.Error("one that was never written is behind")
	}
}
