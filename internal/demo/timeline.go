package demo

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// timeline tells what happens as it happens, and all of it with times at the end.
type timeline struct {
	// config
	out      io.Writer
	terminal bool

	// state
	start   time.Time // of the first step
	since   time.Time // of this step
	shown   time.Time // when progress was last printed
	last    string    // progress that was printed
	partial bool      // the cursor is in a progress line
	marks   []mark
}

type mark struct {
	at, took time.Duration
	what     string
}

// cut is where a mark's text ends in the table, in characters.
const cut = 90

// progressEvery is how often progress is printed where there is no terminal.
const progressEvery = 10 * time.Second

func (t *timeline) step(format string, args ...any) {
	now := time.Now()
	if t.start.IsZero() {
		t.start = now
	}
	t.since = now
	t.line("→ "+format, args...)
}

func (t *timeline) note(format string, args ...any) { t.line("  "+format, args...) }

// done ends a step.
func (t *timeline) done(format string, args ...any) {
	t.mark(format, args...)
	t.line("✓ "+format+" (%.1f s)", append(args, t.marks[len(t.marks)-1].took.Seconds())...)
}

// mark notes a point in time and begins the next step.
func (t *timeline) mark(format string, args ...any) {
	now := time.Now()
	t.marks = append(t.marks, mark{now.Sub(t.start), now.Sub(t.since), fmt.Sprintf(format, args...)})
	t.since = now
}

// progress overwrites its last line on a terminal, and is rare elsewhere.
func (t *timeline) progress(format string, args ...any) {
	if !t.terminal {
		if text := fmt.Sprintf(format, args...); time.Since(t.shown) >= progressEvery && text != t.last {
			t.shown, t.last = time.Now(), text
			t.line("  %s", text)
		}
		return
	}
	fmt.Fprintf(t.out, "\r\x1b[K  "+format, args...)
	t.partial = true
}

func (t *timeline) line(format string, args ...any) {
	if t.partial {
		fmt.Fprint(t.out, "\r\x1b[K")
		t.partial = false
	}
	fmt.Fprintf(t.out, format+"\n", args...)
}

func (t *timeline) print() {
	t.line("\n   at      took")
	for _, m := range t.marks {
		what, _, _ := strings.Cut(m.what, "; ") // what follows was shown when it happened
		t.line("%6.1f s  %6.1f s  %.*s", m.at.Seconds(), m.took.Seconds(), cut, what)
	}
}
