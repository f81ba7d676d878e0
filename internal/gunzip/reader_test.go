package gunzip

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/openseastack/netboot-imager/internal/inflate"
)

// files are gzip files that must decode, and to what.
func files() map[string]struct{ file, want []byte } {
	type f = struct{ file, want []byte }
	a, b := text(1000), text(150000)
	long := bytes.Repeat([]byte("n"), 300000)
	return map[string]f{
		"one member":       {memberSpec{data: a, level: 6}.bytes(), a},
		"empty member":     {memberSpec{}.bytes(), nil},
		"stored":           {memberSpec{data: b}.bytes(), b},
		"two members":      {join(memberSpec{data: a, level: 1}.bytes(), memberSpec{data: b, level: 9}.bytes()), join(a, b)},
		"many members":     {bytes.Repeat(memberSpec{data: a, level: 6}.bytes(), 50), bytes.Repeat(a, 50)},
		"empty members":    {join(memberSpec{}.bytes(), memberSpec{data: a}.bytes(), memberSpec{}.bytes()), a},
		"zero padding":     {join(memberSpec{data: a}.bytes(), make([]byte, 511)), a},
		"much padding":     {join(memberSpec{data: a}.bytes(), make([]byte, 1<<20)), a},
		"name and comment": {memberSpec{data: a, name: []byte("image.img"), comment: []byte("made by hand")}.bytes(), a},
		"empty name":       {memberSpec{data: a, name: []byte{}}.bytes(), a},
		"very long name":   {memberSpec{data: a, name: long, comment: long, headerCRC: true}.bytes(), a},
		"header checksum":  {memberSpec{data: a, headerCRC: true}.bytes(), a},
		"everything": {memberSpec{data: a, extra: []byte{'X', 'Y', 1, 0, 9}, name: []byte("n"),
			comment: []byte("c"), headerCRC: true, flags: 1}.bytes(), a},
		"longest extra":              {memberSpec{data: a, extra: make([]byte, 65535), headerCRC: true}.bytes(), a},
		"malformed extra":            {memberSpec{data: a, extra: []byte{'B', 'C', 9, 0, 1}}.bytes(), a},
		"BC of another length":       {memberSpec{data: a, extra: []byte{'B', 'C', 1, 0, 1}}.bytes(), a},
		"BGZF":                       {bgzf(b, 6), b},
		"BGZF, only its end":         {bgzf(nil, 6), nil},
		"BGZF, many blocks":          {bgzf(text(1<<20), 1), text(1 << 20)},
		"BGZF, stored":               {bgzf(b[:100000], 6), b[:100000]},
		"BGZF, other fields":         {memberSpec{data: a, bgzf: true, extra: []byte{'X', 'Y', 1, 0, 9}, headerCRC: true, name: []byte("x")}.bytes(), a},
		"BGZF with a long one":       {join(bgzf(a, 6), memberSpec{data: make([]byte, 100000), level: 9, bgzf: true}.bytes(), bgzf(b, 6)), join(a, make([]byte, 100000), b)},
		"BGZF, then one that is not": {join(bgzf(b, 6), memberSpec{data: b, level: 6}.bytes(), bgzf(a, 6), make([]byte, 99)), join(b, b, a)},
		"BGZF of tiny members":       {bytes.Repeat(bgzf(a[:7], 6), 1000), bytes.Repeat(a[:7], 1000)},
	}
}

func TestFiles(t *testing.T) {
	for name, f := range files() {
		t.Run(name, func(t *testing.T) {
			for _, opt := range modes {
				for _, size := range []int{1, 100, 4095, 65280, directBuffer, 300001, 2 << 20} {
					if size == 1 && len(f.want) > 2000 {
						continue
					}
					got, err := gunzip(t, bytes.NewReader(f.file), opt, size)
					if err != nil || !bytes.Equal(got, f.want) {
						t.Fatalf("%+v, Reads of %d: %d bytes of %d, error %v", opt, size, len(got), len(f.want), err)
					}
				}
			}
		})
	}
}

// However the source cuts the file up, and whenever it tells of its end.
func TestSources(t *testing.T) {
	for name, f := range files() {
		if len(f.file) > 100<<10 {
			continue
		}
		for _, opt := range modes[:2] {
			for how, source := range map[string]func(io.Reader) io.Reader{
				"one byte": iotest.OneByteReader, "half": iotest.HalfReader, "error with data": iotest.DataErrReader,
			} {
				got, err := gunzip(t, source(bytes.NewReader(f.file)), opt, 1<<20)
				if err != nil || !bytes.Equal(got, f.want) {
					t.Errorf("%s, %s, %+v: error %v", name, how, opt, err)
				}
			}
		}
	}
}

