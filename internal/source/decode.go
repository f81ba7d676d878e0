package source

import (
	"bufio"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/openseastack/netboot-imager/internal/gunzip"
	"github.com/openseastack/netboot-imager/internal/unxz"
)

// A decoder turns a compressed stream into the image. Read returns io.EOF only if the
// stream ended as its format demands and nothing but zeros follows; an early end is
// io.ErrUnexpectedEOF.
type decoder interface {
	io.Reader
	Close() error
}

// errTrailing is the fault of a stream behind whose end something else than zeros follows.
var errTrailing = errors.New("something other than zero padding follows its end")

// gunzipBy switches gzip back to github.com/klauspost/pgzip if it says "pgzip".
var gunzipBy = os.Getenv("NETBOOT_IMAGER_GUNZIP")

// trailing reports whether err says that a stream is complete and junk follows.
func trailing(err error) bool {
	var (
		gz *gunzip.TrailingError
		xz *unxz.TrailingError
	)
	return errors.Is(err, errTrailing) || errors.As(err, &gz) || errors.As(err, &xz)
}

// newDecoder returns the decoder for format, which compression found in what src holds.
func newDecoder(format string, src io.Reader) (decoder, error) {
	br := bufio.NewReaderSize(src, sniffSize)
	switch format {
	case Gzip:
		if gunzipBy == "pgzip" {
			return newPgzip(br)
		}
		return gunzip.NewReader(src, gunzip.Options{EndMarker: true})
	case XZ:
		return unxz.NewReader(br, unxz.Options{MaxMemory: xzMemory})
	case Zstd:
		return newZstd(br, zstdWorkers())
	case Bzip2:
		return nopCloser{newBzip2(br)}, nil
	case Raw:
		return nopCloser{src}, nil
	}
	return nil, fmt.Errorf("BUG: no decoder for %q", format)
}

// xzMemory bounds the memory in bytes for xz's dictionary and for blocks that are decoded
// beside each other.
const xzMemory = 72 << 20

type nopCloser struct{ io.Reader }

func (nopCloser) Close() error { return nil }

// onlyZeros reads br to its end: io.EOF if that is all zeros, errTrailing if not.
func onlyZeros(br io.ByteReader) error {
	for {
		c, err := br.ReadByte()
		if err != nil {
			return err
		}
		if c != 0 {
			return errTrailing
		}
	}
}

// noEOF makes an early end of what EOF is not expected from.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// bzip2Decoder decodes bzip2 streams with the standard library, which takes several in a
// row but no padding.
type bzip2Decoder struct {
	src *tail
	r   io.Reader
}

func newBzip2(br *bufio.Reader) *bzip2Decoder {
	t := &tail{br: br}
	return &bzip2Decoder{t, bzip2.NewReader(t)}
}

func (d *bzip2Decoder) Read(p []byte) (int, error) {
	n, err := d.r.Read(p)
	if err == io.EOF && d.src.invented > 0 {
		err = io.ErrUnexpectedEOF
	}
	var se bzip2.StructuralError
	if errors.As(err, &se) && se == "bad magic value in continuation file" {
		if d.src.last != [2]byte{} {
			return n, errTrailing
		}
		return n, onlyZeros(d.src.br)
	}
	return n, err
}

// tail hands out bytes one by one, as compress/bzip2 takes them, and remembers the last
// two: behind a stream's end the library reads two bytes and wants them to be "BZ". If
// the source ends with a zero, two more are handed out, so that the library comes to its
// verdict on padding of one byte, too.
type tail struct {
	br       *bufio.Reader
	last     [2]byte
	invented int
}

func (t *tail) ReadByte() (byte, error) {
	c, err := t.br.ReadByte()
	if err == io.EOF && t.last[1] == 0 && t.invented < 2 {
		t.invented++
		c, err = 0, nil
	}
	if err == nil {
		t.last = [2]byte{t.last[1], c}
	}
	return c, err
}

// Read is there because bzip2.NewReader wants an io.Reader; it never calls it.
func (t *tail) Read(p []byte) (int, error) { return 0, errors.New("BUG: tail is read byte by byte") }
