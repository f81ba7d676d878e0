package unxz

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// goroutines fails the test if it ends with more goroutines than it has now.
func goroutines(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		for deadline := time.Now().Add(10 * time.Second); ; {
			if runtime.NumGoroutine() <= before {
				return
			}
			if time.Now().After(deadline) {
				stacks := make([]byte, 1<<20)
				t.Fatalf("goroutines leak:\n%s", stacks[:runtime.Stack(stacks, true)])
			}
			runtime.Gosched()
		}
	})
}

func TestParallelMemory(t *testing.T) {
	goroutines(t)
	want := sample(t, 2<<20)
	file := compress(t, want, "-T2", "--block-size=250000", "--lzma2=preset=1,dict=256KiB")
	for _, limit := range []int64{256 << 10, 1 << 20, 2 << 20, 100 << 20} {
		for _, concurrency := range []int{1, 2, 8} {
			z, err := NewReader(bytes.NewReader(file), Options{Concurrency: concurrency, MaxMemory: limit})
			if err != nil {
				t.Fatal(err)
			}
			var got bytes.Buffer
			if _, err := got.ReadFrom(z); err != nil || !bytes.Equal(got.Bytes(), want) {
				t.Errorf("limit %d, concurrency %d: %d bytes, %v", limit, concurrency, got.Len(), err)
			}
			// A single dictionary with its pieces may be more.
			if most := max(limit, 256<<10+5*pieceSize); z.memory.total > most {
				t.Errorf("limit %d, concurrency %d: %d bytes of buffers", limit, concurrency, z.memory.total)
			}
			z.Close()
		}
	}
}

// Blocks that say how long they are and blocks that do not, in one file.
func TestMixedBlocks(t *testing.T) {
	goroutines(t)
	parts := []string{"-T2 --block-size=30000", "-T1", "-T2 --block-size=1000 --check=none", "-T1 --block-size=20000", "-T2 --x86"}
	var file, want []byte
	for i := range 20 {
		data := sample(t, 100_000)[i*1000:]
		want = append(want, data...)
		file = append(file, compress(t, data, strings.Fields(parts[i%len(parts)]+" --lzma2=dict=64KiB")...)...)
	}
	for _, opt := range both {
		if got, err := decompress(file, opt); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%+v: %d bytes, %v", opt, len(got), err)
		}
	}
}

// An error in one block must not keep back the blocks before it, and must stay.
func TestErrorInBlock(t *testing.T) {
	goroutines(t)
	want := sample(t, 400_000)
	file := compress(t, want, "-T2", "--block-size=50000")
	bad := bytes.Clone(file)
	bad[len(bad)*3/4] ^= 4
	for _, opt := range both {
		z, err := NewReader(bytes.NewReader(bad), opt)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(z)
		if len(got) < 100_000 || !bytes.Equal(got[:100_000], want[:100_000]) {
			t.Errorf("%+v: only %d bytes before the error", opt, len(got))
		}
		var corrupt *CorruptError
		if !errors.As(err, &corrupt) {
			t.Errorf("%+v: %v", opt, err)
		}
		for range 3 {
			if n, again := z.Read(make([]byte, 10)); n != 0 || again != err {
				t.Errorf("%+v: then %d, %v", opt, n, again)
			}
		}
		z.Close()
	}
}

func TestSourceFails(t *testing.T) {
	goroutines(t)
	file := compress(t, sample(t, 400_000), "-T2", "--block-size=50000")
	failure := errors.New("the server is gone")
	for _, opt := range both {
		for _, n := range []int{13, 40, 1000, len(file) / 2, len(file) - 1, len(file)} {
			src := io.MultiReader(bytes.NewReader(file[:n]), iotest.ErrReader(failure))
			z, err := NewReader(src, opt)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, z); err != failure {
				t.Errorf("%+v: after %d bytes: %v", opt, n, err)
			}
			z.Close()
		}
	}
}

type panics struct{}

func (panics) Read([]byte) (int, error) { panic("deliberately") }

func TestPanics(t *testing.T) {
	goroutines(t)
	file := compress(t, sample(t, 100_000), "-T2", "--block-size=50000")
	for _, opt := range both {
		z, err := NewReader(io.MultiReader(bytes.NewReader(file[:len(file)/2]), panics{}), opt)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, z); err == nil || !strings.Contains(err.Error(), "deliberately") {
			t.Errorf("%+v: a panic in the source: %v", opt, err)
		}
		z.Close()
	}
	// A decoder that panics, here because it is none.
	z := &Reader{}
	z.cond.L = &z.mu
	j := &job{z: z}
	if _, _, err := j.run(nil, nil); err == nil || j.err != err || !j.done {
		t.Errorf("a panic in a decoder: %v", err)
	}
}

func TestClose(t *testing.T) {
	goroutines(t)
	file := compress(t, sample(t, 4<<20), "-1", "-T2", "--block-size=300000")
	for _, opt := range []Options{{Concurrency: 1}, {Concurrency: 4}, {Concurrency: 4, MaxMemory: 2 << 20}} {
		for _, n := range []int{0, 1, 200_000, 2_000_000} {
			z, err := NewReader(bytes.NewReader(file), opt)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(z, make([]byte, n)); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := z.Close(); err != nil {
					t.Error(err)
				}
			}
			if n, err := z.Read(make([]byte, 1)); n != 0 || err != ErrClosed {
				t.Errorf("Read after Close: %d, %v", n, err)
			}
		}
	}
}

// Close ends a Read that waits, though not one of the source.
func TestCloseDuringRead(t *testing.T) {
	goroutines(t)
	file := compress(t, sample(t, 100_000), "-1")
	pr, pw := io.Pipe()
	go pw.Write(file[:len(file)/2])
	z, err := NewReader(pr, Options{})
	if err != nil {
		t.Fatal(err)
	}
	result := make(chan error)
	go func() {
		_, err := io.Copy(io.Discard, z)
		result <- err
	}()
	for z.InputOffset() < int64(len(file)/2) {
		runtime.Gosched()
	}
	closed := make(chan struct{})
	go func() { z.Close(); close(closed) }()
	if err := <-result; err != ErrClosed {
		t.Errorf("Read: %v", err)
	}
	pw.Close()
	<-closed
}

// Blocks after the first few cost no allocations.
func TestAllocations(t *testing.T) {
	data := sample(t, 1<<20)
	for _, args := range []string{"-T1 --block-size=20000", "-T2 --block-size=20000"} {
		allocs := func(n int) float64 {
			file := compress(t, data[:n], strings.Fields(args+" --lzma2=preset=0,dict=64KiB")...)
			return testing.AllocsPerRun(3, func() {
				z, err := NewReader(bytes.NewReader(file), Options{Concurrency: 2})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := io.Copy(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{z}); err != nil {
					t.Fatal(err)
				}
				z.Close()
			})
		}
		few, many := allocs(200_000), allocs(1<<20)
		t.Logf("%s: %.0f allocations for 10 blocks, %.0f for 53", args, few, many)
		if many > few+20 {
			t.Errorf("%s: %.0f allocations for 10 blocks, %.0f for 53", args, few, many)
		}
	}
}