func TestSourceErrors(t *testing.T) {
	broken := errors.New("the wire broke")
	for name, f := range files() {
		for _, opt := range modes[:2] {
			for _, n := range []int{0, 1, 5, 10, 15, len(f.file) / 2, len(f.file) - 9, len(f.file) - 1, len(f.file)} {
				if n < 0 || n > len(f.file) {
					continue
				}
				r := io.MultiReader(bytes.NewReader(f.file[:n]), iotest.ErrReader(broken))
				got, err := gunzip(t, r, opt, 1<<20)
				if err != broken || !bytes.HasPrefix(f.want, got) {
					t.Errorf("%s, %+v, broken after %d of %d: error %v", name, opt, n, len(f.file), err)
				}
			}
			if _, err := gunzip(t, iotest.TimeoutReader(iotest.OneByteReader(bytes.NewReader(f.file))), opt, 1<<20); err != iotest.ErrTimeout {
				t.Errorf("%s, %+v: error %v after a timeout", name, opt, err)
			}
		}
	}
}

// Wherever a file is cut off, that is what the error says; only between members,
// and in the padding, it cannot be known.
func TestTruncated(t *testing.T) {
	a := text(150)
	plain := memberSpec{data: a, level: 6, name: []byte("n"), extra: []byte{1, 2, 0, 0}, headerCRC: true}.bytes()
	for name, parts := range map[string][][]byte{
		"plain": {plain, memberSpec{data: a, level: 1}.bytes()},
		"BGZF":  {bgzf(a, 6)[:len(bgzf(a, 6))-len(bgzf(nil, 6))], bgzf(nil, 6)},
	} {
		file := join(parts...)
		for n := range len(file) {
			for _, opt := range modes[:2] {
				_, err := gunzip(t, bytes.NewReader(file[:n]), opt, 1<<20)
				want := io.ErrUnexpectedEOF
				if n == len(parts[0]) {
					want = nil
				}
				if err != want {
					t.Fatalf("%s, %+v, %d of %d bytes: error %v", name, opt, n, len(file), err)
				}
			}
		}
	}
}

// Every bit of a file is looked at, except some that say nothing of the data.
func TestEveryBit(t *testing.T) {
	a := text(150)
	for name, file := range map[string][]byte{
		"plain": memberSpec{data: a, level: 6, headerCRC: true, name: []byte("n")}.bytes(),
		"BGZF":  memberSpec{data: a, level: 6, headerCRC: true, bgzf: true}.bytes(),
	} {
		for i := range 8 * len(file) {
			bad := bytes.Clone(file)
			bad[i/8] ^= 1 << (i % 8)
			for _, opt := range modes[:2] {
				got, err := gunzip(t, bytes.NewReader(bad), opt, 1<<20)
				if err == nil {
					// compress/flate ends with an empty stored block; the bits
					// before its length are there to be ignored.
					if i/8 != len(file)-trailerSize-5 || !bytes.Equal(got, a) {
						t.Errorf("%s, %+v: bit %d of byte %d of %d was not noticed", name, opt, i%8, i/8, len(file))
					}
				}
			}
		}
	}
}

