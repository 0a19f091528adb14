//go:build e2e

package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/imagepullsecrets/operator/tests/operator"
)

// page is a page of the documentation, which is followed.
type page string

func readPage(t *testing.T, name string) page {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(operator.Root(), "docs", name))
	if err != nil {
		t.Fatal(err)
	}
	return page(content)
}

// section returns what follows a heading ("## Install"), up to the next one.
func (p page) section(t *testing.T, heading string) string {
	t.Helper()
	_, section, found := strings.Cut(string(p), "\n"+heading+"\n")
	if !found {
		t.Fatalf("the page has no section %q", heading)
	}
	section, _, _ = strings.Cut(section, "\n##")
	return section
}

var codeBlock = regexp.MustCompile("(?ms)^```(yaml|sh)\n(.*?)^```")

// objects are those of a section's YAML, in their order.
func (p page) objects(t *testing.T, heading string) []*unstructured.Unstructured {
	t.Helper()
	var text bytes.Buffer
	for _, block := range codeBlock.FindAllStringSubmatch(p.section(t, heading), -1) {
		if block[1] == "yaml" {
			text.WriteString("---\n" + block[2])
		}
	}
	return decodeObjects(t, text.Bytes())
}

// decodeObjects reads YAML documents.
func decodeObjects(t *testing.T, documents []byte) []*unstructured.Unstructured {
	t.Helper()
	objects, err := operator.Decode(documents)
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

// follow does what a section's commands do, one after the other. There is no
// kubectl here: actions says for each command what is done in its place, and
// holds no other.
func (p page) follow(t *testing.T, heading string, actions map[string]func()) {
	t.Helper()
	followed := 0
	for _, block := range codeBlock.FindAllStringSubmatch(p.section(t, heading), -1) {
		if block[1] != "sh" {
			continue
		}
		for line := range strings.Lines(block[2]) {
			command, _, _ := strings.Cut(line, "#")
			action := actions[strings.TrimSpace(command)]
			if action == nil {
				t.Fatalf("%s: the test does not know what is done by %s", heading, command)
			}
			action()
			followed++
		}
	}
	if followed != len(actions) {
		t.Fatalf("%s: it has %d commands, and the test %d", heading, followed, len(actions))
	}
}
