package board

import (
	"bytes"
	"regexp"
	"sync"
	"testing"

	"github.com/creack/pty"
	"github.com/google/go-cmp/cmp"
)

// TestLines has two rows told as lines: each stage and each tenth once.
func TestLines(t *testing.T) {
	var out bytes.Buffer
	b := New(&out)
	one, two := b.Row("one"), b.Row("two")
	for i := range 50 {
		one.Set(State{Stage: "writing", Fraction: float64(i) / 200, Detail: "5 MB/s"})
	}
	two.Set(State{Stage: "checking"})
	two.Set(State{Stage: "checking", Detail: "another detail is no news"})
	b.Printf("something for %s", "all")
	two.End(State{Stage: "FAILED", Fraction: 0.25})
	two.End(State{Stage: "twice"})
	two.Set(State{Stage: "late"})
	one.Set(State{Stage: "syncing", Fraction: 0.24})
	one.End(State{Stage: "done", Fraction: 1})
	b.Close()
	want := `one: writing 0% 5 MB/s
one: writing 10% 5 MB/s
one: writing 20% 5 MB/s
two: checking 0%
something for all
two: FAILED 25%
one: syncing 24%
one: done 100%
`
	if d := cmp.Diff(want, out.String()); d != "" {
		t.Error(d)
	}
}

// TestBars draws on a terminal: many changes while it draws, three rows, one that fails.
func TestBars(t *testing.T) {
	t.Setenv("TERM", "xterm")
	screen, terminal, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := pty.Setsize(screen, &pty.Winsize{Rows: 24, Cols: 100}); err != nil {
		t.Fatal(err)
	}
	drawn, seen := make(chan string, 1), make(chan struct{})
	go func() {
		var all []byte
		for buf := make([]byte, 4096); ; {
			n, err := screen.Read(buf)
			rated := bytes.Contains(all, []byte("118 MB/s"))
			all = append(all, buf[:n]...)
			if !rated && bytes.Contains(all, []byte("118 MB/s")) {
				close(seen)
			}
			if err != nil { // the terminal's end
				drawn <- string(all)
				return
			}
		}
	}()
	b := New(terminal)
	var rows sync.WaitGroup
	more := make(chan struct{})
	for i, name := range []string{"pi-one", "pi-two", "pi-three"} {
		row := b.Row(name)
		rows.Go(func() {
			for f := 0.0; f < 1; f += 1.0 / 200_000 {
				row.Set(State{Stage: "writing", Fraction: f, Detail: "118 MB/s"})
			}
			<-more
			if i == 1 {
				row.End(State{Stage: "FAILED", Fraction: 0.5})
				return
			}
			row.End(State{Stage: "done", Fraction: 1})
		})
	}
	b.Printf("a line above")
	<-seen
	close(more)
	rows.Wait()
	b.Printf("a line below")
	b.Close()
	terminal.Close()
	out := <-drawn
	for _, want := range []string{"a line above", "118 MB/s", "a line below", `pi-one +done +\[=+\] +100%`, `pi-two +FAILED +\[=+>-+\] +50%`, `pi-three +done`} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("%q is not on the screen: %q", want, out[max(0, len(out)-600):])
		}
	}
}
