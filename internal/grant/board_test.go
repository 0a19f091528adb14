package grant

import (
	"fmt"
	"slices"
	"testing"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
)

func TestBoardTellsOfChangesOnly(t *testing.T) {
	var told []string
	b := NewBoard(func(name string) { told = append(told, name) })
	held := Outcome{State: Held, Hash: "h"}
	b.Record("g", "a", held)
	b.Record("g", "a", held)
	b.Record("g", "a", Outcome{State: Failing, Reason: "R"})
	b.Forget("g", "b")
	b.Forget("g", "a")
	if len(told) != 3 {
		t.Errorf("told %d times, want 3: a new outcome, another one, and its end", len(told))
	}
}

func TestBoardSelect(t *testing.T) {
	b := NewBoard(func(string) {})
	b.Record("g", "stays", Outcome{State: Held, Hash: "h"})
	b.Record("g", "goes", Outcome{State: Held, Hash: "h"})
	dropped := b.Select("g", []string{"stays", "comes"})
	if !slices.Equal(dropped, []string{"goes"}) {
		t.Errorf("dropped %v", dropped)
	}
	if s := b.Summary("g", "h"); s.Selected != 2 || s.Ready != 1 || s.Behind != 1 {
		t.Errorf("summary is %+v: what stays keeps its outcome, what comes is pending", s)
	}
	if got := b.Drop("g"); len(got) != 2 || b.Summary("g", "h").Selected != 0 {
		t.Errorf("dropping gave %v", got)
	}
}

func TestBoardSummaryIsBounded(t *testing.T) {
	b := NewBoard(func(string) {})
	for i := range 500 {
		b.Record("g", fmt.Sprintf("failing-%03d", i), Outcome{State: Failing, Reason: "R", Message: "m"})
		b.Record("g", fmt.Sprintf("held-%03d", i), Outcome{State: Held, Hash: "old"})
	}
	s := b.Summary("g", "new")
	if s.Selected != 1000 || s.Ready != 500 || s.Failing != 500 || s.Behind != 500 {
		t.Errorf("counts are %d %d %d %d", s.Selected, s.Ready, s.Failing, s.Behind)
	}
	if len(s.Failures) != v1alpha1.MaxFailingTargets || s.Failures[0].Namespace != "failing-000" ||
		len(s.Holding) != v1alpha1.MaxManagedNamespaces || s.Holding[99] != "held-099" {
		t.Errorf("lists hold %d and %d", len(s.Failures), len(s.Holding))
	}
}

func TestAFailingServiceAccountIsNamed(t *testing.T) {
	b := NewBoard(func(string) {})
	b.Record("g", "team-b/default", Outcome{State: Failing, Reason: "R", Message: "m"})
	b.Record("g", "team-a/ci", Outcome{State: Failing, Reason: "R", Message: "m"})
	b.Record("g", "team-a/default", Outcome{State: Held})
	want := []v1alpha1.FailingTarget{
		{Namespace: "team-a", ServiceAccount: "ci", Reason: "R", Message: "m"},
		{Namespace: "team-b", ServiceAccount: "default", Reason: "R", Message: "m"},
	}
	if got := b.Summary("g", ""); !slices.Equal(got.Failures, want) || got.Behind != 0 {
		t.Errorf("got %+v", got)
	}
}
