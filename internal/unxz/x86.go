package unxz

import (
	"encoding/binary"
	"math/bits"
)

// x86State undoes the x86 filter: CALL and JMP with a 32-bit displacement
// whose top byte is 00 or FF, as it is for near targets.
//
// The opcodes' bytes, E8 and E9, also occur within displacements. The encoder
// therefore converts a candidate only if the three bytes before hold at most
// one other candidate that it left alone, and none that looked near; then it
// also sees to it that the byte of the result where that one expects its top
// byte does not look near. The decoder has to decide the same from the same
// bytes.
type x86State struct {
	// Bit k stands for the byte k+1 before the next one: whether it was a
	// candidate left alone, and whether that looked near.
	alone, near uint32
}

// looksNear reports whether b can be the top byte of a near displacement.
func looksNear(b byte) bool { return b == 0 || b == 0xff }

// undo converts the displacements in p, whose first byte is at address pos,
// and returns how many bytes are final.
func (s *x86State) undo(p []byte, pos uint32) int {
	i := 0
	for i+5 <= len(p) {
		if p[i]&0xfe != 0xe8 {
			s.alone = s.alone << 1 & 7
			s.near = s.near << 1 & 7
			i++
			continue
		}
		near := looksNear(p[i+4])
		if !near || s.near != 0 || s.alone&(s.alone-1) != 0 {
			s.alone = (s.alone<<1 | 1) & 7
			s.near = s.near << 1 & 7
			if near {
				s.near |= 1
			}
			i++
			continue
		}
		next := pos + uint32(i) + 5
		dest := binary.LittleEndian.Uint32(p[i+1:]) - next
		if s.alone != 0 {
			// How far its top byte reaches into our displacement, in bits.
			low := 32 - 8*(uint(bits.TrailingZeros32(s.alone))+1)
			if looksNear(byte(dest >> (low - 8))) {
				// Once is enough: this makes it the complement of the byte
				// before conversion, which did not look near.
				dest = dest ^ (1<<low - 1) - next
			}
		}
		// The displacement is of 25 bits, with its sign.
		binary.LittleEndian.PutUint32(p[i+1:], dest&0x1ffffff|-(dest>>24&1)<<24)
		s.alone, s.near = 0, 0
		i += 5
	}
	return i
}
