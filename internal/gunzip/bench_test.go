package gunzip

import (
	"bytes"
	"compress/gzip"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	kgzip "github.com/klauspost/compress/gzip"
	"github.com/klauspost/pgzip"
)

// Everything is decoded to blocks of this size, which is what a disk is written in.
const benchBlock = 4 << 20

// image returns what is on a system disk: the bytes of BENCH_IMAGE if that names
// a file, else 96 MiB of this system's own files, each from the start of a
// filesystem block, and a quarter as much of free space.
func image(b *testing.B) []byte {
	b.Helper()
	if name := os.Getenv("BENCH_IMAGE"); name != "" {
		data, err := os.ReadFile(name)
		if err != nil {
			b.Fatal(err)
		}
		return data
	}
	var img []byte
	for _, part := range []struct {
		dir string
		mib int
	}{{"/usr/bin", 32}, {"/usr/lib", 48}, {"/usr/share", 16}} {
		end := len(img) + part.mib<<20
		err := filepath.WalkDir(part.dir, func(path string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() {
				return nil
			}
			if len(img) >= end {
				return fs.SkipAll
			}
			data, err := os.ReadFile(path)
			if err != nil {
				return nil
			}
			img = append(img, data[:min(len(data), 4<<20)]...)
			img = append(img, make([]byte, -len(img)&4095)...)
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	return append(img, make([]byte, len(img)/4)...)
}

func pack(b *testing.B, img []byte, tool ...string) []byte {
	b.Helper()
	c := exec.Command(tool[0], tool[1:]...)
	c.Stdin, c.Stderr = bytes.NewReader(img), os.Stderr
	file, err := c.Output()
	if err != nil {
		b.Fatal(err)
	}
	return file
}

func own(concurrency int) func(io.Reader) (io.Reader, error) {
	return func(r io.Reader) (io.Reader, error) { return NewReader(r, Options{Concurrency: concurrency}) }
}

// A contender is a decoder to compare with others.
type contender struct {
	name string
	open func(io.Reader) (io.Reader, error)
}

var (
	ownSerial   = contender{"own", own(1)}
	ownParallel = contender{"own-parallel", own(0)}
	stdGzip     = contender{"compress/gzip", func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) }}
	klauspost   = contender{"klauspost", func(r io.Reader) (io.Reader, error) { return kgzip.NewReader(r) }}
	klauspostP  = contender{"pgzip", func(r io.Reader) (io.Reader, error) { return pgzip.NewReader(r) }}
)

// race decodes file with each contender in turn, as often as the benchmark asks,
// and reports the median speeds, and the medians of the times of the others
// divided by that of the first in the same round.
func race(b *testing.B, file []byte, size int, contenders ...contender) {
	b.Helper()
	buf := make([]byte, benchBlock)
	times := make([][]float64, len(contenders))
	for b.Loop() {
		for i, c := range contenders {
			start := time.Now()
			r, err := c.open(bytes.NewReader(file))
			if err != nil {
				b.Fatal(err)
			}
			n := 0
			for err == nil {
				var m int
				m, err = io.ReadFull(r, buf)
				n += m
			}
			if (err != io.EOF && err != io.ErrUnexpectedEOF) || n != size {
				b.Fatalf("%s: %d bytes of %d, %v", c.name, n, size, err)
			}
			times[i] = append(times[i], time.Since(start).Seconds())
		}
	}
	b.ReportMetric(0, "ns/op") // of all contenders together: says nothing
	for i, c := range contenders {
		ratios := make([]float64, len(times[i]))
		for round := range ratios {
			ratios[round] = times[i][round] / times[0][round]
		}
		b.ReportMetric(float64(size)/1e6/median(times[i]), c.name+"-MB/s")
		if i > 0 {
			b.ReportMetric(median(ratios), "x-"+c.name)
		}
	}
}

func median(x []float64) float64 {
	x = slices.Sorted(slices.Values(x))
	return x[len(x)/2]
}

// BenchmarkImage says how many times as fast as others this package is.
func BenchmarkImage(b *testing.B) {
	img := image(b)
	b.Run("gzip", func(b *testing.B) {
		race(b, pack(b, img, "gzip", "-6"), len(img), ownSerial, klauspostP, klauspost, stdGzip)
	})
	b.Run("BGZF", func(b *testing.B) {
		race(b, pack(b, img, "bgzip", "-c"), len(img), ownParallel, ownSerial, klauspost)
	})
}
