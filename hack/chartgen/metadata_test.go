package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTheChangesAreThoseOfTheNewestVersion(t *testing.T) {
	for sentence, test := range map[string]struct {
		changelog string
		want      []string
	}{
		"on one line, and on more":     {"# Changelog\n\n## 2\n\nWords.\n\n- One.\n- Two\n  lines.\n\n## 1\n\n- Old.\n", []string{"'One.'", "'Two lines.'"}},
		"without links":                {"# C\n\n## 2\n\n- See [a page](docs/a.md) and [b](b.md).\n", []string{"'See a page and b.'"}},
		"quoted for YAML":              {"# C\n\n## 2\n\n- It's: a `b`.\n", []string{"'It''s: a `b`.'"}},
		"without what follows a list":  {"# C\n\n## 2\n\n- One.\n\nMore words.\n\n- Two.\n", []string{"'One.'", "'Two.'"}},
		"none where none are listed":   {"# C\n\n## 2\n\nWords.\n\n## 1\n\n- Old.\n", nil},
		"none where nothing is listed": {"# C\n", nil},
	} {
		t.Run(sentence, func(t *testing.T) {
			if diff := cmp.Diff(test.want, newestChanges(test.changelog)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestMetadataIsMadeAnewAndNothingElse(t *testing.T) {
	const chart = "appVersion: 1.2.3\nannotations:\n  mine: x\n  # Written by `make generate` from files.\n"
	const log = "# C\n\n## 2\n\n- One.\n"
	made, err := metadata(chart+"  stale: y\n", log, "# An example.\na: b\n")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(made, chart) || strings.Contains(made, "stale") || !strings.Contains(made, "operator:v1.2.3\n") ||
		!strings.HasSuffix(made, "crdsExamples: |\n    - # An example.\n      a: b\n") {
		t.Errorf("got:\n%s", made)
	}
	if again, err := metadata(made, log, "# An example.\na: b\n"); err != nil || again != made {
		t.Errorf("a second time (%v):\n%s", err, cmp.Diff(made, again))
	}
	for sentence, broken := range map[string]string{"no version": strings.ReplaceAll(chart, "appVersion", "version"), "no notice": "appVersion: 1\n"} {
		if _, err := metadata(broken, log, ""); err == nil {
			t.Errorf("%s is no error", sentence)
		}
	}
	if _, err := metadata(chart, "# C\n", ""); err == nil {
		t.Error("no changes are no error")
	}
}
