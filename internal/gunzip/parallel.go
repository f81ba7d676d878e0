package gunzip

import "encoding/binary"

// Bounds of a member that the pool decodes, both given by BGZF. Members that say
// that they hold more are decoded by the caller of Read.
const (
	maxMember       = 64 << 10 // compressed
	maxMemberOutput = 64 << 10
)

// directBuffer is the size from which on members are decoded straight to the
// caller's buffer. In a smaller one there is too little for many goroutines to do.
const directBuffer = 256 << 10

// What memory is spent on, roughly.
const (
	sharedMemory = 512 << 10 // input buffer, serial decoder, spill
	workerMemory = jobsPerWorker*maxMember + 32<<10
	blockSize    = 1 << 20
)

// workers returns how many goroutines the options allow, 1 if it is not worth it.
func (o Options) workers() int {
	room := (o.MaxMemory - sharedMemory - blockSize) / workerMemory
	return int(max(1, min(int64(o.Concurrency), room)))
}

// fillParallel decodes the member whose header has been read, and those that
// follow it for as long as their sizes are known and there is room, to p or, if
// that is small, to z.block.
func (z *Reader) fillParallel(p []byte) int {
	if z.pool == nil {
		z.pool = newPool(z.workers)
	}
	if len(p) >= directBuffer {
		if z.spill == nil {
			z.spill = make([]byte, maxMemberOutput)
		}
		return z.runBatch(p, z.spill)
	}
	if z.block == nil {
		z.block = make([]byte, blockSize)
	}
	z.pending = z.block[:z.runBatch(z.block, nil)]
	return 0
}

// runBatch decodes members to p and returns how much of it they filled. The last
// one may not fit; it is decoded to spill, if there is one, p gets its beginning,
// and z.pending the rest.
func (z *Reader) runBatch(p, spill []byte) (n int) {
	spilled := 0
	for index := 0; n < len(p) && !z.pool.failed.Load(); index++ {
		length, ok := z.sizedMember()
		if !ok || length > len(p)-n && spill == nil {
			break
		}
		j := <-z.pool.free
		j.at, j.index, j.offset = z.member, index, n
		data := z.member.size - int(z.member.data-z.member.start)
		j.src = append(j.src[:0], z.in.Buffered()[:data]...)
		z.in.Discard(data)
		z.place, z.length = betweenMembers, uint32(length)
		if length > len(p)-n {
			spilled = length
			j.dst = spill[:length]
			z.pool.do(j)
			break
		}
		j.dst = p[n : n+length]
		n += length
		z.pool.do(j)
	}
	if f := z.pool.wait(); f.err != nil {
		z.err = f.err
		return f.offset
	}
	if spilled > 0 {
		m := copy(p[n:], spill[:spilled])
		z.pending = spill[m:spilled]
		n += m
	}
	return n
}

// sizedMember makes sure that the header of the next member has been read and all
// of its data is buffered, and returns how long its output is by its trailer.
// It is not ok after an error, and for a member that the caller of Read decodes.
func (z *Reader) sizedMember() (length int, ok bool) {
	if z.place == betweenMembers {
		z.nextMember()
	}
	if z.err != nil || z.member.size == 0 {
		return 0, false
	}
	data := z.member.size - int(z.member.data-z.member.start)
	if data <= trailerSize {
		z.err = &CorruptError{Offset: z.member.start, Reason: wrongSize}
		return 0, false
	}
	if z.err = need(z.in, data); z.err != nil {
		return 0, false
	}
	isize := binary.LittleEndian.Uint32(z.in.Buffered()[data-4:])
	if isize > maxMemberOutput {
		z.begin()
		return 0, false
	}
	return int(isize), true
}
