package exchange_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/imagepullsecrets/operator/internal/exchange"
	"github.com/imagepullsecrets/operator/internal/exchange/exchangetest"
	"github.com/imagepullsecrets/operator/providers"
)

func TestProblemsAreToldTogether(t *testing.T) {
	var problems exchange.Problems
	if err := problems.Err(); err != nil {
		t.Errorf("without any: %v", err)
	}
	problems.Account(providers.ServiceAccount{Namespace: "ns", Name: "sa", UID: "u-1"})
	problems.Audience("api://AzureADTokenExchange")
	if err := problems.Err(); err != nil {
		t.Errorf("with good values: %v", err)
	}
	problems.Notef("region is %s", exchange.Shown("x"))
	problems.Account(providers.ServiceAccount{})
	problems.Account(providers.ServiceAccount{Namespace: "ns", Name: "sa"})
	problems.Audience("")
	problems.Audience("two words")
	problems.Audience(strings.Repeat("planted ", 5))
	exchangetest.CheckError(t, problems.Err(), providers.Invalid, []string{
		`region is "x"; serviceAccount.name is empty; serviceAccount.namespace is empty; serviceAccount "ns/sa" has no UID: does it exist?`,
		`; audience must be a text without white space, not ""; audience must be a text without white space, not "two words"; `,
		`not a value of 40 characters`,
	}, []string{"planted"})
}

func TestTrim(t *testing.T) {
	one, other := " a b\r\n", "c"
	exchange.Trim(&one, &other)
	if one != "a b" || other != "c" {
		t.Errorf("got %q, %q", one, other)
	}
}

func TestTrimmedLeavesItsArgumentAlone(t *testing.T) {
	given := []string{" a b\r\n", "c"}
	if diff := cmp.Diff([]string{"a b", "c"}, exchange.Trimmed(given)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{" a b\r\n", "c"}, given); diff != "" {
		t.Error(diff)
	}
}

func TestShown(t *testing.T) {
	for value, want := range map[string]string{
		"":                      `""`,
		"a\nb":                  `"a\nb"`,
		strings.Repeat("é", 32): `"` + strings.Repeat("é", 32) + `"`,
		strings.Repeat("é", 33): "a value of 33 characters",
	} {
		if got := exchange.Shown(value); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
