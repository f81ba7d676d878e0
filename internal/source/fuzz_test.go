package source

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// FuzzParseURL checks what the rest of the program takes for granted of a URL that passed.
func FuzzParseURL(f *testing.F) {
	for _, s := range []string{"http://10.10.200.75:38434/api/images/download/x", "https://h/", "file:///etc/passwd", "http://a@b@c/", "http://[::1%25eth0]/", "http://h:0/", "http://\r\n/", "http:///x", "//h/x", "http://0x7f.1/$(reboot)"} {
		f.Add(s)
	}
	hosts := Hosts{Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := ParseURL(raw)
		if err != nil {
			return
		}
		if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || strings.ContainsAny(u.Host, " \r\n\x00/\\") {
			t.Errorf("ParseURL(%q) passes scheme %q, host %q", raw, u.Scheme, u.Host)
		}
		// A literal that the dialler would refuse must not be let through as one that is allowed.
		if a, err := netip.ParseAddr(u.Hostname()); err == nil && hosts.CheckLiteral(u.Hostname()) == nil && !hosts.contains(a) {
			t.Errorf("CheckLiteral lets %q in", u.Hostname())
		}
	})
}

// FuzzContentRange checks that a range that was taken is one.
func FuzzContentRange(f *testing.F) {
	for _, s := range []string{"bytes 0-9/10", "bytes 5-9/*", "bytes */10", "bytes 9-5/10", "bytes -1-5/10", "bytes 0-18446744073709551615/*", "items 0-1/2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		start, total, ok := contentRange(s)
		if ok && (start < 0 || total >= 0 && start >= total || total < -1) {
			t.Errorf("contentRange(%q) = %d, %d", s, start, total)
		}
	})
}

// FuzzDecoder gives anything to the decoder that its first bytes ask for. It must come to
// an end, without a panic; and what zstd's and bzip2's walkers pass must be what their
// libraries make of the same bytes.
func FuzzDecoder(f *testing.F) {
	plain := bytes.Repeat([]byte("raspberry "), 100)
	z, err := zstd.NewWriter(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(z.EncodeAll(plain, nil))
	f.Add(append(z.EncodeAll(plain, nil), 0, 0, 0))
	f.Add(newZstdFrame(0, true, 5<<10+1000).raw(plain).zeros(5, 1024).end(true))
	f.Add(append(newZstdFrame(0, true, -1).zeros(5, 1024).raw(nil).end(true), newZstdFrame(0, false, -1).raw(plain).zeros(90, 24).raw(plain).end(false)...))
	f.Add([]byte("\x50\x2a\x4d\x18\x04\x00\x00\x00abcd\x28\xb5\x2f\xfd\x00\x00\x01\x00\x00"))
	f.Add([]byte("BZh91AY&SY\x00\x00\x00\x00"))
	f.Add([]byte("BZh9\x17\x72\x45\x38\x50\x90\x00\x00\x00\x00"))
	f.Add([]byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Add([]byte("\xfd7zXZ\x00\x00\x01\x69\x22\xde\x36\x00\x00\x00\x00\x1c\xdf\x44\x21\x90\x42\x99\x0d\x00\x00\x00\x00\x01\x59\x5a"))
	f.Fuzz(func(t *testing.T, data []byte) {
		format := compression(data)
		open := newDecoder
		if format == Zstd { // block by block, as on few cores
			open = func(_ string, r io.Reader) (decoder, error) { return newZstd(bufio.NewReader(r), 1) }
		}
		dec, err := open(format, bytes.NewReader(data))
		if err != nil {
			return
		}
		defer dec.Close()
		const most = 1 << 20
		var out bytes.Buffer
		_, err = io.Copy(&out, io.LimitReader(dec, most))
		if err != nil || out.Len() == most || format != Zstd {
			return
		}
		oracle, err := zstd.NewReader(bytes.NewReader(bytes.TrimRight(data, "\x00")), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			t.Fatal(err)
		}
		defer oracle.Close()
		want, err := io.ReadAll(oracle)
		// Frames may end in zeros themselves; then the trimmed stream is short for the library.
		if err == nil && !bytes.Equal(out.Bytes(), want) {
			t.Errorf("decoded %d bytes, the library %d", out.Len(), len(want))
		} else if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, zstd.ErrMagicMismatch) {
			t.Errorf("decoded %d bytes without an error, the library says %v", out.Len(), err)
		}
	})
}
