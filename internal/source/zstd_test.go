package source

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"testing"
	"testing/iotest"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/compress/zstd"
)

// zstdFrame makes a frame by hand, with blocks of at most a window.
type zstdFrame struct {
	bytes   []byte
	content []byte
	at      int // of the last block's header in bytes
}

// newZstdFrame begins a frame with a window of 1 KiB << exp; size is written into its
// header if it is not negative.
func newZstdFrame(exp int, checksum bool, size int64) *zstdFrame {
	d := byte(0)
	if checksum {
		d |= fhdChecksum
	}
	if size >= 0 {
		d |= 3 << 6
	}
	f := &zstdFrame{bytes: []byte{0x28, 0xB5, 0x2F, 0xFD, d, byte(exp) << 3}}
	if size >= 0 {
		f.bytes = binary.LittleEndian.AppendUint64(f.bytes, uint64(size))
	}
	return f
}

func (f *zstdFrame) block(kind, n int, body []byte) {
	f.at = len(f.bytes)
	f.bytes = append(f.bytes, byte(n<<3|kind<<1), byte(n>>5), byte(n>>13))
	f.bytes = append(f.bytes, body...)
}

func (f *zstdFrame) raw(p []byte) *zstdFrame {
	f.block(0, len(p), p)
	f.content = append(f.content, p...)
	return f
}

func (f *zstdFrame) repeat(c byte, n int) *zstdFrame {
	f.block(1, n, []byte{c})
	f.content = append(f.content, bytes.Repeat([]byte{c}, n)...)
	return f
}

// zeros adds blocks of zeros.
func (f *zstdFrame) zeros(blocks, n int) *zstdFrame {
	for range blocks {
		f.repeat(0, n)
	}
	return f
}

// end marks the last block, and adds the checksum of the content.
func (f *zstdFrame) end(checksum bool) []byte {
	f.bytes[f.at] |= 1
	if checksum {
		f.bytes = binary.LittleEndian.AppendUint32(f.bytes, uint32(xxhash.Sum64(f.content)))
	}
	return f.bytes
}

// decodeZstd decodes data block by block and returns how many bytes of zeros the library
// did not get to see, too. size is how much is read at once.
func decodeZstd(t *testing.T, data []byte, size int) (out []byte, kept int64, err error) {
	t.Helper()
	d, err := newZstd(bufio.NewReader(iotest.HalfReader(bytes.NewReader(data))), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for p := make([]byte, size); err == nil; {
		var n int
		n, err = d.Read(p)
		out = append(out, p[:n]...)
	}
	if err == io.EOF {
		err = nil
	}
	return out, d.frames.kept, err
}

// TestZstdZeros decodes frames with runs of zeros that are kept from the library.
func TestZstdZeros(t *testing.T) {
	text := bytes.Repeat([]byte("raspberry "), 100)
	some := func() *zstdFrame { return newZstdFrame(0, true, -1) }
	cat := func(all ...[]byte) []byte { return bytes.Join(all, nil) }
	for _, c := range []struct {
		name string
		data []byte
		kept int64
	}{
		{"no zeros", some().raw(text).end(true), 0},
		{"less than a window", some().raw(text).zeros(1, 1000).raw(text).end(true), 0},
		{"a window in one block", some().raw(text).zeros(1, 1024).raw(text).end(true), 0},
		{"two windows", some().raw(text).zeros(2, 1024).raw(text).end(true), 1024},
		{"many windows", some().raw(text).zeros(1000, 1024).raw(text).end(true), 999 << 10},
		{"small blocks", some().raw(text).zeros(1000, 24).raw(text).end(true), 1000*24 - 43*24},
		{"empty blocks", some().raw(text).zeros(4, 1024).repeat(0, 0).raw(nil).zeros(2, 1024).raw(text).end(true), 3<<10 + 1<<10},
		{"at the beginning", some().zeros(5, 1024).raw(text).end(true), 4 << 10},
		{"at the end: the last block is the library's", some().raw(text).zeros(5, 1024).end(true), 3 << 10},
		{"nothing else", some().zeros(5, 1024).end(true), 3 << 10},
		{"before an empty last block", some().raw(text).zeros(5, 1024).raw(nil).end(true), 4 << 10},
		{"before an empty last block, and another frame", cat(some().raw(text).zeros(5, 1024).raw(nil).end(true), some().zeros(3, 1024).raw(text).end(true)), 4<<10 + 2<<10},
		{"another byte", some().raw(text).repeat('a', 1024).repeat('a', 1024).repeat('a', 1024).raw(text).end(true), 0},
		{"another byte between", some().zeros(3, 1024).repeat('a', 10).zeros(3, 1024).raw(text).end(true), 4 << 10},
		{"size in the header", newZstdFrame(0, true, 5<<10+1).zeros(5, 1024).raw([]byte{1}).end(true), 4 << 10},
		{"size and no checksum", newZstdFrame(0, false, 5<<10+1).zeros(5, 1024).raw([]byte{1}).end(false), 4 << 10},
		{"neither", newZstdFrame(0, false, -1).zeros(5, 1024).raw([]byte{1}).end(false), 4 << 10},
		{"a window of 1 MiB", newZstdFrame(10, true, -1).zeros(20, maxZstdBlock).raw(text).end(true), 12 * maxZstdBlock},
		{"a skippable frame between", cat(some().zeros(3, 1024).raw(nil).end(true), []byte("\x50\x2a\x4d\x18\x04\x00\x00\x00abcd"), some().zeros(3, 1024).raw(text).end(true), make([]byte, 9)), 4 << 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			oracle, err := zstd.NewReader(nil)
			if err != nil {
				t.Fatal(err)
			}
			defer oracle.Close()
			want, err := oracle.DecodeAll(bytes.TrimSuffix(c.data, make([]byte, 9)), nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, size := range []int{1 << 20, 1000, 1} {
				got, kept, err := decodeZstd(t, c.data, size)
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("read by %d: %d bytes, %v; want %d bytes", size, len(got), err, len(want))
				}
				if kept != c.kept {
					t.Errorf("read by %d: %d bytes were kept from the library, want %d", size, kept, c.kept)
				}
			}
		})
	}
}

