package unxz

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
)

// smallFiles are files short enough for a test of every byte.
func smallFiles(t testing.TB) map[string][]byte {
	text := []byte(strings.Repeat("a small file, and again ", 9) + "0123456789")
	const small = "--lzma2=dict=4KiB" // thousands of dictionaries are made
	blocks := compress(t, text, small, "-T2", "--block-size=60", "--check=sha256")
	return map[string][]byte{
		"one block":    compress(t, text, small),
		"no check":     compress(t, text, small, "--check=none"),
		"blocks":       blocks,
		"verbatim":     compress(t, sample(t, 3000)[2900:], small),
		"x86":          compress(t, text, "--x86", small, "--check=crc32"),
		"empty":        compress(t, nil),
		"two streams":  slices.Concat(compress(t, text[:50], small), compress(t, text, small)),
		"with padding": slices.Concat(compress(t, text[:50], small), make([]byte, 8), blocks),
	}
}

func TestTruncated(t *testing.T) {
	for name, file := range smallFiles(t) {
		whole, err := decompress(file, both[0])
		if err != nil {
			t.Fatal(name, err)
		}
		first := streamEnd(file)
		for n := range len(file) {
			// A file may end with its first stream, or in the padding.
			if n >= first && bytes.Count(file[first:n], []byte{0}) == n-first {
				continue
			}
			for _, opt := range both {
				got, err := decompress(file[:n], opt)
				if err != io.ErrUnexpectedEOF {
					t.Errorf("%s: the first %d of %d bytes: %v, want %v", name, n, len(file), err, io.ErrUnexpectedEOF)
				}
				if !bytes.HasPrefix(whole, got) {
					t.Errorf("%s: the first %d of %d bytes: wrong data", name, n, len(file))
				}
			}
		}
	}
}

// streamEnd is where the first stream of a file ends.
func streamEnd(file []byte) int {
	for n := headerSize; n <= len(file); n += 4 {
		if _, err := decompress(file[:n], both[0]); err == nil {
			return n
		}
	}
	panic("there is no stream")
}

func TestBitFlips(t *testing.T) {
	files := smallFiles(t)
	for name, file := range files {
		want, err := decompress(file, both[0])
		if err != nil {
			t.Fatal(name, err)
		}
		same := 0
		for i := range len(file) * 8 {
			bad := bytes.Clone(file)
			bad[i/8] ^= 1 << (i % 8)
			opts := both
			if !bytes.Equal(file, files["blocks"]) && !bytes.Equal(file, files["with padding"]) {
				opts = both[:1] // several decoders have nothing to do here
			}
			for _, opt := range opts {
				got, err := decompress(bad, opt)
				switch {
				case err != nil:
				case bytes.Equal(got, want):
					same++
				case name != "no check":
					t.Errorf("%s: bit %d of byte %d flipped goes unnoticed", name, i%8, i/8)
				}
			}
		}
		t.Logf("%s: %d flips change nothing", name, same)
	}
}

