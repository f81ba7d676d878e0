package unxz

import (
	"fmt"
	"io"
)

// job is one block on its way: its compressed bytes, for blocks decoded in
// parallel, and what came of it. Everything but the bytes inside the buffers
// and what only the decoder touches is guarded by the Reader's mutex.
type job struct {
	z      *Reader
	header blockHeader
	check  checkID
	off    int64 // of the block's data in the file
	need   int64 // bytes of memory promised to it

	// compressed bytes, fed by the parser and taken by the decoder
	segs [][]byte // those waiting, of segment memory
	head int      // the first of them
	used int      // bytes of it that are taken
	fed  bool     // all are there

	// output
	ring    ring  // what Read takes from
	dict    ring  // the dictionary of a block with more filters than LZMA2
	written int64 // bytes decoded
	taken   int64 // bytes that Read has copied out
	done    bool  // the decoder is through
	err     error // with what
}

// setBuffer makes the job's rings of buf, of ringLen bytes at least.
func (j *job) setBuffer(buf []byte) {
	if j.header.nfilters > 0 {
		j.dict.reset(buf[filteredLen:], int(j.header.dict))
		buf = buf[:filteredLen]
	}
	j.ring.reset(buf, int(j.header.dict))
}

// reserve waits until Read has made room in the ring.
func (j *job) reserve(w *ring) (int, error) {
	room := w.room()
	z := j.z
	z.mu.Lock()
	defer z.mu.Unlock()
	for !z.closed {
		// A ring that the whole block fits into never comes round to what
		// Read has not taken. Any other is longer than a few pieces.
		free := w.size - slack - int(j.written-j.taken)
		if int64(w.size) >= j.header.uncompressed && j.header.uncompressed >= 0 {
			free = room
		}
		if free >= min(room, pieceSize) {
			return min(room, free), nil
		}
		z.cond.Wait()
	}
	return 0, ErrClosed
}

// commit lets Read have n more bytes.
func (j *job) commit(n int) {
	j.z.mu.Lock()
	j.written += int64(n)
	j.z.cond.Broadcast()
	j.z.mu.Unlock()
}

// take copies decoded bytes to p, waiting for the first. Zero bytes mean that
// the job is done. It is called by Read, with the mutex held.
func (j *job) take(p []byte) int {
	z := j.z
	for j.written == j.taken && !j.done && !z.closed {
		z.cond.Wait()
	}
	total := 0
	for len(p) > 0 && j.written > j.taken && !z.closed {
		w := &j.ring
		at := int(j.taken % int64(w.size))
		n := min(len(p), int(j.written-j.taken), w.size-at)
		z.mu.Unlock()
		copy(p, w.buf[at:at+n])
		z.mu.Lock()
		p = p[n:]
		total += n
		j.taken += int64(n)
		z.cond.Broadcast()
	}
	return total
}

// feed hands the decoder a segment of compressed bytes.
func (j *job) feed(seg []byte) error {
	z := j.z
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.closed {
		return ErrClosed
	}
	j.segs = append(j.segs, seg)
	z.cond.Broadcast()
	return nil
}

// endFeed says that the decoder has been handed all there is.
func (j *job) endFeed() {
	j.z.mu.Lock()
	j.fed = true
	j.z.cond.Broadcast()
	j.z.mu.Unlock()
}

// Read takes compressed bytes; it is the source of the decoder's input.
func (j *job) Read(p []byte) (int, error) {
	z := j.z
	z.mu.Lock()
	defer z.mu.Unlock()
	for j.head == len(j.segs) {
		switch {
		case z.closed:
			return 0, ErrClosed
		case j.fed:
			return 0, &CorruptError{Offset: j.off, What: "a block takes more bytes than its header says"}
		case z.parsed:
			return 0, z.end // why it did not come so far
		}
		z.cond.Wait()
	}
	seg := j.segs[j.head]
	n := copy(p, seg[j.used:])
	j.used += n
	if j.used == len(seg) {
		z.memory.putSegment(seg)
		j.segs[j.head] = nil
		j.head++
		j.used = 0
	}
	return n, nil
}

// run decodes the block from in and ends the job. A panic ends it as well.
func (j *job) run(b *blockDecoder, in *input) (unpadded, uncompressed int64, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("xz decoder: internal error: %v", p)
		}
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		z := j.z
		z.mu.Lock()
		j.done, j.err = true, err
		z.cond.Broadcast()
		z.mu.Unlock()
	}()
	dict := &j.ring
	if j.header.nfilters > 0 {
		dict = &j.dict
	}
	return b.decode(in, &j.header, j.check, dict, &j.ring, j)
}
