package source

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
)

// Decoded is an image that is read from a local file or any other reader, by the same
// decoders and with the same strict end as a Stream. Read and Close are for one
// goroutine, Taken for any.
type Decoded struct {
	Format string // Raw, Gzip, XZ, Zstd or Bzip2

	src *counter
	dec decoder
	err error // sticky
}

// Decode recognises by content what r holds and returns a reader of the image in it. Its
// io.EOF says that the compressed stream ended as its format demands and that nothing
// but zero padding follows. Errors are *ImageError, or what r returned.
func Decode(r io.Reader) (*Decoded, error) {
	d := &Decoded{src: &counter{r: r}}
	br := bufio.NewReaderSize(d.src, sniffSize)
	head, err := br.Peek(10)
	switch {
	case err != nil && err != io.EOF:
		return nil, err
	case len(head) == 0:
		return nil, &ImageError{Why: "the image is empty: it has 0 bytes"}
	}
	d.Format = compression(head)
	dec, err := newDecoder(d.Format, br)
	if err != nil {
		return nil, d.explain(err)
	}
	d.dec = dec
	return d, nil
}

// Read reads image bytes. After an error or the end it returns the same again.
func (d *Decoded) Read(p []byte) (int, error) {
	if d.err != nil {
		return 0, d.err
	}
	n, err := d.dec.Read(p)
	if err == io.EOF && d.src.fault() != nil {
		err = io.ErrUnexpectedEOF // whatever a decoder made of it
	}
	if err != nil && err != io.EOF {
		err = d.explain(err)
	}
	d.err = err
	return n, err
}

// Taken is how many bytes have been read from the source.
func (d *Decoded) Taken() int64 { return d.src.n.Load() }

// Close ends the decoder and its goroutines; the source is the caller's.
func (d *Decoded) Close() error { return d.dec.Close() }

func (d *Decoded) explain(err error) error {
	if fault := d.src.fault(); fault != nil {
		return fault
	}
	return decodeFault(d.Format, err, fmt.Sprintf("byte %d", d.Taken()), "get it again")
}

// decodeFault says of a decoder's error what is wrong with the image. at is how much of
// it had been read by then, cure what to do.
func decodeFault(format string, err error, at, cure string) *ImageError {
	switch {
	case trailing(err):
		return &ImageError{format, fmt.Sprintf("the image has junk behind its end: its %s data is complete, but something other than zero padding follows; %s", format, cure), nil}
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return &ImageError{format, fmt.Sprintf("the image is truncated: its %s data ends early, at %s; %s", format, at, cure), nil}
	}
	return &ImageError{format, fmt.Sprintf("the image is corrupt: its %s data cannot be decoded near %s; %s", format, at, cure), err}
}

// counter counts what is read, and keeps the error that ended it: decoders that read
// ahead call it from a goroutine of theirs.
type counter struct {
	r   io.Reader
	n   atomic.Int64
	err atomic.Pointer[error]
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	if err != nil && err != io.EOF {
		c.err.Store(&err)
	}
	return n, err
}

// fault returns the error that ended the source, unless it ended well or has not ended.
func (c *counter) fault() error {
	if err := c.err.Load(); err != nil {
		return *err
	}
	return nil
}

// OpenFile opens an image in a regular file. The caller closes both.
func OpenFile(path string) (*os.File, *Decoded, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file; name the file that holds the image", path)
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	d, err := Decode(f)
	if err != nil {
		f.Close()
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, d, nil
}