func TestAfterTheEnd(t *testing.T) {
	one, two := compress(t, []byte("one, "), "-0"), compress(t, []byte("two"), "-9")
	zeros := func(n int) []byte { return make([]byte, n) }
	for _, tt := range []struct {
		name string
		file []byte
		want string
		junk int // offset of a TrailingError
		bad  bool
	}{
		{name: "two streams", file: slices.Concat(one, two), want: "one, two"},
		{name: "padding between", file: slices.Concat(one, zeros(4096), two), want: "one, two"},
		{name: "odd padding between", file: slices.Concat(one, zeros(5), two), want: "one, ", bad: true},
		{name: "padding after", file: slices.Concat(one, zeros(4)), want: "one, "},
		{name: "odd padding after", file: slices.Concat(one, zeros(1_000_001)), want: "one, "},
		{name: "junk", file: slices.Concat(one, []byte("x")), want: "one, ", junk: len(one)},
		{name: "junk after padding", file: slices.Concat(one, zeros(7), []byte("junk that is long enough")), want: "one, ", junk: len(one) + 7},
		{name: "junk like a header", file: slices.Concat(one, []byte("\xfd7zXY\x00aaaaaa")), want: "one, ", junk: len(one)},
		{name: "a bad header", file: slices.Concat(one, []byte("\xfd7zXZ\x00aaaaaa")), want: "one, ", bad: true},
	} {
		for _, opt := range both {
			got, err := decompress(tt.file, opt)
			if string(got) != tt.want {
				t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
			}
			var trailing *TrailingError
			var corrupt *CorruptError
			switch {
			case tt.junk > 0:
				if !errors.As(err, &trailing) || trailing.Offset != int64(tt.junk) {
					t.Errorf("%s: %v, want a TrailingError at %d", tt.name, err, tt.junk)
				}
			case tt.bad:
				if !errors.As(err, &corrupt) {
					t.Errorf("%s: %v, want a CorruptError", tt.name, err)
				}
			case err != nil:
				t.Errorf("%s: %v", tt.name, err)
			}
		}
	}
}

// Files that are wrong in one place although every CRC is right. A real xz has
// to refuse them too.
func TestWrongInside(t *testing.T) {
	text := []byte(strings.Repeat("what is in the block ", 20))
	full := compress(t, text, "--lzma2=dict=4KiB")
	data, chunks := payload(full)
	head := lzma2Header(0, -1, -1)
	one := func(h, data []byte) []byte {
		b := newBuilder(checkCRC32)
		b.block(h, data, text)
		return b.end()
	}
	edit := func(at int, to byte) []byte {
		d := bytes.Clone(data)
		d[at] = to
		return one(head, d)
	}
	wrong := func(f func(b *builder)) []byte {
		b := newBuilder(checkCRC64)
		b.block(head, data, text)
		f(b)
		return b.end()
	}
	if got, err := decompress(one(head, data), both[0]); err != nil || !bytes.Equal(got, text) {
		t.Fatalf("the builder itself: %v", err)
	}
	for name, file := range map[string][]byte{
		"compressed size too small":   one(lzma2Header(0, len(data)-1, -1), data),
		"compressed size too large":   one(lzma2Header(0, len(data)+1, -1), data),
		"compressed size zero":        one(lzma2Header(0, 0, -1), data),
		"uncompressed size too small": one(lzma2Header(0, -1, len(text)-1), data),
		"uncompressed size too large": one(lzma2Header(0, -1, len(text)+1), data),
		"both sizes, one too small":   one(lzma2Header(0, len(data), len(text)-1), data),
		"both sizes, one too large":   one(lzma2Header(0, len(data), len(text)+1), data),
		"both sizes, data too short":  one(lzma2Header(0, len(data)-1, len(text)), data),
		"both sizes, data too long":   one(lzma2Header(0, len(data)+1, len(text)), data),
		"unknown dictionary":          one(lzma2Header(41, -1, -1), data),
		"reserved dictionary bits":    one(lzma2Header(64, -1, -1), data),
		"reserved block flag":         one(append([]byte{4}, head[1:]...), data),
		"no LZMA2":                    one([]byte{0, filterDelta, 1, 0}, data),
		"LZMA2 twice":                 one([]byte{1, filterLZMA2, 1, 0, filterLZMA2, 1, 0}, data),
		"header padding not zero":     one(append(bytes.Clone(head), 0, 1), data),
		"overlong integer":            one([]byte{0, filterLZMA2 | 0x80, 0, 1, 0}, data),
		"no dictionary reset":         edit(0, 0xc0),
		"no properties":               edit(0, 0xa0),
		"no reset at all":             edit(0, 0x80),
		"unknown chunk":               edit(0, 0x03),
		"lc + lp = 5":                 edit(5, (2*5+2)*9+3),
		"properties out of range":     edit(5, 225),
		"first byte not zero":         edit(6, 1),
		"chunk too long":              edit(2, data[2]+1),
		"chunk too short":             edit(2, data[2]-1),
		"range coder too long":        edit(4, data[4]+1),
		"range coder too short":       edit(4, data[4]-1),
		"more chunks than fit":        one(lzma2Header(0, len(data)+8, len(text)), join(chunks, verbatim(2, []byte("more")))),
		"verbatim without reset":      one(head, join(verbatim(2, text))),
		"LZMA after verbatim reset":   one(head, join(verbatim(1, []byte("x")), append([]byte{0xa0}, chunks[1:]...))),
		"index with fewer records":    wrong(func(b *builder) { b.indexCount = -1 }),
		"index with more records":     wrong(func(b *builder) { b.indexCount = 1; b.indexExtra = []byte{50, 60} }),
		"index with other sizes":      wrong(func(b *builder) { b.records = nil; b.record(44, len(text)) }),
		"index with other plain size": wrong(func(b *builder) { b.records[len(b.records)-1] ^= 1 }),
		"backward size":               wrong(func(b *builder) { b.indexBack = 1 }),
		"footer flags":                wrong(func(b *builder) { b.footerFlags = 1 }),
	} {
		var corrupt *CorruptError
		var unsupported *UnsupportedError
		for _, opt := range both {
			if got, err := decompress(file, opt); err == nil {
				t.Errorf("%s: no error, %d bytes", name, len(got))
			} else if !errors.As(err, &corrupt) && !errors.As(err, &unsupported) {
				t.Errorf("%s: an error of no type: %v", name, err)
			}
		}
		if _, err := xzTool(t, file, "-dc"); err == nil {
			t.Errorf("%s: xz -dc accepts it", name)
		}
	}
}

