package unxz

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"hash/crc32"
	"hash/crc64"
)

// checkID says which check a stream's blocks end with (section 2.1.1.2).
type checkID byte

const (
	checkNone   checkID = 0
	checkCRC32  checkID = 1
	checkCRC64  checkID = 4
	checkSHA256 checkID = 10
)

const checkSizeMax = sha256.Size

// size is how many bytes the check takes at the end of a block.
func (id checkID) size() int {
	switch id {
	case checkCRC32:
		return crc32.Size
	case checkCRC64:
		return crc64.Size
	case checkSHA256:
		return sha256.Size
	}
	return 0
}

// supported is an UnsupportedError for the ids the format keeps for later.
func (id checkID) supported() error {
	switch id {
	case checkNone, checkCRC32, checkCRC64, checkSHA256:
		return nil
	}
	return &UnsupportedError{What: fmt.Sprintf("the unknown integrity check %d", byte(id))}
}

// String names the check.
func (id checkID) String() string {
	switch id {
	case checkCRC32:
		return "CRC32"
	case checkCRC64:
		return "CRC64"
	case checkSHA256:
		return "SHA-256"
	}
	return fmt.Sprintf("check %d", byte(id))
}

var crc64Table = crc64.MakeTable(crc64.ECMA)

// checker computes the check of one block after another.
type checker struct {
	id    checkID
	crc32 uint32
	crc64 uint64
	sha   hash.Hash
	sum   [checkSizeMax]byte
}

func (c *checker) reset(id checkID) {
	c.id, c.crc32, c.crc64 = id, 0, 0
	if id == checkSHA256 {
		if c.sha == nil {
			c.sha = sha256.New()
		}
		c.sha.Reset()
	}
}

func (c *checker) write(p []byte) {
	switch c.id {
	case checkCRC32:
		c.crc32 = crc32.Update(c.crc32, crc32.IEEETable, p)
	case checkCRC64:
		c.crc64 = crc64.Update(c.crc64, crc64Table, p)
	case checkSHA256:
		c.sha.Write(p)
	}
}

// matches reports whether want, of the check's size, is the check of
// everything written.
func (c *checker) matches(want []byte) bool {
	sum := c.sum[:0]
	switch c.id {
	case checkCRC32:
		sum = binary.LittleEndian.AppendUint32(sum, c.crc32)
	case checkCRC64:
		sum = binary.LittleEndian.AppendUint64(sum, c.crc64)
	case checkSHA256:
		sum = c.sha.Sum(sum)
	}
	return bytes.Equal(sum, want)
}
