package inflate

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"
)

// However the source cuts the stream up, and whenever it tells of its end.
func TestSources(t *testing.T) {
	data := text(40000)
	for how, source := range map[string]func(io.Reader) io.Reader{
		"as it is":          func(r io.Reader) io.Reader { return r },
		"one byte":          iotest.OneByteReader,
		"half":              iotest.HalfReader,
		"error with data":   iotest.DataErrReader,
		"one byte, error":   func(r io.Reader) io.Reader { return iotest.DataErrReader(iotest.OneByteReader(r)) },
		"sometimes nothing": func(r io.Reader) io.Reader { return &stutter{r: r} },
	} {
		for _, level := range []int{-2, 0, 1, 6, 9} {
			for _, size := range []int{1, 1000, 1 << 18} {
				d := NewReader(source(bytes.NewReader(deflate(data, level))))
				got, err := readSizes(d, size, 0, len(data))
				if err != io.EOF || !bytes.Equal(got, data) {
					t.Errorf("%s, level %d, Reads of %d: %d bytes, %v", how, level, size, len(got), err)
				}
			}
		}
	}
	if err := iotest.TestReader(NewReader(bytes.NewReader(deflate(data, 6))), data); err != nil {
		t.Error(err)
	}
}

// A stutter returns (0, nil) every other time.
type stutter struct {
	r io.Reader
	n int
}

func (s *stutter) Read(p []byte) (int, error) {
	if s.n++; s.n%2 == 1 {
		return 0, nil
	}
	return s.r.Read(p[:min(len(p), 777)])
}

// What the source fails with comes through unchanged after all that could be
// decoded, and again and again.
func TestSourceErrors(t *testing.T) {
	broken := errors.New("the wire broke")
	data := text(5000)
	buf := make([]byte, 2*len(data))
	for _, level := range []int{-2, 0, 6} {
		s := deflate(data, level)
		before := 0
		for n := range len(s) {
			d := NewReader(io.MultiReader(bytes.NewReader(s[:n]), iotest.ErrReader(broken)))
			m, err := io.ReadFull(d, buf)
			if err != broken || !bytes.HasPrefix(data, buf[:m]) || m < before {
				t.Fatalf("level %d, broken after %d bytes: %d bytes decoded (%d with a byte less), error %v", level, n, m, before, err)
			}
			before = m
			if _, err := d.Read(buf); err != broken {
				t.Fatalf("level %d: the error became %v", level, err)
			}
		}
		if before < len(data)-300 {
			t.Errorf("level %d: only %d bytes decoded of a stream that lacks one", level, before)
		}
	}

	d := NewReader(iotest.TimeoutReader(iotest.OneByteReader(bytes.NewReader(deflate(data, 6)))))
	for range 2 {
		if _, err := d.Read(buf); err != iotest.ErrTimeout {
			t.Errorf("error %v, want the timeout to stay", err)
		}
	}
	if _, err := NewReader(never{}).Read(buf); err != io.ErrNoProgress {
		t.Errorf("error %v, want io.ErrNoProgress", err)
	}
}

type never struct{}

func (never) Read([]byte) (int, error) { return 0, nil }

// The source is not asked for more than the stream has: it may be a connection
// on which nothing more comes.
func TestNoReadPastEnd(t *testing.T) {
	for _, s := range streams() {
		if !s.ok || s.name == "bytes behind the end" {
			continue
		}
		r := &exact{t: t, b: s.data}
		if _, err := io.Copy(io.Discard, NewReader(r)); err != nil {
			t.Errorf("%s: %v", s.name, err)
		}
	}
}

// exact gives a byte at a time and fails the test if it is asked for another.
type exact struct {
	t *testing.T
	b []byte
}

func (e *exact) Read(p []byte) (int, error) {
	if len(e.b) == 0 {
		e.t.Error("read past the end of the stream")
		return 0, io.EOF
	}
	p[0] = e.b[0]
	e.b = e.b[1:]
	return 1, nil
}

// The bytes behind a stream are there for whoever comes next, and a Reader can be
// used again.
func TestStreamsInARow(t *testing.T) {
	var file []byte
	for i := range 20 {
		file = append(file, deflate(text(1000*i), i%10)...)
		file = append(file, "between"...)
	}
	for _, source := range []func(io.Reader) io.Reader{iotest.OneByteReader, iotest.HalfReader, func(r io.Reader) io.Reader { return r }} {
		in := NewInput(source(bytes.NewReader(file)))
		d := NewReader(in)
		for i := range 20 {
			d.Reset(in)
			got, err := io.ReadAll(d)
			if err != nil || !bytes.Equal(got, text(1000*i)) {
				t.Fatalf("stream %d: %d bytes, %v", i, len(got), err)
			}
			var b [7]byte
			if _, err := io.ReadFull(in, b[:]); err != nil || string(b[:]) != "between" {
				t.Fatalf("after stream %d: %q, %v", i, b, err)
			}
		}
		if in.Offset() != int64(len(file)) {
			t.Errorf("at %d, want %d", in.Offset(), len(file))
		}
	}
}

func TestNoAllocations(t *testing.T) {
	s := deflate(text(1<<20), 6)
	d := NewReader(bytes.NewReader(nil))
	src := bytes.NewReader(s)
	buf := make([]byte, 256<<10)
	one := func() {
		src.Reset(s)
		d.Reset(src)
		for {
			if _, err := d.Read(buf); err == io.EOF {
				return
			} else if err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := testing.AllocsPerRun(3, one); n > 0 {
		t.Errorf("%.1f allocations per stream", n)
	}
	dst := make([]byte, 1<<20)
	if n := testing.AllocsPerRun(3, func() {
		if _, err := d.DecodeAll(dst, s); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%.1f allocations per DecodeAll", n)
	}
}
