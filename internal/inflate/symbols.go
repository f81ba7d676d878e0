package inflate

// A table entry holds all there is to know of a symbol in 32 bits:
//
//	 0–5   bits to consume: the Huffman code and the extra bits behind it
//	 8–11  length of the Huffman code, which is where the extra bits begin
//	       (in a link: how many bits index the second-level table)
//	12–15  what kind of entry this is if it is none of the ordinary ones
//	16–30  the literal, or the length or distance without its extra bits
//	       (in a link: where the second-level table begins)
//	31     set for a literal
//
// A code that no symbol has consumes 0 bits, which every other entry does not.
const (
	entryBits     = 0x3f
	entryCodeLen  = 8
	entryValue    = 16
	entryLiteral  = 1 << 31
	entryLink     = 1 << 12 // look further in a second-level table
	entryEnd      = 1 << 13 // end of block
	entryInvalid  = 1 << 14 // no symbol, or one that must not occur
	entrySpecial  = entryLink | entryEnd | entryInvalid
	entryValueMax = 1<<15 - 1
)

// Alphabet sizes and the longest codes (RFC 1951, 3.2.5 to 3.2.7).
const (
	maxCodeBits  = 15
	numLitLen    = 288 // 286 and 287 have codes in fixed blocks and never occur
	numDist      = 32  // 30 and 31 likewise
	maxLitLen    = 286 // most a dynamic block may describe
	maxDist      = 30
	endOfBlock   = 256
	numPrecode   = 19 // the code that describes the lengths of the other two
	maxMatch     = 258
	historyReach = 32 << 10
)

// Templates of the entries of each symbol, lacking only the length of its code:
// adding that length times codeLenUnit completes the entry.
const codeLenUnit = 1<<entryCodeLen | 1

var (
	litLenTemplate  = makeLitLenTemplate()
	distTemplate    = makeDistTemplate()
	precodeTemplate = makePrecodeTemplate()
)

// makeLitLenTemplate follows the first table of RFC 1951, 3.2.5: lengths 3 to 10
// have no extra bits, then there are four codes for each number of extra bits.
func makeLitLenTemplate() (t [numLitLen]uint32) {
	for i := range 256 {
		t[i] = entryLiteral | uint32(i)<<entryValue
	}
	t[endOfBlock] = entryEnd
	base := uint32(3)
	for i := 257; i < 285; i++ {
		extra := uint32(max(0, (i-261)/4))
		t[i] = base<<entryValue | extra
		base += 1 << extra
	}
	t[285] = maxMatch << entryValue
	t[286], t[287] = entryInvalid, entryInvalid
	return t
}

// makeDistTemplate follows the second table there: distances 1 to 4 have no extra
// bits, then there are two codes for each number of extra bits.
func makeDistTemplate() (t [numDist]uint32) {
	base := uint32(1)
	for i := range maxDist {
		extra := uint32(max(0, i/2-1))
		t[i] = base<<entryValue | extra
		base += 1 << extra
	}
	t[30], t[31] = entryInvalid, entryInvalid
	return t
}

func makePrecodeTemplate() (t [numPrecode]uint32) {
	for i := range t {
		t[i] = uint32(i) << entryValue
	}
	return t
}
