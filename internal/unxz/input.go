package unxz

import (
	"io"
	"sync/atomic"
)

// inputSize is how many compressed bytes an input reads at a time, at most.
const inputSize = 64 << 10

// input reads compressed bytes and knows how far into the file it is. Whoever
// asks it for bytes needs them: the end of the data is io.ErrUnexpectedEOF.
type input struct {
	r     io.Reader
	buf   []byte
	i, n  int           // buf[i:n] is not used yet
	off   int64         // of buf[i] in the file
	total *atomic.Int64 // all bytes read from r, or nil
	err   error         // sticky

	scratch [64]byte // for whoever reads a few bytes
}

// reset makes the input read from r, which begins at offset off of the file.
func (in *input) reset(r io.Reader, off int64) {
	if in.buf == nil {
		in.buf = make([]byte, inputSize)
	}
	in.r, in.i, in.n, in.off, in.err = r, 0, 0, off, nil
}

// read reads once from r.
func (in *input) read(p []byte) (int, error) {
	for range 100 {
		n, err := in.r.Read(p)
		if n < 0 || n > len(p) {
			panic("the source's Read returned an impossible count")
		}
		if in.total != nil {
			in.total.Add(int64(n))
		}
		if err != nil {
			in.err = err
		}
		if n > 0 {
			return n, nil
		}
		if err != nil {
			return 0, err
		}
	}
	in.err = io.ErrNoProgress
	return 0, in.err
}

// fill makes at least one byte of buf usable. At the end of the data it
// returns io.EOF.
func (in *input) fill() error {
	if in.i < in.n {
		return nil
	}
	if in.err != nil {
		return in.err
	}
	n, err := in.read(in.buf)
	in.i, in.n = 0, n
	return err
}

// readByte returns the next byte.
func (in *input) readByte() (byte, error) {
	if in.i == in.n {
		if err := in.fill(); err != nil {
			return 0, unexpected(err)
		}
	}
	b := in.buf[in.i]
	in.i++
	in.off++
	return b, nil
}

// readFull fills p.
func (in *input) readFull(p []byte) error {
	for len(p) > 0 {
		var n int
		if in.i == in.n && len(p) >= len(in.buf) {
			if in.err != nil {
				return unexpected(in.err)
			}
			var err error
			if n, err = in.read(p); err != nil {
				return unexpected(err)
			}
		} else {
			if err := in.fill(); err != nil {
				return unexpected(err)
			}
			n = copy(p, in.buf[in.i:in.n])
			in.i += n
		}
		in.off += int64(n)
		p = p[n:]
	}
	return nil
}

// corrupt is a CorruptError at the present offset.
func (in *input) corrupt(what string) error {
	return &CorruptError{Offset: in.off, What: what}
}

// unexpected turns the end of the data into the error for truncation.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
