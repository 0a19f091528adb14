package grant

import (
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
)

// Board keeps the outcome of every grant in every place that it selects. A place
// is a namespace or, on a Board of its own, a ServiceAccount, which is called
// <namespace>/<name>. It is safe for concurrent use.
type Board struct {
	changed func(grant string)

	mu     sync.Mutex
	grants map[string]map[string]Outcome // grant name → place → outcome
}

// NewBoard returns an empty Board that calls changed, from any goroutine and
// while it holds no lock, after each change of a grant's outcomes.
func NewBoard(changed func(grant string)) *Board {
	return &Board{changed: changed, grants: map[string]map[string]Outcome{}}
}

// Record sets a grant's outcome in a place that it selects.
func (b *Board) Record(grant, place string, outcome Outcome) {
	if b.set(grant, place, outcome) {
		b.changed(grant)
	}
}

func (b *Board) set(grant, place string, outcome Outcome) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	places := b.grants[grant]
	if places == nil {
		places = map[string]Outcome{}
		b.grants[grant] = places
	}
	if places[place] == outcome {
		return false
	}
	places[place] = outcome
	return true
}

// Forget removes a place that a grant does not select any more.
func (b *Board) Forget(grant, place string) {
	b.mu.Lock()
	_, found := b.grants[grant][place]
	delete(b.grants[grant], place)
	b.mu.Unlock()
	if found {
		b.changed(grant)
	}
}

// Select makes places the ones that a grant selects: unknown ones become
// Pending, others are dropped. It returns the dropped ones. It does not call
// changed: its caller is the one who would be told.
func (b *Board) Select(grant string, places []string) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	before := b.grants[grant]
	after := make(map[string]Outcome, len(places))
	for _, place := range places {
		outcome, known := before[place]
		if !known {
			outcome = Outcome{State: Pending}
		}
		after[place] = outcome
		delete(before, place)
	}
	b.grants[grant] = after
	return slices.Collect(maps.Keys(before))
}

// Drop forgets a grant and returns the places that it selected.
func (b *Board) Drop(grant string) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	places := slices.Collect(maps.Keys(b.grants[grant]))
	delete(b.grants, grant)
	return places
}

// Holds tells whether a grant's Secret stands in a place, with whatever
// content.
func (b *Board) Holds(grant, place string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.grants[grant][place].State == Held
}

// Summary is a grant's outcomes, counted.
type Summary struct {
	// Selected, Ready and Failing count places.
	Selected, Ready, Failing int
	// Behind counts places that do not have what is current: those that were
	// not tried yet and those that hold earlier content.
	Behind int
	// Failures are the first of the failing places by name, at most
	// v1alpha1.MaxFailingTargets.
	Failures []v1alpha1.FailingTarget
	// Holding are the first of the ready places by name, at most
	// v1alpha1.MaxManagedNamespaces.
	Holding []string
}

// Summary counts a grant's outcomes; hash is the grant's current Content.Hash.
func (b *Board) Summary(grant, hash string) Summary {
	b.mu.Lock()
	places := maps.Clone(b.grants[grant])
	b.mu.Unlock()

	summary := Summary{Selected: len(places)}
	var failing, holding []string
	for place, outcome := range places {
		switch outcome.State {
		case Held:
			holding = append(holding, place)
			if outcome.Hash != hash {
				summary.Behind++
			}
		case Failing:
			failing = append(failing, place)
		case Pending:
			summary.Behind++
		}
	}
	summary.Ready, summary.Failing = len(holding), len(failing)
	summary.Holding = first(holding, v1alpha1.MaxManagedNamespaces)
	for _, place := range first(failing, v1alpha1.MaxFailingTargets) {
		namespace, account, _ := strings.Cut(place, "/")
		summary.Failures = append(summary.Failures, v1alpha1.FailingTarget{
			Namespace: namespace, ServiceAccount: account,
			Reason: places[place].Reason, Message: places[place].Message,
		})
	}
	return summary
}

// first returns at most limit of the names, those that sort first.
func first(names []string, limit int) []string {
	slices.Sort(names)
	return names[:min(len(names), limit)]
}
