package unxz

import "encoding/binary"

// copyMatch repeats n bytes from dist+1 bytes before pos, in a ring of size
// bytes. It may write up to slack bytes more.
//
//go:noinline
func copyMatch(buf []byte, size, pos int, dist uint, n int) {
	d := int(dist) + 1
	src := pos - d
	end := pos + n
	switch {
	case src < 0: // once in a turn of the ring
		src += size
		for ; pos < end; pos++ {
			buf[pos] = buf[src]
			if src++; src == size {
				src = 0
			}
		}
		return
	case d == 1:
		v := uint64(buf[src]) * 0x0101010101010101
		for ; pos < end; pos += 16 {
			p := buf[pos : pos+16]
			binary.LittleEndian.PutUint64(p, v)
			binary.LittleEndian.PutUint64(p[8:], v)
		}
		return
	}
	// Each copy of 16 bytes below a distance of 16 has d right ones, after
	// which the pattern is twice as long.
	for ; d < 16 && pos < end; d *= 2 {
		*(*[16]byte)(buf[pos:]) = *(*[16]byte)(buf[src:])
		pos += d
	}
	for ; pos < end; pos += 16 {
		*(*[16]byte)(buf[pos:]) = *(*[16]byte)(buf[src:])
		src += 16
	}
}
