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
		ip, r, c = norm(in, ip, r, c)
		bound := (r >> probBits) * p
		if c < bound {
			r = bound
			*prob = probUp(p)
			off := 3 * ((uint(pos-start)<<8 + prev) & d.literalMask << d.lc)
			lit := (*[1024]uint16)(d.literal[off:])
			var sym uint64
			if state < literalStates {
				ip, r, c, sym = tree8(in, ip, r, c, (*[256]uint16)(lit[:]))
			} else {
				src := pos - int(rep0) - 1
				if src < 0 {
					src += size
				}
				ip, r, c, sym = matchedLiteral(in, ip, r, c, lit, uint64(buf[src]))
			}
			state = uint(afterLiteral[state&15])
			prev = uint(sym & 0xff)
			buf[pos] = byte(sym)
			pos++
			continue
		}
		r -= bound
		c -= bound
		*prob = probDown(p)

		var model *lenModel
		prob = &d.isRep[state&15]
		p = uint64(*prob)
		ip, r, c = norm(in, ip, r, c)
		bound = (r >> probBits) * p
		simple := c < bound
		if simple {
			r = bound
			*prob = probUp(p)
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
			*prob = probDown(p)
			if pos == start {
				ok = false // nothing to repeat
				break loop
			}
			prob = &d.isRepG0[state&15]
			p = uint64(*prob)
			ip, r, c = norm(in, ip, r, c)
			bound = (r >> probBits) * p
			if c < bound {
				r = bound
				*prob = probUp(p)
				prob = &d.isRep0Long[uint8(state<<4|posState)]
				p = uint64(*prob)
				ip, r, c = norm(in, ip, r, c)
				bound = (r >> probBits) * p
				if c < bound { // a short rep: one byte
					r = bound
					*prob = probUp(p)
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
				*prob = probDown(p)
			} else {
				r -= bound
				c -= bound
				*prob = probDown(p)
				prob = &d.isRepG1[state&15]
				p = uint64(*prob)
				ip, r, c = norm(in, ip, r, c)
				bound = (r >> probBits) * p
				if c < bound {
					r = bound
					*prob = probUp(p)
					rep0, d.rep[1] = d.rep[1], rep0
				} else {
					r -= bound
					c -= bound
					*prob = probDown(p)
					prob = &d.isRepG2[state&15]
					p = uint64(*prob)
					ip, r, c = norm(in, ip, r, c)
					bound = (r >> probBits) * p
					if c < bound {
						r = bound
						*prob = probUp(p)
						rep0, d.rep[1], d.rep[2] = d.rep[2], rep0, d.rep[1]
					} else {
						r -= bound
						c -= bound
						*prob = probDown(p)
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
		ip, r, c = norm(in, ip, r, c)
		bound = (r >> probBits) * p
		if c < bound {
			r = bound
			model.choice = probUp(p)
			var sym uint64
			ip, r, c, sym = tree3(in, ip, r, c, (*[8]uint16)(model.low[posState*8&127:]))
			n = int(sym) - 8 + matchMin
		} else {
			r -= bound
			c -= bound
			model.choice = probDown(p)
			p = uint64(model.choice2)
			ip, r, c = norm(in, ip, r, c)
			bound = (r >> probBits) * p
			if c < bound {
				r = bound
				model.choice2 = probUp(p)
				var sym uint64
				ip, r, c, sym = tree3(in, ip, r, c, (*[8]uint16)(model.mid[posState*8&127:]))
				n = int(sym) - 8 + matchMin + 8
			} else {
				r -= bound
				c -= bound
				model.choice2 = probDown(p)
				var sym uint64
				ip, r, c, sym = tree8(in, ip, r, c, &model.high)
				n = int(sym) - 256 + matchMin + 16
			}
		}

		if simple {
			// distance
			var sym uint64
			ip, r, c, sym = tree6(in, ip, r, c, (*[64]uint16)(d.slot[min(n-matchMin, 3)&3*64:]))
			slot := uint(sym - 64)
			rep0 = slot
			switch {
			case slot >= slotModelMax:
				ip, r, c, rep0 = far(in, ip, r, c, &d.align, slot)
			case slot >= slotModelMin:
				ip, r, c, rep0 = near(in, ip, r, c, &d.special, slot)
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
		if src := pos - int(rep0) - 1; n <= 16 && rep0 >= 15 && src >= 0 {
			*(*[16]byte)(buf[pos:]) = *(*[16]byte)(buf[src:])
		} else {
			copyMatch(buf, size, pos, rep0, n)
		}
		pos += n
		prev = uint(buf[pos-1])
	}
	w.pos = pos
	d.ip, d.rng, d.code = ip, uint32(r), uint32(c)
	d.state, d.rep[0] = state, rep0
	return ok
}

// afterLiteral is the state that follows a state and a literal.
var afterLiteral = [16]uint8{0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 4, 5}
