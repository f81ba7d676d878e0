package bench

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/openseastack/netboot-imager/internal/disk"
	"github.com/openseastack/netboot-imager/internal/source"
)

// Part does one part of the imager's work alone, with the imager's own code, and writes
// to the file out how many seconds it took, and how many CPU seconds the whole machine:
// "decode FILE" decodes to nowhere, "decode-by-one FILE" does so in one goroutine, "write
// FILE DEVICE" writes an image out of memory, "hash FILE…" makes digests.
func Part(ctx context.Context, out string, args []string) error {
	var (
		took spent
		err  error
	)
	switch {
	case len(args) == 2 && args[0] == "decode":
		took, err = decodeAlone(args[1])
	case len(args) == 2 && args[0] == "decode-by-one":
		runtime.GOMAXPROCS(1)
		took, err = decodeAlone(args[1])
	case len(args) > 1 && args[0] == "hash":
		took, err = hashAlone(args[1:])
	case len(args) == 3 && args[0] == "write":
		took, err = writeAlone(ctx, args[1], args[2])
	default:
		err = fmt.Errorf("unknown part %q", args)
	}
	if err != nil {
		return err
	}
	return os.WriteFile(out, fmt.Appendln(nil, took.seconds, took.busy), 0o600)
}

// spent is what a part took: wall seconds, and CPU seconds of the whole machine.
type spent struct{ seconds, busy float64 }

var none spent

// stopwatch returns a function that says what was spent since.
func stopwatch() func() spent {
	start, busy := time.Now(), busySeconds()
	return func() spent { return spent{time.Since(start).Seconds(), busySeconds() - busy} }
}

// mapped maps a file, all of it in memory.
func mapped(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	data, err := unix.Mmap(int(f.Fd()), 0, int(fi.Size()), unix.PROT_READ, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return nil, fmt.Errorf("map %s: %w", path, err)
	}
	return data, nil
}

// hashAlone makes the SHA-256 of each file.
func hashAlone(paths []string) (spent, error) {
	var all [][]byte
	for _, path := range paths {
		data, err := mapped(path)
		if err != nil {
			return none, err
		}
		defer unix.Munmap(data)
		all = append(all, data)
	}
	spent := stopwatch()
	for _, data := range all {
		sha256.Sum256(data)
	}
	return spent(), nil
}

func decodeAlone(path string) (spent, error) {
	f, err := os.Open(path)
	if err != nil {
		return none, err
	}
	defer f.Close()
	spent := stopwatch()
	dec, err := source.Decode(f)
	if err != nil {
		return none, err
	}
	defer dec.Close()
	buf := disk.AlignedBuffer(4 << 20)
	for {
		if _, err := dec.Read(buf); err == io.EOF {
			return spent(), nil
		} else if err != nil {
			return none, err
		}
	}
}

// writeAlone writes what is not zero, in blocks as large as the imager's and two at a
// time, and zeroes the rest.
func writeAlone(ctx context.Context, path, device string) (spent, error) {
	const block = 4 << 20
	data, err := mapped(path)
	if err != nil {
		return none, err
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
		return none, err
	}
	defer d.Close()
	spent := stopwatch()
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
		return none, err
	}
	if err := d.Sync(); err != nil {
		return none, err
	}
	return spent(), nil
}
