package inflate

import (
	"bytes"
	"fmt"
	"sync"
)

// Complete codes of which tests use a few symbols.
var (
	// All literals with 9 bits; the end and some lengths share the other half.
	wideLit = func() []uint8 {
		l := bytes.Repeat([]byte{9}, 256)
		l = append(l, bytes.Repeat([]byte{6}, 28)...) // 256 to 283
		return append(l, 5, 5)                        // 284, 285
	}()
	allDist = func() []uint8 { return append([]byte{4, 4}, bytes.Repeat([]byte{5}, 28)...) }()

	// Codes of every length up to 15, for the second-level tables: the longest
	// are those of the end, of length 258 and of the far distances.
	deepLit = func() []uint8 {
		l := lens(286, map[int]uint8{256: 15, 285: 15})
		for i := range 14 {
			l['a'+i] = uint8(i + 1)
		}
		return l
	}()
	deepDist = func() []uint8 {
		l := lens(30, map[int]uint8{28: 15, 29: 15})
		for i := range 14 {
			l[i] = uint8(i + 1)
		}
		return l
	}()
)

// streams are the corner cases of RFC 1951.
var streams = sync.OnceValue(func() (all []stream) {
	add := func(name string, ok bool, w *bitWriter) { all = append(all, stream{name, w.b, ok}) }
	w := func() *bitWriter { return new(bitWriter) }
	abc := []byte("abcdefgh")

	add("nothing", false, w())
	add("reserved block type", false, w().header(1, 3).put(0, 64))
	add("reserved block type after a good block", false, w().fixed(0).literals('x').end().header(1, 3).put(0, 64))

	// 3.2.4, stored blocks.
	add("stored, empty", true, w().stored(1, nil))
	add("stored, many empty", true, w().stored(0, nil).stored(0, nil).fixed(0).end().stored(0, nil).stored(1, nil))
	add("stored, 1 byte", true, w().stored(1, []byte{7}))
	add("stored, 65535 bytes", true, w().stored(1, text(65535)))
	add("stored, twice 65535 bytes", true, w().stored(0, text(65535)).stored(1, text(65535)))
	add("stored, wrong complement", false, w().header(1, 0).put(0, 5).put(5, 16).put(5, 16).put(0, 64))
	add("stored, zeros for a complement", false, w().header(1, 0).put(0, 5).put(0, 64))
	add("stored, bits dropped are not 0", true, w().header(1, 0).put(31, 5).put(0, 16).put(0xffff, 16))
	add("stored, not the last, then nothing", false, w().stored(0, abc))
	for i := range 8 {
		// At every position in a byte: an end is 7 bits, a literal 8.
		s := w()
		for range i {
			s.fixed(0).end()
		}
		add(fmt.Sprintf("stored after %d bits", 10*i), true, s.stored(0, abc).fixed(1).match(8, 8).end())
	}

	// 3.2.6, fixed blocks.
	add("fixed, empty", true, w().fixed(1).end())
	add("fixed, all literals", true, func() *bitWriter {
		s := w().fixed(1)
		for i := range 256 {
			s.sym(i)
		}
		return s.end()
	}())
	add("fixed, no end", false, w().fixed(1).literals(abc...))
	add("fixed, length code 286", false, w().fixed(1).literals(abc...).sym(286).put(0, 100))
	add("fixed, length code 287", false, w().fixed(1).literals(abc...).sym(287).put(0, 100))
	for _, dc := range []int{30, 31} {
		s := w().fixed(1).literals(abc...).sym(257)
		add(fmt.Sprintf("fixed, distance code %d", dc), false, s.huff(s.dist[dc]).put(0, 100))
	}
	add("fixed, length 258 as 284 and 31", true, func() *bitWriter {
		s := w().fixed(1).literals('z').sym(284).put(31, 5)
		return s.huff(s.dist[0]).end()
	}())

	// Distances.
	add("distance 1 before the first byte", false, w().fixed(1).match(3, 1).put(0, 100))
	add("distance 1 after one byte", true, w().fixed(1).literals('a').match(258, 1).end())
	add("distance 2 after one byte", false, w().fixed(1).literals('a').match(3, 2).put(0, 100))
	add("distance 2 after one byte, with room", false, w().fixed(1).literals('a').match(3, 2).put(0, 400))
	add("distance past the start, after an empty block", false, w().stored(0, nil).fixed(1).match(3, 1).end())
	add("distance 32768", true, w().stored(0, text(32768)).fixed(1).match(258, 32768).end())
	add("distance 32768 after 32767 bytes", false, w().stored(0, text(32767)).fixed(1).match(258, 32768).end())
	add("match from the block before", true, w().stored(0, abc).fixed(1).match(100, 8).end())

	// 3.2.7, dynamic blocks.
	add("dynamic, empty, only an end", true, w().dynamic(1, lens(257, map[int]uint8{256: 1}), []uint8{0}).end())
	add("dynamic, only an end, its unused code", false, w().dynamic(1, lens(257, map[int]uint8{256: 1}), []uint8{0}).put(1, 1).put(0, 100))
	add("dynamic, only an end, of 2 bits", false, w().dynamic(1, lens(257, map[int]uint8{256: 2}), []uint8{0}).put(0, 100))
	add("dynamic, no end", false, w().dynamic(1, lens(257, map[int]uint8{'a': 1, 'b': 1}), []uint8{1}).put(0x55, 8).put(0, 100))
	add("dynamic, no symbols", false, w().dynamic(1, lens(257, nil), []uint8{0}).put(0, 100))
	add("dynamic, no distances, none used", true, w().dynamic(1, lens(257, map[int]uint8{'a': 1, 256: 1}), []uint8{0}).literals('a').end())
	add("dynamic, no distances, one used", false, w().dynamic(1, lens(258, map[int]uint8{'a': 2, 256: 2, 257: 1}), []uint8{0}).literals('a').sym(257).put(0, 100))
	one := lens(258, map[int]uint8{'a': 2, 256: 2, 257: 1})
	add("dynamic, one distance of 1 bit", true, w().dynamic(1, one, []uint8{1}).literals('a').match(3, 1).end())
	add("dynamic, one distance of 1 bit, the other used", false, w().dynamic(1, one, []uint8{1}).literals('a').sym(257).put(1, 1).put(0, 100))
	add("dynamic, one distance of 2 bits", false, w().dynamic(1, one, []uint8{2}).literals('a').sym(257).put(0, 100))
	add("dynamic, one distance, not the first", true, w().dynamic(1, one, []uint8{0, 1}).literals('a', 'a').match(3, 2).end())
	add("dynamic, literals incomplete", false, w().dynamic(1, lens(257, map[int]uint8{'a': 2, 256: 1}), []uint8{1}).put(0, 100))
	add("dynamic, literals over-subscribed", false, w().dynamic(1, lens(257, map[int]uint8{'a': 1, 'b': 1, 256: 1}), []uint8{1}).put(0, 100))
	add("dynamic, distances incomplete", false, w().dynamic(1, one, []uint8{2, 2, 2}).put(0, 100))
	add("dynamic, distances over-subscribed", false, w().dynamic(1, one, []uint8{1, 1, 1}).put(0, 100))
	add("dynamic, over-subscribed at 15 bits", false, w().dynamic(1, append(append([]uint8{}, deepLit...)[:284], 15, 15), allDist).put(0, 100))
	add("dynamic, 287 lengths", false, w().header(1, 2).put(30, 5).put(0, 5).put(15, 4).put(0, 200))
	add("dynamic, 31 distances", false, w().header(1, 2).put(0, 5).put(30, 5).put(15, 4).put(0, 200))
	add("dynamic, 32 distances", false, w().header(1, 2).put(0, 5).put(31, 5).put(15, 4).put(0, 200))

	// The code for code lengths. It is sent in the order 16 17 18 0 8 7 9 …
	pre := func(n uint, lengths ...uint) *bitWriter {
		s := w().header(1, 2).put(0, 5).put(0, 5).put(n-4, 4)
		for i := range n {
			l := uint(0)
			if int(i) < len(lengths) {
				l = lengths[i]
			}
			s.put(l, 3)
		}
		return s
	}
	add("precode empty", false, pre(4).put(0, 300))
	add("precode incomplete", false, pre(4, 2, 2, 2).put(0, 300))
	add("precode over-subscribed", false, pre(4, 1, 1, 1).put(0, 300))
	add("precode of one symbol", false, pre(4, 0, 0, 1).put(0, 300))
	add("precode of one symbol, its unused code", false, pre(4, 0, 0, 1).put(1, 1).put(0, 300))
	add("repeat at the start", false, pre(4, 1, 0, 0, 1).put(1, 1).put(0, 300))
	add("repeat beyond the last", false, pre(4, 0, 0, 1, 1).put(1, 1).put(127, 7).put(1, 1).put(127, 7).put(0, 300))
	add("repeat of a length beyond the last", false, pre(18, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2).put(0, 300))
	// 18 ×138, 18 ×118, then 1 1: the end and one distance run on from each other.
	// Codes by symbol: 1 = 0, 18 = 1.
	add("repeat up to the end code", true, pre(18, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1).
		put(1, 1).put(127, 7).put(1, 1).put(107, 7).put(0, 1).put(0, 1).put(0, 1))
	// The lengths 1 for the end and for the distance, as a literal 1, then a repeat
	// of three, which only just is too long with one distance and fits three.
	add("repeat across both codes, over-subscribed", false, pre(18, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2).
		put(0, 1).put(127, 7).put(0, 1).put(106, 7).huff(code{2, 2}).huff(code{3, 2}).put(0, 2).put(0, 300))
	add("repeat of zeros across both codes", true, func() *bitWriter {
		// The end is symbol 255's neighbour; 18 runs on to the only distance, unused.
		// Order of the codes: 1 = 0, 18 = 1.
		s := w().header(1, 2).put(1, 5).put(9, 5).put(14, 4)
		for _, l := range []uint{0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1} {
			s.put(l, 3)
		}
		s.put(1, 1).put(127, 7).put(1, 1).put(107, 7)    // 256 zeros
		return s.put(0, 1).put(1, 1).put(0, 7).put(0, 1) // 256: 1; 11 zeros: 257 and ten distances; the end
	}())

	// Long codes.
	deep := func() *bitWriter { return w().stored(0, text(32768)).dynamic(1, deepLit, deepDist) }
	add("codes of 1 to 15 bits", true, func() *bitWriter {
		s := deep()
		for i := range 14 {
			s.literals(byte('a'+i)).match(258, 32768-i).match(258, 1+i)
		}
		return s.end()
	}())
	add("long codes, many", true, func() *bitWriter {
		s := deep()
		for i := range 500 {
			s.literals('n', 'n').match(258, 32768-i).literals('n', byte('a'+i%14)).match(258, 16385+7*i)
		}
		return s.end()
	}())
	add("all lengths and distances", true, func() *bitWriter {
		s := w().stored(0, text(32768)).dynamic(1, wideLit, allDist)
		dist := 1
		for l := 3; l <= 258; l++ {
			for range 4 {
				s.match(l, dist).literals(byte(l))
				dist = dist*17%32768 + 1
			}
		}
		return s.end()
	}())
	add("bytes behind the end", true, func() *bitWriter {
		s := w().fixed(1).literals(abc...).end()
		s.b = append(s.b, "and this is not of the stream at all"...)
		return s
	}())

	// From a compressor.
	for level := -2; level <= 9; level++ {
		all = append(all, stream{fmt.Sprintf("text at level %d", level), deflate(text(20000), level), true})
	}
	return all
})
