package inflate

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"testing"
)

func TestCorners(t *testing.T) {
	c := newComparer()
	for _, s := range streams() {
		t.Run(s.name, func(t *testing.T) {
			out, err := io.ReadAll(flate.NewReader(bytes.NewReader(s.data)))
			if (err == nil) != s.ok {
				t.Fatalf("the case is wrong: compress/flate says %v", err)
			}
			for _, size := range []int{1, 8, 276, 277, 278, 1000, 32768, 1 << 20} {
				if size == 1 && len(out) > 5000 {
					continue // slow, and TestReadSizes has it
				}
				for _, in := range []uint32{0, 1} {
					c.compare(t, s.data, in, 0, size)
				}
			}
		})
	}
}

// Truncated at every byte, a stream is neither corrupt nor at its end.
func TestTruncated(t *testing.T) {
	d := NewReader(bytes.NewReader(nil))
	buf := make([]byte, 1<<20)
	for _, s := range streams() {
		if !s.ok || s.name == "bytes behind the end" {
			continue
		}
		whole, err := io.ReadAll(flate.NewReader(bytes.NewReader(s.data)))
		if err != nil {
			t.Fatal(err)
		}
		step := max(1, len(s.data)/200)
		for n := 0; n < len(s.data); n += step {
			d.Reset(bytes.NewReader(s.data[:n]))
			m, err := io.ReadFull(d, buf[:len(whole)+1])
			if err != io.ErrUnexpectedEOF || !bytes.HasPrefix(whole, buf[:m]) {
				t.Fatalf("%s: %d of %d bytes: %d bytes decoded, error %v", s.name, n, len(s.data), m, err)
			}
			if _, err := d.Read(buf); err != io.ErrUnexpectedEOF {
				t.Fatalf("%s: %d of %d bytes: the error is %v", s.name, n, len(s.data), err)
			}
		}
	}
}

func TestReadSizes(t *testing.T) {
	data := append(text(12000), text(1000)...)
	for _, level := range []int{-2, 0, 1, 6, 9} {
		s := deflate(data, level)
		d := NewReader(bytes.NewReader(nil))
		for size := 1; size <= 600; size++ {
			d.Reset(bytes.NewReader(s))
			got, err := readSizes(d, size, 0, len(data))
			if err != io.EOF || !bytes.Equal(got, data) {
				t.Fatalf("level %d, Reads of %d: %d bytes, %v", level, size, len(got), err)
			}
		}
	}
}

// The longest match at every alignment, from every kind of distance, right up to
// the end of the buffer and across it.
func TestMatchAlignment(t *testing.T) {
	dists := []int{}
	for i := 1; i <= 18; i++ {
		dists = append(dists, i)
	}
	for i := 64; i < 32768; i *= 4 {
		dists = append(dists, i-1, i, i+1)
	}
	dists = append(dists, 257, 258, 259, 32767, 32768)
	before := text(32768)
	d := NewReader(bytes.NewReader(nil))
	for _, dist := range dists {
		for align := range 9 {
			for _, length := range []int{3, 7, 8, 9, 16, 17, 33, 257, 258} {
				w := new(bitWriter).stored(0, before).fixed(1).literals(before[:align]...).match(length, dist)
				s := w.literals('!').end().b
				want := append(append([]byte{}, before...), before[:align]...)
				for range length {
					want = append(want, want[len(want)-dist])
				}
				want = append(want, '!')
				for _, size := range []int{len(want), len(want) + 1000, 32768 + align + length/2, 32768 + align} {
					d.Reset(bytes.NewReader(s))
					got, err := readSizes(d, size, 0, len(want))
					if err != io.EOF || !bytes.Equal(got, want) {
						t.Fatalf("distance %d, length %d, alignment %d, Reads of %d: %v", dist, length, align, size, err)
					}
				}
			}
		}
	}
}

func TestErrorsSayWhere(t *testing.T) {
	s := new(bitWriter).stored(0, make([]byte, 1000)).header(1, 3).b
	_, err := io.ReadAll(NewReader(bytes.NewReader(append(s, make([]byte, 1000)...))))
	var corrupt *CorruptError
	if !errors.As(err, &corrupt) || corrupt.Offset != 1005 {
		t.Errorf("got %v, want a CorruptError at byte 1005", err)
	}
	if got, want := fmt.Sprint(err), "corrupt deflate data at byte 1005: block of the reserved type"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestDecodeAllLength(t *testing.T) {
	data := text(1000)
	s := append(deflate(data, 6), "rest"...)
	d := NewReader(bytes.NewReader(nil))
	for n := range 1100 {
		dst := make([]byte, n)
		rest, err := d.DecodeAll(dst, s)
		if n == len(data) {
			if err != nil || string(rest) != "rest" || !bytes.Equal(dst, data) {
				t.Errorf("rest %q, error %v", rest, err)
			}
		} else if err != ErrLength {
			t.Errorf("into %d bytes: error %v", n, err)
		}
	}
}
