package unxz

// slack is how many bytes a match copy may write past its end, and how many
// bytes of every buffer are therefore not history.
const slack = 32

// chunkMax is the longest compressed LZMA2 chunk.
const chunkMax = 1 << 16

// ring is where a block is decoded to, which is also its dictionary: either as
// long as the block, or a ring longer than the dictionary.
type ring struct {
	buf  []byte // size + slack bytes
	size int
	pos  int // where the next byte goes, at most size
	// start is where the dictionary begins: pos - start bytes of history are
	// there, of which dict count. It is negative once the ring has wrapped.
	start int
	dict  int // the size of the dictionary
}

// reset makes a ring of buf for a dictionary of dict bytes.
func (w *ring) reset(buf []byte, dict int) {
	*w = ring{buf: buf, size: len(buf) - slack, dict: dict}
}

// room is how many bytes fit before the ring wraps, at least 1. It does the
// wrapping.
func (w *ring) room() int {
	if w.pos == w.size {
		w.pos = 0
		w.start -= w.size
	}
	return w.size - w.pos
}
