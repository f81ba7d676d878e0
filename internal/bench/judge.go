package bench

import (
	"fmt"
	"math"
	"strings"

	"github.com/openseastack/netboot-imager/internal/flash"
)

// verdict is a target with what was measured: a ratio, or MiB.
type verdict struct {
	what      string
	got, most float64
	note      string // what explains a miss; "" if nothing does
}

// targets is the table of the verdicts.
func (r *Results) targets(b *strings.Builder) {
	all, reached := r.judge(), 0
	for _, t := range all {
		if t.got <= t.most {
			reached++
		}
	}
	fmt.Fprintf(b, "### Targets\n\n%d of %d are reached.\n\n| target | measured | |\n| --- | --- | --- |\n", reached, len(all))
	for _, t := range all {
		text := "reached"
		if t.got > t.most {
			text = "**missed**" + t.note
		}
		fmt.Fprintf(b, "| %s ≤ %.2f | %.2f | %s |\n", t.what, t.most, t.got, text)
	}
}

// processor is how many CPU seconds the parts and SHA-256 take alone, of the whole
// machine, and how long that is if all cores share it; 0 if it was not measured. A write
// that does all of that cannot be much faster, however long each part alone takes.
func (r *Results) processor(c *CaseResult) (cpu, seconds float64) {
	if r.Cores == 0 || c.seconds(Hash) == 0 {
		return 0, 0
	}
	for _, part := range append([]string{Hash}, limits...) {
		cpu += c.busy(part)
	}
	return cpu, cpu / float64(r.Cores)
}

// judge compares the results with what was aimed at.
func (r *Results) judge() []verdict {
	var all []verdict
	ratio := func(c *CaseResult, name, peer string, most float64) {
		if a, b := c.seconds(name), c.seconds(peer); a > 0 && b > 0 {
			all = append(all, verdict{what: escape(fmt.Sprintf("%s, %s: %s / `%s`", c.Group, c.Format, name, peer)), got: a / b, most: most})
		}
	}
	for _, c := range r.group("loop") {
		switch c.Format {
		case "gzip", "pigz":
			ratio(c, Ours, "curl | gunzip | dd", 0.25)
			ratio(c, Verified, "curl | gunzip | dd", 0.35)
			ratio(c, Ours, "bmaptool with a bmap", 0.5)
		case "bgzip":
			ratio(c, Decode, DecodeBy, 1/1.7)
		case "xz":
			ratio(c, Ours, "curl | xz -dc | dd", 1)
		case "xz-T0":
			ratio(c, Ours, "curl | xz -dc -T0 | dd", 1)
		case "zstd":
			ratio(c, Ours, "curl | zstd -dc | dd", 0.5)
			ratio(c, Verified, "curl | zstd -dc | dd", 0.75)
		}
	}
	for i := range r.Cases {
		c := &r.Cases[i]
		most := 1.10
		switch c.Group {
		case "1gbit", "100mbit", "card":
			most = 1.03
		}
		name, limit := c.limit()
		if most < 1.10 && name == Decode {
			most = 1.10 // neither wire nor medium is what is slow
		}
		v := verdict{what: fmt.Sprintf("%s, %s: %s / the limit, %s", c.Group, c.Format, Ours, name), got: c.seconds(Ours) / limit, most: most}
		if cpu, s := r.processor(c); s > limit {
			v.note = fmt.Sprintf("; bottleneck: CPU. The parts and SHA-256 alone take %.1f CPU seconds, on %d cores %.2f s or %.2f × the limit; the imager took %.2f × that", cpu, r.Cores, s, s/limit, c.seconds(Ours)/s)
		}
		all = append(all, v)
	}
	peak := 0.0
	for i := range r.Cases {
		for _, name := range []string{Ours, Verified, Reflash} {
			for _, s := range r.Cases[i].Samples[name] {
				peak = math.Max(peak, float64(s.RSS)/(1<<20))
			}
		}
	}
	return append(all, verdict{what: "peak RSS of the imager in all runs, MiB,", got: peak, most: 192})
}

// phases are the medians of the imager's stages.
func (r *CaseResult) phases(name string) flash.Phases {
	pick := func(f func(p *flash.Phases) float64) float64 {
		return r.median(name, func(s Sample) float64 {
			if s.Phases == nil {
				return 0
			}
			return f(s.Phases)
		})
	}
	return flash.Phases{
		Wipe:   pick(func(p *flash.Phases) float64 { return p.Wipe }),
		Write:  pick(func(p *flash.Phases) float64 { return p.Write }),
		Sync:   pick(func(p *flash.Phases) float64 { return p.Sync }),
		Verify: pick(func(p *flash.Phases) float64 { return p.Verify }),
		Finish: pick(func(p *flash.Phases) float64 { return p.Finish }),
	}
}
