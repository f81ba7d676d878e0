package unxz

// The range decoder is two 32-bit values, range and code, here called r and c
// and held in 64 bits each, and a position ip in the compressed bytes. They
// are passed by value all the way, so that they stay in registers.

// norm takes in a byte if the range has become too short to decode from.
func norm(in *[chunkMax]byte, ip uint, r, c uint64) (uint, uint64, uint64) {
	if r < rangeTop {
		return ip + 1, r << 8, c<<8 | uint64(in[uint16(ip)])
	}
	return ip, r, c
}

// step decodes a bit without a branch on its value, which in literals and
// distances is as good as random. r and c have to be normalised, p is the
// probability that the bit is 0. It returns them updated, and m: all ones if
// the bit is 0, and zero if it is 1.
func step(r, c, p uint64) (r2, c2, p2, m uint64) {
	bound := uint64(uint32(r>>probBits) * uint32(p))
	r -= bound
	c -= bound
	m = uint64(int64(c) >> 63) // the sign of the 64-bit difference
	// A 0 moves p up by (2048-p)>>5 and a 1 down by p>>5; p + 31 - 2048 shifted
	// with its sign is the first of these, negated.
	p2 = p - uint64(int64(p+m&zeroBias)>>probShift)
	return r + m&(bound-r), c + m&bound, p2, m
}

// zeroBias is 31 - 2048 in two's complement.
const zeroBias = 1<<64 + (1<<probShift - 1) - probMax

// pick returns p0 if m is all ones and p1 if it is zero.
func pick(m, p0, p1 uint64) uint64 { return p1 ^ m&(p0^p1) }

// probUp is p after a 0 was decoded with it, and probDown after a 1.
func probUp(p uint64) uint16   { return uint16(p + (probMax-p)>>probShift) }
func probDown(p uint64) uint16 { return uint16(p - p>>probShift) }
