package source

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"sync"
)

// zstdFrames passes zstd frames on unchanged and ends where the last one ends. It walks
// along their headers (RFC 8878, section 3.1.1), since the decoder takes up to three
// bytes behind a frame for an end and any padding for a broken frame.
type zstdFrames struct {
	br   *bufio.Reader
	left int64 // bytes of the current piece to pass on

	inFrame  bool // between a frame's header and its last block
	checksum bool // of the current frame
	last     bool // the piece is the frame's last block
	any      bool // a frame has been seen

	mu  sync.Mutex // Read runs in the decoder's goroutine
	err error
}

func (f *zstdFrames) Read(p []byte) (int, error) {
	if f.left == 0 {
		n, err := f.next()
		if err != nil {
			f.mu.Lock()
			f.err = err
			f.mu.Unlock()
			return 0, err
		}
		f.left = n
	}
	n, err := f.br.Read(p[:min(int64(len(p)), f.left)])
	f.left -= int64(n)
	if err != nil {
		err = noEOF(err)
		f.mu.Lock()
		f.err = err
		f.mu.Unlock()
	}
	return n, err
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
// block, a skippable frame.
func (f *zstdFrames) next() (int64, error) {
	if f.inFrame {
		if f.last {
			f.inFrame, f.last = false, false
			if f.checksum {
				return 4, nil
			}
			return f.next()
		}
		return f.block()
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

func (f *zstdFrames) header() (int64, error) {
	head, err := f.br.Peek(5)
	if len(head) < 5 {
		return 0, noEOF(err)
	}
	d := head[4]
	n := int64(5) + []int64{0, 1, 2, 4}[d&3] + []int64{0, 2, 4, 8}[d>>6]
	if single := d&0x20 != 0; !single {
		n++ // window descriptor
	} else if d>>6 == 0 {
		n++ // content size of one byte
	}
	f.any, f.inFrame, f.checksum = true, true, d&4 != 0
	return n, nil
}

func (f *zstdFrames) block() (int64, error) {
	head, err := f.br.Peek(3)
	if len(head) < 3 {
		return 0, noEOF(err)
	}
	v := int64(head[0]) | int64(head[1])<<8 | int64(head[2])<<16
	f.last = v&1 != 0
	switch v >> 1 & 3 {
	case 1: // one byte, repeated
		return 3 + 1, nil
	case 3:
		return 0, errors.New("a block of its is of the reserved type")
	}
	return 3 + v>>3, nil
}
