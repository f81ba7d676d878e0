package unxz

// step decodes one bit without a branch on its value, which in literals and
// distances is as good as random. r and c are the range and the code after
// normalisation, p the probability that the bit is 0. It returns them
// updated, and m: all ones if the bit is 0 and zero if it is 1.
//
// r and c hold 32-bit values; the sign of their 64-bit difference makes m.
func step(r, c, p uint64) (r2, c2, p2, m uint64) {
	bound := uint64(uint32(r>>probBits) * uint32(p))
	r -= bound
	c -= bound
	m = uint64(int64(c) >> 63)
	// A 0 moves p up by (2048-p)>>5 and a 1 down by p>>5; p + 31 - 2048 shifted
	// with its sign is the first of these.
	p2 = p - uint64(int64(p+m&zeroBias)>>probShift)
	return r + m&(bound-r), c + m&bound, p2, m
}

// zeroBias is 31 - 2048 in two's complement.
const zeroBias = 1<<64 + (1<<probShift - 1) - probMax
