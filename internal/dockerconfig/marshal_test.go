package dockerconfig

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestMarshalWritesTheGoldenDocument(t *testing.T) {
	logins := Logins{
		"reg.io":        {Username: "ada", Password: "pw"},
		"*.azurecr.io":  {Username: "zoë", Password: "pässwörd✓"},
		"quay.io/core/": {Username: "robot+core", Password: `a:b<c>&"d"\`},
		"docker.io":     {Username: "with:colon", Password: "pw"},
		"a.io:5000":     {Username: "not UTF-8", Password: "\xff"},
		"b.io":          {Username: "no password"},
	}
	golden := filepath.Join("testdata", "marshalled.json")
	got := Marshal(logins)
	if *update {
		if err := os.WriteFile(golden, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("document (-want +got):\n%s", diff)
	}
}

func TestMarshalOfNothingIsAnEmptyDocument(t *testing.T) {
	for name, logins := range map[string]Logins{"nil": nil, "empty": {}} {
		if got := string(Marshal(logins)); got != `{"auths":{}}` {
			t.Errorf("%s: got %s", name, got)
		}
	}
}

func TestParseReadsBackWhatMarshalWrote(t *testing.T) {
	logins := Logins{
		"reg.io":           {Username: "ada", Password: "p:w"},
		"https://b.io/v2/": {Username: "a:b", Password: "c:d"},
		"registry:5000":    {Username: "zoë", Password: "<&>\u2028"},
		"c.io":             {Username: "u"},
	}
	got, problems, err := Parse(Marshal(logins))
	if err != nil || len(problems) > 0 {
		t.Fatalf("problems %v, error %v", problems, err)
	}
	if diff := cmp.Diff(logins, got); diff != "" {
		t.Errorf("logins (-want +got):\n%s", diff)
	}
}