func TestRefused(t *testing.T) {
	a := text(1000)
	set := func(at int, v byte) func([]byte) {
		return func(b []byte) {
			if at < 0 {
				at += len(b)
			}
			b[at] = v
		}
	}
	good := memberSpec{data: a, level: 6}.bytes()
	sized := memberSpec{data: a, level: 6, bgzf: true}
	lie := func(by int) []byte {
		s := sized
		s.change = func(b []byte) { b[16] = byte(int(b[16]) + by) }
		return s.bytes()
	}
	n := int64(len(good))
	for _, c := range []struct {
		name  string
		file  []byte
		where int64 // -1: not told
		want  string
	}{
		{"not gzip", []byte("<html>404 Not Found</html>"), 0, "not a gzip header"},
		{"zeros", make([]byte, 100), 0, "not a gzip header"},
		{"method 7", memberSpec{change: set(2, 7)}.bytes(), 0, "other than deflate"},
		{"reserved flag 5", memberSpec{flags: 0x20}.bytes(), 0, "reserved flag"},
		{"reserved flag 6", memberSpec{flags: 0x40}.bytes(), 0, "reserved flag"},
		{"reserved flag 7", memberSpec{flags: 0x80}.bytes(), 0, "reserved flag"},
		{"header checksum", memberSpec{headerCRC: true, change: set(10, 1)}.bytes(), 0, "wrong header checksum"},
		{"header checksum of the second", join(good, memberSpec{headerCRC: true, change: set(11, 1)}.bytes()), n, "wrong header checksum"},
		{"checksum", memberSpec{data: a, level: 6, change: set(-8, 1)}.bytes(), n - 8, "wrong checksum"},
		{"length", memberSpec{data: a, level: 6, change: set(-4, 1)}.bytes(), n - 4, "wrong length"},
		{"checksum of the second", join(good, memberSpec{data: a, level: 6, change: set(-8, 1)}.bytes()), 2*n - 8, "wrong checksum"},
		{"BGZF checksum", memberSpec{data: a, level: 6, bgzf: true, change: set(-8, 1)}.bytes(), n, "wrong checksum"},
		{"BGZF length", memberSpec{data: a, level: 6, bgzf: true, change: set(-4, 1)}.bytes(), n + 4, "wrong length"},
		{"BGZF length, much", memberSpec{data: a, level: 6, bgzf: true, change: set(-1, 1)}.bytes(), n + 4, "wrong length"},
		{"BGZF size too small", join(lie(-1), good), 0, ""},
		{"BGZF size too large", join(lie(1), good), 0, ""},
		{"BGZF size tiny", memberSpec{bgzf: true, change: func(b []byte) { b[16], b[17] = 19, 0 }}.bytes(), 0, wrongSize},
		{"text behind", join(good, []byte("junk")), n, "something else follows"},
		{"1f and text behind", join(good, []byte("\x1fjunk")), n, "something else follows"},
		{"text in the padding", join(good, make([]byte, 1000), []byte("junk"), make([]byte, 1<<20)), n + 1000, "something else follows"},
		{"text behind much padding", join(good, make([]byte, 300000), []byte("j")), n + 300000, "something else follows"},
		{"a member in the padding", join(good, make([]byte, 10), good), n + 10, "something else follows"},
		{"text behind BGZF", join(bgzf(a, 6), []byte("junk")), int64(len(bgzf(a, 6))), "something else follows"},
		{"deflate data", memberSpec{data: a, level: 6, change: set(10, 7)}.bytes(), 10, "block of the reserved type"},
		{"BGZF deflate data", join(good, memberSpec{data: a, level: 6, bgzf: true, change: set(18, 7)}.bytes()), n + 18, "block of the reserved type"},
	} {
		for _, opt := range modes {
			got, err := gunzip(t, bytes.NewReader(c.file), opt, 1<<20)
			where := int64(-1)
			var corrupt *CorruptError
			var data *inflate.CorruptError
			var trailing *TrailingError
			switch {
			case errors.As(err, &corrupt):
				where = corrupt.Offset
			case errors.As(err, &data):
				where = data.Offset
			case errors.As(err, &trailing):
				where = trailing.Offset
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || c.want != "" && where != c.where {
				t.Errorf("%s, %+v: error %v at %d, want %q at %d", c.name, opt, err, where, c.want, c.where)
			}
			if len(got) > 2*len(a) {
				t.Errorf("%s, %+v: %d bytes came out", c.name, opt, len(got))
			}
		}
	}
	if _, err := NewReader(strings.NewReader(""), Options{}); err != io.ErrUnexpectedEOF {
		t.Errorf("a file of no bytes: error %v", err)
	}
}

func TestInputOffset(t *testing.T) {
	for name, f := range files() {
		z, err := NewReader(bytes.NewReader(f.file), Options{})
		if err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 1<<20)
		last := int64(0)
		for {
			_, err := z.Read(buf)
			at := z.InputOffset()
			if at < last || at > int64(len(f.file)) {
				t.Errorf("%s: at %d after %d of %d", name, at, last, len(f.file))
			}
			last = at
			if err != nil {
				break
			}
		}
		if last != int64(len(f.file)) {
			t.Errorf("%s: at %d at the end, want %d", name, last, len(f.file))
		}
		z.Close()
		if _, err := z.Read(buf); err != os.ErrClosed {
			t.Errorf("Read after Close: %v", err)
		}
	}
}
