package inflate

import "io"

// more adds at least one byte to the bit buffer, which must have room for it, and
// reports whether it could; if not, d.err says why. It asks the source only when
// nothing is buffered, so that never a byte more is waited for than the stream
// has. At most 63 bits are buffered, so that the fast loop can shift by their number. At most 63 bits are buffered, so that the
// fast loop can shift by their number.
func (d *Reader) more() bool {
	in := d.in
	if in.pos == len(in.buf) {
		// The whole bytes in the bit buffer would fall out of the input buffer
		// and could not be handed back.
		keep := int(d.nbits / 8)
		in.pos -= keep
		err := in.Fill()
		in.pos += keep
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			d.err = err
			return false
		}
	}
	for d.nbits < 56 && in.pos < len(in.buf) {
		d.bits |= uint64(in.buf[in.pos]) << (d.nbits & 63)
		d.nbits += 8
		in.pos++
	}
	return true
}

// need makes sure of n <= 56 bits in the bit buffer.
func (d *Reader) need(n uint) bool {
	for d.nbits < n {
		if !d.more() {
			return false
		}
	}
	return true
}

// take consumes n bits, which need has made sure of.
func (d *Reader) take(n uint) uint {
	v := uint(d.bits) & (1<<(n&63) - 1)
	d.bits >>= n & 63
	d.nbits -= n
	return v
}
