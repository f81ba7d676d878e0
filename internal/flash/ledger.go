package flash

import (
	"hash/maphash"
	"sync"
)

// pageSize is the size in bytes of what is looked at again of each MiB at the end.
const pageSize = 4096

// seed makes the digests of blocks. A digest of 64 bits that differs from run to run is
// enough: it has to notice a failing disk, not an adversary (the SHA-256 of the image is
// in the receipt).
var seed = maphash.MakeSeed()

// sample is what is known of a page of a MiB of the image.
type sample struct {
	digest uint64
	page   uint8 // number within the MiB: the first page that is not zero, or 0
	ok     bool  // the MiB has a whole page
}

// written is a block that was written: its number and its length in bytes, and how many
// bytes of data had been given to the disk when it was.
type written struct {
	block, size int32
	at          int64
}

// ledger is what a job remembers of the blocks behind the head: 89 bytes for 4 MiB of
// image. Block i begins at i*blockSize, block 0 behind the head. Its methods are for
// several goroutines at once.
type ledger struct {
	mu      sync.Mutex
	digests []uint64
	samples []sample  // by MiB of the image; those of the head are not ok
	read    []bool    // the block has been read from the medium, and was equal
	order   []written // blocks in the order in which they were written
}

// note remembers block i, whose bytes are b. Blocks come in order.
func (g *ledger) note(i int, b []byte) {
	digest := maphash.Bytes(seed, b)
	var s [blockSize / zeroUnit]sample
	first := 0
	if i == 0 {
		first = headSize / zeroUnit
	}
	n := first
	for ; len(b) > 0; n++ {
		u := unit(b, 0)
		s[n] = takeSample(u)
		b = b[len(u):]
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.digests = append(g.digests, digest)
	g.samples = append(g.samples, s[:n]...)
}

// takeSample picks a page of a MiB.
func takeSample(u []byte) sample {
	var s sample
	for at := 0; at+pageSize <= len(u); at += pageSize {
		if !isZero(u[at : at+pageSize]) {
			s.page = uint8(at / pageSize)
			break
		}
	}
	at := int(s.page) * pageSize
	if at+pageSize <= len(u) {
		s.ok, s.digest = true, maphash.Bytes(seed, u[at:at+pageSize])
	}
	return s
}

// wrote remembers that block i was written, after all that were written before; stored is
// how many bytes of data the disk has been given so far.
func (g *ledger) wrote(i, size int, stored int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.order = append(g.order, written{int32(i), int32(size), stored})
}

// writes is how many blocks have been written.
func (g *ledger) writes() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.order)
}

// nth returns the block that was written as number n and its digest; ok is false if that
// is not there yet.
func (g *ledger) nth(n int) (w written, digest uint64, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	w = g.order[n]
	if int(w.block) >= len(g.digests) {
		return w, 0, false
	}
	return w, g.digests[w.block], true
}

// mark remembers that block i was read from the medium and was equal.
func (g *ledger) mark(i int) { g.set(i, true) }

// unmark takes that back.
func (g *ledger) unmark(i int) { g.set(i, false) }

func (g *ledger) set(i int, read bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for len(g.read) <= i {
		g.read = append(g.read, false)
	}
	g.read[i] = read
}

// blocks lists the blocks that are marked, or those that are not, in order. Call it when
// all have been noted.
func (g *ledger) blocks(marked bool) []int {
	g.mu.Lock()
	defer g.mu.Unlock()
	var blocks []int
	for i := range g.digests {
		if (i < len(g.read) && g.read[i]) == marked {
			blocks = append(blocks, i)
		}
	}
	return blocks
}
