package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// printed returns what a printer without a terminal prints.
func printed(print func(*printer)) string {
	var out bytes.Buffer
	print(&printer{out: &out})
	return out.String()
}

func expectText(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("printed\n%s\nwant\n%s", got, want)
	}
}

func TestDurationsAreWrittenForAPerson(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Millisecond:        "at once",
		0:                        "at once",
		1234 * time.Microsecond:  "1.2 ms",
		12345 * time.Microsecond: "12 ms",
		9876 * time.Millisecond:  "9876 ms",
		21800 * time.Millisecond: "21.8 s",
	} {
		if got := inWords(d); got != want {
			t.Errorf("%d is written %q, want %q", d, got, want)
		}
	}
}

func TestTheSummaryNamesAStepOnce(t *testing.T) {
	got := printed(func(p *printer) {
		p.table([]row{
			{step: 1, seen: "a cluster", took: 2 * time.Second},
			{step: 1, seen: "a cloud", took: 3 * time.Millisecond},
			{step: 10, seen: "no token in the log", took: timeless},
		})
	})
	expectText(t, got, `  STEP  SEEN                 LATENCY
  1     a cluster            2000 ms
        a cloud              3.0 ms
  10    no token in the log  -
`)
}

func TestAFailureSaysWhatWasExpectedAndSeen(t *testing.T) {
	got := printed(func(p *printer) {
		p.failed("step 4 did not happen", unmet{expected: "the Secret in team-blue within 30s", seen: "no Secret team-blue/registries"})
	})
	expectText(t, got, `
  ✗ step 4 did not happen
    expected: the Secret in team-blue within 30s
    seen:     no Secret team-blue/registries
`)
	got = printed(func(p *printer) { p.failed("step 1 did not happen", errors.New("one line\nand another")) })
	expectText(t, got, `
  ✗ step 1 did not happen
    one line
    and another
`)
}

func TestWithoutATerminalThereAreNeitherColoursNorASpinner(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	p := newPrinter(file)
	p.headline(3, "A headline")
	p.show("kind: Secret\n")
	p.tick("it happened", 5*time.Millisecond)
	err = p.during("waiting", func(note func(string)) error { note("still waiting"); return nil })
	if err != nil {
		t.Error(err)
	}
	content, err := os.ReadFile(file.Name())
	if err != nil {
		t.Fatal(err)
	}
	expectText(t, string(content), "\n3. A headline\n─────────────\n  │ kind: Secret\n  ✓ it happened"+
		strings.Repeat(" ", tickWidth-len("it happened"))+"5.0 ms\n")
}

func TestProgressIsShownEverySecondWithoutATerminal(t *testing.T) {
	var out bytes.Buffer
	p := &printer{out: &out}
	err := p.during("building", func(note func(string)) error {
		note("1 of 2")
		deadline := time.After(10 * time.Second)
		for {
			p.mu.Lock()
			shown := out.String()
			p.mu.Unlock()
			if shown != "" {
				return nil
			}
			select {
			case <-deadline:
				return errors.New("nothing was shown")
			case <-time.After(10 * time.Millisecond):
			}
		}
	})
	if err != nil || !strings.HasPrefix(out.String(), "  … 1 of 2 (1 s)\n") {
		t.Errorf("error %v, printed %q", err, out.String())
	}
}

func TestATableLooksAsKubectlPrintsIt(t *testing.T) {
	got := tableText(metav1.Table{
		ColumnDefinitions: []metav1.TableColumnDefinition{{Name: "Name"}, {Name: "Targets"}, {Name: "Secret", Priority: 1}, {Name: "Expires"}},
		Rows:              []metav1.TableRow{{Cells: []any{"registries", int64(3), "pull", nil}}},
	})
	expectText(t, got, "NAME         TARGETS   EXPIRES\nregistries   3         <none>\n")
}

func TestMetricsAreAddedUpByLabel(t *testing.T) {
	const metrics = `# TYPE writes_total counter
writes_total{operation="apply",result="success"} 40
writes_total{operation="apply",result="error"} 2
writes_total{operation="delete",result="success"} 1
writes_total_other{operation="apply"} 100
`
	for want, labels := range map[float64][]string{
		43: nil, 42: {`operation="apply"`}, 40: {`operation="apply"`, `result="success"`}, 0: {`operation="none"`},
	} {
		if got := total(metrics, "writes_total", labels...); got != want {
			t.Errorf("with %v: %v, want %v", labels, got, want)
		}
	}
}

func TestManifestsAreShownAsTheyAreAppliedButForSecrets(t *testing.T) {
	v := values{Name: "n", Namespace: "s", SecretKey: `a"b\c`, Password: "correct-horse"}
	applied, err := manifest("sources.yaml", v)
	if err != nil {
		t.Fatal(err)
	}
	shown, err := manifest("sources.yaml", v.masked())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(applied, v.Password) || strings.Contains(shown, v.Password) || strings.Contains(shown, `a\"b`) {
		t.Errorf("applied\n%s\nshown\n%s", applied, shown)
	}
}
