package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// productFiles are the files that the operator is built of.
func productFiles(t *testing.T) []*ast.File {
	t.Helper()
	var found []*ast.File
	for _, root := range []string{"api", "controllers", "internal", "providers"} {
		err := filepath.WalkDir(filepath.Join("../..", root), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			found = append(found, file)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return found
}

// reasonsOf are the values of all constants that are named as reasons are, of
// conditions and of events.
func reasonsOf(files []*ast.File) []string {
	named := regexp.MustCompile(`^[rR]eason[A-Z]`)
	var found []string
	for _, file := range files {
		ast.Inspect(file, func(node ast.Node) bool {
			spec, is := node.(*ast.ValueSpec)
			if !is {
				return true
			}
			for i, value := range spec.Values {
				if text, is := literal(value); is && named.MatchString(spec.Names[i].Name) {
					found = append(found, text)
				}
			}
			return true
		})
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// linesOf are the messages that are logged, but for those of debugging; … stands
// for what follows a fixed beginning. A message that is not fixed at all is one
// that people are told elsewhere, too.
func linesOf(files []*ast.File) []string {
	var found []string
	for _, file := range files {
		ast.Inspect(file, func(node ast.Node) bool {
			call, is := node.(*ast.CallExpr)
			if !is {
				return true
			}
			method, is := call.Fun.(*ast.SelectorExpr)
			if !is {
				return true
			}
			at := slices.Index([]string{"Info", "Error"}, method.Sel.Name) // of Error, the error itself goes before
			if at < 0 || at >= len(call.Args) || verbose(method.X) {
				return true
			}
			if text, is := literal(call.Args[at]); is {
				found = append(found, text)
			}
			return true
		})
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// verbose tells whether a logger is one for debugging, by its call V.
func verbose(logger ast.Expr) bool {
	call, is := logger.(*ast.CallExpr)
	if !is {
		return false
	}
	method, is := call.Fun.(*ast.SelectorExpr)
	return is && method.Sel.Name == "V"
}

// literal is a text that stands in the code, or its beginning and ….
func literal(value ast.Expr) (text string, is bool) {
	switch value := value.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(value.Value)
		return text, value.Kind == token.STRING && err == nil
	case *ast.BinaryExpr:
		text, is = literal(value.X)
		return text + "…", is
	default:
		return "", false
	}
}

// rowsOf are the code that begins each row of the tables under some headings of
// a page, sorted.
func rowsOf(t *testing.T, page string, headings ...string) []string {
	t.Helper()
	content, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for section := range strings.SplitSeq(string(content), "\n## ") {
		title, body, _ := strings.Cut(section, "\n")
		if !slices.Contains(headings, title) {
			continue
		}
		for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(body, -1) {
			found = append(found, row[1])
		}
	}
	slices.Sort(found)
	return found
}

const troubleshooting = "../../docs/troubleshooting.md"

// Whatever people meet as a reason, of a condition or of an event, they find.
func TestEveryReasonIsExplained(t *testing.T) {
	explained := rowsOf(t, troubleshooting, "Reasons of ImagePullSecrets", "Events of ServiceAccounts and Pods")
	if diff := cmp.Diff(reasonsOf(productFiles(t)), explained); diff != "" {
		t.Errorf("reasons in the code (-) and on the page (+):\n%s", diff)
	}
}

func TestEveryLineOfTheLogIsExplained(t *testing.T) {
	explained := rowsOf(t, troubleshooting, "Lines of the log")
	if diff := cmp.Diff(linesOf(productFiles(t)), explained); diff != "" {
		t.Errorf("lines in the code (-) and on the page (+):\n%s", diff)
	}
}
