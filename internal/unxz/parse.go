package unxz

import (
	"fmt"
	"io"
)

// parse is the goroutine that walks through the file. Blocks that can be
// decoded in parallel it hands to workers, all others it decodes itself.
func (z *Reader) parse() {
	err := z.parseFile()
	z.mu.Lock()
	z.parsed, z.end = true, err
	z.cond.Broadcast()
	z.mu.Unlock()
}

func (z *Reader) parseFile() (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("xz decoder: internal error: %v", p)
		}
	}()
	blocks, own := newIndexSum(), newIndexSum()
	raw := make([]byte, blockHeaderMax)
	flags := z.flags
	for {
		blocks.reset()
		for {
			first, err := z.in.readByte()
			if err != nil {
				return err
			}
			if first == 0 {
				break
			}
			unpadded, uncompressed, err := z.block(flags.check(), first, raw)
			if err != nil {
				return err
			}
			blocks.add(unpadded, uncompressed)
		}
		size, err := readIndex(&z.in, blocks, own)
		if err != nil {
			return err
		}
		if err := readStreamFooter(&z.in, flags, size); err != nil {
			return err
		}
		if more, err := nextStream(&z.in); !more {
			return err
		}
		if flags, err = readStreamHeader(&z.in); err != nil {
			return err
		}
	}
}

// block gets one block decoded. The sizes it returns are for the index; when
// a worker does it, they are the header's, which the worker verifies.
func (z *Reader) block(check checkID, first byte, raw []byte) (unpadded, uncompressed int64, err error) {
	j := z.newJob()
	h := &j.header
	if err := readBlockHeader(&z.in, first, raw, h); err != nil {
		return 0, 0, err
	}
	if h.dict > z.opt.MaxMemory {
		return 0, 0, &MemoryError{Dictionary: h.dict, Limit: z.opt.MaxMemory}
	}
	j.check = check
	j.off = z.in.off
	if z.parallel(h) {
		return z.feed(j)
	}
	if err := z.enqueue(j, bufferSize(int64(ringLen(h))), ringLen(h), false); err != nil {
		return 0, 0, err
	}
	return j.run(&z.serial, &z.in)
}

// parallel reports whether a block is worth a worker: its sizes are known,
// and a second one like it would fit into memory as well.
func (z *Reader) parallel(h *blockHeader) bool {
	return z.opt.Concurrency > 1 && h.nfilters == 0 &&
		h.compressed >= 0 && h.compressed <= z.opt.MaxMemory &&
		h.uncompressed >= 0 && h.uncompressed <= z.opt.MaxMemory &&
		2*cost(h) <= z.opt.MaxMemory
}

// cost is what a block in flight takes of the memory.
func cost(h *blockHeader) int64 {
	return bufferSize(max(h.uncompressed, 1)+slack) + bufferSize(h.compressed+checkSizeMax+3)
}

// feed hands a block to a worker, and then its bytes.
func (z *Reader) feed(j *job) (unpadded, uncompressed int64, err error) {
	h := j.header // the job is not ours any more once it is fed
	if err := z.enqueue(j, cost(&h), int(max(h.uncompressed, 1))+slack, true); err != nil {
		return 0, 0, err
	}
	size := j.check.size()
	left := h.compressed + int64(paddingOf(h.compressed)+size)
	for left > 0 {
		z.mu.Lock()
		seg := z.memory.segment()
		z.mu.Unlock()
		seg = seg[:min(left, segmentSize)]
		if err := z.in.readFull(seg); err != nil {
			return 0, 0, err // as z.end it ends the job, too
		}
		if err := j.feed(seg); err != nil {
			return 0, 0, err
		}
		left -= int64(len(seg))
	}
	j.endFeed()
	return int64(h.size) + h.compressed + int64(size), h.uncompressed, nil
}

// enqueue waits for memory, gives the job a ring of n bytes and puts it in
// line for Read, and for a worker if it is for one.
func (z *Reader) enqueue(j *job, need int64, n int, worker bool) error {
	z.mu.Lock()
	defer z.mu.Unlock()
	for !z.closed && (len(z.jobs) > z.opt.Concurrency || !z.memory.promise(need)) {
		z.cond.Wait()
	}
	if z.closed {
		return ErrClosed
	}
	buf, extra := z.memory.buffer(n)
	j.need = need + extra
	j.setBuffer(buf)
	z.jobs = append(z.jobs, j)
	if worker {
		z.todo = append(z.todo, j)
		if z.idle == 0 && z.busy < z.opt.Concurrency {
			z.busy++
			z.running.Go(z.work)
		}
	}
	z.cond.Broadcast()
	return nil
}

// newJob returns a blank job, one that was used before if there is one.
func (z *Reader) newJob() *job {
	z.mu.Lock()
	defer z.mu.Unlock()
	if n := len(z.spare); n > 0 {
		j := z.spare[n-1]
		z.spare = z.spare[:n-1]
		*j = job{z: z, segs: j.segs[:0]}
		return j
	}
	return &job{z: z}
}

// retire ends the first job, from which everything has been read. It is called
// with the mutex held.
func (z *Reader) retire() {
	j := z.jobs[0]
	n := copy(z.jobs, z.jobs[1:])
	z.jobs[n] = nil
	z.jobs = z.jobs[:n]
	z.memory.putBuffer(j.ring.buf)
	z.memory.used -= j.need
	z.spare = append(z.spare, j)
	z.cond.Broadcast()
}

// work is a goroutine that decodes blocks handed to it.
func (z *Reader) work() {
	var b blockDecoder
	var in input
	for {
		j := z.nextJob()
		if j == nil {
			return
		}
		in.reset(j, j.off)
		j.run(&b, &in)
	}
}

// nextJob waits for a job for a worker; nil means that none will come.
func (z *Reader) nextJob() *job {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.busy--
	z.idle++
	for len(z.todo) == 0 {
		if z.closed || z.parsed {
			return nil
		}
		z.cond.Wait()
	}
	z.idle--
	z.busy++
	j := z.todo[0]
	n := copy(z.todo, z.todo[1:])
	z.todo[n] = nil
	z.todo = z.todo[:n]
	return j
}

var _ io.Reader = (*Reader)(nil)
