package inflate

import "math/bits"

// First-level index widths, and table sizes that no set of code lengths can
// exceed. A second-level table is as wide as the longest code makes it and holds
// at least two codes, so there are at most half as many as symbols.
const (
	litLenBits  = 11
	distBits    = 8
	precodeBits = 7

	litLenSize = 1<<litLenBits + maxLitLen/2<<(maxCodeBits-litLenBits)
	distSize   = 1<<distBits + maxDist/2<<(maxCodeBits-distBits)
)

// buildTable fills table, whose first level is indexed by width bits, for the
// canonical Huffman code (RFC 1951, 3.2.2) that has the given code lengths.
// It reports whether there is such a code.
//
// Like compress/flate it accepts complete codes, a single code of one bit and no
// code at all; the bits that then mean nothing get an entry that says so.
func buildTable(table []uint32, width uint, lengths []uint8, template []uint32) bool {
	var count [maxCodeBits + 1]uint16
	for _, l := range lengths {
		count[l&15]++
	}
	longest := uint(maxCodeBits)
	for longest > 0 && count[longest] == 0 {
		longest--
	}
	count[0] = 0

	// place[l] is where the symbols with codes of l bits begin in sorted.
	var place [maxCodeBits + 2]uint16
	free := 1 // codes of this length that are not taken
	for l := uint(1); l <= maxCodeBits; l++ {
		free = free<<1 - int(count[l])
		if free < 0 {
			return false // over-subscribed
		}
		place[l+1] = place[l] + count[l]
	}
	if free > 0 {
		if longest > 1 {
			return false // incomplete
		}
		first := table[:1<<width]
		for i := range first {
			first[i] = entryInvalid
		}
	}

	var sorted [numLitLen]uint16
	total := int(place[maxCodeBits+1])
	for sym, l := range lengths {
		if l != 0 {
			sorted[place[l&15]] = uint16(sym)
			place[l&15]++
		}
	}

	if free > 0 {
		if total == 1 {
			e := template[sorted[0]] + codeLenUnit
			for i := 0; i < 1<<width; i += 2 {
				table[i] = e
			}
		}
		return true
	}
	fillTable(table, width, longest, sorted[:total], &count, template)
	return true
}

// fillTable enters the symbols of a complete code, which are sorted by the length
// of their codes. Codes are read from their first bit on and so are kept
// reversed, the first bit in bit 0.
func fillTable(table []uint32, width, longest uint, sorted []uint16, count *[maxCodeBits + 1]uint16, template []uint32) {
	code := uint32(0)
	i := 0

	// The first level grows with the length of the codes: what has been entered
	// for shorter ones holds whatever the next bit is, so it is copied.
	size := 1
	for l := uint(1); l <= width; l++ {
		copy(table[size:2*size], table[:size])
		size *= 2
		for range count[l] {
			table[code] = template[sorted[i]] + uint32(l)*codeLenUnit
			code = nextCode(code, l)
			i++
		}
	}

	// Codes with the same first bits share a second-level table.
	deep := longest - width
	prefix, base := ^uint32(0), uint32(0)
	end := uint32(size)
	for l := width + 1; l <= longest; l++ {
		for range count[l] {
			if p := code & uint32(size-1); p != prefix {
				prefix, base = p, end
				end += 1 << deep
				table[prefix] = entryLink | uint32(deep)<<entryCodeLen | base<<entryValue | uint32(width)
			}
			e := template[sorted[i]] + uint32(l)*codeLenUnit
			second := table[base : base+1<<deep]
			for j := code >> width; j < 1<<deep; j += 1 << (l - width) {
				second[j] = e
			}
			code = nextCode(code, l)
			i++
		}
	}
}

// nextCode adds one to a reversed code of l bits: the carry runs from bit l-1
// down. The last code wraps to 0.
func nextCode(code uint32, l uint) uint32 {
	ones := uint(bits.LeadingZeros32(^(code << (32 - l))))
	if ones >= l {
		return 0
	}
	top := uint32(1) << (l - 1 - ones)
	return code&(top-1) | top
}
