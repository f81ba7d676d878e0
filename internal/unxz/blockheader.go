package unxz

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// blockHeader is what stands before the data of a block (section 3.1).
type blockHeader struct {
	size         int   // of the header itself, in bytes
	compressed   int64 // bytes of data, -1 if the header does not say
	uncompressed int64 // bytes it decodes to, -1 if the header does not say
	dict         int64 // size of the dictionary in bytes
	filters      [filtersMax]filterSpec
	nfilters     int // how many come after LZMA2, in the order of encoding
}

const (
	blockHeaderMax = 1024
	filtersMax     = 3 // besides LZMA2
	dictMin        = 4096
)

// readBlockHeader reads the rest of a block header whose first byte, not zero,
// has been read. raw is room for blockHeaderMax bytes.
func readBlockHeader(in *input, first byte, raw []byte, h *blockHeader) error {
	*h = blockHeader{size: (int(first) + 1) * 4, compressed: -1, uncompressed: -1}
	raw = raw[:h.size]
	raw[0] = first
	if err := in.readFull(raw[1:]); err != nil {
		return err
	}
	p, sum := raw[:h.size-4], raw[h.size-4:]
	if crc32.ChecksumIEEE(p) != binary.LittleEndian.Uint32(sum) {
		return in.corrupt("a block header does not match its CRC")
	}
	flags := p[1]
	if flags&0x3c != 0 {
		return &UnsupportedError{What: "reserved block flags"}
	}
	p = p[2:]
	malformed := func() error { return in.corrupt("a block header is not well-formed") }
	take := func() (int64, bool) {
		v, n := takeVLI(p)
		p = p[n:]
		return v, n > 0
	}
	var ok bool
	if flags&0x40 != 0 {
		if h.compressed, ok = take(); !ok || h.compressed == 0 || h.compressed > vliMax-blockHeaderMax-checkSizeMax {
			return malformed()
		}
	}
	if flags&0x80 != 0 {
		if h.uncompressed, ok = take(); !ok {
			return malformed()
		}
	}
	n := int(flags & 3)
	for i := range n + 1 {
		id, ok1 := take()
		size, ok2 := take()
		if !ok1 || !ok2 || size > int64(len(p)) {
			return malformed()
		}
		props := p[:size]
		p = p[size:]
		if i < n {
			spec, err := newFilterSpec(id, props)
			if err != nil {
				return err
			}
			h.filters[i] = spec
			continue
		}
		if id != filterLZMA2 {
			return &UnsupportedError{What: fmt.Sprintf("%s as the last filter of a block", filterName(id))}
		}
		if len(props) != 1 || props[0] > 40 {
			return &UnsupportedError{What: "unknown properties of the LZMA2 filter"}
		}
		h.dict = dictSize(props[0])
	}
	h.nfilters = n
	for _, b := range p {
		if b != 0 {
			return &UnsupportedError{What: "unknown fields in a block header"}
		}
	}
	return nil
}

// dictSize is the dictionary size a byte of at most 40 stands for (section
// 5.3.1).
func dictSize(b byte) int64 {
	if b == 40 {
		return 1<<32 - 1
	}
	return int64(2|b&1) << (b/2 + 11)
}
