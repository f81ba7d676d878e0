package gunzip

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"strings"
	"testing"

	"github.com/openseastack/netboot-imager/internal/inflate"
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

const fuzzLimit = 4 << 20

// A harness keeps what fuzzing would else spend its time on allocating.
type harness struct {
	std       gzip.Reader
	in        *inflate.Input
	inf       inflate.Reader
	want, got []byte
	buf       [1 << 20]byte
}

// readLimit appends to out what r has, up to its end or fuzzLimit bytes.
func readLimit(out []byte, r io.Reader, buf []byte) (_ []byte, err error) {
	for len(out) <= fuzzLimit {
		n, err := r.Read(buf)
		out = append(out, buf[:n]...)
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return out, err
		}
	}
	return out[:fuzzLimit], nil
}

func (h *harness) decodeStd(file []byte) (err error) {
	h.want = h.want[:0]
	if err = h.std.Reset(bytes.NewReader(file)); err != nil {
		return noEOF(err)
	}
	h.want, err = readLimit(h.want, &h.std, h.buf[:64<<10])
	return err
}

// stricter reports whether err is of what this package refuses, or tells apart,
// and compress/gzip does not.
func stricter(err error) bool {
	var corrupt *CorruptError
	return errors.As(err, &corrupt) && (corrupt.Reason == wrongSize || strings.HasPrefix(corrupt.Reason, "reserved flag"))
}

// compare fails unless all ways to decode give the same bytes as compress/gzip
// and end or fail as it does, where both have the same rules.
func (h *harness) compare(t *testing.T, file []byte, inStep uint32, size int) {
	t.Helper()
	wantErr := h.decodeStd(file)
	want := h.want
	var first error
	for i, opt := range modes[:2] {
		got := h.got[:0]
		h.in.Reset(&chunked{file, inStep})
		z, err := newReader(h.in, opt)
		if err == nil {
			z.inf = &h.inf
			got, err = readLimit(got, z, h.buf[:size])
			z.Close()
			h.got = got
		}
		if i == 0 {
			first = err
		} else if (err == nil) != (first == nil) {
			t.Fatalf("%+v: error %v, but %v with %+v", opt, err, first, modes[0])
		}
		if !bytes.HasPrefix(want, got) && !bytes.HasPrefix(got, want) {
			t.Fatalf("%+v: the output differs", opt)
		}
		switch {
		case err == nil && wantErr == nil:
			if len(got) != len(want) {
				t.Fatalf("%+v: %d bytes, compress/gzip has %d", opt, len(got), len(want))
			}
		case err == nil:
			if !lenient(file) {
				t.Fatalf("%+v: no error, compress/gzip has %v", opt, wantErr)
			}
		case wantErr == nil && !stricter(err) && !stricter(first):
			// With a size in the header that is too large, a file looks cut off to
			// who believes it.
			t.Fatalf("%+v: error %v, compress/gzip has none", opt, err)
		}
	}
}

// lenient reports whether the file may decode here although compress/gzip
// refuses it: it has zeros at the end, or a name of more than 512 bytes.
func lenient(file []byte) bool {
	return bytes.HasSuffix(file, []byte{0}) || len(file) > 512
}

// repair makes checksum and length of the first member right again, if its data
// ends where the file does. Mutation alone hardly ever gets past them.
func (h *harness) repair(file []byte) []byte {
	h.in.Reset(bytes.NewReader(file))
	z, err := newReader(h.in, Options{Concurrency: 1})
	if err != nil {
		return file
	}
	z.inf = &h.inf
	out, _ := readLimit(nil, z, h.buf[:64<<10])
	end := int(z.in.Offset())
	if z.place != betweenMembers || end != len(file) {
		return file
	}
	file = bytes.Clone(file)
	binary.LittleEndian.PutUint32(file[end-8:], crc32.ChecksumIEEE(out))
	binary.LittleEndian.PutUint32(file[end-4:], uint32(len(out)))
	return file
}

// FuzzReader takes bytes as a file, as they are and with the checksum put right.
func FuzzReader(f *testing.F) {
	for _, s := range files() {
		if len(s.file) <= 4<<10 {
			f.Add(s.file, uint32(0), uint32(1<<20))
			f.Add(s.file, uint32(1), uint32(100))
		}
	}
	h := &harness{in: inflate.NewInput(nil)}
	f.Fuzz(func(t *testing.T, file []byte, inStep, size uint32) {
		n := 1 + int(size%(512<<10))
		h.compare(t, file, inStep, n)
		if fixed := h.repair(file); !bytes.Equal(fixed, file) {
			h.compare(t, fixed, inStep, n)
		}
	})
}

// FuzzMembers makes files of several members from the bytes, as they are cut up
// by cuts: two bits of each say of which kind a member is, the rest how long.
func FuzzMembers(f *testing.F) {
	f.Add([]byte("hello, world, hello"), []byte{1, 9, 20, 255}, uint32(0), uint32(7))
	f.Add(bytes.Repeat([]byte("abc"), 50), []byte{40, 41, 42, 43, 0, 0, 2, 2}, uint32(3), uint32(1<<20))
	h := &harness{in: inflate.NewInput(nil)}
	f.Fuzz(func(t *testing.T, data, cuts []byte, inStep, size uint32) {
		var file, want []byte
		for _, c := range cuts[:min(len(cuts), 40)] {
			n := min(len(data), int(c>>2))
			m := memberSpec{data: data[:n], level: int(c>>3)%11 - 1, bgzf: c&1 != 0, headerCRC: c&2 != 0}
			if c&0xf0 == 0xf0 {
				m.data = bytes.Repeat(m.data, 1+50*int(c&15))
			}
			file = append(file, m.bytes()...)
			want = append(want, m.data...)
			data = data[n:]
		}
		if len(file) == 0 {
			return
		}
		h.compare(t, file, inStep, 1+int(size%(512<<10)))
		z, err := NewReader(bytes.NewReader(file), Options{Concurrency: 2})
		if err != nil {
			t.Fatal(err)
		}
		defer z.Close()
		if got, err := readLimit(nil, z, h.buf[:]); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%d bytes of %d, error %v", len(got), len(want), err)
		}
	})
}
