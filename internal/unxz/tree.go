package unxz

// The functions here decode several bits each. They are not inlined: in the
// midst of run there would not be registers enough for them, and a spill
// would be on the longest chain of dependent instructions there is.
//
// A tree holds the probability of each bit given those before it: the root is
// at 1 and the two that may follow sym at 2 sym and 2 sym + 1. Both are
// loaded before it is known which of them it will be, so that the load is not
// in that chain.

// tree3 decodes three bits, tree6 six and tree8 eight, and return them behind
// a leading 1.
//
//go:noinline
func tree3(in *[chunkMax]byte, ip uint, r, c uint64, tree *[8]uint16) (uint, uint64, uint64, uint64) {
	var p0, p1, q, m uint64
	sym, p := uint64(1), uint64(tree[1])
	for range 2 {
		ip, r, c = norm(in, ip, r, c)
		p0, p1 = uint64(tree[sym<<1&0x6]), uint64(tree[sym<<1&0x6+1])
		r, c, q, m = step(r, c, p)
		tree[sym&0x7], p, sym = uint16(q), pick(m, p0, p1), sym<<1+1+m
	}
	ip, r, c = norm(in, ip, r, c)
	r, c, q, m = step(r, c, p)
	tree[sym&0x7] = uint16(q)
	return ip, r, c, sym<<1 + 1 + m
}

//go:noinline
func tree6(in *[chunkMax]byte, ip uint, r, c uint64, tree *[64]uint16) (uint, uint64, uint64, uint64) {
	var p0, p1, q, m uint64
	sym, p := uint64(1), uint64(tree[1])
	for range 5 {
		ip, r, c = norm(in, ip, r, c)
		p0, p1 = uint64(tree[sym<<1&0x3e]), uint64(tree[sym<<1&0x3e+1])
		r, c, q, m = step(r, c, p)
		tree[sym&0x3f], p, sym = uint16(q), pick(m, p0, p1), sym<<1+1+m
	}
	ip, r, c = norm(in, ip, r, c)
	r, c, q, m = step(r, c, p)
	tree[sym&0x3f] = uint16(q)
	return ip, r, c, sym<<1 + 1 + m
}

//go:noinline
func tree8(in *[chunkMax]byte, ip uint, r, c uint64, tree *[256]uint16) (uint, uint64, uint64, uint64) {
	var p0, p1, q, m uint64
	sym, p := uint64(1), uint64(tree[1])
	for range 7 {
		ip, r, c = norm(in, ip, r, c)
		p0, p1 = uint64(tree[sym<<1&0xfe]), uint64(tree[sym<<1&0xfe+1])
		r, c, q, m = step(r, c, p)
		tree[sym&0xff], p, sym = uint16(q), pick(m, p0, p1), sym<<1+1+m
	}
	ip, r, c = norm(in, ip, r, c)
	r, c, q, m = step(r, c, p)
	tree[sym&0xff] = uint16(q)
	return ip, r, c, sym<<1 + 1 + m
}

// matchedLiteral decodes a byte after a match, with the byte that would have
// gone on with the match to help: until a bit differs from that one's, half is
// 0x100 and the bit is decoded with one of two further trees, depending on
// what it ought to be.
//
//go:noinline
func matchedLiteral(in *[chunkMax]byte, ip uint, r, c uint64, tree *[1024]uint16, match uint64) (uint, uint64, uint64, uint64) {
	var bit, i0, i1, p0, p1, q, m uint64
	sym, half := uint64(1), uint64(0x100)
	match <<= 1
	i := half + match&half + sym
	p := uint64(tree[i&0x3ff])
	for range 7 {
		ip, r, c = norm(in, ip, r, c)
		bit, match = match&half, match<<1
		i0, i1 = (half^bit)+match&(half^bit)+sym<<1, bit+match&bit+sym<<1+1
		p0, p1 = uint64(tree[i0&0x3ff]), uint64(tree[i1&0x3ff])
		r, c, q, m = step(r, c, p)
		tree[i&0x3ff] = uint16(q)
		p, i, half, sym = pick(m, p0, p1), pick(m, i0, i1), bit^m&half, sym<<1+1+m
	}
	ip, r, c = norm(in, ip, r, c)
	r, c, q, m = step(r, c, p)
	tree[i&0x3ff] = uint16(q)
	return ip, r, c, sym<<1 + 1 + m
}

// far decodes what follows distance slot 14 or above: direct bits, and four
// with a reverse tree.
//
//go:noinline
func far(in *[chunkMax]byte, ip uint, r, c uint64, align *[16]uint16, slot uint) (uint, uint64, uint64, uint) {
	var p0, p1, q, m uint64
	dist := uint64(2 | slot&1)
	for range slot>>1 - 1 - alignBits {
		ip, r, c = norm(in, ip, r, c)
		r >>= 1
		c -= r
		m = uint64(int64(c) >> 63)
		c += r & m
		dist = dist<<1 + 1 + m
	}
	dist <<= alignBits
	sym, p := uint64(1), uint64(align[1])
	for k := range alignBits - 1 {
		ip, r, c = norm(in, ip, r, c)
		p0, p1 = uint64(align[sym<<1&0xe]), uint64(align[sym<<1&0xe+1])
		r, c, q, m = step(r, c, p)
		align[sym&0xf], p, sym = uint16(q), pick(m, p0, p1), sym<<1+1+m
		dist += (1 + m) << (k & 31)
	}
	ip, r, c = norm(in, ip, r, c)
	r, c, q, m = step(r, c, p)
	align[sym&0xf] = uint16(q)
	dist += (1 + m) << (alignBits - 1)
	return ip, r, c, uint(dist)
}

// near decodes what follows distance slots 4 to 13: bits with a reverse tree.
//
//go:noinline
func near(in *[chunkMax]byte, ip uint, r, c uint64, special *[128]uint16, slot uint) (uint, uint64, uint64, uint) {
	var q, m uint64
	bits := slot>>1 - 1
	dist := (2 | slot&1) << (bits & 31)
	// All these trees stand in one array without a gap: that of slot s has its
	// root after the shortest distance less s.
	base := dist - slot
	sym := uint(1)
	for k := range bits {
		ip, r, c = norm(in, ip, r, c)
		prob := &special[(base+sym)&127]
		r, c, q, m = step(r, c, uint64(*prob))
		*prob = uint16(q)
		sym = sym<<1 + 1 + uint(m)
		dist += (1 + uint(m)) << (k & 31)
	}
	return ip, r, c, dist
}
