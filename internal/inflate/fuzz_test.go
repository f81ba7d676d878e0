package inflate

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"testing"
)

// chunked gives its bytes out in pieces of the sizes that step makes.
type chunked struct {
	b    []byte
	step uint32
}

func (c *chunked) Read(p []byte) (int, error) {
	if len(c.b) == 0 {
		return 0, io.EOF
	}
	n := len(p)
	if c.step != 0 {
		c.step = c.step*1664525 + 1013904223
		n = min(n, 1+int(c.step>>16)%(1+int(c.step>>24)))
	}
	n = copy(p[:n], c.b)
	c.b = c.b[n:]
	return n, nil
}

// readSizes reads to the end with buffers whose sizes step makes, and checks that
// nothing is written behind them.
func readSizes(r io.Reader, size int, step uint32, limit int) (out []byte, err error) {
	return readInto(nil, make([]byte, size+guardSize), r, step, limit)
}

const guardSize = 64

// readInto is readSizes with a buffer, of which guardSize bytes are the guard,
// and with something to append to.
func readInto(out, buf []byte, r io.Reader, step uint32, limit int) ([]byte, error) {
	size := len(buf) - guardSize
	for len(out) <= limit {
		n := size
		if step != 0 {
			step = step*1664525 + 1013904223
			n = 1 + int(step>>8)%size
		}
		guard := buf[n : n+guardSize]
		for i := range guard {
			guard[i] = 0xa5
		}
		m, err := r.Read(buf[:n:n])
		for _, b := range guard {
			if b != 0xa5 {
				panic("wrote behind the buffer")
			}
		}
		out = append(out, buf[:m]...)
		if err != nil {
			return out, err
		}
	}
	return out, errLimit
}

var errLimit = errors.New("more output than the test wants")

// A comparer decodes with the standard library and with a Reader. It is used again
// and again, so that fuzzing spends its time on decoding, and Reset is tested.
type comparer struct {
	std            io.ReadCloser
	own            *Reader
	in             *Input
	want, got, dst []byte
	buf            []byte
}

func newComparer() *comparer {
	in := NewInput(bytes.NewReader(nil))
	return &comparer{
		std: flate.NewReader(bytes.NewReader(nil)),
		own: NewReader(in), in: in,
		buf: make([]byte, 1<<20+guardSize),
	}
}

// compare decodes data with both and fails unless both give the same bytes and
// both end or both fail. Of a stream that fails the one's output must begin the
// other's; compress/flate may hold back the last few symbols of a truncated one.
func (c *comparer) compare(t *testing.T, data []byte, inStep, outStep uint32, size int) {
	t.Helper()
	const limit = 1 << 20
	src := bytes.NewReader(data)
	c.std.(flate.Resetter).Reset(src, nil)
	want, wantErr := readInto(c.want[:0], c.buf[:64<<10+guardSize], c.std, 0, limit)
	c.in.Reset(&chunked{data, inStep})
	c.own.Reset(c.in)
	got, err := readInto(c.got[:0], c.buf[:size+guardSize], c.own, outStep, limit)
	c.want, c.got = want, got
	where := func() string { return fmt.Sprintf("input chunks %d, output of %d/%d", inStep, size, outStep) }

	if err == errLimit || wantErr == errLimit {
		n := min(len(got), len(want))
		if !bytes.Equal(got[:n], want[:n]) || n < limit {
			t.Fatalf("%s: the output differs, or one has %d bytes and the other %d", where(), len(got), len(want))
		}
		return
	}
	if (err == io.EOF) != (wantErr == io.EOF) {
		t.Fatalf("%s: error %v, compress/flate has %v", where(), err, wantErr)
	}
	if !bytes.HasPrefix(got, want) || err == io.EOF && len(got) != len(want) {
		t.Fatalf("%s: the output differs (%d bytes, compress/flate has %d)", where(), len(got), len(want))
	}
	var corrupt *CorruptError
	switch {
	case err == io.EOF:
		if used := int64(len(data) - src.Len()); c.own.InputOffset() != used {
			t.Fatalf("%s: used %d bytes, compress/flate %d", where(), c.own.InputOffset(), used)
		}
		rest, err := io.ReadAll(c.in)
		if err != nil || !bytes.Equal(rest, data[len(data)-src.Len():]) {
			t.Fatalf("%s: the bytes after the stream are not those (%v)", where(), err)
		}
	case err == io.ErrUnexpectedEOF:
	case !errors.As(err, &corrupt):
		t.Fatalf("%s: error of another kind: %v", where(), err)
	case corrupt.Offset < 0 || corrupt.Offset > int64(len(data)):
		t.Fatalf("%s: error at byte %d of %d", where(), corrupt.Offset, len(data))
	}

	// The same in memory.
	c.dst = append(c.dst[:0], got...)
	clear(c.dst)
	rest, allErr := c.own.DecodeAll(c.dst, data)
	if (allErr == nil) != (err == io.EOF) {
		t.Fatalf("DecodeAll has error %v, Read %v", allErr, err)
	}
	if !bytes.Equal(c.dst, got) || allErr == nil && len(rest) != src.Len() {
		t.Fatal("DecodeAll differs from Read")
	}
}

// FuzzDecode takes bytes as a stream. The other arguments choose how the input
// is cut up (0: not at all) and the sizes of the Reads.
func FuzzDecode(f *testing.F) {
	for _, s := range streams() {
		if len(s.data) > 4<<10 {
			continue // slows mutation down and adds little; TestCorners has them
		}
		f.Add(s.data, uint32(0), uint32(0), uint16(0))
		f.Add(s.data, uint32(1), uint32(7), uint16(700))
	}
	c := newComparer()
	f.Fuzz(func(t *testing.T, data []byte, inStep, outStep uint32, size uint16) {
		c.compare(t, data, inStep, outStep, bufSize(size))
	})
}

// bufSize makes large buffers, in which the fast loop runs, as frequent as small.
func bufSize(size uint16) int {
	if size%4 == 0 {
		return 256 << 10
	}
	return 1 + int(size)
}

// FuzzRoundTrip compresses bytes, so that streams are valid and long, and then
// changes one byte, at a place that flip chooses, if it is not 0.
func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte("the quick brown fox"), uint8(3), uint32(0), uint32(0), uint32(0), uint16(4))
	f.Add(bytes.Repeat([]byte("abcde"), 999), uint8(20), uint32(77), uint32(3), uint32(5), uint16(333))
	c := newComparer()
	var writers [12]*flate.Writer // costly to make
	for i := range writers {
		w, err := flate.NewWriter(nil, i-2)
		if err != nil {
			f.Fatal(err)
		}
		writers[i] = w
	}
	f.Fuzz(func(t *testing.T, data []byte, how uint8, flip, inStep, outStep uint32, size uint16) {
		var b bytes.Buffer
		w := writers[how%12]
		w.Reset(&b)
		// Longer than the window, and with far matches.
		for i := range 1 + int(how)/12 {
			w.Write(data[:len(data)*(i%7+1)/7])
			if i%3 == 1 {
				w.Flush()
			}
		}
		w.Close()
		s := b.Bytes()
		if flip != 0 {
			s[int(flip>>8)%len(s)] ^= byte(flip)
		}
		c.compare(t, s, inStep, outStep, bufSize(size))
	})
}
