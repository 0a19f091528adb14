package grant

import (
	"maps"
	"slices"
	"sync"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
)

// Board keeps the outcome of every grant in every namespace that it selects.
// It is safe for concurrent use.
type Board struct {
	changed func(grant string)

	mu     sync.Mutex
	grants map[string]map[string]Outcome // grant name → namespace → outcome
}

// NewBoard returns an empty Board that calls changed, from any goroutine and
// while it holds no lock, after each change of a grant's outcomes.
func NewBoard(changed func(grant string)) *Board {
	return &Board{changed: changed, grants: map[string]map[string]Outcome{}}
}

// Record sets a grant's outcome in a namespace that it selects.
func (b *Board) Record(grant, namespace string, outcome Outcome) {
	if b.set(grant, namespace, outcome) {
		b.changed(grant)
	}
}

func (b *Board) set(grant, namespace string, outcome Outcome) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	namespaces := b.grants[grant]
	if namespaces == nil {
		namespaces = map[string]Outcome{}
		b.grants[grant] = namespaces
	}
	if namespaces[namespace] == outcome {
		return false
	}
	namespaces[namespace] = outcome
	return true
}

// Forget removes a namespace that a grant does not select any more.
func (b *Board) Forget(grant, namespace string) {
	b.mu.Lock()
	_, found := b.grants[grant][namespace]
	delete(b.grants[grant], namespace)
	b.mu.Unlock()
	if found {
		b.changed(grant)
	}
}

// Select makes namespaces the ones that a grant selects: unknown ones become
// Pending, others are dropped. It returns the dropped ones. It does not call
// changed: its caller is the one who would be told.
func (b *Board) Select(grant string, namespaces []string) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	before := b.grants[grant]
	after := make(map[string]Outcome, len(namespaces))
	for _, namespace := range namespaces {
		outcome, known := before[namespace]
		if !known {
			outcome = Outcome{State: Pending}
		}
		after[namespace] = outcome
		delete(before, namespace)
	}
	b.grants[grant] = after
	return slices.Collect(maps.Keys(before))
}

// Drop forgets a grant and returns the namespaces that it selected.
func (b *Board) Drop(grant string) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	namespaces := slices.Collect(maps.Keys(b.grants[grant]))
	delete(b.grants, grant)
	return namespaces
}

// Holds tells whether a grant's Secret stands in a namespace, with whatever
// content.
func (b *Board) Holds(grant, namespace string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.grants[grant][namespace].State == Held
}

// Summary is a grant's outcomes, counted.
type Summary struct {
	// Selected, Ready and Failing count namespaces.
	Selected, Ready, Failing int
	// Behind counts namespaces whose Secret is not the current one: those
	// that were not tried yet and those that hold earlier content.
	Behind int
	// Failures are the first of the failing namespaces by name, at most
	// v1alpha1.MaxFailingTargets.
	Failures []v1alpha1.FailingTarget
	// Holding are the first of the ready namespaces by name, at most
	// v1alpha1.MaxManagedNamespaces.
	Holding []string
}

// Summary counts a grant's outcomes; hash is the grant's current Content.Hash.
func (b *Board) Summary(grant, hash string) Summary {
	b.mu.Lock()
	namespaces := maps.Clone(b.grants[grant])
	b.mu.Unlock()

	summary := Summary{Selected: len(namespaces)}
	var failing, holding []string
	for namespace, outcome := range namespaces {
		switch outcome.State {
		case Held:
			holding = append(holding, namespace)
			if outcome.Hash != hash {
				summary.Behind++
			}
		case Failing:
			failing = append(failing, namespace)
		case Pending:
			summary.Behind++
		}
	}
	summary.Ready, summary.Failing = len(holding), len(failing)
	summary.Holding = first(holding, v1alpha1.MaxManagedNamespaces)
	for _, namespace := range first(failing, v1alpha1.MaxFailingTargets) {
		outcome := namespaces[namespace]
		summary.Failures = append(summary.Failures, v1alpha1.FailingTarget{
			Namespace: namespace, Reason: outcome.Reason, Message: outcome.Message,
		})
	}
	return summary
}

// first returns at most limit of the names, those that sort first.
func first(names []string, limit int) []string {
	slices.Sort(names)
	return names[:min(len(names), limit)]
}