// TestZstdDamage has frames whose size and checksum the library does not see.
func TestZstdDamage(t *testing.T) {
	good := func(size int64) []byte {
		return newZstdFrame(0, true, size).raw([]byte("raspberry")).zeros(5, 1024).raw([]byte("berry")).end(true)
	}
	const size = 9 + 5<<10 + 5
	at := func(data []byte, n int, c byte) []byte {
		data[(n+len(data))%len(data)] ^= c
		return data
	}
	lost := func(data []byte, from, to int) []byte { return append(data[:from:from], data[to:]...) }
	head, zeros := len(newZstdFrame(0, true, size).bytes), len(newZstdFrame(0, true, size).raw([]byte("raspberry")).bytes)
	for _, c := range []struct {
		name string
		data []byte
		want error
	}{
		{"checksum", at(good(size), -1, 1), zstd.ErrCRCMismatch},
		{"a byte", at(good(size), head+4, 1), zstd.ErrCRCMismatch},
		{"smaller than it says", good(size + 1), zstd.ErrFrameSizeMismatch},
		{"larger than it says", good(size - 1), zstd.ErrFrameSizeMismatch},
		{"a block of zeros is missing", lost(good(-1), zeros, zeros+4), zstd.ErrCRCMismatch},
		{"an empty block in place of one of zeros", at(good(-1), zeros+9, 1024>>5), zstd.ErrCRCMismatch},
		{"no checksum", good(size)[:len(good(size))-4], io.ErrUnexpectedEOF},
		{"half a checksum", good(size)[:len(good(size))-2], io.ErrUnexpectedEOF},
		{"the end is missing", good(size)[:len(good(size))-13], io.ErrUnexpectedEOF},
		{"ends in the zeros", good(size)[:zeros+11], io.ErrUnexpectedEOF},
		{"ends behind zeros", good(size)[:zeros+12], io.ErrUnexpectedEOF},
		{"ends in the header", good(size)[:head-1], io.ErrUnexpectedEOF},
		{"junk behind its end", append(good(size), "junk"...), errTrailing},
		{"a block of zeros larger than the window", newZstdFrame(0, true, -1).zeros(3, 1024).zeros(1, 1025).raw(nil).end(true), zstd.ErrWindowSizeExceeded},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := decodeZstd(t, c.data, 1000)
			if c.want == zstd.ErrWindowSizeExceeded && err != nil {
				return // said in words of ours
			}
			if !errors.Is(err, c.want) {
				t.Errorf("the error is %v, want %v", err, c.want)
			}
		})
	}
}

// TestZstdAgainstLibrary decodes what zstd makes of data with zeros between, whole, cut and
// with flipped bits, with zeros kept back and without.
func TestZstdAgainstLibrary(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var kept int64
	for n := range 30 {
		var data []byte
		words := make([]byte, 3000)
		for i := range words {
			words[i] = byte(r.IntN(7))
		}
		for range 1 + r.IntN(8) {
			i := r.IntN(len(words))
			data = append(data, words[i:]...)
			data = append(data, make([]byte, r.IntN(20<<10))...)
		}
		// The library's own encoder makes no blocks of a repeated byte.
		cmd := exec.Command("zstd", "-q", "-c", fmt.Sprintf("--zstd=wlog=%d", 10+r.IntN(4)), []string{"--check", "--no-check"}[n%3/2])
		if n%2 > 0 {
			cmd.Args = append(cmd.Args, fmt.Sprintf("--stream-size=%d", len(data)))
		}
		var out, said bytes.Buffer
		cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(data), &out, &said
		if err := cmd.Run(); err != nil {
			t.Fatalf("%v: %v: %s", cmd, err, &said)
		}
		got, k, err := decodeZstd(t, out.Bytes(), 1+r.IntN(5000))
		if err != nil || !bytes.Equal(got, data) {
			t.Fatalf("data %d: %d bytes, %v; want %d", n, len(got), err, len(data))
		}
		kept += k
		for range 200 {
			bad := bytes.Clone(out.Bytes())
			what := "cut"
			if r.IntN(4) == 0 {
				bad = bad[:r.IntN(len(bad))]
			} else {
				i := r.IntN(8 * len(bad))
				bad[i/8] ^= 1 << (i % 8)
				what = fmt.Sprintf("bit %d", i)
			}
			plain, err := zstd.NewReader(bytes.NewReader(bad), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
			if err != nil {
				t.Fatal(err)
			}
			want, wantErr := io.ReadAll(plain)
			plain.Close()
			got, _, err := decodeZstd(t, bad, 1+r.IntN(5000))
			// The library takes some early ends for the end.
			if err == nil && (wantErr != nil || !bytes.Equal(got, want)) {
				t.Errorf("data %d, %s: %d bytes without an error; the library makes %d, %v", n, what, len(got), len(want), wantErr)
			}
			if err != nil && wantErr == nil && len(bad) == out.Len() {
				t.Errorf("data %d, %s: %v; the library makes %d bytes of it", n, what, err, len(want))
			}
		}
	}
	if kept == 0 {
		t.Error("no zeros were kept from the library: this shows nothing")
	}
	t.Logf("%d bytes of zeros were kept from the library", kept)
}
