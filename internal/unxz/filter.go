package unxz

import (
	"encoding/binary"
	"fmt"
)

// Filter ids (section 5.3).
const (
	filterDelta = 0x03
	filterX86   = 0x04
	filterARM   = 0x07
	filterARMT  = 0x08
	filterARM64 = 0x0a
	filterLZMA2 = 0x21
)

// filterName names a filter for an error.
func filterName(id int64) string {
	switch id {
	case filterDelta:
		return "the Delta filter"
	case filterX86:
		return "the x86 filter"
	case 0x05:
		return "the PowerPC filter"
	case 0x06:
		return "the IA-64 filter"
	case filterARM:
		return "the ARM filter"
	case filterARMT:
		return "the ARM-Thumb filter"
	case 0x09:
		return "the SPARC filter"
	case filterARM64:
		return "the ARM64 filter"
	case 0x0b:
		return "the RISC-V filter"
	case filterLZMA2:
		return "the LZMA2 filter"
	}
	return fmt.Sprintf("an unknown filter (0x%x)", uint64(id))
}

// filterSpec is a filter as a block header names it.
type filterSpec struct {
	id    int64
	start uint32 // the address of the block's first byte, for a branch filter
	dist  int    // between the bytes that are subtracted, 1 to 256, for Delta
}

// newFilterSpec reads a filter's properties (sections 5.3.2 and 5.3.3).
func newFilterSpec(id int64, props []byte) (filterSpec, error) {
	f := filterSpec{id: id}
	align := uint32(0)
	switch id {
	case filterDelta:
		if len(props) != 1 {
			return f, &UnsupportedError{What: "unknown properties of the Delta filter"}
		}
		f.dist = int(props[0]) + 1
		return f, nil
	case filterX86:
		align = 1
	case filterARMT:
		align = 2
	case filterARM, filterARM64:
		align = 4
	case filterLZMA2:
		return f, &UnsupportedError{What: "the LZMA2 filter before another filter"}
	default:
		return f, &UnsupportedError{What: filterName(id)}
	}
	switch len(props) {
	case 0:
	case 4:
		f.start = binary.LittleEndian.Uint32(props)
	default:
		return f, &UnsupportedError{What: "unknown properties of " + filterName(id)}
	}
	if f.start%align != 0 {
		return f, &UnsupportedError{What: "an unaligned start offset of " + filterName(id)}
	}
	return f, nil
}

// filterState undoes one filter over the whole of a block.
type filterState struct {
	filterSpec
	pos     uint32    // the address of the next byte
	history [256]byte // Delta: the last bytes, circular
	at      uint8     // Delta: where the next byte goes in history
	x86     x86State
}

func (f *filterState) reset(spec filterSpec) {
	*f = filterState{filterSpec: spec, pos: spec.start}
}

// undo undoes the filter on the bytes at the start of p and returns how many
// are final; it wants to see the others again with more behind them.
func (f *filterState) undo(p []byte) int {
	n := len(p)
	switch f.id {
	case filterDelta:
		f.delta(p)
	case filterX86:
		n = f.x86.undo(p, f.pos)
	case filterARM:
		n = undoARM(p, f.pos)
	case filterARMT:
		n = undoARMThumb(p, f.pos)
	case filterARM64:
		n = undoARM64(p, f.pos)
	}
	f.pos += uint32(n)
	return n
}

func (f *filterState) delta(p []byte) {
	for i, b := range p {
		b += f.history[f.at-uint8(f.dist)] // 256 wraps to the place itself
		f.history[f.at] = b
		f.at++
		p[i] = b
	}
}

// stageSize is how many bytes a chain takes in at most before it passes some
// on; a filter keeps back less than lookahead.
const (
	stageSize = pieceSize
	lookahead = 8
)

// chain undoes all filters of a block but LZMA2, the last first.
type chain struct {
	filters [filtersMax]filterState
	n       int
	stage   []byte
	// done[i] is how far into stage filter i is through; done[n] how far
	// LZMA2 has filled it.
	done [filtersMax + 1]int
}

func (c *chain) reset(h *blockHeader) {
	c.n = h.nfilters
	for i := range c.n {
		c.filters[i].reset(h.filters[i])
	}
	c.done = [filtersMax + 1]int{}
	if c.n > 0 && c.stage == nil {
		c.stage = make([]byte, stageSize+filtersMax*lookahead)
	}
}

// write takes in p, at most stageSize bytes, and returns what is final, valid
// until the next call. At the end of the block p is empty and last is true:
// what the filters kept back stays as it is.
func (c *chain) write(p []byte, last bool) []byte {
	kept := copy(c.stage, c.stage[c.done[0]:c.done[c.n]])
	gone := c.done[0]
	for i := range c.n + 1 {
		c.done[i] -= gone
	}
	c.done[c.n] = kept + copy(c.stage[kept:], p)
	for i := c.n - 1; i >= 0; i-- {
		c.done[i] += c.filters[i].undo(c.stage[c.done[i]:c.done[i+1]])
		if last {
			// Branch filters never change a tail shorter than their
			// lookahead; for the next filter it is data as any other.
			c.done[i] = c.done[i+1]
		}
	}
	return c.stage[:c.done[0]]
}
