package unxz

import (
	"encoding/binary"
	"hash/crc32"
)

const (
	headerMagic = "\xfd7zXZ\x00"
	footerMagic = "YZ"
	headerSize  = 12 // of the stream header and the stream footer
)

// streamFlags are the two bytes in which header and footer must agree
// (section 2.1.1.2).
type streamFlags [2]byte

func (f streamFlags) check() checkID { return checkID(f[1]) }

// readStreamHeader reads what follows the magic of a stream header (section
// 2.1.1).
func readStreamHeader(in *input) (streamFlags, error) {
	var b [headerSize - len(headerMagic)]byte
	if err := in.readFull(b[:]); err != nil {
		return streamFlags{}, err
	}
	flags := streamFlags(b[:2])
	if crc32.ChecksumIEEE(b[:2]) != binary.LittleEndian.Uint32(b[2:]) {
		return flags, in.corrupt("the stream header does not match its CRC")
	}
	if flags[0] != 0 || flags[1] > 0x0f {
		return flags, &UnsupportedError{What: "reserved stream flags"}
	}
	return flags, flags.check().supported()
}

// readStreamFooter reads a stream footer (section 2.1.2) and compares it with
// the stream header and the index before it.
func readStreamFooter(in *input, flags streamFlags, indexSize int64) error {
	var b [headerSize]byte
	if err := in.readFull(b[:]); err != nil {
		return err
	}
	switch {
	case string(b[10:]) != footerMagic:
		return in.corrupt("the stream does not end with its footer")
	case crc32.ChecksumIEEE(b[4:10]) != binary.LittleEndian.Uint32(b[:]):
		return in.corrupt("the stream footer does not match its CRC")
	case streamFlags(b[8:10]) != flags:
		return in.corrupt("the stream footer disagrees with the stream header")
	case (int64(binary.LittleEndian.Uint32(b[4:]))+1)*4 != indexSize:
		return in.corrupt("the stream footer disagrees with the index about its size")
	}
	return nil
}

// readMagic reads the first bytes of a file.
func readMagic(in *input) error {
	for i := range len(headerMagic) {
		b, err := in.readByte()
		if err != nil {
			return err
		}
		if b != headerMagic[i] {
			return &CorruptError{Offset: 0, What: "this is not an xz file"}
		}
	}
	return nil
}

// nextStream skips the padding after a stream (section 2.2) and reads the
// magic of the one that follows. It reports false at the end of the file,
// before which any number of zero bytes may stand.
func nextStream(in *input) (bool, error) {
	zeros := int64(0)
	for {
		if err := in.fill(); err != nil {
			return false, err // io.EOF is the end
		}
		if in.buf[in.i] != 0 {
			break
		}
		in.i++
		in.off++
		zeros++
	}
	at := in.off
	for i := range len(headerMagic) {
		b, err := in.readByte()
		if err != nil {
			return false, err
		}
		if b != headerMagic[i] {
			return false, &TrailingError{Offset: at}
		}
	}
	if zeros%4 != 0 {
		return false, &CorruptError{Offset: at, What: "the padding between streams is not a multiple of four bytes"}
	}
	return true, nil
}
