package main

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// buildArguments are what the Makefile hands to docker.
var buildArguments = strings.NewReplacer("$VERSION", made.version, "$COMMIT", made.revision, "$DATE", made.created.Format(time.RFC3339))

func TestTheDockerfileSaysTheSameAsTheImage(t *testing.T) {
	stages := dockerfile(t)
	last := stages[len(stages)-1]
	if base := last[0].arguments; base != "scratch" {
		t.Errorf("the Dockerfile's image is based on %s", base)
	}
	var config v1.Config
	files := map[string][]byte{}
	for _, instruction := range last[1:] {
		switch instruction.name {
		case "LABEL":
			key, value, _ := strings.Cut(buildArguments.Replace(instruction.arguments), "=")
			if config.Labels == nil {
				config.Labels = map[string]string{}
			}
			config.Labels[key] = strings.Trim(value, `"`)
		case "COPY":
			words := strings.Fields(instruction.arguments)
			files[strings.TrimPrefix(words[len(words)-1], "/")] = nil
		case "USER":
			config.User = instruction.arguments
		case "WORKDIR":
			config.WorkingDir = instruction.arguments
		case "ENTRYPOINT":
			config.Entrypoint = list(t, instruction.arguments)
		case "CMD":
			config.Cmd = list(t, instruction.arguments)
		case "ARG":
		default:
			t.Errorf("%s is nothing that make image does", instruction.name)
		}
	}
	for platform, image := range imagesIn(t, writeImage(t, standIns(t))) {
		made, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(made.Config, config); diff != "" {
			t.Errorf("%s (-make image +Dockerfile):\n%s", platform, diff)
		}
		extracted, err := extract(image)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(sortedNames(extracted), sortedNames(files)); diff != "" {
			t.Errorf("%s (-make image +Dockerfile):\n%s", platform, diff)
		}
	}
}

func TestTheDockerfileBuildsByTheWordsOfTheMakefile(t *testing.T) {
	command := exec.CommandContext(t.Context(), "make", "--no-print-directory", "--dry-run", "build",
		"VERSION="+made.version, "COMMIT="+made.revision, "DATE="+made.created.Format(time.RFC3339))
	command.Dir = repository
	// This test may run under make, whose flags are not meant for this one.
	command.Env = append(command.Environ(), "MAKEFLAGS=", "MAKELEVEL=")
	output, err := command.Output()
	if err != nil {
		t.Fatal(err)
	}
	want := buildWords(string(output))
	if want == "" {
		t.Fatalf("make build doesn't build: %s", output)
	}
	var got []string
	for _, instruction := range dockerfile(t)[0] {
		if words := buildWords(buildArguments.Replace(instruction.arguments)); words != "" {
			got = append(got, words)
		}
	}
	if diff := cmp.Diff([]string{want}, got); diff != "" {
		t.Errorf("(-Makefile +Dockerfile):\n%s", diff)
	}
}

func TestTheImageIsDescribedAsTheChartIs(t *testing.T) {
	chart := read(t, filepath.Join(repository, "charts", "imagepullsecret-operator", "Chart.yaml"))
	labels := made.labels()
	for field, label := range map[string]string{
		"name": "title", "description": "description", "home": "source", "  artifacthub.io/license": "licenses",
	} {
		if line := "\n" + field + ": " + labels["org.opencontainers.image."+label] + "\n"; !strings.Contains(chart, line) {
			t.Errorf("Chart.yaml has no line%s", line)
		}
	}
}

const repository = "../.."

// instruction is one of a Dockerfile, such as USER and 65532:65532.
type instruction struct{ name, arguments string }

// dockerfile reads the Dockerfile's stages, each of which begins with FROM.
func dockerfile(t *testing.T) [][]instruction {
	t.Helper()
	text := strings.ReplaceAll(read(t, filepath.Join(repository, "Dockerfile")), "\\\n", " ")
	var stages [][]instruction
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, arguments, _ := strings.Cut(line, " ")
		if name == "FROM" {
			stages = append(stages, nil)
		}
		last := len(stages) - 1
		if last < 0 {
			t.Fatalf("%s stands before FROM", name)
		}
		stages[last] = append(stages[last], instruction{name, arguments})
	}
	return stages
}

// buildWords returns what a shell command says to the Go toolchain about the
// operator, up to the place of the binary; "" if it doesn't build one.
func buildWords(command string) string {
	_, after, found := strings.Cut(command, "CGO_ENABLED=0 ")
	_, after, builds := strings.Cut(after, "go build ")
	words, _, placed := strings.Cut(after, " -o ")
	if !found || !builds || !placed {
		return ""
	}
	return strings.Join(strings.Fields(words), " ")
}

// list reads the JSON form of ENTRYPOINT and CMD: the other one needs a shell.
func list(t *testing.T, arguments string) []string {
	t.Helper()
	var words []string
	if err := json.Unmarshal([]byte(arguments), &words); err != nil {
		t.Fatalf("%s: %v", arguments, err)
	}
	return words
}
