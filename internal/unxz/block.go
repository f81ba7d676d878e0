package unxz

// pieceSize is how many bytes are decoded before they are checked and passed
// on: few enough that they are still in the cache then.
const pieceSize = 128 << 10

// sink is where the bytes of a block go.
type sink interface {
	// reserve waits until there is room for at least one byte in the ring,
	// and returns for how many.
	reserve(w *ring) (int, error)
	// commit passes on n bytes that were put into the room.
	commit(n int)
}

// blockDecoder decodes one block after another.
type blockDecoder struct {
	lzma2 lzma2
	check checker
	chain chain
}

// decode decodes the block of which in has just read the header h, to w and
// out; dict is w itself unless there are more filters than LZMA2. It returns
// the sizes that the index has for the block.
func (b *blockDecoder) decode(in *input, h *blockHeader, id checkID, dict, w *ring, out sink) (unpadded, uncompressed int64, err error) {
	first := in.off
	b.lzma2.reset()
	b.check.reset(id)
	b.chain.reset(h)
	filtered := h.nfilters > 0
	for {
		more, err := b.lzma2.next(in, dict)
		if err != nil {
			return 0, 0, err
		}
		if !more {
			break
		}
		if h.uncompressed >= 0 && uncompressed+int64(b.lzma2.left) > h.uncompressed {
			return 0, 0, in.corrupt("a block is longer than its header says")
		}
		uncompressed += int64(b.lzma2.left)
		for b.lzma2.left > 0 {
			room := dict.room()
			if !filtered {
				if room, err = out.reserve(w); err != nil {
					return 0, 0, err
				}
			}
			n, err := b.lzma2.decode(in, dict, min(room, pieceSize))
			if err != nil {
				return 0, 0, err
			}
			piece := dict.buf[dict.pos-n : dict.pos]
			if filtered {
				err = b.filter(piece, false, w, out)
			} else {
				b.check.write(piece)
				out.commit(n)
			}
			if err != nil {
				return 0, 0, err
			}
		}
		if h.compressed >= 0 && in.off-first > h.compressed {
			return 0, 0, in.corrupt("a block takes more bytes than its header says")
		}
	}
	if filtered {
		if err := b.filter(nil, true, w, out); err != nil {
			return 0, 0, err
		}
	}
	compressed := in.off - first
	if h.uncompressed >= 0 && h.uncompressed != uncompressed || h.compressed >= 0 && h.compressed != compressed {
		return 0, 0, in.corrupt("a block is not of the size its header says")
	}
	if err := b.finish(in, id, compressed); err != nil {
		return 0, 0, err
	}
	return int64(h.size) + compressed + int64(id.size()), uncompressed, nil
}

// finish reads the padding and the check of a block (sections 3.3 and 3.4).
func (b *blockDecoder) finish(in *input, id checkID, compressed int64) error {
	pad := paddingOf(compressed)
	t := in.scratch[:pad+id.size()]
	if err := in.readFull(t); err != nil {
		return err
	}
	for _, c := range t[:pad] {
		if c != 0 {
			return in.corrupt("the padding of a block is not zero")
		}
	}
	if !b.check.matches(t[pad:]) {
		return in.corrupt("a block does not match its " + id.String())
	}
	return nil
}

// paddingOf is how many bytes of padding follow n bytes of data.
func paddingOf(n int64) int { return int(-n & 3) }

// filter passes a piece through the chain and on to out.
func (b *blockDecoder) filter(piece []byte, last bool, w *ring, out sink) error {
	p := b.chain.write(piece, last)
	b.check.write(p)
	for len(p) > 0 {
		room, err := out.reserve(w)
		if err != nil {
			return err
		}
		n := copy(w.buf[w.pos:w.pos+min(room, len(p))], p)
		w.pos += n
		p = p[n:]
		out.commit(n)
	}
	return nil
}

// filteredLen is how long the ring is that the output of filters goes through.
const filteredLen = 4*pieceSize + slack

// ringLen is how long a buffer a block needs when it is decoded as a stream:
// for its dictionary and some pieces, or the whole block where that is less,
// and for what comes out of its filters.
func ringLen(h *blockHeader) int {
	n := h.dict + 4*pieceSize
	if h.uncompressed >= 0 {
		n = min(n, max(h.uncompressed, 1))
	}
	n += slack
	if h.nfilters > 0 {
		n += filteredLen
	}
	return int(n)
}
