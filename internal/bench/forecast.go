package bench

import (
	"fmt"
	"slices"
	"strings"
)

// What the forecast is about: a Raspberry Pi 5 with an NVMe disk.
const (
	piCores   = 4
	nvmeWrite = 450e6 // bytes a second: what users report of a disk on one lane of PCIe 2.0
)

// inParallel are the formats whose blocks or members are decoded beside each other.
var inParallel = []string{"bgzip", "xz-T0"}

// A forecast is how many seconds each part of a write takes where each has a core of its
// own, and cores are like those that were measured.
type forecast struct {
	parts [4]float64 // in the order of forecastParts
	cpu   float64    // CPU seconds of everything
}

var forecastParts = [...]string{"network", "decompress", "SHA-256", "disk"}

// forecast computes it from the parts alone; ok says whether all were measured.
func (r *Results) forecast(c *CaseResult) (f forecast, ok bool) {
	rate, digest := 0.0, 0.0 // of the wire, bytes a second; of a whole image, seconds
	for _, w := range r.group("1gbit") {
		if s := w.first(Download); s.Seconds > 0 {
			rate = max(rate, float64(s.Fetched)/w.seconds(Download))
		}
	}
	for _, raw := range r.group("loop") {
		if raw.Format == "raw" {
			digest = raw.seconds(Hash)
		}
	}
	decode := c.seconds(Decode)
	if slices.Contains(inParallel, c.Format) {
		decode = c.busy(Decode) / piCores
	}
	f.parts = [...]float64{0, decode, digest, float64(r.Images[c.Image].Data) / nvmeWrite}
	if rate > 0 {
		f.parts[0] = float64(r.Images[c.Image].Sizes[c.Format]) / rate
	}
	f.cpu, _ = r.processor(c)
	return f, !slices.Contains(f.parts[:], 0) && f.cpu > 0
}

// slowest is the part that decides, for cores that are slower by a factor.
func (f forecast) slowest(factor float64) (name string, seconds float64) {
	for i, s := range f.parts {
		if forecastParts[i] == "decompress" || forecastParts[i] == "SHA-256" {
			s *= factor
		}
		if s > seconds {
			name, seconds = forecastParts[i], s
		}
	}
	if s := f.cpu / piCores * factor; s > seconds {
		return "all cores", s
	}
	return name, seconds
}

// headroom is how many times slower a core may be until it decides, not wire or disk.
func (f forecast) headroom() float64 {
	return max(f.parts[0], f.parts[3]) / max(f.parts[1], f.parts[2], f.cpu/piCores)
}

// forecasts is the table of what to expect of a Pi.
func (r *Results) forecasts(b *strings.Builder) {
	var rows strings.Builder
	for _, c := range r.group("loop") {
		f, ok := r.forecast(c)
		if !ok {
			continue
		}
		one, s := f.slowest(1)
		three, t := f.slowest(3)
		fmt.Fprintf(&rows, "| %s | %.1f | %.1f | %.1f | %.1f | %.1f | %s, %.1f s | %s, %.1f s | %.1f |\n", c.Format,
			f.parts[0], f.parts[1], f.parts[2], f.parts[3], f.cpu/piCores, one, s, three, t, f.headroom())
	}
	if rows.Len() == 0 {
		return
	}
	fmt.Fprintf(b, "\n### What to expect of four cores at 1 Gbit/s: arithmetic, not a measurement\n\n")
	fmt.Fprintf(b, "From the parts alone of the large image: its bytes at the measured speed of the wire; the decoder, on a core of its own, or the CPU seconds of it on all four where it works in parallel (%s); the image's SHA-256, on another core; its files at %.0f MB/s, which is what users report of a Pi 5's NVMe disk; and the CPU seconds of everything, on four cores. The slowest is how long a write takes, without reading back. It is named for cores as fast as this machine's and for cores three times slower; the last column says from which factor on the cores are what is slow.\n\n",
		strings.Join(inParallel, ", "), nvmeWrite/1e6)
	b.WriteString("| format | wire | decoder | SHA-256 | NVMe | CPU / 4 | slowest | with cores 3 × slower | cores slow from × |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n")
	b.WriteString(rows.String())
}
