package dockerconfig

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMerge(t *testing.T) {
	ada, eve := Login{Username: "ada", Password: "1"}, Login{Username: "eve", Password: "2"}
	tests := map[string]struct {
		sources  []Source
		want     Logins
		shadowed []Shadowed
	}{
		"no sources give no logins": {nil, Logins{}, nil},
		"different registries are put together": {
			[]Source{{"a", Logins{"a.io": ada}}, {"b", Logins{"b.io": eve}}, {"c", nil}},
			Logins{"a.io": ada, "b.io": eve}, nil},
		"the first source wins": {
			[]Source{{"a", Logins{"reg.io": ada}}, {"b", Logins{"reg.io": eve, "b.io": eve}}},
			Logins{"reg.io": ada, "b.io": eve},
			[]Shadowed{{"reg.io", "b", "a"}}},
		"the winner keeps its spelling": {
			[]Source{{"a", Logins{"https://reg.io/v1/": ada}}, {"b", Logins{"reg.io": eve}}, {"c", Logins{"http://reg.io/": eve}}},
			Logins{"https://reg.io/v1/": ada},
			[]Shadowed{{"reg.io", "b", "a"}, {"http://reg.io/", "c", "a"}}},
		"Docker Hub's names are one registry": {
			[]Source{{"a", Logins{"https://index.docker.io/v1/": ada}}, {"b", Logins{"docker.io": eve, "docker.io/team": eve}}},
			Logins{"https://index.docker.io/v1/": ada, "docker.io/team": eve},
			[]Shadowed{{"docker.io", "b", "a"}}},
		"ports and paths are registries of their own": {
			[]Source{{"a", Logins{"reg.io": ada}}, {"b", Logins{"reg.io:443": eve, "reg.io/x": eve, "reg.io/x/": eve, "*.io": eve}}},
			Logins{"reg.io": ada, "reg.io:443": eve, "reg.io/x": eve, "reg.io/x/": eve, "*.io": eve}, nil},
		"an equal login is shadowed all the same": {
			[]Source{{"a", Logins{"reg.io": ada}}, {"b", Logins{"reg.io": ada}}},
			Logins{"reg.io": ada},
			[]Shadowed{{"reg.io", "b", "a"}}},
		"a source shadows itself by the shorter key": {
			[]Source{{"a", Logins{"https://reg.io": eve, "reg.io": ada}}},
			Logins{"reg.io": ada},
			[]Shadowed{{"https://reg.io", "a", "a"}}},
		"keys that match nothing are equal only to themselves": {
			[]Source{{"a", Logins{"REG.io": ada, "": ada}}, {"b", Logins{"REG.io": eve, "reg.io": eve}}},
			Logins{"REG.io": ada, "": ada, "reg.io": eve},
			[]Shadowed{{"REG.io", "b", "a"}}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, shadowed := Merge(test.sources)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("logins (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.shadowed, shadowed); diff != "" {
				t.Errorf("shadowed (-want +got):\n%s", diff)
			}
		})
	}
}

// randomSources gives a few sources whose keys often name the same registry.
func randomSources(random *rand.Rand) []Source {
	forms := []string{"%s", "https://%s", "http://%s/", "%s/v1/", "https://%s/v2/", "%s/team"}
	hosts := []string{"reg.io", "reg.io:5000", "docker.io", "index.docker.io", "*.io", "REG.io"}
	sources := make([]Source, random.IntN(5))
	for i := range sources {
		sources[i] = Source{Name: fmt.Sprint(i), Logins: Logins{}}
		for range random.IntN(8) {
			key := fmt.Sprintf(forms[random.IntN(len(forms))], hosts[random.IntN(len(hosts))])
			sources[i].Logins[key] = Login{Username: fmt.Sprint(i), Password: key}
		}
	}
	return sources
}

func TestMergeProperties(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 2_000 {
		sources := randomSources(random)
		merged, shadowed := Merge(sources)
		checkFirstWins(t, sources, merged, shadowed)

		again, shadowedAgain := Merge(sources) // maps are walked in another order
		if diff := cmp.Diff(merged, again) + cmp.Diff(shadowed, shadowedAgain); diff != "" {
			t.Fatalf("merged twice, %v differs:\n%s", sources, diff)
		}
		same, none := Merge([]Source{{Name: "merged", Logins: merged}})
		if diff := cmp.Diff(merged, same); diff != "" || len(none) > 0 {
			t.Fatalf("merging the merged changes it, shadowed %v:\n%s", none, diff)
		}
		if read, _, err := Parse(Marshal(merged)); err != nil || len(read) > len(merged) {
			t.Fatalf("written and read back: %v, error %v", read, err)
		}
	}
}

// checkFirstWins looks every key of every source up by walking the sources.
func checkFirstWins(t *testing.T, sources []Source, merged Logins, shadowed []Shadowed) {
	t.Helper()
	identity := func(key string) string {
		if registry, err := registryOf(key); err == nil {
			return registry
		}
		return key
	}
	inUse := map[string]int{}
	for key := range merged {
		inUse[identity(key)]++
	}
	total := 0
	for _, source := range sources {
		total += len(source.Logins)
		for key := range source.Logins {
			if inUse[identity(key)] != 1 {
				t.Fatalf("%v: %d entries for %q in %v", sources, inUse[identity(key)], key, merged)
			}
		}
	}
	if total != len(merged)+len(shadowed) {
		t.Fatalf("%d logins became %d and %d shadowed ones", total, len(merged), len(shadowed))
	}
	for key, login := range merged {
		for _, source := range sources {
			if _, found := source.Logins[key]; found && source.Logins[key] == login {
				break
			}
			for other := range source.Logins {
				if identity(other) == identity(key) {
					t.Fatalf("%q of source %s is used, although %s comes first with %q", key, login.Username, source.Name, other)
				}
			}
		}
	}
}
