package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// sourcePages are the documentation of all sources, by path.
func sourcePages(t *testing.T) map[string]string {
	t.Helper()
	paths, err := filepath.Glob("../../docs/providers/*.md")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no page was found: %v", err)
	}
	found := map[string]string{}
	for _, path := range append(paths, "../../docs/ecr.md") {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		found[path] = string(content)
	}
	return found
}

var heading = regexp.MustCompile(`(?m)^## (.*)$`)

func TestThePagesOfAllSourcesAreAlike(t *testing.T) {
	for path, page := range sourcePages(t) {
		if filepath.Base(path) == "README.md" {
			continue // is of all sources
		}
		var got []string
		for _, match := range heading.FindAllStringSubmatch(page, -1) {
			got = append(got, match[1])
		}
		if diff := cmp.Diff([]string{"What you need", "Cloud side", "The object", "Check it", "What errors mean"}, got); diff != "" {
			t.Errorf("%s: %s", path, diff)
		}
	}
}

// sourceTexts are all texts in the sources, one behind the other. Those of tests are
// among them: what has its values filled in, and what clouds say, stands there.
func sourceTexts(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, root := range []string{"providers", "internal", "controllers", "tests"} {
		err := filepath.WalkDir(filepath.Join("../..", root), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || filepath.Ext(path) != ".go" {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(node ast.Node) bool {
				switch literal, is := node.(*ast.BasicLit); {
				case is && literal.Kind == token.STRING:
					text, _ := strconv.Unquote(literal.Value) // the parser took it
					all.WriteString(text)
				case is && literal.Kind == token.INT:
					all.WriteString("AADSTS" + literal.Value + "\n") // Azure's codes are numbers
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all.String()
}

var quotedText = regexp.MustCompile("`([^`]+)`")

// assembled are what no text in the sources holds as a whole.
var assembled = map[string]bool{
	"the operator may not read ServiceAccount":    true,
	"the proxy refused to connect: 403 Forbidden": true,
	": NOT_FOUND": true,
}

func TestTheDocumentedMessagesExist(t *testing.T) {
	all, messages := sourceTexts(t), 0
	for path, page := range sourcePages(t) {
		_, tables, _ := strings.Cut(page, "\n| reason | message |")
		for _, row := range strings.Split(tables, "\n| ") {
			cells := strings.Split(row, "|")
			if len(cells) < 3 {
				continue
			}
			for _, message := range quotedText.FindAllStringSubmatch(cells[1], -1) {
				messages++
				for _, part := range strings.Split(message[1], "…") {
					if part = strings.TrimSpace(part); !strings.Contains(all, part) && !assembled[part] {
						t.Errorf("%s: nothing says %q", path, part)
					}
				}
			}
		}
	}
	if messages < 150 {
		t.Errorf("only %d messages were found", messages)
	}
}
