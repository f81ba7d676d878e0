package inflate

import (
	"bytes"
	"compress/flate"
	"errors"
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

// readSizes reads to the end with buffers whose sizes step makes, and poisons
// what the Reader was not asked to write.
func readSizes(r io.Reader, size int, step uint32, limit int) (out []byte, err error) {
	buf := make([]byte, size+64)
	for len(out) <= limit {
		n := size
		if step != 0 {
			step = step*1664525 + 1013904223
			n = 1 + int(step>>8)%size
		}
		guard := buf[n : n+64]
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

// compare decodes data with the standard library and with a Reader and fails
// unless both give the same bytes and both end or both fail. Of a stream that
// fails the one's output must begin the other's; compress/flate may hold back
// the last few symbols of a truncated one.
func compare(t *testing.T, data []byte, inStep, outStep uint32, size int) {
	t.Helper()
	const limit = 8 << 20
	src := bytes.NewReader(data)
	want, wantErr := readSizes(flate.NewReader(src), 64<<10, 0, limit)
	in := NewInput(&chunked{data, inStep})
	d := NewReader(in)
	got, err := readSizes(d, size, outStep, limit)
	if err == errLimit || wantErr == errLimit {
		n := min(len(got), len(want))
		got, want = got[:n], want[:n]
		wantErr, err = nil, nil
	}
	if (err == io.EOF) != (wantErr == io.EOF) || (err == nil) != (wantErr == nil) {
		t.Fatalf("input chunks %d, output of %d/%d: error %v, compress/flate has %v", inStep, size, outStep, err, wantErr)
	}
	n := min(len(got), len(want))
	if !bytes.Equal(got[:n], want[:n]) {
		t.Fatalf("input chunks %d, output of %d/%d: the output differs", inStep, size, outStep)
	}
	if len(got) != len(want) && (err == io.EOF || len(got) < len(want)) {
		t.Fatalf("input chunks %d, output of %d/%d: %d bytes, compress/flate has %d", inStep, size, outStep, len(got), len(want))
	}
	var corrupt *CorruptError
	switch {
	case err == io.EOF:
		if used := int64(len(data) - src.Len()); d.InputOffset() != used {
			t.Fatalf("used %d bytes, compress/flate %d", d.InputOffset(), used)
		}
		rest, err := io.ReadAll(in)
		if err != nil || !bytes.Equal(rest, data[len(data)-src.Len():]) {
			t.Fatalf("the bytes after the stream are not those (%v)", err)
		}
	case err == nil || err == io.ErrUnexpectedEOF:
	case !errors.As(err, &corrupt):
		t.Fatalf("error of another kind: %v", err)
	case corrupt.Offset < 0 || corrupt.Offset > int64(len(data)):
		t.Fatalf("error at byte %d of %d", corrupt.Offset, len(data))
	}

	// The same in memory.
	dst := make([]byte, len(got))
	rest, allErr := d.DecodeAll(dst, data)
	if (allErr == nil) != (err == io.EOF) && err != nil {
		t.Fatalf("DecodeAll: %v, Read: %v", allErr, err)
	}
	if allErr == nil && (!bytes.Equal(dst, got) || len(rest) != src.Len()) {
		t.Fatal("DecodeAll differs from Read")
	}
}

// FuzzDecode takes bytes as a stream. The other arguments choose how the input
// is cut up (0: not at all) and the sizes of the Reads.
func FuzzDecode(f *testing.F) {
	for _, s := range streams() {
		f.Add(s.data, uint32(0), uint32(0), uint16(0))
		f.Add(s.data, uint32(1), uint32(7), uint16(700))
	}
	f.Fuzz(func(t *testing.T, data []byte, inStep, outStep uint32, size uint16) {
		compare(t, data, inStep, outStep, bufSize(size))
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
	f.Fuzz(func(t *testing.T, data []byte, how uint8, flip, inStep, outStep uint32, size uint16) {
		var b bytes.Buffer
		w, err := flate.NewWriter(&b, int(how%12)-2)
		if err != nil {
			t.Fatal(err)
		}
		// Longer than the window, and with far matches.
		for i := range 1 + int(how)/12 {
			w.Write(data)
			if i%3 == 1 {
				w.Flush()
			}
		}
		w.Close()
		s := b.Bytes()
		if flip != 0 {
			s[int(flip>>8)%len(s)] ^= byte(flip)
		}
		compare(t, s, inStep, outStep, bufSize(size))
	})
}
