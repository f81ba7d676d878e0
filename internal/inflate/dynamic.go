package inflate

// precodeOrder is the order in which the lengths of the code for code lengths are
// sent (RFC 1951, 3.2.7).
var precodeOrder = [numPrecode]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// dynamicTables reads the code lengths of a dynamic block (3.2.7) and makes the
// tables for them.
func (d *Reader) dynamicTables() {
	if !d.need(14) {
		return
	}
	nLit, nDist, nPre := 257+int(d.take(5)), 1+int(d.take(5)), 4+int(d.take(4))
	if nLit > maxLitLen {
		d.corrupt("more than 286 literal and length codes")
		return
	}
	if nDist > maxDist {
		d.corrupt("more than 30 distance codes")
		return
	}

	var pre [numPrecode]uint8
	for _, sym := range precodeOrder[:nPre] {
		if !d.need(3) {
			return
		}
		pre[sym] = uint8(d.take(3))
	}
	var table [1 << precodeBits]uint32
	if !buildTable(table[:], precodeBits, pre[:], precodeTemplate[:]) {
		d.corrupt("impossible code for code lengths")
		return
	}

	var lengths [maxLitLen + maxDist]uint8
	if !d.codeLengths(lengths[:nLit+nDist], &table) {
		return
	}
	d.fixed = false
	if !buildTable(d.litLen[:], litLenBits, lengths[:nLit], litLenTemplate[:]) {
		d.corrupt("impossible literal and length code")
		return
	}
	if !buildTable(d.dist[:], distBits, lengths[nLit:nLit+nDist], distTemplate[:]) {
		d.corrupt("impossible distance code")
		return
	}
	d.state = inSymbols
}

// codeLengths reads the run-length coded lengths of both codes, which run on from
// the first to the second.
func (d *Reader) codeLengths(lengths []uint8, table *[1 << precodeBits]uint32) bool {
	for i := 0; i < len(lengths); {
		e := table[d.bits&(1<<precodeBits-1)]
		for n := uint(e & entryBits); n > d.nbits; n = uint(e & entryBits) {
			if !d.more() {
				return false
			}
			e = table[d.bits&(1<<precodeBits-1)]
		}
		if e&entryInvalid != 0 {
			d.corrupt("unused code for a code length")
			return false
		}
		d.take(uint(e & entryBits))
		sym := uint8(e >> entryValue)
		if sym < 16 {
			lengths[i] = sym
			i++
			continue
		}
		repeat, extra := 3, uint(2)
		value := uint8(0)
		switch sym {
		case 16:
			if i == 0 {
				d.corrupt("repeat of a code length before the first")
				return false
			}
			value = lengths[i-1]
		case 17:
			extra = 3
		case 18:
			repeat, extra = 11, 7
		}
		if !d.need(extra) {
			return false
		}
		repeat += int(d.take(extra))
		if repeat > len(lengths)-i {
			d.corrupt("repeat of a code length beyond the last")
			return false
		}
		for range repeat {
			lengths[i] = value
			i++
		}
	}
	return true
}
