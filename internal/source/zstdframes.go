package source

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// zstdFrames passes zstd frames on and ends where the last one ends. It walks along their
// headers (RFC 8878, section 3.1.1), since the decoder takes up to three bytes behind a
// frame for an end and any padding for a broken frame.
//
// If it is told what was decoded, it keeps zeros back that only lengthen a run of them,
// and with them the frame's size and checksum, which it looks at itself.
type zstdFrames struct {
	br   *bufio.Reader
	head []byte // of a frame, in place of its own; to pass on first
	left int64  // bytes of the current piece to pass on

	inFrame  bool // between a frame's header and its last block
	checksum bool // of the current frame
	last     bool // the piece is the frame's last block
	any      bool // a frame has been seen

	out   *zstdOutput // nil if the decoder reads ahead
	lean  bool        // the current frame's size and checksum are kept back, and zeros
	size  uint64      // of the current frame's content, if sized
	sized bool
	win   int64 // the window of the current frame, bytes; matches reach no further back
	run   int64 // bytes of zeros passed on, up to the current piece
	kept  int64 // bytes of zeros kept back, of all frames; they belong in front of what is passed on next

	mu  sync.Mutex // Read runs in the decoder's goroutine
	err error
}

func (f *zstdFrames) Read(p []byte) (int, error) {
	if f.left == 0 && len(f.head) == 0 {
		n, err := f.next()
		if err != nil {
			f.fail(err)
			return 0, err
		}
		f.left = n
	}
	if len(f.head) > 0 {
		n := copy(p, f.head)
		f.head = f.head[n:]
		return n, nil
	}
	n, err := f.br.Read(p[:min(int64(len(p)), f.left)])
	f.left -= int64(n)
	if err != nil {
		err = noEOF(err)
		f.fail(err)
	}
	return n, err
}

func (f *zstdFrames) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

// fault returns the error that Read ended with, unless it is io.EOF.
func (f *zstdFrames) fault() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == io.EOF {
		return nil
	}
	return f.err
}

// next returns the length of the next piece, header included: a frame's header, a
// block, a skippable frame. It is 0 if all of the piece is in head.
func (f *zstdFrames) next() (int64, error) {
	if f.inFrame && !f.last {
		return f.block()
	}
	if f.inFrame {
		f.inFrame, f.last = false, false
		if f.lean {
			if err := f.end(); err != nil {
				return 0, err
			}
		} else if f.checksum {
			return 4, nil
		}
	}
	head, err := f.br.Peek(4)
	if len(head) == 0 {
		if err == io.EOF && !f.any {
			err = io.ErrUnexpectedEOF
		}
		return 0, err
	}
	if f.any && head[0] == 0 {
		return 0, onlyZeros(f.br)
	}
	if len(head) < 4 {
		if err == io.EOF && f.any {
			err = errTrailing
		}
		return 0, noEOF(err)
	}
	switch magic := binary.LittleEndian.Uint32(head); {
	case magic&^0xF == 0x184D2A50:
		head, err := f.br.Peek(8)
		if len(head) < 8 {
			return 0, noEOF(err)
		}
		return 8 + int64(binary.LittleEndian.Uint32(head[4:])), nil
	case magic == 0xFD2FB528:
		return f.header()
	case f.any:
		return 0, errTrailing
	}
	return 0, errors.New("it has no zstd frame")
}

// Bits of a frame header's descriptor.
const (
	fhdDictID   = 3
	fhdChecksum = 1 << 2
	fhdSingle   = 1 << 5 // no window descriptor: the window is all of the frame
)

// header returns the length of a frame's header, or puts another one in its place.
func (f *zstdFrames) header() (int64, error) {
	head, err := f.br.Peek(5)
	if len(head) < 5 {
		return 0, noEOF(err)
	}
	d := head[4]
	single, dict, size := d&fhdSingle != 0, []int{0, 1, 2, 4}[d&fhdDictID], []int{0, 2, 4, 8}[d>>6]
	n := 5 + dict + size
	if !single || d>>6 == 0 { // window descriptor, or content size of one byte
		n++
	}
	f.any, f.inFrame, f.checksum, f.lean = true, true, d&fhdChecksum != 0, f.out != nil && !single
	if !f.lean {
		return int64(n), nil
	}
	if head, err = f.br.Peek(n); len(head) < n {
		return 0, noEOF(err)
	}
	w := head[5]
	f.win = 1 << (10 + w>>3)
	f.win += f.win / 8 * int64(w&7)
	f.size, f.sized = 0, size > 0
	for i, c := range head[n-size : n] {
		f.size |= uint64(c) << (8 * i)
	}
	if size == 2 {
		f.size += 256
	}
	f.run = 0
	f.out.reset()
	f.head = append([]byte(nil), head[:n-size]...)
	f.head[4] &^= 3<<6 | fhdChecksum
	_, err = f.br.Discard(n)
	return 0, err
}

// block returns the length of the next block to pass on.
func (f *zstdFrames) block() (int64, error) {
	for {
		head, err := f.br.Peek(3)
		if len(head) < 3 {
			return 0, noEOF(err)
		}
		v := int64(head[0]) | int64(head[1])<<8 | int64(head[2])<<16
		f.last = v&1 != 0
		n := 3 + v>>3
		switch v >> 1 & 3 {
		case 1: // one byte, repeated
			kept, err := f.keep(v >> 3)
			if err != nil {
				return 0, err
			}
			if kept {
				continue
			}
			return 3 + 1, nil
		case 3:
			return 0, errors.New("a block of its is of the reserved type")
		}
		f.run = 0
		return n, nil
	}
}

// maxZstdBlock is how many bytes a block's content can have, if the window has as many.
const maxZstdBlock = 128 << 10

var zeroBlock [maxZstdBlock]byte

// keep keeps a block of n times the same byte back if that is a zero, and at least a
// window of zeros was passed on before: the decoder then knows nothing else, and would
// know no more with these. The frame's last block is passed on, so that it has one.
func (f *zstdFrames) keep(n int64) (bool, error) {
	if !f.lean {
		return false, nil
	}
	head, err := f.br.Peek(4)
	if len(head) < 4 {
		return false, noEOF(err)
	}
	switch {
	case head[3] != 0:
		f.run = 0
	case f.run < f.win || f.last || n > min(f.win, maxZstdBlock):
		f.run += n
	default:
		f.kept += n
		f.out.add(zeroBlock[:n])
		_, err := f.br.Discard(4)
		return true, err
	}
	return false, nil
}

// end looks at what a lean frame ends with, when all of it has been decoded and read.
func (f *zstdFrames) end() error {
	if f.sized && f.out.size != f.size {
		return zstd.ErrFrameSizeMismatch
	}
	if !f.checksum {
		return nil
	}
	sum, err := f.br.Peek(4)
	if len(sum) < 4 {
		return noEOF(err)
	}
	if binary.LittleEndian.Uint32(sum) != uint32(f.out.sum.Sum64()) {
		return zstd.ErrCRCMismatch
	}
	_, err = f.br.Discard(4)
	return err
}
