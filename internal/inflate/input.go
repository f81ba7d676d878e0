package inflate

import (
	"io"
	"sync/atomic"
)

// inputSize is how much an [Input] reads at a time at most. It should fit the
// second-level cache beside the tables and the history.
const inputSize = 128 << 10

// maxEmptyReads is how many (0, nil) answers a source may give in a row.
const maxEmptyReads = 100

// An Input is a buffered source of compressed bytes. The container format around
// a DEFLATE stream reads its header and trailer from the same Input as the
// [Reader] between them, so that no byte is lost or read twice.
type Input struct {
	r        io.Reader // nil for bytes in memory
	own      []byte    // the buffer for r, kept over Reset
	buf      []byte    // own[:end of data], or the bytes in memory
	pos      int       // first byte of buf that has not been consumed
	base     int64     // offset of buf[0] in the stream
	err      error     // what r answered last, given out when buf is used up
	progress atomic.Int64
}

// NewInput returns an Input that reads from r, at most 128 KiB ahead.
func NewInput(r io.Reader) *Input {
	in := new(Input)
	in.Reset(r)
	return in
}

// Reset makes the Input read from r, at offset 0, keeping its buffer.
func (in *Input) Reset(r io.Reader) {
	if in.own == nil {
		in.own = make([]byte, inputSize)
	}
	in.r, in.buf, in.pos, in.base, in.err = r, in.own[:0], 0, 0, nil
	in.progress.Store(0)
}

// ResetBytes makes the Input read b, which it does not copy and never writes to.
func (in *Input) ResetBytes(b []byte) {
	in.r, in.buf, in.pos, in.base, in.err = nil, b, 0, 0, io.EOF
}

// Buffered returns the bytes that have been read from the source and not been
// consumed. It is valid until the next call of any other method.
func (in *Input) Buffered() []byte { return in.buf[in.pos:] }

// Discard consumes the next n bytes, which must be buffered.
func (in *Input) Discard(n int) {
	if n < 0 || n > len(in.buf)-in.pos {
		panic("inflate: Discard of bytes that are not buffered")
	}
	in.pos += n
}

// Read consumes up to len(p) bytes. It makes the Input an [io.Reader].
func (in *Input) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if in.pos == len(in.buf) {
		if err := in.Fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, in.buf[in.pos:])
	in.pos += n
	return n, nil
}

// Offset returns how many bytes have been consumed since Reset.
func (in *Input) Offset() int64 { return in.base + int64(in.pos) }

// Progress is [Input.Offset] as of the last Fill. Unlike everything else here it
// may be called at any time from any goroutine.
func (in *Input) Progress() int64 { return in.progress.Load() }

// Fill reads more bytes behind the buffered ones, by one Read of the source that
// returns any. The error is the source's own: io.EOF at its end, and it is the
// same again for every later call. Fill must not be called with the whole buffer
// (128 KiB) unconsumed.
func (in *Input) Fill() error {
	in.progress.Store(in.Offset())
	if in.err != nil {
		return in.err
	}
	if in.pos > 0 {
		n := copy(in.own, in.buf[in.pos:])
		in.base += int64(in.pos)
		in.pos, in.buf = 0, in.own[:n]
	}
	if len(in.buf) == len(in.own) {
		panic("inflate: Fill of a full Input")
	}
	for range maxEmptyReads {
		n, err := in.r.Read(in.own[len(in.buf):])
		in.buf, in.err = in.own[:len(in.buf)+n], err
		if n > 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
	in.err = io.ErrNoProgress
	return in.err
}
