package ptable

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"math"
	"unicode/utf16"
)

var gptSignature = []byte("EFI PART")

// hasGPT reports whether a GPT header stands in sector 1.
func hasGPT(head []byte, sector int64) bool {
	return int64(len(head)) >= sector+92 && bytes.HasPrefix(head[sector:], gptSignature)
}

// parseGPT reads the primary GPT, whose header stands in sector 1 (UEFI 2.10, table 5.5).
func parseGPT(head []byte, sector int64) (*Table, error) {
	bad := func(format string, args ...any) (*Table, error) {
		return nil, &InvalidError{"GPT", fmt.Sprintf(format, args...)}
	}
	h := head[sector:]
	size := le32(h[12:])
	if size < 92 || int64(size) > sector || int(size) > len(h) {
		return bad("its header claims %d bytes", size)
	}
	sum := bytes.Clone(h[:size])
	clear(sum[16:20])
	if got, want := crc32.ChecksumIEEE(sum), le32(h[16:]); got != want {
		return bad("the checksum of its header is %08x instead of %08x", got, want)
	}
	if lba := le64(h[24:]); lba != 1 {
		return bad("its header says that it stands in sector %d", lba)
	}
	first, last := le64(h[40:]), le64(h[48:])
	limit := uint64(math.MaxInt64 / sector)
	if alt := le64(h[32:]); first > last || last >= limit || alt >= limit {
		return bad("usable sectors %d to %d, backup in %d", first, last, alt)
	}

	at, n, width := le64(h[72:]), le32(h[80:]), le32(h[84:])
	if width < 128 || width%8 != 0 || at < 2 || at >= limit {
		return bad("entries of %d bytes in sector %d", width, at)
	}
	start := int64(at) * sector
	if start > int64(len(head)) || uint64(n)*uint64(width) > uint64(int64(len(head))-start) {
		return bad("its %d entries do not lie within the first %d bytes", n, len(head))
	}
	array := head[start:][:int(n)*int(width)]
	if got, want := crc32.ChecksumIEEE(array), le32(h[88:]); got != want {
		return bad("the checksum of its entries is %08x instead of %08x", got, want)
	}

	t := &Table{Kind: GPT, SectorSize: sector, ID: guid(h[56:]), AlternateEnd: (int64(le64(h[32:])) + 1) * sector}
	for i := range int(n) {
		e := array[i*int(width):][:128]
		if bytes.Equal(e[:16], make([]byte, 16)) {
			continue // unused
		}
		s, l := le64(e[32:]), le64(e[40:])
		if s < first || l > last || s > l {
			return bad("partition %d has sectors %d to %d, outside of %d to %d", i+1, s, l, first, last)
		}
		t.Partitions = append(t.Partitions, Partition{
			Number: i + 1,
			Start:  int64(s) * sector,
			Size:   int64(l-s+1) * sector,
			Type:   guid(e),
			UUID:   guid(e[16:]),
			Name:   name(e[56:128]),
		})
	}
	return t, nil
}

// guid formats the mixed-endian GUID at b (UEFI 2.10, appendix A).
func guid(b []byte) string {
	return fmt.Sprintf("%08x-%04x-%04x-%x-%x", le32(b), uint16(b[4])|uint16(b[5])<<8, uint16(b[6])|uint16(b[7])<<8, b[8:10], b[10:16])
}

// name decodes the UTF-16 name that ends at the first zero.
func name(b []byte) string {
	var u []uint16
	for i := 0; i+1 < len(b); i += 2 {
		c := uint16(b[i]) | uint16(b[i+1])<<8
		if c == 0 {
			break
		}
		u = append(u, c)
	}
	return string(utf16.Decode(u))
}
