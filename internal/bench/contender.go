package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// Names of what is measured besides the peers.
const (
	Ours     = "imager, not verified"
	Verified = "imager, verified"
	Reflash  = "imager, the same image again, verified"
	Download = "download alone"
	Decode   = "decode alone"
	Write    = "write alone"
	Hash     = "SHA-256 alone"
	DecodeBy = "decode alone, one goroutine"
)

// limits are the parts alone; the slowest is the limit.
var limits = []string{Download, Decode, Write}

// contender is one way to get an image onto a target.
type contender struct {
	name string
	run  func(ctx context.Context, c *Case) (Sample, error)
}

// decoders are the pipes of the peers by format, the one that targets are set against first.
var decoders = map[string][]string{
	"raw":   {""},
	"gzip":  {"gunzip", "pigz -d"},
	"pigz":  {"gunzip", "pigz -d"},
	"bgzip": {"gunzip", "bgzip -dc -@2"},
	"xz":    {"xz -dc"},
	"xz-T0": {"xz -dc -T0"},
	"zstd":  {"zstd -dc"},
}

// bmapped are the formats that bmaptool is measured with.
var bmapped = []string{"raw", "gzip", "xz-T0", "zstd"}

// peers are the contenders of others for a format.
func (e *env) peers(format string) []contender {
	var all []contender
	for _, decoder := range decoders[format] {
		pipe := ""
		if decoder != "" {
			pipe = " | " + decoder
		}
		all = append(all, contender{"curl" + pipe + " | dd", func(ctx context.Context, c *Case) (Sample, error) {
			// As the service that this one replaces did it.
			return timed(ctx, c.place.where, "bash", "-c", "set -o pipefail; curl -sf '"+c.url()+"'"+pipe+
				" | dd of="+c.target.path+" bs=4M conv=fsync,notrunc status=none")
		}})
	}
	if slices.Contains(bmapped, format) {
		for _, bmap := range []bool{true, false} {
			name, args := "bmaptool", []string{"bmaptool", "-q", "copy", "--nobmap"}
			if bmap {
				name = "bmaptool with a bmap"
			}
			if !bmap && format == "xz-T0" {
				continue // xz is what takes the time; the others show what a bmap saves
			}
			all = append(all, contender{name, func(ctx context.Context, c *Case) (Sample, error) {
				if bmap {
					args = []string{"bmaptool", "-q", "copy", "--bmap", c.image.Bmap()}
				}
				return timed(ctx, c.place.where, append(slices.Clone(args), c.url(), c.target.path)...)
			}})
		}
	}
	return all
}

// ours is the imager.
func (e *env) ours(name string) contender {
	return contender{name, func(ctx context.Context, c *Case) (s Sample, err error) {
		m, err := startImager(ctx, e.imager, e.dir, c.place.where, c.target)
		if err != nil {
			return s, err
		}
		s, err = m.write(ctx, c.url(), c.target.path, name != Ours)
		if e := m.stop(&s); err == nil {
			err = e
		}
		return s, err
	}}
}

// alone are the parts of the work. What is not among the limits is measured where the
// processor may be what is slow.
func (e *env) alone(c *Case) []contender {
	self, err := os.Executable()
	if err != nil {
		self = os.Args[0]
	}
	all := []contender{
		{Download, func(ctx context.Context, c *Case) (Sample, error) {
			return timed(ctx, c.place.where, "curl", "-sf", "-o", "/dev/null", c.url())
		}},
		{Decode, func(ctx context.Context, c *Case) (Sample, error) {
			return part(ctx, self, "decode", c.image.Path(c.Format))
		}},
		{Write, func(ctx context.Context, c *Case) (Sample, error) {
			return part(ctx, self, "write", c.image.Path("raw"), c.target.path)
		}},
	}
	if c.Group == "loop" || c.Group == "file" {
		all = append(all, contender{Hash, func(ctx context.Context, c *Case) (Sample, error) {
			files := []string{c.image.Path("raw")}
			if c.Format != "raw" { // else the image's digest is the download's
				files = append(files, c.image.Path(c.Format))
			}
			return part(ctx, self, append([]string{"hash"}, files...)...)
		}})
	}
	if c.Group == "loop" && c.Format == "bgzip" {
		all = append(all, contender{DecodeBy, func(ctx context.Context, c *Case) (Sample, error) {
			return part(ctx, self, "decode-by-one", c.image.Path(c.Format))
		}})
	}
	return all
}

// part runs a part of the imager alone, in a process of its own that says how long it took.
func part(ctx context.Context, self string, args ...string) (Sample, error) {
	out, err := os.CreateTemp("", "netboot-imager-bench-")
	if err != nil {
		return Sample{}, err
	}
	defer os.Remove(out.Name())
	defer out.Close()
	s, err := timed(ctx, here, append([]string{self, "-part", out.Name()}, args...)...)
	if err != nil {
		return s, err
	}
	b, err := os.ReadFile(out.Name())
	if err != nil {
		return s, err
	}
	if _, err := fmt.Sscan(string(b), &s.Seconds, &s.Busy); err != nil {
		return s, fmt.Errorf("%s said %q: %w", filepath.Base(self), b, err)
	}
	return s, nil
}
