package grant

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func at(name string, second int64, secret string) *Grant {
	return &Grant{Name: name, UID: types.UID("uid-" + name), CreatedAt: metav1.NewTime(time.Unix(second, 0)), SecretName: secret}
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
	if got := names(b.ForSecret("s")); got != "bac" {
		t.Errorf("order is %q, want bac: the oldest, then by name", got)
	}
}

func TestBookFollowsAGrantThatChangesItsSecret(t *testing.T) {
	var b Book
	b.Put(at("a", 1, "old"))
	readers := b.ForSecret("old")
	b.Put(at("a", 1, "new"))
	if names(b.ForSecret("old")) != "" || names(b.ForSecret("new")) != "a" || len(b.All()) != 1 {
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
	if b.Get("a") != nil || names(b.ForSecret("new")) != "" {
		t.Error("a removed grant is still there")
	}
}
