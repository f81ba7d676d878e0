package bench

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Marks in docs/performance.md between which the tables go.
const (
	beginMark = "<!-- bench:begin, made by make bench -->"
	endMark   = "<!-- bench:end -->"
)

// WriteDocs puts the tables between the marks of performance.md in dir, and the plot
// beside it.
func (r *Results) WriteDocs(dir string) error {
	page := filepath.Join(dir, "performance.md")
	b, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(b), beginMark)
	_, after, ok2 := strings.Cut(rest, endMark)
	if !ok || !ok2 {
		return fmt.Errorf("%s has not the marks %q and %q", page, beginMark, endMark)
	}
	if err := os.WriteFile(page, []byte(before+beginMark+"\n\n"+r.Markdown()+"\n"+endMark+after), 0o644); err != nil {
		return err
	}
	var svg bytes.Buffer
	if err := r.plot(&svg); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "performance.svg"), svg.Bytes(), 0o644)
}
