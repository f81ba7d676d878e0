package unxz

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"hash/crc32"
)

// indexSum stands for a list of index records without keeping them: two lists
// are equal when their sums are. A stream may have any number of blocks.
type indexSum struct {
	count   int64
	records hash.Hash // SHA-256 over the sizes
	buf     [16]byte
}

func newIndexSum() *indexSum { return &indexSum{records: sha256.New()} }

func (s *indexSum) reset() {
	s.count = 0
	s.records.Reset()
}

// add adds the record of a block: its size in the file without the padding,
// and the size of what it decodes to.
func (s *indexSum) add(unpadded, uncompressed int64) {
	s.count++
	binary.LittleEndian.PutUint64(s.buf[:], uint64(unpadded))
	binary.LittleEndian.PutUint64(s.buf[8:], uint64(uncompressed))
	s.records.Write(s.buf[:])
}

func (s *indexSum) equal(t *indexSum) bool {
	return s.count == t.count && string(s.records.Sum(nil)) == string(t.records.Sum(nil))
}

// readIndex reads an index (section 4) after its indicator byte, compares it
// with the blocks seen, and returns its size. own is room to sum it up in.
func readIndex(in *input, blocks, own *indexSum) (size int64, err error) {
	start := in.off - 1
	var room [2 * vliBytesMax]byte
	crc := crc32.ChecksumIEEE([]byte{0})
	count, seen, err := readVLI(in, room[:0])
	if err != nil {
		return 0, err
	}
	crc = crc32.Update(crc, crc32.IEEETable, seen)
	if count != blocks.count {
		return 0, in.corrupt("the index has not as many records as there are blocks")
	}
	own.reset()
	for range count {
		unpadded, seen, err := readVLI(in, room[:0])
		if err != nil {
			return 0, err
		}
		uncompressed, seen, err := readVLI(in, seen)
		if err != nil {
			return 0, err
		}
		crc = crc32.Update(crc, crc32.IEEETable, seen)
		own.add(unpadded, uncompressed)
	}
	if !own.equal(blocks) {
		return 0, in.corrupt("the index disagrees with the blocks about their sizes")
	}
	for (in.off-start)%4 != 0 {
		b, err := in.readByte()
		if err != nil {
			return 0, err
		}
		if b != 0 {
			return 0, in.corrupt("the padding of the index is not zero")
		}
		crc = crc32.Update(crc, crc32.IEEETable, []byte{0})
	}
	var want [4]byte
	if err := in.readFull(want[:]); err != nil {
		return 0, err
	}
	if crc != binary.LittleEndian.Uint32(want[:]) {
		return 0, in.corrupt("the index does not match its CRC")
	}
	return in.off - start, nil
}
