package unxz

import (
	"encoding/binary"
	"hash/crc32"
)

// builder writes xz files by hand, with right CRCs around whatever is in them.
type builder struct {
	file    []byte
	check   checkID
	records []byte
	count   int

	// what is wrong on purpose
	indexCount  int // added to the number of records
	indexBack   int // added to the backward size
	footerFlags byte
	indexExtra  []byte // further records
}

func newBuilder(check checkID) *builder {
	b := &builder{check: check}
	b.begin()
	return b
}

func (b *builder) begin() {
	flags := []byte{0, byte(b.check)}
	b.file = append(b.file, headerMagic...)
	b.file = append(b.file, flags...)
	b.file = binary.LittleEndian.AppendUint32(b.file, crc32.ChecksumIEEE(flags))
	b.records, b.count = nil, 0
}

// lzma2Header is the body of a block header, flags and on, for LZMA2 with a
// dictionary of size code dict. Sizes below 0 are left out.
func lzma2Header(dict byte, compressed, uncompressed int) []byte {
	h := []byte{0}
	if compressed >= 0 {
		h[0] |= 0x40
		h = binary.AppendUvarint(h, uint64(compressed))
	}
	if uncompressed >= 0 {
		h[0] |= 0x80
		h = binary.AppendUvarint(h, uint64(uncompressed))
	}
	return append(h, filterLZMA2, 1, dict)
}

// block adds a block of header body h around data, which decodes to plain.
func (b *builder) block(h, data, plain []byte) {
	size := (1 + len(h) + 4 + 3) / 4 * 4
	raw := make([]byte, size-4)
	raw[0] = byte(size/4 - 1)
	copy(raw[1:], h)
	raw = binary.LittleEndian.AppendUint32(raw, crc32.ChecksumIEEE(raw))
	b.file = append(append(b.file, raw...), data...)
	b.file = append(b.file, make([]byte, paddingOf(int64(len(data))))...)
	var c checker
	c.reset(b.check)
	c.write(plain)
	switch b.check {
	case checkCRC32:
		b.file = binary.LittleEndian.AppendUint32(b.file, c.crc32)
	case checkCRC64:
		b.file = binary.LittleEndian.AppendUint64(b.file, c.crc64)
	case checkSHA256:
		b.file = c.sha.Sum(b.file)
	}
	b.record(size+len(data)+b.check.size(), len(plain))
}

func (b *builder) record(unpadded, uncompressed int) {
	b.records = binary.AppendUvarint(b.records, uint64(unpadded))
	b.records = binary.AppendUvarint(b.records, uint64(uncompressed))
	b.count++
}

// end closes the stream and returns the file.
func (b *builder) end() []byte {
	index := binary.AppendUvarint([]byte{0}, uint64(b.count+b.indexCount))
	index = append(append(index, b.records...), b.indexExtra...)
	index = append(index, make([]byte, paddingOf(int64(len(index))))...)
	index = binary.LittleEndian.AppendUint32(index, crc32.ChecksumIEEE(index))
	b.file = append(b.file, index...)
	footer := binary.LittleEndian.AppendUint32(nil, uint32(len(index)/4-1+b.indexBack))
	footer = append(footer, b.footerFlags, byte(b.check))
	b.file = binary.LittleEndian.AppendUint32(b.file, crc32.ChecksumIEEE(footer))
	b.file = append(append(b.file, footer...), footerMagic...)
	return b.file
}

// verbatim is an LZMA2 chunk that is not compressed; control 1 resets the
// dictionary, 2 does not.
func verbatim(control byte, data []byte) []byte {
	return append([]byte{control, byte((len(data) - 1) >> 8), byte(len(data) - 1)}, data...)
}

// join puts chunks and the end of the data behind each other.
func join(chunks ...[]byte) []byte {
	var out []byte
	for _, c := range chunks {
		out = append(out, c...)
	}
	return append(out, 0)
}

// payload is the LZMA2 data of the only block of a file of the real xz, and
// rest all of it but the end marker.
func payload(file []byte) (data, rest []byte) {
	start := headerSize + (int(file[headerSize])+1)*4
	z := new(lzma2)
	var in input
	r := &sliceReader{p: file[start:]}
	in.reset(r, 0)
	z.reset()
	w := new(ring)
	w.reset(make([]byte, 64<<20), 32<<20)
	for {
		more, err := z.next(&in, w)
		if err != nil {
			panic(err)
		}
		if !more {
			return file[start : start+int(in.off)], file[start : start+int(in.off)-1]
		}
		for z.left > 0 {
			if _, err := z.decode(&in, w, w.room()); err != nil {
				panic(err)
			}
		}
	}
}

type sliceReader struct{ p []byte }

func (r *sliceReader) Read(p []byte) (int, error) {
	n := copy(p, r.p)
	r.p = r.p[n:]
	return n, nil
}
