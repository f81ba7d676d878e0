package bench

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/openseastack/netboot-imager/internal/disk"
	"github.com/openseastack/netboot-imager/internal/source"
)

// Part does one part of the imager's work alone, with the imager's own code, and writes
// to the file out how many seconds it took: "decode FILE" decodes to nowhere, "write
// FILE DEVICE" writes an image out of memory.
func Part(ctx context.Context, out string, args []string) error {
	var (
		took time.Duration
		err  error
	)
	switch {
	case len(args) == 2 && args[0] == "decode":
		took, err = decodeAlone(args[1])
	case len(args) == 3 && args[0] == "write":
		took, err = writeAlone(ctx, args[1], args[2])
	default:
		err = fmt.Errorf("unknown part %q", args)
	}
	if err != nil {
		return err
	}
	return os.WriteFile(out, fmt.Appendln(nil, took.Seconds()), 0o600)
}

func decodeAlone(path string) (time.Duration, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	start := time.Now()
	dec, err := source.Decode(f)
	if err != nil {
		return 0, err
	}
	defer dec.Close()
	buf := disk.AlignedBuffer(4 << 20)
	for {
		if _, err := dec.Read(buf); err == io.EOF {
			return time.Since(start), nil
		} else if err != nil {
			return 0, err
		}
	}
}

// writeAlone writes what is not zero, in blocks as large as the imager's and two at a
// time, and zeroes the rest.
func writeAlone(ctx context.Context, path, device string) (time.Duration, error) {
	const block = 4 << 20
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return 0, err
	}
	data, err := unix.Mmap(int(f.Fd()), 0, int(fi.Size()), unix.PROT_READ, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return 0, fmt.Errorf("map %s: %w", path, err)
	}
	defer unix.Munmap(data)
	nothing := make([]byte, 1<<20)
	type piece struct {
		off, end int
		zero     bool
	}
	var pieces []piece
	for off := 0; off < len(data); {
		end := min(off+len(nothing), len(data))
		zero := bytes.Equal(data[off:end], nothing[:end-off])
		if n := len(pieces); n > 0 && pieces[n-1].zero == zero && off%block != 0 {
			pieces[n-1].end = end
		} else {
			pieces = append(pieces, piece{off, end, zero})
		}
		off = end
	}

	d, err := disk.Host.Open(device, []string{device})
	if err != nil {
		return 0, err
	}
	defer d.Close()
	start := time.Now()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(2)
	for _, p := range pieces {
		g.Go(func() error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if p.zero {
				return d.Zero(int64(p.off), int64(p.end-p.off))
			}
			_, err := d.WriteAt(data[p.off:p.end], int64(p.off))
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return 0, err
	}
	if err := d.Sync(); err != nil {
		return 0, err
	}
	return time.Since(start), nil
}
