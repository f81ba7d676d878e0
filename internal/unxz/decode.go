package unxz

// run decodes until w.pos reaches limit, which is at most w.size, or as far as
// the pending match allows. It reports false when the data cannot be right.
//
// What is decoded past the end of the chunk's input is garbage, but harmless:
// in is indexed by 16 bits, and finish notices.
func (d *lzma) run(w *ring, limit int) bool {
	buf, pos, size := w.buf, w.pos, w.size
	if d.pending > 0 {
		n := min(d.pending, limit-pos)
		d.pending -= n
		copyMatch(buf, size, pos, d.rep[0], n)
		pos += n
		w.pos = pos
	}
	var (
		in      = d.in
		ip      = d.ip
		r       = uint64(d.rng)
		c       = uint64(d.code)
		state   = d.state
		rep0    = d.rep[0]
		start   = w.start
		posMask = d.posMask
		ok      = true
	)
	prev := uint(0) // the byte before pos
	if pos != start {
		if pos > 0 {
			prev = uint(buf[pos-1])
		} else {
			prev = uint(buf[size-1])
		}
	}
loop:
	for pos < limit {
		posState := uint(pos-start) & posMask
		prob := &d.isMatch[uint8(state<<4|posState)]
		p := uint64(*prob)
		if r < rangeTop {
			r <<= 8
			c = c<<8 | uint64(in[uint16(ip)])
			ip++
		}
		bound := (r >> probBits) * p
		if c < bound {
			r = bound
			*prob = uint16(p + (probMax-p)>>probShift)
			off := 3 * ((uint(pos-start)<<8 + prev) & d.literalMask << d.lc)
			lit := (*[1024]uint16)(d.literal[off:])
			sym := uint64(1)
			if state < literalStates {
				for sym < 0x100 {
					if r < rangeTop {
						r <<= 8
						c = c<<8 | uint64(in[uint16(ip)])
						ip++
					}
					i := sym & 0xff
					var p, m uint64
					r, c, p, m = step(r, c, uint64(lit[i]))
					lit[i] = uint16(p)
					sym = sym<<1 + 1 + m
				}
				if state < 4 {
					state = 0
				} else {
					state -= 3
				}
			} else {
				src := pos - int(rep0) - 1
				if src < 0 {
					src += size
				}
				match := uint64(buf[src])
				half := uint64(0x100)
				for sym < 0x100 {
					if r < rangeTop {
						r <<= 8
						c = c<<8 | uint64(in[uint16(ip)])
						ip++
					}
					match <<= 1
					bit := match & half
					i := (half + bit + sym) & 0x3ff
					var p, m uint64
					r, c, p, m = step(r, c, uint64(lit[i]))
					lit[i] = uint16(p)
					sym = sym<<1 + 1 + m
					half &= bit ^ m
				}
				if state < 10 {
					state -= 3
				} else {
					state -= 6
				}
			}
			prev = uint(sym & 0xff)
			buf[pos] = byte(sym)
			pos++
			continue
		}
		r -= bound
		c -= bound
		*prob = uint16(p - p>>probShift)

		var model *lenModel
		prob = &d.isRep[state&15]
		p = uint64(*prob)
		if r < rangeTop {
			r <<= 8
			c = c<<8 | uint64(in[uint16(ip)])
			ip++
		}
		bound = (r >> probBits) * p
		simple := c < bound
		if simple {
			r = bound
			*prob = uint16(p + (probMax-p)>>probShift)
			d.rep[3] = d.rep[2]
			d.rep[2] = d.rep[1]
			d.rep[1] = rep0
			if state < literalStates {
				state = 7
			} else {
				state = 10
			}
			model = &d.matchLen
		} else {
			r -= bound
			c -= bound
			*prob = uint16(p - p>>probShift)
			if pos == start {
				ok = false // nothing to repeat
				break loop
			}
			prob = &d.isRepG0[state&15]
			p = uint64(*prob)
			if r < rangeTop {
				r <<= 8
				c = c<<8 | uint64(in[uint16(ip)])
				ip++
			}
			bound = (r >> probBits) * p
			if c < bound {
				r = bound
				*prob = uint16(p + (probMax-p)>>probShift)
				prob = &d.isRep0Long[uint8(state<<4|posState)]
				p = uint64(*prob)
				if r < rangeTop {
					r <<= 8
					c = c<<8 | uint64(in[uint16(ip)])
					ip++
				}
				bound = (r >> probBits) * p
				if c < bound { // a short rep: one byte
					r = bound
					*prob = uint16(p + (probMax-p)>>probShift)
					if state < literalStates {
						state = 9
					} else {
						state = 11
					}
					src := pos - int(rep0) - 1
					if src < 0 {
						src += size
					}
					b := buf[src]
					prev = uint(b)
					buf[pos] = b
					pos++
					continue
				}
				r -= bound
				c -= bound
				*prob = uint16(p - p>>probShift)
			} else {
				r -= bound
				c -= bound
				*prob = uint16(p - p>>probShift)
				prob = &d.isRepG1[state&15]
				p = uint64(*prob)
				if r < rangeTop {
					r <<= 8
					c = c<<8 | uint64(in[uint16(ip)])
					ip++
				}
				bound = (r >> probBits) * p
				if c < bound {
					r = bound
					*prob = uint16(p + (probMax-p)>>probShift)
					rep0, d.rep[1] = d.rep[1], rep0
				} else {
					r -= bound
					c -= bound
					*prob = uint16(p - p>>probShift)
					prob = &d.isRepG2[state&15]
					p = uint64(*prob)
					if r < rangeTop {
						r <<= 8
						c = c<<8 | uint64(in[uint16(ip)])
						ip++
					}
					bound = (r >> probBits) * p
					if c < bound {
						r = bound
						*prob = uint16(p + (probMax-p)>>probShift)
						rep0, d.rep[1], d.rep[2] = d.rep[2], rep0, d.rep[1]
					} else {
						r -= bound
						c -= bound
						*prob = uint16(p - p>>probShift)
						rep0, d.rep[1], d.rep[2], d.rep[3] = d.rep[3], rep0, d.rep[1], d.rep[2]
					}
				}
			}
			if state < literalStates {
				state = 8
			} else {
				state = 11
			}
			model = &d.repLen
		}

		// length
		var n int
		p = uint64(model.choice)
		if r < rangeTop {
			r <<= 8
			c = c<<8 | uint64(in[uint16(ip)])
			ip++
		}
		bound = (r >> probBits) * p
		if c < bound {
			r = bound
			model.choice = uint16(p + (probMax-p)>>probShift)
			tree := (*[8]uint16)(model.low[posState*8&127:])
			sym := uint64(1)
			for sym < 8 {
				if r < rangeTop {
					r <<= 8
					c = c<<8 | uint64(in[uint16(ip)])
					ip++
				}
				var p, m uint64
				r, c, p, m = step(r, c, uint64(tree[sym&7]))
				tree[sym&7] = uint16(p)
				sym = sym<<1 + 1 + m
			}
			n = int(sym) - 8 + matchMin
		} else {
			r -= bound
			c -= bound
			model.choice = uint16(p - p>>probShift)
			p = uint64(model.choice2)
			if r < rangeTop {
				r <<= 8
				c = c<<8 | uint64(in[uint16(ip)])
				ip++
			}
			bound = (r >> probBits) * p
			if c < bound {
				r = bound
				model.choice2 = uint16(p + (probMax-p)>>probShift)
				tree := (*[8]uint16)(model.mid[posState*8&127:])
				sym := uint64(1)
				for sym < 8 {
					if r < rangeTop {
						r <<= 8
						c = c<<8 | uint64(in[uint16(ip)])
						ip++
					}
					var p, m uint64
					r, c, p, m = step(r, c, uint64(tree[sym&7]))
					tree[sym&7] = uint16(p)
					sym = sym<<1 + 1 + m
				}
				n = int(sym) - 8 + matchMin + 8
			} else {
				r -= bound
				c -= bound
				model.choice2 = uint16(p - p>>probShift)
				sym := uint64(1)
				for sym < 256 {
					if r < rangeTop {
						r <<= 8
						c = c<<8 | uint64(in[uint16(ip)])
						ip++
					}
					var p, m uint64
					r, c, p, m = step(r, c, uint64(model.high[sym&255]))
					model.high[sym&255] = uint16(p)
					sym = sym<<1 + 1 + m
				}
				n = int(sym) - 256 + matchMin + 16
			}
		}

		if simple {
			// distance
			tree := (*[64]uint16)(d.slot[min(n-matchMin, 3)&3*64:])
			sym := uint64(1)
			for sym < 64 {
				if r < rangeTop {
					r <<= 8
					c = c<<8 | uint64(in[uint16(ip)])
					ip++
				}
				var p, m uint64
				r, c, p, m = step(r, c, uint64(tree[sym&63]))
				tree[sym&63] = uint16(p)
				sym = sym<<1 + 1 + m
			}
			slot := uint(sym - 64)
			rep0 = slot
			if slot >= slotModelMin {
				bits := slot>>1 - 1
				rep0 = 2 | slot&1
				if slot < slotModelMax {
					rep0 <<= bits
					// The reverse tree of slot s has its root at 2<<bits|... - s,
					// where all of them fit without a gap.
					base := rep0 - slot
					sym := uint(1)
					for k := uint(0); k < bits; k++ {
						if r < rangeTop {
							r <<= 8
							c = c<<8 | uint64(in[uint16(ip)])
							ip++
						}
						i := (base + sym) & 127
						var p, m uint64
						r, c, p, m = step(r, c, uint64(d.special[i]))
						d.special[i] = uint16(p)
						sym = sym<<1 + 1 + uint(m)
						rep0 += (1 + uint(m)) << (k & 31)
					}
				} else {
					for k := bits - alignBits; k > 0; k-- {
						if r < rangeTop {
							r <<= 8
							c = c<<8 | uint64(in[uint16(ip)])
							ip++
						}
						r >>= 1
						c -= r
						m := uint64(int64(c) >> 63)
						c += r & m
						rep0 = rep0<<1 + 1 + uint(m)
					}
					rep0 <<= alignBits
					sym := uint(1)
					for k := uint(0); k < alignBits; k++ {
						if r < rangeTop {
							r <<= 8
							c = c<<8 | uint64(in[uint16(ip)])
							ip++
						}
						i := sym & 15
						var p, m uint64
						r, c, p, m = step(r, c, uint64(d.align[i]))
						d.align[i] = uint16(p)
						sym = sym<<1 + 1 + uint(m)
						rep0 += (1 + uint(m)) << (k & 31)
					}
				}
			}
			// The end marker, distance 1<<32, is not allowed in LZMA2 and is out
			// of range here as well.
			if rep0 >= uint(pos-start) || rep0 >= uint(w.dict) {
				ok = false
				break loop
			}
		}
		if n > limit-pos {
			d.pending = n - (limit - pos)
			n = limit - pos
		}
		copyMatch(buf, size, pos, rep0, n)
		pos += n
		prev = uint(buf[pos-1])
	}
	w.pos = pos
	d.ip, d.rng, d.code = ip, uint32(r), uint32(c)
	d.state, d.rep[0] = state, rep0
	return ok
}

// copyMatch repeats n bytes from dist+1 bytes before pos. It may write up to
// slack bytes more.
func copyMatch(buf []byte, size, pos int, dist uint, n int) {
	src := pos - int(dist) - 1
	if src < 0 {
		src += size
	}
	for range n {
		buf[pos] = buf[src]
		pos++
		src++
		if src == size {
			src = 0
		}
	}
}
