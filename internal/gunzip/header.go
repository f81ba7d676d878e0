package gunzip

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"

	"github.com/openseastack/netboot-imager/internal/inflate"
)

// RFC 1952, 2.3.1.
const (
	magic1, magic2 = 0x1f, 0x8b
	methodDeflate  = 8

	flagHeaderCRC = 1 << 1
	flagExtra     = 1 << 2
	flagName      = 1 << 3
	flagComment   = 1 << 4
	flagReserved  = 0xe0

	fixedHeader = 10
	trailerSize = 8 // CRC-32 and length modulo 2^32
)

// A member is what its header says of it.
type member struct {
	start int64 // offset of the header in the file
	data  int64 // offset of what follows the header
	size  int   // of the whole member in bytes, 0 if not known ahead
}

// A headerReader reads headers and the CRC of what it consumes.
type headerReader struct {
	in  *inflate.Input
	crc uint32
}

// need buffers n bytes, at most 64 KiB and a few.
func need(in *inflate.Input, n int) error {
	for len(in.Buffered()) < n {
		if err := in.Fill(); err != nil {
			return noEOF(err)
		}
	}
	return nil
}

// noEOF is for where the file must not end.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// readHeader consumes the header of a member.
func readHeader(in *inflate.Input) (m member, err error) {
	m.start = in.Offset()
	corrupt := func(reason string) (member, error) {
		return m, &CorruptError{Offset: m.start, Reason: reason}
	}
	h := headerReader{in: in}
	fixed, err := h.take(fixedHeader)
	if err != nil {
		return m, err
	}
	flags := fixed[3]
	switch {
	case fixed[0] != magic1 || fixed[1] != magic2:
		return corrupt("not a gzip header")
	case fixed[2] != methodDeflate:
		return corrupt("compressed by a method other than deflate")
	case flags&flagReserved != 0:
		return corrupt("reserved flag in the header")
	}
	if flags&flagExtra != 0 {
		length, err := h.take(2)
		if err != nil {
			return m, err
		}
		extra, err := h.take(int(binary.LittleEndian.Uint16(length)))
		if err != nil {
			return m, err
		}
		m.size = bgzfSize(extra)
	}
	for _, flag := range []byte{flagName, flagComment} {
		if flags&flag != 0 {
			if err := h.skipString(); err != nil {
				return m, err
			}
		}
	}
	if flags&flagHeaderCRC != 0 {
		want := uint16(h.crc)
		got, err := h.take(2)
		if err != nil {
			return m, err
		}
		if binary.LittleEndian.Uint16(got) != want {
			return corrupt("wrong header checksum")
		}
	}
	m.data = in.Offset()
	return m, nil
}

// take consumes n bytes, which are valid until the next call.
func (h *headerReader) take(n int) ([]byte, error) {
	if err := need(h.in, n); err != nil {
		return nil, err
	}
	b := h.in.Buffered()[:n]
	h.crc = crc32.Update(h.crc, crc32.IEEETable, b)
	h.in.Discard(n)
	return b, nil
}

// skipString consumes bytes up to and with a zero.
func (h *headerReader) skipString() error {
	for {
		if err := need(h.in, 1); err != nil {
			return err
		}
		b := h.in.Buffered()
		end := bytes.IndexByte(b, 0)
		if end >= 0 {
			b = b[:end+1]
		}
		if _, err := h.take(len(b)); err != nil || end >= 0 {
			return err
		}
	}
}

// bgzfSize returns the size of a member from its extra field, or 0 if that does
// not tell. Subfields are two bytes of name and two of length (RFC 1952, 2.3.1.1);
// in "BC" are two bytes with the size less 1 (SAM specification, 4.1).
func bgzfSize(extra []byte) int {
	for len(extra) >= 4 {
		name, n := extra[:2], int(binary.LittleEndian.Uint16(extra[2:]))
		extra = extra[4:]
		if n > len(extra) {
			break
		}
		if string(name) == "BC" && n == 2 {
			return int(binary.LittleEndian.Uint16(extra)) + 1
		}
		extra = extra[n:]
	}
	return 0
}

// another returns nil if a further member begins here, and io.EOF at the end of
// the file, perhaps after zeros.
func another(in *inflate.Input) error {
	if len(in.Buffered()) == 0 {
		if err := in.Fill(); err != nil {
			return err
		}
	}
	switch in.Buffered()[0] {
	case magic1:
		if err := need(in, 2); err != nil {
			return err
		}
		if in.Buffered()[1] == magic2 {
			return nil
		}
		return &TrailingError{Offset: in.Offset()}
	case 0:
		return padding(in)
	default:
		return &TrailingError{Offset: in.Offset()}
	}
}

// padding consumes zeros up to the end of the file and returns io.EOF then.
func padding(in *inflate.Input) error {
	for {
		for i, b := range in.Buffered() {
			if b != 0 {
				return &TrailingError{Offset: in.Offset() + int64(i)}
			}
		}
		in.Discard(len(in.Buffered()))
		if err := in.Fill(); err != nil {
			return err
		}
	}
}