// Files no encoder here writes, but right ones: xz has to agree.
func TestRightButRare(t *testing.T) {
	text := []byte(strings.Repeat("what is in the block ", 20))
	data, chunks := payload(compress(t, text, "--lzma2=dict=4KiB,lc=1,lp=3,pb=4"))
	_, other := payload(compress(t, sample(t, 9000), "-6"))
	head := lzma2Header(20, -1, -1)
	for name, tt := range map[string]struct{ h, data, want []byte }{
		"empty block":               {head, []byte{0}, nil},
		"empty block with sizes":    {lzma2Header(0, 1, 0), []byte{0}, nil},
		"two dictionary resets":     {head, join(chunks, other, chunks), slices.Concat(text, sample(t, 9000), text)},
		"verbatim, then LZMA":       {head, join(verbatim(1, []byte("ab")), chunks), append([]byte("ab"), text...)},
		"LZMA, then verbatim":       {head, join(chunks, verbatim(2, []byte("ab"))), append(bytes.Clone(text), "ab"...)},
		"verbatim of one byte":      {head, join(verbatim(1, []byte("a")), verbatim(2, []byte("b")), verbatim(1, []byte("c"))), []byte("abc")},
		"verbatim of 64 KiB":        {head, join(verbatim(1, sample(t, 65536)), verbatim(2, sample(t, 65536))), slices.Concat(sample(t, 65536), sample(t, 65536))},
		"both sizes":                {lzma2Header(0, len(data), len(text)), data, text},
		"header with much padding":  {append(bytes.Clone(head), make([]byte, 900)...), data, text},
		"properties, no dict reset": {head, join(chunks, append([]byte{0xc0}, chunks[1:]...)), slices.Concat(text, text)},
	} {
		for _, check := range []checkID{checkNone, checkCRC32, checkCRC64, checkSHA256} {
			b := newBuilder(check)
			for range 3 {
				b.block(tt.h, tt.data, tt.want)
			}
			file := b.end()
			want := slices.Concat(tt.want, tt.want, tt.want)
			for _, opt := range both {
				if got, err := decompress(file, opt); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s: got %d bytes, %v; want %d", name, len(got), err, len(want))
				}
			}
			if got, err := xzTool(t, file, "-dc"); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s: xz -dc: %d bytes, %v; want %d", name, len(got), err, len(want))
			}
		}
	}
}

