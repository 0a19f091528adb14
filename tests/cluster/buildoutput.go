package cluster

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
)

const maxBuildMessages = 40

// buildOutput reads what go build -v writes: a line for each module that is
// downloaded, the path of each package that is compiled, and messages.
type buildOutput struct {
	mu         sync.Mutex
	unfinished []byte // a line without its end
	downloaded int
	compiled   int
	other      []string
}

// Write takes the next piece of output and never fails.
func (o *buildOutput) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.unfinished = append(o.unfinished, p...)
	for {
		line, rest, found := bytes.Cut(o.unfinished, []byte("\n"))
		if !found {
			return len(p), nil
		}
		o.add(string(line))
		o.unfinished = rest
	}
}

func (o *buildOutput) add(line string) {
	switch {
	case strings.HasPrefix(line, "go: downloading "):
		o.downloaded++
	case line != "" && !strings.ContainsAny(line, " \t:#"): // an import path
		o.compiled++
	case len(o.other) < maxBuildMessages: // the first ones tell the cause
		o.other = append(o.other, line)
	}
}

// summary tells how far the build is.
func (o *buildOutput) summary() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.compiled > 0:
		return fmt.Sprintf("%d packages compiled", o.compiled)
	case o.downloaded > 0:
		return fmt.Sprintf("%d modules downloaded", o.downloaded)
	default:
		return "reading packages, or linking those compiled before"
	}
}

// messages returns the lines that are neither downloads nor packages.
func (o *buildOutput) messages() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Join(append(o.other, string(o.unfinished)), "\n")
}
