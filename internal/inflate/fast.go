package inflate

// What an iteration of the fast loop may use: it refills twice, each time by one
// 8-byte load that advances by at most 7, and it writes at most three literals
// and a match, which is copied in steps of 16 bytes.
const (
	fastInput  = 16
	fastOutput = 3 + maxMatch + 16
)

// fast decodes symbols while input and output have room for the largest step.
// It returns where the output then ends: there, at the end of the block, or after
// an error.
//
// In the loop the bits above nbits are not 0 but bits that the next refill brings
// again; or-ing them in twice changes nothing.
func (d *Reader) fast(p []byte, n int) int {
	in := d.in.buf
	pos := d.in.pos
	lastIn, lastOut := len(in)-fastInput, len(p)-fastOutput
	if pos > lastIn || n > lastOut {
		return n
	}
	bits, nbits := d.bits, d.nbits
	litLen, dists := &d.litLen, &d.dist

	for pos <= lastIn && n <= lastOut {
		bits |= load64(in, pos) << (nbits & 63)
		pos += int((63 - nbits) >> 3)
		nbits |= 56

		// At least 56 bits: three literals of the first level take 33 at most,
		// then there are enough for a length, which takes 20.
		e := litLen[bits&(1<<litLenBits-1)]
		if e&entryLiteral != 0 {
			bits >>= e & entryBits
			nbits -= uint(e & entryBits)
			p[n] = byte(e >> entryValue)
			n++
			e = litLen[bits&(1<<litLenBits-1)]
			if e&entryLiteral != 0 {
				bits >>= e & entryBits
				nbits -= uint(e & entryBits)
				p[n] = byte(e >> entryValue)
				n++
				e = litLen[bits&(1<<litLenBits-1)]
				if e&entryLiteral != 0 {
					bits >>= e & entryBits
					nbits -= uint(e & entryBits)
					p[n] = byte(e >> entryValue)
					n++
					continue
				}
			}
		}
		if e&entrySpecial != 0 {
			if e&entryLink != 0 {
				deep := e >> entryCodeLen & 15
				e = litLen[e>>entryValue+uint32(bits>>litLenBits)&(1<<deep-1)]
			}
			if e&entryLiteral != 0 {
				bits >>= e & entryBits
				nbits -= uint(e & entryBits)
				p[n] = byte(e >> entryValue)
				n++
				continue
			}
			if e&(entryEnd|entryInvalid) != 0 {
				if e&entryEnd != 0 {
					bits >>= e & entryBits
					nbits -= uint(e & entryBits)
					d.state = atBlock
				}
				d.leave(pos, bits, nbits)
				if e&entryEnd == 0 {
					d.corrupt("unused or impossible literal or length code")
				}
				return n
			}
		}
		length := int(e>>entryValue) + int(uint32(bits)&(1<<(e&31)-1)>>(e>>entryCodeLen&15))
		bits >>= e & entryBits
		nbits -= uint(e & entryBits)

		// A distance takes 28 at most. Often there still are as many, and the
		// branch is then cheaper than what a refill adds to the chain of
		// dependent instructions.
		if nbits < 28 {
			bits |= load64(in, pos) << (nbits & 63)
			pos += int((63 - nbits) >> 3)
			nbits |= 56
		}
		e = dists[bits&(1<<distBits-1)]
		if e&entrySpecial != 0 {
			if e&entryLink != 0 {
				deep := e >> entryCodeLen & 15
				e = dists[e>>entryValue+uint32(bits>>distBits)&(1<<deep-1)]
			}
			if e&entryInvalid != 0 {
				d.leave(pos, bits, nbits)
				d.corrupt("unused or impossible distance code")
				return n
			}
		}
		dist := int(e>>entryValue) + int(uint32(bits)&(1<<(e&31)-1)>>(e>>entryCodeLen&15))
		bits >>= e & entryBits
		nbits -= uint(e & entryBits)

		from := n - dist
		if from < 0 {
			d.leave(pos, bits, nbits)
			n = d.copyMatch(p, n, dist, length)
			if d.err != nil {
				return n
			}
			continue
		}
		to := n
		n += length
		for dist < 8 {
			// Each step makes the part that repeats twice as long.
			store64(p, to, load64(p, from))
			to += dist
			dist *= 2
		}
		for {
			store64(p, to, load64(p, from))
			store64(p, to+8, load64(p, from+8))
			to += 16
			from += 16
			if to >= n {
				break
			}
		}
	}
	d.leave(pos, bits, nbits)
	return n
}

// leave puts what the fast loop kept in registers back in place.
func (d *Reader) leave(pos int, bits uint64, nbits uint) {
	d.in.pos = pos
	d.bits = bits & (1<<(nbits&63) - 1)
	d.nbits = nbits
}
