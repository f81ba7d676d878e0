package inflate

// careful decodes symbols one by one and counts every bit and byte. It returns
// where the output then ends: when p is full, at the end of the block, after an
// error, or when there is room again for fast.
func (d *Reader) careful(p []byte, n int) int {
	for n < len(p) {
		if len(p)-n >= fastOutput && len(d.in.Buffered()) >= fastInput {
			return n
		}
		e, ok := d.symbol(d.litLen[:], litLenBits)
		switch {
		case !ok:
			return n
		case e&entryLiteral != 0:
			d.take(uint(e & entryBits))
			p[n] = byte(e >> entryValue)
			n++
			continue
		case e&entryEnd != 0:
			d.take(uint(e & entryBits))
			d.state = atBlock
			return n
		case e&entryInvalid != 0:
			d.corrupt("unused or impossible literal or length code")
			return n
		}
		length := d.value(e)
		e, ok = d.symbol(d.dist[:], distBits)
		if !ok {
			return n
		}
		if e&entryInvalid != 0 {
			d.corrupt("unused or impossible distance code")
			return n
		}
		n = d.copyMatch(p, n, d.value(e), length)
		if d.err != nil {
			return n
		}
	}
	return n
}

// symbol finds the entry of the next symbol and makes sure that all its bits are
// there. While too few bits are buffered the missing ones are taken to be 0;
// then the entry found is no longer than the right one.
func (d *Reader) symbol(table []uint32, width uint) (e uint32, ok bool) {
	for {
		e = table[d.bits&(1<<width-1)]
		if e&entryLink != 0 {
			deep := uint(e >> entryCodeLen & 15)
			e = table[e>>entryValue+uint32(d.bits>>width)&(1<<deep-1)]
		}
		if uint(e&entryBits) <= d.nbits {
			return e, true
		}
		if !d.more() {
			return 0, false
		}
	}
}

// value consumes a length or distance and returns it.
func (d *Reader) value(e uint32) int {
	all := d.take(uint(e & entryBits))
	return int(e>>entryValue&entryValueMax) + int(all>>(e>>entryCodeLen&15))
}
