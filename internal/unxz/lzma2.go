package unxz

// lzma2 decodes the chunks of an LZMA2 filter (section 5.3.1): a series of
// LZMA or verbatim chunks, each of which says what of the state it resets.
type lzma2 struct {
	lzma      lzma
	chunk     [chunkMax]byte
	needProps bool // no LZMA chunk before new properties
	needDict  bool // no chunk before a dictionary reset
	left      int  // bytes still to come out of the present chunk
	length    int  // compressed length of the present chunk
	verbatim  bool // the present chunk is not compressed
}

// reset begins a new block.
func (z *lzma2) reset() {
	z.lzma.in = &z.chunk
	z.needProps, z.needDict = true, true
	z.left = 0
}

// next reads the header of the next chunk, and its data if that is compressed.
// It reports false at the end of the data.
func (z *lzma2) next(in *input, w *ring) (bool, error) {
	control, err := in.readByte()
	if err != nil {
		return false, err
	}
	if control == 0 {
		return false, nil
	}
	if control == 1 || control >= 0xe0 {
		z.needProps, z.needDict = true, false
		w.start = w.pos
	}
	if z.needDict {
		return false, in.corrupt("the first LZMA2 chunk does not reset the dictionary")
	}
	b := in.scratch[:4]
	z.verbatim = control < 0x80
	if z.verbatim {
		if control > 2 {
			return false, in.corrupt("an LZMA2 chunk is of no known kind")
		}
		if err := in.readFull(b[:2]); err != nil {
			return false, err
		}
		z.left = int(b[0])<<8 + int(b[1]) + 1
		return true, nil
	}
	if err := in.readFull(b); err != nil {
		return false, err
	}
	z.left = int(control&0x1f)<<16 + int(b[0])<<8 + int(b[1]) + 1
	z.length = int(b[2])<<8 + int(b[3]) + 1
	switch {
	case control >= 0xc0:
		props, err := in.readByte()
		if err != nil {
			return false, err
		}
		if !z.lzma.setProps(props) {
			return false, in.corrupt("the LZMA properties are out of range")
		}
		z.needProps = false
		z.lzma.reset()
	case z.needProps:
		return false, in.corrupt("an LZMA2 chunk comes before any LZMA properties")
	case control >= 0xa0:
		z.lzma.reset()
	}
	if z.length < 5 {
		return false, in.corrupt("an LZMA2 chunk is shorter than its range coder")
	}
	if err := in.readFull(z.chunk[:z.length]); err != nil {
		return false, err
	}
	if !z.lzma.start() {
		return false, in.corrupt("an LZMA2 chunk does not begin with a zero byte")
	}
	return true, nil
}

// decode decodes up to n bytes of the present chunk to w, n being at least 1
// and no more than there is room for before the ring wraps, and returns how
// many it was.
func (z *lzma2) decode(in *input, w *ring, n int) (int, error) {
	n = min(n, z.left)
	if z.verbatim {
		if err := in.readFull(w.buf[w.pos : w.pos+n]); err != nil {
			return 0, err
		}
		w.pos += n
		z.left -= n
		return n, nil
	}
	if !z.lzma.run(w, w.pos+n) {
		return 0, in.corrupt("LZMA data points to before the start of its dictionary")
	}
	z.left -= n
	if z.lzma.ip > uint(z.length) || z.left == 0 && !z.lzma.finish(z.length) {
		return 0, in.corrupt("LZMA data does not end where its chunk ends")
	}
	return n, nil
}
