package inflate

import "sync"

// blockHeader reads the header of a block (RFC 1951, 3.2.3), with the code lengths
// of a dynamic one, and sets the state that reads the rest.
func (d *Reader) blockHeader() {
	if !d.need(3) {
		return
	}
	d.final = d.take(1) == 1
	switch d.take(2) {
	case 0:
		d.storedHeader()
	case 1:
		d.fixedTables()
	case 2:
		d.dynamicTables()
	default:
		d.corrupt("block of the reserved type")
	}
}

// storedHeader reads the length of a stored block (3.2.4).
func (d *Reader) storedHeader() {
	d.take(d.nbits % 8)
	if !d.need(32) {
		return
	}
	n, inverse := d.take(16), d.take(16)
	if n != inverse^0xffff {
		d.corrupt("length of a stored block does not match its complement")
		return
	}
	d.align()
	d.stored = int(n)
	d.state = inStored
}

// copyStored copies what it can of a stored block to p[n:] and returns where the
// output then ends. Nothing is left in the bit buffer meanwhile.
func (d *Reader) copyStored(p []byte, n int) int {
	for d.stored > 0 && n < len(p) {
		if len(d.in.Buffered()) == 0 {
			if !d.more() {
				return n
			}
			d.align()
		}
		room := p[n:min(len(p), n+d.stored)]
		m := copy(room, d.in.Buffered())
		d.in.Discard(m)
		d.stored -= m
		n += m
	}
	if d.stored == 0 {
		d.state = atBlock
	}
	return n
}

type tables struct {
	litLen [1 << litLenBits]uint32 // the fixed code has no second level
	dist   [1 << distBits]uint32
}

// fixedTables makes the tables of the code of 3.2.6.
var makeFixed = sync.OnceValue(func() *tables {
	var lengths [numLitLen]uint8
	for i := range lengths {
		switch {
		case i < 144:
			lengths[i] = 8
		case i < 256:
			lengths[i] = 9
		case i < 280:
			lengths[i] = 7
		default:
			lengths[i] = 8
		}
	}
	t := new(tables)
	buildTable(t.litLen[:], litLenBits, lengths[:], litLenTemplate[:])
	for i := range numDist {
		lengths[i] = 5
	}
	buildTable(t.dist[:], distBits, lengths[:numDist], distTemplate[:])
	return t
})

// fixedTables puts the tables of a fixed block in place. They are copied so that
// the loops have them at the same place as those of a dynamic block.
func (d *Reader) fixedTables() {
	d.state = inSymbols
	if d.fixed {
		return
	}
	t := makeFixed()
	copy(d.litLen[:], t.litLen[:])
	copy(d.dist[:], t.dist[:])
	d.fixed = true
}
