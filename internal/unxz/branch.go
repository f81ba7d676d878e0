package unxz

import "encoding/binary"

// A branch filter turns the relative targets of call instructions into
// absolute ones, which repeat more often; here they are turned back (section
// 5.3.2). pos is the address of p[0]; all return how many bytes are final.

// undoARM: BL, condition always, 24 bits of words.
func undoARM(p []byte, pos uint32) int {
	i := 0
	for ; i+4 <= len(p); i += 4 {
		if p[i+3] != 0xeb {
			continue
		}
		v := binary.LittleEndian.Uint32(p[i:])
		v = (v<<2 - (pos + uint32(i) + 8)) >> 2
		binary.LittleEndian.PutUint32(p[i:], v&0xffffff|0xeb<<24)
	}
	return i
}

// undoARMThumb: BL as two halfwords of 11 bits each.
func undoARMThumb(p []byte, pos uint32) int {
	i := 0
	for ; i+4 <= len(p); i += 2 {
		hi := binary.LittleEndian.Uint16(p[i:])
		lo := binary.LittleEndian.Uint16(p[i+2:])
		if hi>>11 != 0x1e || lo>>11 != 0x1f {
			continue
		}
		v := uint32(hi&0x7ff)<<11 | uint32(lo&0x7ff)
		v = (v<<1 - (pos + uint32(i) + 4)) >> 1
		binary.LittleEndian.PutUint16(p[i:], 0xf000|uint16(v>>11)&0x7ff)
		binary.LittleEndian.PutUint16(p[i+2:], 0xf800|uint16(v)&0x7ff)
		i += 2
	}
	return i
}

// undoARM64: BL with 26 bits of words, and ADRP within ±512 MiB.
func undoARM64(p []byte, pos uint32) int {
	i := 0
	for ; i+4 <= len(p); i += 4 {
		v := binary.LittleEndian.Uint32(p[i:])
		at := pos + uint32(i)
		switch {
		case v>>26 == 0x25:
			binary.LittleEndian.PutUint32(p[i:], 0x25<<26|(v-at>>2)&0x3ffffff)
		case v&0x9f000000 == 0x90000000:
			page := v>>29&3 | v>>3&0x1ffffc
			// Only pages whose number is a small signed one were converted.
			if (page+0x20000)&0x1c0000 != 0 {
				continue
			}
			page -= at >> 12
			v &= 0x9000001f
			v |= page & 3 << 29
			v |= page & 0x3fffc << 3
			v |= -(page & 0x20000) & 0xe00000
			binary.LittleEndian.PutUint32(p[i:], v)
		}
	}
	return i
}
