// Package pages finds the YAML that people copy from the project's
// pages, for tests.
package pages

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/imagepullsecrets/operator/tests/operator"
)

// Document is one YAML document of a page.
type Document struct {
	// Page is the page's path below the repository's root.
	Page string
	// Text is the document without the indentation of its block.
	Text string
}

var yamlBlock = regexp.MustCompile("(?ms)^( *)```yaml\n(.*?)^ *```")

// All returns the documents of README.md, of the chart's README.md and of all
// pages in docs, in the pages' order.
func All() ([]Document, error) {
	paths := []string{"README.md", "charts/imagepullsecret-operator/README.md"}
	err := fs.WalkDir(os.DirFS(operator.Root()), "docs", func(path string, _ fs.DirEntry, err error) error {
		if filepath.Ext(path) == ".md" {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("finding the pages: %w", err)
	}
	var found []Document
	for _, page := range paths {
		content, err := os.ReadFile(filepath.Join(operator.Root(), page))
		if err != nil {
			return nil, err
		}
		for _, block := range yamlBlock.FindAllStringSubmatch(string(content), -1) {
			text := strings.ReplaceAll("\n"+block[2], "\n"+block[1], "\n")
			for document := range strings.SplitSeq(text, "\n---\n") {
				found = append(found, Document{page, document})
			}
		}
	}
	return found, nil
}

// Content is the document as JSON knows it: a map or a list.
func (d Document) Content() (any, error) {
	var content any
	if err := yaml.Unmarshal([]byte(d.Text), &content); err != nil {
		return nil, fmt.Errorf("%s: %w in\n%s", d.Page, err, d.Text)
	}
	return content, nil
}

// Values returns the content of a document that holds values of the chart and
// nothing else, and whether it does.
func (d Document) Values() (values map[string]any, is bool, err error) {
	content, err := d.Content()
	if err != nil {
		return nil, false, err
	}
	known := map[string]any{}
	file, err := os.ReadFile(filepath.Join(operator.Root(), "charts", "imagepullsecret-operator", "values.yaml"))
	if err != nil {
		return nil, false, err
	}
	if err := yaml.Unmarshal(file, &known); err != nil {
		return nil, false, fmt.Errorf("values.yaml: %w", err)
	}
	values, is = content.(map[string]any)
	for key := range values {
		if _, found := known[key]; !found {
			is = false
		}
	}
	return values, is && len(values) > 0, nil
}
