package bench

import (
	"fmt"
	"strings"
)

// groupTitles are the headings of the groups.
var groupTitles = map[string]string{
	"loop":    "Loopback network, loop device over a file in RAM",
	"file":    "Loopback network, regular file on the machine's disk",
	"1gbit":   "Wire of 1 Gbit/s, loop device",
	"100mbit": "Wire of 100 Mbit/s, loop device",
	"card":    "Loopback network, medium of 40 MB/s writing and 90 MB/s reading",
}

// Markdown is the results as tables.
func (r *Results) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Machine: %s. Medians of the rounds that the tables say, everybody in turn.\n\n", r.Machine)
	for _, name := range []string{"large", "small"} {
		img, ok := r.Images[name]
		if !ok {
			continue
		}
		fmt.Fprintf(&b, "The %s image: %d MiB with %d MiB of files;", name, img.Logical>>20, img.Data>>20)
		for _, f := range Formats {
			if n := img.Sizes[f]; n > 0 {
				fmt.Fprintf(&b, " %s %.0f MB,", f, float64(n)/1e6)
			}
		}
		s := strings.TrimSuffix(b.String(), ",") + ".\n\n"
		b.Reset()
		b.WriteString(s)
	}
	r.targets(&b)
	r.forecasts(&b)
	for _, group := range Groups {
		cases := r.group(group)
		if len(cases) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n### %s\n\n", groupTitles[group])
		r.wall(&b, cases)
		r.stages(&b, cases)
		r.cost(&b, cases)
	}
	return b.String()
}

func (r *Results) group(name string) []*CaseResult {
	var cases []*CaseResult
	for i := range r.Cases {
		if r.Cases[i].Group == name {
			cases = append(cases, &r.Cases[i])
		}
	}
	return cases
}

// wall is the table of times.
func (r *Results) wall(b *strings.Builder, cases []*CaseResult) {
	b.WriteString("Seconds. ×: how many times the limit, or the peer's time, the imager took. CPU: what all parts and SHA-256 need of the processor, divided by its cores.\n\n")
	b.WriteString("| format | image, rounds | download, decode, write alone | CPU | imager | × limit | verified | again | peers: s (imager ×, verified ×) |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n")
	for _, c := range cases {
		name, limit := c.limit()
		alone := make([]string, len(limits))
		for i, part := range limits {
			alone[i] = fmt.Sprintf("%.2f", c.seconds(part))
			if part == name {
				alone[i] = "**" + alone[i] + "**"
			}
		}
		var peers []string
		for _, p := range c.peers() {
			s := c.seconds(p)
			peers = append(peers, fmt.Sprintf("`%s` %.1f (%.2f, %.2f)", p, s, c.seconds(Ours)/s, c.seconds(Verified)/s))
		}
		again := "–"
		if s := c.seconds(Reflash); s > 0 {
			again = fmt.Sprintf("%.2f", s)
		}
		processor := "–"
		if _, s := r.processor(c); s > 0 {
			processor = fmt.Sprintf("%.2f", s)
		}
		fmt.Fprintf(b, "| %s | %s, %d | %s | %s | %.2f | %.2f | %.2f | %s | %s |\n", c.Format, c.Image, c.rounds(), strings.Join(alone, ", "), processor,
			c.seconds(Ours), c.seconds(Ours)/limit, c.seconds(Verified), again, escape(strings.Join(peers, "; ")))
	}
}

// peers are the names of the others.
func (r *CaseResult) peers() []string {
	var names []string
	for _, name := range r.Order {
		switch name {
		case Download, Decode, Write, Hash, DecodeBy, Ours, Verified, Reflash:
		default:
			names = append(names, name)
		}
	}
	return names
}

// stages is the table of where the imager's time goes.
func (r *Results) stages(b *strings.Builder, cases []*CaseResult) {
	b.WriteString("\nThe imager's stages in seconds, as in its receipt, verified; how many of the cores were busy meanwhile, with whatever.\n\n")
	b.WriteString("| format | wipe | write | flush | read back | first MiB | bottleneck | busy cores |\n| --- | --- | --- | --- | --- | --- | --- | --- |\n")
	for _, c := range cases {
		p := c.phases(Verified)
		fmt.Fprintf(b, "| %s | %.2f | %.2f | %.2f | %.2f | %.2f | %s | %.1f |\n", c.Format, p.Wipe, p.Write, p.Sync, p.Verify, p.Finish, c.first(Verified).Bottleneck,
			c.busy(Verified)/max(c.seconds(Verified), 1e-9))
	}
}

// cost is the table of resources.
func (r *Results) cost(b *strings.Builder, cases []*CaseResult) {
	b.WriteString("\nCPU seconds (user and system, of its processes), peak RSS (of its largest process), bytes fetched, bytes given to the medium (zeroing not counted).\n\n")
	b.WriteString("| format | who | CPU s | RSS MiB | fetched MB | written MB |\n| --- | --- | --- | --- | --- | --- |\n")
	mega := func(n float64) string {
		if n < 0 {
			return "–"
		}
		return fmt.Sprintf("%.0f", n/1e6)
	}
	for _, c := range cases {
		for _, name := range c.Order {
			if name == Download {
				continue
			}
			fmt.Fprintf(b, "| %s | %s | %.1f | %.0f | %s | %s |\n", c.Format, escape("`"+name+"`"),
				c.median(name, func(s Sample) float64 { return s.CPU }),
				c.median(name, func(s Sample) float64 { return float64(s.RSS) / (1 << 20) }),
				mega(c.median(name, func(s Sample) float64 { return float64(s.Fetched) })),
				mega(c.median(name, func(s Sample) float64 { return float64(s.Written) })))
		}
	}
}

// escape makes pipes part of a cell.
func escape(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
