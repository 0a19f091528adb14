// Command testsummary reads `go test -json` from standard input and prints
// what a person wants of it: the output of what failed, why a test was skipped,
// go test's own line for each package, and in the end how many tests passed and
// failed. Lines that are not JSON pass through.
//
// With -closing FILE, the closing lines go to that file as well.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
)

// event is what `go test -json` writes; see `go doc test2json`.
type event struct {
	Action, Package, ImportPath, Test, Output, FailedBuild string
}

// key tells the output of one test, or of one package, from another's.
type key struct{ pkg, test string }

// summary is what was seen so far.
type summary struct {
	out                     io.Writer
	passed, failed, skipped int
	failedIn                map[string]bool   // packages with a failed test
	output                  map[key][]string  // of what has not ended yet
	last                    map[string]string // each package's last line
	closing                 []string
}

func main() {
	closing := flag.String("closing", "", "file that the closing lines are written to")
	flag.Parse()
	s := summary{
		out: os.Stdout, failedIn: map[string]bool{}, output: map[key][]string{}, last: map[string]string{},
	}
	err := s.read(os.Stdin)
	s.finish()
	if err == nil && *closing != "" {
		err = os.WriteFile(*closing, []byte(strings.Join(s.closing, "\n")+"\n"), 0o600)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "testsummary:", err)
		os.Exit(2)
	}
	if s.failed > 0 || s.passed == 0 {
		os.Exit(1)
	}
}

// read takes in every line until the input ends.
func (s *summary) read(in io.Reader) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil || e.Action == "" {
			fmt.Fprintln(s.out, lines.Text())
			continue
		}
		s.add(e)
	}
	return lines.Err()
}

// add takes in one event.
func (s *summary) add(e event) {
	k := key{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		fmt.Fprint(s.out, e.Output)
	case "output":
		if e.Test != "" || !isPackageLine(e.Output) {
			s.output[k] = append(s.output[k], e.Output)
			return
		}
		s.last[e.Package] = strings.TrimSuffix(e.Output, "\n")
	case "pass", "fail", "skip":
		if e.Test != "" {
			s.endTest(e, k)
		} else {
			s.endPackage(e, k)
		}
	}
}

// isPackageLine tells go test's own verdict on a package from output.
func isPackageLine(line string) bool {
	for _, prefix := range []string{"ok  \t", "FAIL\t", "---  \t", "?   \t"} {
		if strings.HasPrefix(line, prefix) {
			return true
		}
	}
	return false
}

// endTest counts a test and shows its output if it failed or was skipped.
func (s *summary) endTest(e event, k key) {
	switch e.Action {
	case "pass":
		s.passed++
	case "skip":
		s.skipped++
		fmt.Fprint(s.out, strings.Join(s.output[k], ""))
	case "fail":
		s.failed++
		s.failedIn[e.Package] = true
		fmt.Fprint(s.out, strings.Join(s.output[k], ""))
	}
	delete(s.output, k)
}

// endPackage shows go test's line on a package. A package that failed without
// a failed test (it does not build, or it died) counts as one failure, and
// everything it printed is shown.
func (s *summary) endPackage(e event, k key) {
	if e.Action == "fail" && !s.failedIn[e.Package] {
		s.failed++
		for open, lines := range s.output {
			if open.pkg == e.Package && open.test != "" {
				fmt.Fprint(s.out, strings.Join(lines, ""))
			}
		}
	}
	if e.Action == "fail" {
		fmt.Fprint(s.out, strings.Join(s.output[k], ""))
	}
	delete(s.output, k)
	if line := s.last[e.Package]; line != "" {
		fmt.Fprintln(s.out, line)
		if !strings.HasPrefix(line, "?") {
			s.closing = append(s.closing, line)
		}
	}
}

// finish prints the count.
func (s *summary) finish() {
	if s.skipped > 0 {
		s.closing = append(s.closing, fmt.Sprintf("(%d skipped)", s.skipped))
	}
	s.closing = append(s.closing, fmt.Sprintf("%d passed, %d failed", s.passed, s.failed))
	fmt.Fprintln(s.out, s.closing[len(s.closing)-1])
}
