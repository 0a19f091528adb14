package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
	"unicode/utf8"
)

// timeless marks what has no latency.
const timeless = time.Duration(-1 << 63)

// ANSI sequences.
const (
	bold, dim, green, red = "\x1b[1m", "\x1b[2m", "\x1b[32m", "\x1b[31m"
	plain                 = "\x1b[0m"
	eraseLine             = "\r\x1b[K"
)

const (
	spinnerInterval = 120 * time.Millisecond
	lineInterval    = time.Second
	tickWidth       = 88 // latencies stand in a column behind it
)

// printer presents the story. On a terminal it may draw a spinner and use
// colours; elsewhere it writes plain lines. It is safe for concurrent use.
type printer struct {
	out      io.Writer
	terminal bool
	colours  bool

	mu sync.Mutex
}

func newPrinter(file *os.File) *printer {
	info, err := file.Stat()
	terminal := err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
	return &printer{out: file, terminal: terminal, colours: terminal && os.Getenv("NO_COLOR") == ""}
}

// row is one line of the summary.
type row struct {
	step int
	seen string
	took time.Duration
}

// headline begins a step; those of number 0 have none.
func (p *printer) headline(number int, text string) {
	if number > 0 {
		text = fmt.Sprintf("%d. %s", number, text)
	}
	p.lines("", p.paint(bold, text), p.paint(bold, strings.Repeat("─", utf8.RuneCountInString(text))))
}

// say prints a sentence.
func (p *printer) say(text string) { p.lines("  " + text) }

// show prints YAML, a table or commands, set apart.
func (p *printer) show(text string) {
	var shown []string
	for line := range strings.Lines(strings.TrimRight(text, "\n") + "\n") {
		shown = append(shown, strings.TrimRight("  "+p.paint(dim, "│ ")+line, " \n"))
	}
	p.lines(shown...)
}

// tick prints that something happened.
func (p *printer) tick(what string, took time.Duration) {
	line := "  " + p.paint(green, "✓") + " " + what
	if took != timeless {
		line += strings.Repeat(" ", max(1, tickWidth-utf8.RuneCountInString(what))) + p.paint(bold, inWords(took))
	}
	p.lines(line)
}

// failed prints that something did not happen.
func (p *printer) failed(what string, err error) {
	shown := []string{"", "  " + p.paint(red, "✗") + " " + what}
	if u, ok := errors.AsType[unmet](err); ok {
		shown = append(shown, "    expected: "+u.expected, "    seen:     "+u.seen)
	} else {
		shown = append(shown, "    "+strings.ReplaceAll(err.Error(), "\n", "\n    "))
	}
	p.lines(shown...)
}

// table prints the summary. A step's number stands at its first row only.
func (p *printer) table(rows []row) {
	lines := [][]string{{"STEP", "SEEN", "LATENCY"}}
	last := 0
	for _, r := range rows {
		number, took := "", "-"
		if r.step != last {
			number, last = fmt.Sprint(r.step), r.step
		}
		if r.took != timeless {
			took = inWords(r.took)
		}
		lines = append(lines, []string{number, r.seen, took})
	}
	var shown []string
	for line := range strings.Lines(aligned(2, lines)) {
		shown = append(shown, strings.TrimRight("  "+line, " \n"))
	}
	p.lines(shown...)
}

// aligned lays lines of cells out in columns, at least gap apart.
func aligned(gap int, lines [][]string) string {
	var text strings.Builder
	columns := tabwriter.NewWriter(&text, 0, 0, gap, ' ', 0)
	for _, cells := range lines {
		fmt.Fprintln(columns, strings.Join(cells, "\t"))
	}
	_ = columns.Flush() // into memory
	return text.String()
}

// inWords writes a duration for a person: in milliseconds up to ten seconds,
// in seconds from there on.
func inWords(d time.Duration) string {
	switch {
	case d <= 0:
		return "at once" // seen before the call that caused it had returned
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
	case d < 10*time.Second:
		return fmt.Sprintf("%d ms", d.Round(time.Millisecond).Milliseconds())
	default:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
}

// during runs work and shows that it goes on: on a terminal by a spinner,
// elsewhere by a line every second. work may note how far it is.
func (p *printer) during(what string, work func(note func(string)) error) error {
	progress := &progress{printer: p, what: what, begin: time.Now(), stop: make(chan struct{}), done: make(chan struct{})}
	go progress.show()
	defer func() {
		close(progress.stop)
		<-progress.done
	}()
	return work(progress.note)
}

// progress is one piece of work that goes on.
type progress struct {
	*printer
	what       string
	begin      time.Time
	stop, done chan struct{}

	noteMu sync.Mutex
	noted  string
}

func (p *progress) note(text string) {
	p.noteMu.Lock()
	defer p.noteMu.Unlock()
	p.noted = text
}

func (p *progress) show() {
	defer close(p.done)
	interval := lineInterval
	if p.terminal {
		interval = spinnerInterval
	}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for frame := 0; ; frame++ {
		select {
		case <-p.stop:
			if p.terminal {
				p.write(eraseLine)
			}
			return
		case <-ticker.C:
		}
		if p.terminal {
			p.write(eraseLine + "  " + p.paint(dim, spinner(frame)+" "+p.line()))
		} else {
			p.write("  … " + p.line() + "\n")
		}
	}
}

func (p *progress) line() string {
	p.noteMu.Lock()
	defer p.noteMu.Unlock()
	const longest = 100 // a spinner's line must not wrap
	text := []rune(cmp.Or(p.noted, p.what))
	if len(text) > longest {
		text = append(text[:longest], '…')
	}
	return fmt.Sprintf("%s (%d s)", string(text), int(time.Since(p.begin).Seconds()))
}

func spinner(frame int) string {
	frames := []string{"⠋", "⠙", "⠸", "⠴", "⠦", "⠇"}
	return frames[frame%len(frames)]
}

func (p *printer) paint(colour, text string) string {
	if !p.colours {
		return text
	}
	return colour + text + plain
}

// lines writes whole lines, over a spinner if one is drawn.
func (p *printer) lines(lines ...string) {
	text := strings.Join(lines, "\n") + "\n"
	if p.terminal {
		text = eraseLine + text
	}
	p.write(text)
}

// write writes text. A reader who has gone is told of by SIGPIPE.
func (p *printer) write(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, _ = io.WriteString(p.out, text)
}

// clusterProgress passes on what the cluster tells while it starts: how far
// it is as a note, what a person is to know as a line.
type clusterProgress struct{ say, note func(string) }

// Write takes one line and never fails.
func (p clusterProgress) Write(line []byte) (int, error) {
	text := strings.TrimPrefix(strings.TrimSpace(string(line)), "test cluster: ")
	if strings.HasPrefix(text, "building Kubernetes: ") || strings.HasPrefix(text, "ready ") {
		p.note(text)
	} else {
		p.say(text)
	}
	return len(line), nil
}
