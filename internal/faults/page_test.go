package faults

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
)

// record is a row of the page.
type record struct {
	Fault  string
	Status int
	Says   string
	After  string
	Took   time.Duration
	Count  int               // writes that the row is made of; 0 is one
	Peers  map[string]string // what became of the same with other tools
}

// section is a group of the page: what one run of it found.
type section struct {
	Version string // of the imager
	Date    string
	Took    time.Duration
	Full    bool // everything, not samples of the sweeps
	Rows    []*record
	NotRun  []string // faults of rows that were left out
}

var (
	recordsMu sync.Mutex
	sections  = map[string]*section{} // by group
	began     = time.Now()
)

// recordSlots makes room for n rows of a group, in order: rows run in parallel.
func recordSlots(group string, n int) []*record {
	recordsMu.Lock()
	defer recordsMu.Unlock()
	slots := make([]*record, n)
	for i := range slots {
		slots[i] = &record{}
	}
	if sections[group] == nil {
		sections[group] = &section{}
	}
	sections[group].Rows = append(sections[group].Rows, slots...)
	return slots
}

// recordNotRun notes a row of a group that a run of samples leaves out.
func recordNotRun(group, fault string) {
	recordsMu.Lock()
	defer recordsMu.Unlock()
	if sections[group] == nil {
		sections[group] = &section{}
	}
	sections[group].NotRun = append(sections[group].NotRun, fault)
}

func (r *record) fill(fault string, o *outcome) {
	r.Fault, r.Status, r.Says, r.After, r.Took = fault, o.status, plain(o.answer.sentence()), string(o.after), o.took
}

// names of things that differ from run to run.
var names = []struct {
	re *regexp.Regexp
	to string
}{
	{regexp.MustCompile(`http://[\d.]+:\d+[\w/.-]*`), "URL"},
	{regexp.MustCompile(`/dev/loop\d+|/tmp/[\w/.-]+`), "DISK"},
	{regexp.MustCompile(`job [0-9a-f]{8}`), "job JOB"},
	{regexp.MustCompile(`(\d+\.\d+\.\d+\.\d+):\d+`), "$1:PORT"},
	{regexp.MustCompile(`[0-9a-f]{64}`), "…"},
}

// plain takes names out of a sentence that differ from run to run.
func plain(s string) string {
	for _, n := range names {
		s = n.re.ReplaceAllString(s, n.to)
	}
	return strings.TrimSpace(s)
}

// titles of the groups, in the page's order.
var titles = []struct{ group, title string }{
	{network, "Network"}, {images, "Image"}, {disks, "Disk"}, {power, "Power"}, {abuse, "Load and abuse"}, {stat, "The station"}, {mutants, "Mutants"},
}

const (
	pageBegin = "<!-- What follows is written by make faults. -->\n"
	pageEnd   = "<!-- What stands before this line is written by make faults. -->\n"
)

// writePage stores what was run in dir, a file for each group, and writes what all files
// there say between the marks in the page at path.
func writePage(dir, path string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	version, err := versionOf()
	if err != nil {
		return err
	}
	for group, s := range sections {
		s.Rows = slices.DeleteFunc(s.Rows, func(r *record) bool {
			left := r.Says+r.After == "" // by -run
			if left {
				s.NotRun = append(s.NotRun, r.Fault)
			}
			return left
		})
		s.Full, s.Version, s.Date, s.Took = *full, version, time.Now().UTC().Format("2006-01-02"), time.Since(began)
		b, err := json.MarshalIndent(s, "", "\t")
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, group+".json"), b, 0o644); err != nil {
			return err
		}
	}
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	head, rest, ok := strings.Cut(string(old), pageBegin)
	_, tail, ok2 := strings.Cut(rest, pageEnd)
	if !ok || !ok2 {
		return fmt.Errorf("%s has not both marks %q and %q", path, pageBegin, pageEnd)
	}
	text, err := render(dir)
	if err != nil {
		return err
	}
	return os.WriteFile(path, []byte(head+pageBegin+"\n"+text+"\n"+pageEnd+tail), 0o644)
}

// versionOf is the commit that was run, or that it was none.
func versionOf() (string, error) {
	return command("git", "describe", "--always", "--dirty", "--exclude", "*")
}

// render makes the page out of the groups' files.
func render(dir string) (string, error) {
	var summary, tables strings.Builder
	summary.WriteString("| group | rows | writes | sweeps | imager | run on |\n| --- | ---: | ---: | --- | --- | --- |\n")
	rows, writes := 0, 0
	for _, t := range titles {
		b, err := os.ReadFile(filepath.Join(dir, t.group+".json"))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return "", err
		}
		var s section
		if err := json.Unmarshal(b, &s); err != nil {
			return "", err
		}
		n := 0
		for _, r := range s.Rows {
			n += max(r.Count, 1)
		}
		sweeps := map[bool]string{true: "all", false: "samples"}[s.Full]
		fmt.Fprintf(&summary, "| [%s](#%s) | %d | %d | %s | %s | %s |\n", t.title, anchor(t.title), len(s.Rows), n, sweeps, s.Version, s.Date)
		rows, writes = rows+len(s.Rows), writes+n
		fmt.Fprintf(&tables, "\n## %s\n\n%s", t.title, s.table(t.group))
		if len(s.NotRun) > 0 {
			fmt.Fprintf(&tables, "\nNot run this time: %s.\n", strings.Join(s.NotRun, "; "))
		}
	}
	fmt.Fprintf(&summary, "| all | %d | %d | | | |\n", rows, writes)
	tools, err := toolVersions()
	if err != nil {
		return "", err
	}
	return summary.String() + "\n" + tools + tables.String(), nil
}

func anchor(title string) string { return strings.ReplaceAll(strings.ToLower(title), " ", "-") }

// table is a group's.
func (s *section) table(group string) string {
	var b strings.Builder
	compared := false
	for _, r := range s.Rows {
		compared = compared || r.Peers != nil
	}
	head := "| the fault | the answer | the disk afterwards | s |"
	rule := "| --- | --- | --- | ---: |"
	if group == mutants {
		head, rule = "| the defect | what the matrix saw | caught by | s |", "| --- | --- | --- | ---: |"
	}
	b.WriteString(head)
	if compared {
		for _, p := range peers {
			fmt.Fprintf(&b, " %s |", p.name)
			rule += " --- |"
		}
	}
	b.WriteString("\n" + rule + "\n")
	for _, r := range s.Rows {
		answer := r.Says
		if r.Status != 0 {
			answer = fmt.Sprintf("**%d** %s", r.Status, r.Says)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %.1f |", cell(r.Fault), cell(answer), cell(r.After), r.Took.Seconds())
		if compared {
			for _, p := range peers {
				fmt.Fprintf(&b, " %s |", cell(r.Peers[p.name]))
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

// cell makes text fit into a table.
func cell(s string) string {
	s = strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;").Replace(s)
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '\uFFFD'
		}
		return r
	}, s)
}
