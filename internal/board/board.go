// Package board shows how several things go at once: as bars on a terminal, as plain
// lines everywhere else (a pipe, a log, CI).
//
// Plain lines come when something has changed enough to be told: another stage, another
// tenth. So a log stays readable, and nothing in it depends on a cursor.
package board

import (
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/mattn/go-isatty"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// scale is what a full bar counts to.
const scale = 1000

// Board is a group of rows. Its methods and those of its rows are for any goroutine.
type Board struct {
	bars *mpb.Progress // nil where lines are written

	mu   sync.Mutex // guards what follows
	out  io.Writer
	rows []*Row
}

// New returns a board on w: with bars if w is a terminal that knows cursors.
func New(w io.Writer) *Board {
	b := &Board{out: w}
	if f, ok := w.(*os.File); ok && isatty.IsTerminal(f.Fd()) && os.Getenv("TERM") != "dumb" {
		b.bars = mpb.New(mpb.WithOutput(w), mpb.WithWidth(40), mpb.WithAutoRefresh())
	}
	return b
}

// Printf writes a line, above the bars as long as there are some.
func (b *Board) Printf(format string, args ...any) {
	line := fmt.Sprintf(format, args...) + "\n"
	rows, running := b.count()
	if running > 0 {
		if _, err := io.WriteString(b.bars, line); err == nil {
			return
		}
	}
	if rows > 0 {
		b.bars.Wait() // drops what it is told while it ends
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	io.WriteString(b.out, line)
}

// count returns how many bars there are, and how many have not ended.
func (b *Board) count() (rows, running int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.rows {
		if !r.bar.AbortedOrCompleted() {
			running++
		}
	}
	return len(b.rows), running
}

// Close ends rows that have not ended, and returns when everything is drawn.
func (b *Board) Close() {
	if b.bars == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.rows {
		r.bar.Abort(false) // does nothing to one that is complete
	}
	b.bars.Wait() // Shutdown would leave out the last drawing
}

// State is what a row shows.
type State struct {
	Stage    string  // "writing"
	Fraction float64 // 0 to 1
	Detail   string  // "118 MB/s, 12 s left"; short, since a terminal's line is
}

// Row is one of the things that are shown.
type Row struct {
	board *Board
	name  string
	bar   *mpb.Bar // nil where lines are written

	mu    sync.Mutex // guards what follows
	state State
	told  bool // there is a state
	ended bool
}

// Row adds a row.
func (b *Board) Row(name string) *Row {
	r := &Row{board: b, name: name}
	if b.bars == nil {
		return r
	}
	// The bar draws what the row has when it draws. It is never told of a change: that
	// would wait for the drawing, which waits for the row.
	r.bar = b.bars.AddBar(scale,
		mpb.BarFillerMiddleware(func(base mpb.BarFiller) mpb.BarFiller {
			return mpb.BarFillerFunc(func(w io.Writer, stat decor.Statistics) error {
				stat.Current = int64(r.get().Fraction * scale)
				return base.Fill(w, stat)
			})
		}),
		mpb.PrependDecorators(
			decor.Name(name, decor.WCSyncSpaceR),
			decor.Any(func(decor.Statistics) string { return r.get().Stage }, decor.WCSyncSpaceR)),
		mpb.AppendDecorators(
			decor.Any(func(decor.Statistics) string {
				s := r.get()
				return fmt.Sprintf("%3.0f%% %s", 100*s.Fraction, s.Detail)
			})))
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rows = append(b.rows, r)
	return r
}

func (r *Row) get() State {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state
}

// Set shows s. After End it does nothing.
func (r *Row) Set(s State) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return
	}
	news := s.Stage != r.state.Stage || int(10*s.Fraction) != int(10*r.state.Fraction) || !r.told
	r.state, r.told = s, true
	if r.bar == nil && news {
		r.line(s)
	}
}

// End shows s for good.
func (r *Row) End(s State) {
	r.mu.Lock()
	if r.ended {
		r.mu.Unlock()
		return
	}
	r.state, r.ended = s, true
	r.mu.Unlock()
	switch {
	case r.bar == nil:
		r.line(s)
	case s.Fraction >= 1:
		r.bar.SetCurrent(scale)
	default:
		r.bar.Abort(false)
	}
}

func (r *Row) line(s State) {
	detail := ""
	if s.Detail != "" {
		detail = " " + s.Detail
	}
	r.board.Printf("%s: %s %.0f%%%s", r.name, s.Stage, 100*s.Fraction, detail)
}