// The dictionary ends where the header says, not where the buffer does.
func TestDictionaryLimit(t *testing.T) {
	noise := make([]byte, 9000)
	for i := range noise {
		noise[i] = byte(i * i >> 7 * 37)
	}
	for _, tt := range []struct {
		distance int
		dict     byte // 4096 << n for even 2n
		ok       bool
	}{
		{4096, 0, true}, {4097, 0, false}, {6144, 1, true}, {6145, 1, false}, {8192, 2, true}, {8193, 2, false},
	} {
		plain := slices.Concat(noise[:tt.distance], noise[:200])
		data, _ := payload(compress(t, plain, "--lzma2=dict=64KiB,nice=273,mf=bt4"))
		for _, h := range [][]byte{lzma2Header(tt.dict, -1, -1), lzma2Header(tt.dict, len(data), len(plain))} {
			b := newBuilder(checkCRC32)
			b.block(h, data, plain)
			file := b.end()
			_, err := xzTool(t, file, "-dc")
			if (err == nil) != tt.ok {
				t.Errorf("distance %d, dictionary %d: xz -dc says %v", tt.distance, dictSize(tt.dict), err)
			}
			for _, opt := range both {
				if got, err := decompress(file, opt); (err == nil) != tt.ok || tt.ok && !bytes.Equal(got, plain) {
					t.Errorf("distance %d, dictionary %d: %d bytes, %v", tt.distance, dictSize(tt.dict), len(got), err)
				}
			}
		}
	}
}

func TestRefused(t *testing.T) {
	data := sample(t, 5000)
	for _, tt := range []struct{ args, want string }{
		{"--powerpc --lzma2", "the PowerPC filter"}, {"--ia64 --lzma2", "the IA-64 filter"}, {"--sparc --lzma2", "the SPARC filter"},
	} {
		_, err := decompress(compress(t, data, strings.Fields(tt.args)...), both[0])
		var unsupported *UnsupportedError
		if !errors.As(err, &unsupported) || unsupported.What != tt.want {
			t.Errorf("%s: %v", tt.args, err)
		}
	}
	for _, tt := range []struct {
		check checkID
		ok    bool
	}{{2, false}, {15, false}, {1, true}} {
		_, err := NewReader(bytes.NewReader(newBuilder(tt.check).file), Options{})
		var unsupported *UnsupportedError
		if errors.As(err, &unsupported) == tt.ok {
			t.Errorf("check %d: %v", tt.check, err)
		}
	}
	for _, junk := range []string{"\x1f\x8b\x08\x00 gzip it is", "\xfd7zXZ\x01", "PK"} {
		_, err := NewReader(strings.NewReader(junk), Options{})
		var corrupt *CorruptError
		if !errors.As(err, &corrupt) || corrupt.Offset != 0 {
			t.Errorf("%q: %v", junk, err)
		}
	}
	if _, err := NewReader(strings.NewReader(""), Options{Concurrency: -1}); err == nil {
		t.Error("negative options are accepted")
	}
}

func TestMemoryLimit(t *testing.T) {
	file := compress(t, sample(t, 1000), "-6") // an 8 MiB dictionary
	_, err := decompress(file, Options{MaxMemory: 8<<20 - 1})
	var memory *MemoryError
	if !errors.As(err, &memory) || memory.Dictionary != 8<<20 || memory.Limit != 8<<20-1 {
		t.Errorf("got %v", err)
	}
	for _, want := range []string{"8388608", "8388607"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not name %s", err, want)
		}
	}
	if _, err := decompress(file, Options{MaxMemory: 8 << 20}); err != nil {
		t.Error(err)
	}
}
