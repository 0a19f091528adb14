package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

const (
	chartMetadata = "charts/imagepullsecret-operator/Chart.yaml"
	changelog     = "CHANGELOG.md"
	sample        = "config/samples/images_v1alpha1_imagepullsecret_static.yaml"
	repository    = "ghcr.io/imagepullsecrets/operator"

	// derivedFrom begins the part of Chart.yaml that is written here, up to its
	// end.
	derivedFrom = "  # Written by `make generate` from "
)

// writeMetadata writes the annotations of Chart.yaml below root that follow from
// other files: what Artifact Hub shows of images, changes and examples.
func writeMetadata(root string) error {
	path := filepath.Join(root, chartMetadata)
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	log, err := os.ReadFile(filepath.Join(root, changelog))
	if err != nil {
		return err
	}
	example, err := os.ReadFile(filepath.Join(root, sample))
	if err != nil {
		return err
	}
	made, err := metadata(string(text), string(log), string(example))
	if err != nil {
		return fmt.Errorf("%s: %w", chartMetadata, err)
	}
	return os.WriteFile(path, []byte(made), 0o644)
}

var appVersion = regexp.MustCompile(`(?m)^appVersion: (\S+)$`)

// metadata is Chart.yaml with its derived annotations made anew.
func metadata(chart, changelog, example string) (string, error) {
	version := appVersion.FindStringSubmatch(chart)
	before, after, found := strings.Cut(chart, derivedFrom)
	if version == nil || !found {
		return "", errors.New("no appVersion, or no line that begins what is derived")
	}
	notice, _, _ := strings.Cut(after, "\n")
	changes := newestChanges(changelog)
	if len(changes) == 0 {
		return "", errors.New("the changelog's newest version has no changes")
	}
	image := "- name: operator\n  image: " + repository + ":v" + version[1] + "\n  platforms:\n  - linux/amd64\n  - linux/arm64\n"
	return before + derivedFrom + notice + "\n" +
		annotation("images", image) +
		annotation("changes", "- "+strings.Join(changes, "\n- ")+"\n") +
		annotation("crdsExamples", "- "+strings.TrimSpace(strings.ReplaceAll(example, "\n", "\n  "))+"\n"), nil
}

// annotation is an annotation of Artifact Hub's whose value is YAML.
func annotation(name, value string) string {
	return "  artifacthub.io/" + name + ": |\n    " + strings.ReplaceAll(strings.TrimSuffix(value, "\n"), "\n", "\n    ") + "\n"
}

var link = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)

// newestChanges are the changes of the newest version in a changelog, each a
// quoted line without links: those are relative to the changelog.
func newestChanges(changelog string) []string {
	_, newest, _ := strings.Cut(changelog, "\n## ")
	newest, _, _ = strings.Cut(newest, "\n## ")
	var changes []string
	for _, item := range strings.Split(newest, "\n- ")[1:] {
		// What follows an empty line belongs to no item.
		item, _, _ = strings.Cut(item, "\n\n")
		text := link.ReplaceAllString(strings.Join(strings.Fields(item), " "), "$1")
		changes = append(changes, "'"+strings.ReplaceAll(text, "'", "''")+"'")
	}
	return changes
}
