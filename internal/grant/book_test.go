package grant

import (
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
)

func at(name string, second int64, secret string) *Grant {
	return &Grant{Name: name, UID: types.UID("uid-" + name), CreatedAt: metav1.NewTime(time.Unix(second, 0)), SecretName: secret}
}

// called is the key of a Secret in the namespace ns.
func called(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: "ns", Name: name}
}

func names(grants []*Grant) (names string) {
	for _, g := range grants {
		names += g.Name
	}
	return names
}

func TestBookOrdersClaimantsByAgeThenName(t *testing.T) {
	var b Book
	for _, g := range []*Grant{at("c", 2, "s"), at("b", 1, "s"), at("a", 2, "s"), at("z", 0, "other")} {
		b.Put(g)
	}
	if got := names(b.ForSecret(called("s"))); got != "bac" {
		t.Errorf("order is %q, want bac: the oldest, then by name", got)
	}
}

func TestBookFollowsAGrantThatChangesItsSecret(t *testing.T) {
	var b Book
	b.Put(at("a", 1, "old"))
	readers := b.ForSecret(called("old"))
	b.Put(at("a", 1, "new"))
	if names(b.ForSecret(called("old"))) != "" || names(b.ForSecret(called("new"))) != "a" || len(b.Reaching("ns")) != 1 {
		t.Error("the grant is not just where its new Secret is")
	}
	if names(readers) != "a" {
		t.Error("a slice that was given out was changed")
	}
	if b.ByUID("uid-a") == nil || b.Get("a") == nil {
		t.Error("the grant is not found by name and UID")
	}
	b.Remove("a")
	b.Remove("a")
	if b.Get("a") != nil || names(b.ForSecret(called("new"))) != "" {
		t.Error("a removed grant is still there")
	}
}

func TestBookPutsClusterWideGrantsBeforeThoseOfANamespace(t *testing.T) {
	var b Book
	here, elsewhere := at("h", 0, "s"), at("e", 0, "s")
	here.Namespace, elsewhere.Namespace = "ns", "other"
	for _, g := range []*Grant{here, elsewhere, at("c", 2, "s")} {
		b.Put(g)
	}
	if got := names(b.ForSecret(called("s"))); got != "ch" {
		t.Errorf("order is %q, want ch: another namespace's grant has no say", got)
	}
	if got := names(b.Reaching("ns")); got != "ch" {
		t.Errorf("%q reach the namespace, want ch", got)
	}
	b.Remove("c")
	if got := names(b.ForSecret(called("s"))); got != "h" {
		t.Errorf("order is %q, want h", got)
	}
}

func TestBookFindsAnyGrantOfAnObject(t *testing.T) {
	var b Book
	first, second := at("a", 1, "s"), at("b", 1, "s-1")
	second.UID = first.UID
	b.Put(first)
	b.Put(second)
	b.Remove("a")
	if g := b.ByUID(first.UID); g != second {
		t.Errorf("found %v", g)
	}
	b.Remove("b")
	if g := b.ByUID(first.UID); g != nil {
		t.Errorf("found %v", g)
	}
}

func TestBookTellsOfEachChange(t *testing.T) {
	var known []int
	var b Book
	b.Changed = func() { known = append(known, len(b.All())) } // which would wait for ever if the lock were held
	b.Put(at("a", 1, "s"))
	b.Put(at("b", 1, "s"))
	b.Remove("a")
	if !slices.Equal(known, []int{1, 2, 1}) {
		t.Errorf("told with %v grants in force", known)
	}
}

func TestBookKnowsWhetherAnyGrantRecovers(t *testing.T) {
	recovering := func(name string) *Grant {
		g := at(name, 1, "s")
		g.Recovery = v1alpha1.RecoveryEvict
		return g
	}
	suspended := recovering("a")
	suspended.Suspended = true
	var b Book
	steps := []struct {
		what string
		do   func()
		want bool
	}{
		{"nothing is in force", func() {}, false},
		{"one that does not came", func() { b.Put(at("a", 1, "s")) }, false},
		{"it recovers now", func() { b.Put(recovering("a")) }, true},
		{"it came again", func() { b.Put(recovering("a")) }, true},
		{"it is suspended", func() { b.Put(suspended) }, false},
		{"it recovers again", func() { b.Put(recovering("a")) }, true},
		{"another one does too", func() { b.Put(recovering("b")) }, true},
		{"the first has gone", func() { b.Remove("a") }, true},
		{"it goes once more", func() { b.Remove("a") }, true},
		{"both have gone", func() { b.Remove("b") }, false},
	}
	for _, step := range steps {
		if step.do(); b.Recovers() != step.want {
			t.Fatalf("%s: recovers is %t", step.what, b.Recovers())
		}
	}
}

func TestBookOffersAGrantWithoutASecretNowhere(t *testing.T) {
	var b Book
	withdrawn := at("a", 1, "")
	withdrawn.Namespace = "ns"
	b.Put(at("a", 1, "s"))
	b.Put(withdrawn)
	if names(b.Reaching("ns")) != "" || names(b.ForSecret(called("s"))) != "" || names(b.ForSecret(called(""))) != "" {
		t.Error("it is asked about the namespace")
	}
	if b.Get("a") != withdrawn || b.ByUID("uid-a") != withdrawn {
		t.Error("it is not found by name and UID")
	}
	b.Put(at("a", 1, "s"))
	if names(b.Reaching("ns")) != "a" || names(b.ForSecret(called("s"))) != "a" {
		t.Error("what wants its Secret again is not offered just once")
	}
	b.Put(withdrawn)
	b.Remove("a")
	if b.Get("a") != nil || b.ByUID("uid-a") != nil {
		t.Error("a removed grant is still there")
	}
}

func TestAGrantRecoversPods(t *testing.T) {
	cases := map[string]struct {
		grant Grant
		want  bool
	}{
		"by the policy Evict":     {Grant{Recovery: v1alpha1.RecoveryEvict}, true},
		"by the policy EvictAll":  {Grant{Recovery: v1alpha1.RecoveryEvictAll}, true},
		"not by the policy None":  {Grant{Recovery: v1alpha1.RecoveryNone}, false},
		"not without a policy":    {Grant{}, false},
		"not while it is at rest": {Grant{Recovery: v1alpha1.RecoveryEvict, Suspended: true}, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := c.grant.Recovers(); got != c.want {
				t.Errorf("got %t", got)
			}
		})
	}
}
