package inflate

import (
	"bytes"
	"compress/flate"
	"math/rand"
)

// A bitWriter makes streams bit by bit, for those that no compressor makes.
type bitWriter struct {
	b    []byte
	n    uint // bits in use of the last byte
	lit  [numLitLen]code
	dist [numDist]code
}

type code struct{ bits, len uint }

// put appends the low n bits of v, the lowest first.
func (w *bitWriter) put(v, n uint) *bitWriter {
	for range n {
		if w.n%8 == 0 {
			w.b = append(w.b, 0)
		}
		w.b[len(w.b)-1] |= byte(v&1) << (w.n % 8)
		v >>= 1
		w.n++
	}
	return w
}

// huff appends a Huffman code, its first bit first.
func (w *bitWriter) huff(c code) *bitWriter {
	for i := range c.len {
		w.put(c.bits>>(c.len-1-i)&1, 1)
	}
	return w
}

func (w *bitWriter) header(final, kind uint) *bitWriter { return w.put(final, 1).put(kind, 2) }

func (w *bitWriter) stored(final uint, data []byte) *bitWriter {
	w.header(final, 0)
	w.put(0, (8-w.n%8)%8).put(uint(len(data)), 16).put(uint(len(data))^0xffff, 16)
	w.b = append(w.b, data...)
	w.n += 8 * uint(len(data))
	return w
}

// canonical assigns the codes of RFC 1951, 3.2.2.
func canonical(codes []code, lengths []uint8) {
	next := uint(0)
	for l := uint8(1); l <= maxCodeBits; l++ {
		next <<= 1
		for sym, n := range lengths {
			if n == l {
				codes[sym] = code{next, uint(l)}
				next++
			}
		}
	}
}

// fixed begins a fixed block.
func (w *bitWriter) fixed(final uint) *bitWriter {
	w.header(final, 1)
	lengths := bytes.Repeat([]byte{8}, 144)
	lengths = append(lengths, bytes.Repeat([]byte{9}, 112)...)
	lengths = append(lengths, bytes.Repeat([]byte{7}, 24)...)
	lengths = append(lengths, bytes.Repeat([]byte{8}, 8)...)
	canonical(w.lit[:], lengths)
	canonical(w.dist[:], bytes.Repeat([]byte{5}, 32))
	return w
}

// dynamic begins a dynamic block with these code lengths, which are sent
// without run-length coding by a precode of 16 codes of 4 bits.
func (w *bitWriter) dynamic(final uint, lit, dist []uint8) *bitWriter {
	w.header(final, 2)
	w.put(uint(len(lit)-257), 5).put(uint(len(dist)-1), 5).put(15, 4)
	for _, sym := range precodeOrder {
		if sym < 16 {
			w.put(4, 3)
		} else {
			w.put(0, 3)
		}
	}
	for _, l := range append(append([]uint8{}, lit...), dist...) {
		w.huff(code{uint(l), 4})
	}
	w.lit, w.dist = [numLitLen]code{}, [numDist]code{}
	canonical(w.lit[:], lit)
	canonical(w.dist[:], dist)
	return w
}

func (w *bitWriter) sym(s int) *bitWriter { return w.huff(w.lit[s]) }

func (w *bitWriter) literals(b ...byte) *bitWriter {
	for _, c := range b {
		w.sym(int(c))
	}
	return w
}

// match appends a length and a distance.
func (w *bitWriter) match(length, dist int) *bitWriter {
	s := 257
	for s < 285 && int(litLenTemplate[s+1]>>entryValue&entryValueMax) <= length {
		s++
	}
	e := litLenTemplate[s]
	w.sym(s).put(uint(length)-uint(e>>entryValue), uint(e&entryBits))
	s = 0
	for s < maxDist-1 && int(distTemplate[s+1]>>entryValue) <= dist {
		s++
	}
	e = distTemplate[s]
	return w.huff(w.dist[s]).put(uint(dist)-uint(e>>entryValue), uint(e&entryBits))
}

func (w *bitWriter) end() *bitWriter { return w.sym(endOfBlock) }

// lens makes a list of code lengths of which only some are not 0.
func lens(n int, some map[int]uint8) []uint8 {
	l := make([]uint8, n)
	for i, v := range some {
		l[i] = v
	}
	return l
}

// A stream is a case for all tests; ok is what the standard library says of it.
type stream struct {
	name string
	data []byte
	ok   bool
}

// text is what compresses, with far and near matches and some runs.
func text(n int) []byte {
	r := rand.New(rand.NewSource(1))
	words := make([][]byte, 500)
	for i := range words {
		words[i] = make([]byte, 1+r.Intn(12))
		for j := range words[i] {
			words[i][j] = byte('a' + r.Intn(20))
		}
	}
	var b []byte
	for len(b) < n {
		switch r.Intn(40) {
		case 0:
			b = append(b, make([]byte, r.Intn(600))...)
		case 1:
			for range r.Intn(30) {
				b = append(b, byte(r.Intn(256)))
			}
		default:
			b = append(b, words[r.Intn(1+r.Intn(500))]...)
		}
	}
	return b[:n]
}

func deflate(data []byte, level int) []byte {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, level)
	if err != nil {
		panic(err)
	}
	w.Write(data)
	w.Close()
	return b.Bytes()
}
