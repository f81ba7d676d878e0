package gunzip

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/openseastack/netboot-imager/internal/inflate"
)

// noLeaks fails if goroutines that a pool started are still there after the test.
func noLeaks(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		for range 100 {
			if runtime.NumGoroutine() <= before {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		buf := make([]byte, 64<<10)
		t.Errorf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
	})
}

// decodeWith is a Reader whose pool decodes with f.
func decodeWith(t *testing.T, file []byte, f func(d *inflate.Reader, dst, src []byte) ([]byte, error)) *Reader {
	z, err := NewReader(bytes.NewReader(file), Options{Concurrency: 4})
	if err != nil {
		t.Fatal(err)
	}
	z.pool = newPool(4)
	z.pool.decode = f
	return z
}

func TestPanicIsAnError(t *testing.T) {
	noLeaks(t)
	data := text(1 << 20)
	for _, which := range []int32{1, 7, 15} {
		for _, size := range []int{1000, 1 << 20, 4 << 20} {
			var calls atomic.Int32
			z := decodeWith(t, bgzf(data, 1), func(d *inflate.Reader, dst, src []byte) ([]byte, error) {
				if calls.Add(1) == which {
					panic("a bug")
				}
				return d.DecodeAll(dst, src)
			})
			got, err := readAll(z, size)
			var failed *PanicError
			if !errors.As(err, &failed) || failed.Value != "a bug" || !strings.Contains(err.Error(), "please report: a bug") {
				t.Errorf("Reads of %d: error %v", size, err)
			}
			if !bytes.HasPrefix(data, got) || len(got) == len(data) {
				t.Errorf("Reads of %d: %d bytes came out, and not the first ones", size, len(got))
			}
			// The goroutines must be gone without Close.
		}
	}
}

func readAll(z *Reader, size int) (out []byte, err error) {
	buf := make([]byte, size)
	for {
		n, err := z.Read(buf)
		out = append(out, buf[:n]...)
		if err != nil {
			return out, err
		}
	}
}

// Of several failures the one that comes first in the file is told, whichever
// goroutine is the first to find one, and what is before it comes out.
func TestFirstFailureWins(t *testing.T) {
	noLeaks(t)
	data := text(15 * 0xff00)
	file := bgzf(data, 1)
	for range 10 {
		var calls atomic.Int32
		z := decodeWith(t, file, func(d *inflate.Reader, dst, src []byte) ([]byte, error) {
			n := calls.Add(1)
			if n > 3 {
				if n == 4 {
					time.Sleep(time.Millisecond)
				}
				return nil, &inflate.CorruptError{Offset: 1, Reason: "made up"}
			}
			return d.DecodeAll(dst, src)
		})
		got, err := readAll(z, 4<<20)
		var corrupt *inflate.CorruptError
		if !errors.As(err, &corrupt) || !bytes.Equal(got, data[:len(got)]) || len(got)%0xff00 != 0 || len(got) > 4*0xff00 {
			t.Fatalf("%d bytes, error %v", len(got), err)
		}
	}
}

func TestCloseEndsGoroutines(t *testing.T) {
	noLeaks(t)
	file := bgzf(text(1<<20), 1)
	for _, n := range []int{0, 1, 100, 70000, 1 << 19} {
		z, err := NewReader(bytes.NewReader(file), Options{Concurrency: 4})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := z.Read(make([]byte, n)); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
	}
	broken := errors.New("the wire broke")
	for n := 100; n < len(file); n += len(file) / 20 {
		r := io.MultiReader(bytes.NewReader(file[:n]), iotest.ErrReader(broken))
		z, err := NewReader(r, Options{Concurrency: 4})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := readAll(z, 1<<20); err != broken {
			t.Fatal(err)
		}
	}
}

// TestInputOffsetMeanwhile asks for the offset from other goroutines meanwhile; the race
// detector judges.
func TestInputOffsetMeanwhile(t *testing.T) {
	file := bgzf(text(1<<20), 1)
	for _, opt := range modes {
		z, err := NewReader(iotest.HalfReader(bytes.NewReader(file)), opt)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan bool)
		go func() {
			defer close(done)
			for z.InputOffset() < int64(len(file)) {
				runtime.Gosched()
			}
		}()
		if _, err := readAll(z, 1<<20); err != io.EOF {
			t.Fatal(err)
		}
		<-done
	}
}

// endless repeats a member, or the inside of a stream, n times between head and
// tail.
type endless struct {
	b    []byte
	n    int
	left []byte
}

func (e *endless) Read(p []byte) (int, error) {
	if len(e.left) == 0 {
		if e.n == 0 {
			return 0, io.EOF
		}
		e.n--
		e.left = e.b
	}
	n := copy(p, e.left)
	e.left = e.left[n:]
	return n, nil
}

// In the steady state nothing is allocated, neither per Read nor per member.
func TestNoAllocations(t *testing.T) {
	sized := memberSpec{data: text(0xff00), level: 6, bgzf: true}.bytes()
	plain := memberSpec{data: text(1 << 20), level: 6}.bytes()
	for name, member := range map[string][]byte{"BGZF": sized, "plain": plain} {
		for _, size := range []int{8 << 10, 1 << 20} {
			for _, opt := range modes[:3] {
				z, err := NewReader(&endless{b: member, n: 1 << 30}, opt)
				if err != nil {
					t.Fatal(err)
				}
				buf := make([]byte, size)
				read := func() {
					if _, err := z.Read(buf); err != nil {
						t.Error(err)
					}
				}
				for range 2 + (1<<20)/size {
					read()
				}
				if n := testing.AllocsPerRun(5, read); n > 0 {
					t.Errorf("%s, %+v, Reads of %d: %.1f allocations per Read", name, opt, size, n)
				}
				z.Close()
			}
		}
	}
}

// What a Reader allocates stays below MaxMemory, however many goroutines are
// asked for and whatever the file says of itself.
func TestMaxMemory(t *testing.T) {
	huge := memberSpec{data: make([]byte, 8<<20), level: 9, bgzf: true}.bytes()
	file := join(bgzf(text(1<<20), 1), huge[:min(len(huge), 1<<20)])
	for _, limit := range []int64{512 << 10, 2 << 20, 4 << 20, 0} {
		want := limit
		if limit == 0 {
			want = DefaultMaxMemory
		}
		for _, size := range []int{1000, 1 << 20} {
			buf := make([]byte, size)
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			z, err := NewReader(bytes.NewReader(file), Options{Concurrency: 1000, MaxMemory: limit})
			if err != nil {
				t.Fatal(err)
			}
			for err == nil {
				_, err = z.Read(buf)
			}
			runtime.ReadMemStats(&after)
			if got := int64(after.TotalAlloc - before.TotalAlloc); got > want {
				t.Errorf("MaxMemory %d, Reads of %d: %d bytes were allocated", limit, size, got)
			}
			z.Close()
		}
	}
}
