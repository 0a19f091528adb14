package main

import (
	"strings"
	"testing"
)

func TestACommandLineThatMeansNothingIsAnsweredWithTheUsage(t *testing.T) {
	cases := map[string][]string{
		"no command":             nil,
		"an unknown command":     {"wrap"},
		"no binary to write":     {"write"},
		"a binary to check":      {"check", "operator"},
		"no place to push to":    {"push"},
		"two directories to sum": {"sums", "a", "b"},
	}
	for name, args := range cases {
		t.Run(name, func(t *testing.T) {
			if err := run(t.Context(), args, t.Output()); err == nil || !strings.Contains(err.Error(), "image sums DIR") {
				t.Errorf("got %v", err)
			}
		})
	}
}
