package unxz

// Sizes of the LZMA model. The format is LZMA as LZMA2 (filter 0x21 of the
// .xz file format 1.2, section 5.3.1) carries it.
const (
	probBits  = 11                // a probability is in units of 1/2048
	probInit  = 1 << probBits / 2 // ½, where every probability starts
	probMax   = 1 << probBits     // certainty that the bit is 0; never reached
	probShift = 5                 // how fast a probability follows the bits seen

	rangeTop = 1 << 24 // below this the range takes in one more byte

	matchMin      = 2  // length of the shortest match
	posStatesMax  = 16 // 1 << the largest pb
	literalStates = 7  // states below this follow a literal

	slotModelMin = 4  // distance slots below this are the distance
	slotModelMax = 14 // slots from here on have direct bits and an align tree
	alignBits    = 4

	lcLpMax      = 4     // LZMA2 allows lc + lp up to this
	literalCoder = 0x300 // probabilities for the literals of one context
)

// lenModel is how match lengths are coded: 2–9, 10–17 or 18–273.
type lenModel struct {
	choice, choice2 uint16
	low, mid        [posStatesMax * 8]uint16
	high            [256]uint16
}

// lzma is the state of an LZMA decoder between two calls of run: the adaptive
// model, the range decoder and the last four distances.
//
// Arrays are as long as the type of their index can reach, or powers of two,
// so that the compiler can see that no index is out of bounds.
type lzma struct {
	// model
	isMatch    [256]uint16 // [state<<4 | position state]
	isRep0Long [256]uint16 // the same
	isRep      [16]uint16  // [state]
	isRepG0    [16]uint16
	isRepG1    [16]uint16
	isRepG2    [16]uint16
	slot       [4 * 64]uint16 // [length class<<6 | tree]
	special    [128]uint16    // reverse trees of slots 4 to 13
	align      [16]uint16
	matchLen   lenModel
	repLen     lenModel
	literal    [literalCoder<<lcLpMax + 0x100]uint16 // and room to view any context as 1024 entries

	// properties
	lc          uint
	literalMask uint // which bits of position<<8 | previous byte choose the literal context
	posMask     uint

	// range decoder
	rng, code uint32
	in        *[chunkMax]byte // the compressed bytes of the chunk
	ip        uint            // the next of them

	// history
	state   uint
	rep     [4]uint // the last distances, minus 1
	pending int     // bytes of a match that found no room before the limit
}

// setProps takes the properties byte of an LZMA2 chunk, (pb*5 + lp)*9 + lc,
// and reports whether it is a valid one.
func (d *lzma) setProps(b byte) bool {
	if b >= 9*5*5 {
		return false
	}
	lc, lp, pb := uint(b%9), uint(b/9%5), uint(b/45)
	if lc+lp > lcLpMax {
		return false
	}
	d.lc = lc
	d.literalMask = 0x100<<lp - 0x100>>lc
	d.posMask = 1<<pb - 1
	return true
}

// reset puts the model and the history into their first state: a state reset
// in the words of the format.
func (d *lzma) reset() {
	d.state = 0
	d.rep = [4]uint{}
	for _, probs := range [][]uint16{
		d.isMatch[:], d.isRep0Long[:], d.isRep[:], d.isRepG0[:], d.isRepG1[:], d.isRepG2[:],
		d.slot[:], d.special[:], d.align[:],
		d.matchLen.low[:], d.matchLen.mid[:], d.matchLen.high[:],
		d.repLen.low[:], d.repLen.mid[:], d.repLen.high[:],
		d.literal[:],
	} {
		for i := range probs {
			probs[i] = probInit
		}
	}
	d.matchLen.choice, d.matchLen.choice2 = probInit, probInit
	d.repLen.choice, d.repLen.choice2 = probInit, probInit
}

// start begins a chunk: its first five bytes, already in d.in, set up the
// range decoder. It reports whether they can be the start of one.
func (d *lzma) start() bool {
	d.rng = 1<<32 - 1
	d.code = uint32(d.in[1])<<24 | uint32(d.in[2])<<16 | uint32(d.in[3])<<8 | uint32(d.in[4])
	d.ip = 5
	d.pending = 0
	return d.in[0] == 0
}

// finish ends a chunk of n compressed bytes and reports whether the range
// decoder took in exactly those and came out at zero, as every encoder's does.
func (d *lzma) finish(n int) bool {
	if d.rng < rangeTop {
		d.rng <<= 8
		d.code = d.code<<8 | uint32(d.in[uint16(d.ip)])
		d.ip++
	}
	return d.ip == uint(n) && d.code == 0 && d.pending == 0
}
