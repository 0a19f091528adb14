package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// pagePaths are those of all pages of the repository.
func pagePaths(t *testing.T) []string {
	t.Helper()
	var found []string
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md", "charts/*/README.md"} {
		some, err := filepath.Glob(filepath.Join("../..", pattern))
		if err != nil || len(some) == 0 {
			t.Fatalf("%s: no page was found: %v", pattern, err)
		}
		found = append(found, some...)
	}
	return found
}

var (
	fence       = regexp.MustCompile("(?ms)^ *```.*?^ *```$")
	inlineCode  = regexp.MustCompile("`[^`\n]*`")
	link        = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	anyHeading  = regexp.MustCompile(`(?m)^#{1,6} +(.*?) *$`)
	linkedText  = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
	notInAnchor = regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
)

// anchorsOf are those of a page's headings, as GitHub makes them.
func anchorsOf(page string) map[string]bool {
	found := map[string]bool{}
	for _, match := range anyHeading.FindAllStringSubmatch(fence.ReplaceAllString(page, ""), -1) {
		text := linkedText.ReplaceAllString(match[1], "$1")
		anchor := strings.ReplaceAll(notInAnchor.ReplaceAllString(strings.ToLower(text), ""), " ", "-")
		for n, again := 1, anchor; found[anchor]; n++ {
			anchor = fmt.Sprintf("%s-%d", again, n)
		}
		found[anchor] = true
	}
	return found
}

// checkLink says what is wrong with a link of a page; "" if nothing is, or it
// leads out of the repository.
func checkLink(page, to string) string {
	if strings.Contains(to, "://") || strings.HasPrefix(to, "mailto:") {
		return ""
	}
	path, anchor, _ := strings.Cut(to, "#")
	target := page
	if path != "" {
		target = filepath.Join(filepath.Dir(page), path)
	}
	content, err := os.ReadFile(target)
	if info, statErr := os.Stat(target); statErr == nil && info.IsDir() {
		err = nil
	}
	switch {
	case err != nil:
		return "there is no such file"
	case anchor != "" && !anchorsOf(string(content))[anchor]:
		return "there is no such heading"
	default:
		return ""
	}
}

func TestEveryLinkLeadsSomewhere(t *testing.T) {
	checked := 0
	for _, page := range pagePaths(t) {
		content, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		text := inlineCode.ReplaceAllString(fence.ReplaceAllString(string(content), ""), "")
		for _, match := range link.FindAllStringSubmatch(text, -1) {
			if checked++; checkLink(page, match[1]) != "" {
				t.Errorf("%s: %s: %s", page, match[1], checkLink(page, match[1]))
			}
		}
	}
	if checked < 100 {
		t.Errorf("only %d links were found", checked)
	}
}

func TestBrokenLinksAreFound(t *testing.T) {
	for to, is := range map[string]bool{
		"olm.md":                          true,
		"providers/README.md#the-cluster": false,
		"providers/README.md#the-clusters-issuer": true,
		"nowhere.md":            false,
		"#installing":           false,
		"https://example.com/x": true,
	} {
		if got := checkLink("../../docs/README.md", to) == ""; got != is {
			t.Errorf("%s: %t", to, got)
		}
	}
}

// Every page can be found from the index.
func TestTheIndexNamesEveryPage(t *testing.T) {
	index, err := os.ReadFile("../../docs/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range pagePaths(t) {
		path, err := filepath.Rel("../../docs", page)
		if err != nil || strings.HasPrefix(path, "..") || path == "README.md" {
			continue
		}
		if !strings.Contains(string(index), "("+filepath.ToSlash(path)+")") {
			t.Errorf("%s is not in docs/README.md", path)
		}
	}
}
