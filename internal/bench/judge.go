package bench

import (
	"fmt"
	"math"

	"github.com/openseastack/netboot-imager/internal/flash"
)

// verdict is a target with what was measured: a ratio, or MiB.
type verdict struct {
	what      string
	got, most float64
}

// judge compares the results with what was aimed at.
func (r *Results) judge() []verdict {
	var all []verdict
	ratio := func(c *CaseResult, name, peer string, most float64) {
		if a, b := c.seconds(name), c.seconds(peer); a > 0 && b > 0 {
			all = append(all, verdict{escape(fmt.Sprintf("%s, %s: %s / `%s`", c.Group, c.Format, name, peer)), a / b, most})
		}
	}
	for _, c := range r.group("loop") {
		switch c.Format {
		case "gzip", "pigz":
			ratio(c, Ours, "curl | gunzip | dd", 0.25)
			ratio(c, Verified, "curl | gunzip | dd", 0.35)
			ratio(c, Ours, "bmaptool with a bmap", 0.5)
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
		all = append(all, verdict{fmt.Sprintf("%s, %s: %s / the limit, %s", c.Group, c.Format, Ours, name), c.seconds(Ours) / limit, most})
	}
	peak := 0.0
	for i := range r.Cases {
		for _, name := range []string{Ours, Verified, Reflash} {
			for _, s := range r.Cases[i].Samples[name] {
				peak = math.Max(peak, float64(s.RSS)/(1<<20))
			}
		}
	}
	return append(all, verdict{"peak RSS of the imager in all runs, MiB,", peak, 192})
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
