package flash

import (
	"bytes"
	"fmt"
	"time"
)

// put writes what of a block has to be written; old is room for a block. Zero ranges are
// zeroed by the disk.
func (l *pipeline) put(b *block, old []byte) error {
	data := padded(b.buf, b.n, b.off, l.disk)
	known := l.lookAt(b.off, data, old)
	switch {
	case known == nil || !bytes.Equal(known, data):
		if err := l.store(b.off, data, known); err != nil {
			return err
		}
		l.ledger.wrote(b.index, b.n, l.stored.Load())
	case !isZeros(data) && l.choose.measure():
		// It need not be written, but what writing costs has to be known.
		first := unit(data, 0)
		if err := l.store(b.off, first, nil); err != nil {
			return err
		}
		l.choose.kept(len(data) - len(first))
		l.ledger.wrote(b.index, b.n, l.stored.Load())
	default:
		l.choose.kept(b.n)
		l.ledger.mark(b.index)
	}
	l.written.Add(int64(b.n))
	for seen := l.taken.Load(); b.taken > seen && !l.taken.CompareAndSwap(seen, b.taken); {
		seen = l.taken.Load()
	}
	l.release(b)
	return nil
}

// lookAt returns what the disk has in place of data, read to old, if it seems to pay to
// know that; else nil.
func (l *pipeline) lookAt(off int64, data, old []byte) []byte {
	old = old[:len(data)]
	if isZeros(data) { // says nothing about the others
		free := l.opt.NoVerify && l.disk.ZeroingOffload()
		if free || !l.choose.pays() || !l.readOld(off, old) {
			return nil
		}
		return old
	}
	first, all := l.choose.look()
	n := len(old)
	switch {
	case first:
		n = len(unit(old, 0))
	case !all:
		return nil
	}
	ok := l.readOld(off, old[:n])
	if ok && n < len(old) && bytes.Equal(old[:n], data[:n]) {
		ok = l.readOld(off+int64(n), old[n:])
		n = len(old)
	}
	l.choose.decided(ok && n == len(old) && bytes.Equal(old, data))
	if !ok || n < len(old) {
		return nil
	}
	return old
}

// readOld reads what is on the disk. What cannot be read will be written.
func (l *pipeline) readOld(off int64, old []byte) bool {
	start := time.Now()
	if _, err := l.disk.ReadAt(old, off); err != nil {
		return false
	}
	l.choose.didRead(len(old), time.Since(start))
	return true
}

// store writes data at off, but for the pieces that known, if it is not nil, has already.
func (l *pipeline) store(off int64, data, known []byte) error {
	const (
		there = iota
		zero
		other
	)
	kind := func(at int) int {
		u := unit(data, at)
		switch {
		case known != nil && bytes.Equal(u, unit(known, at)):
			return there
		case isZero(u):
			return zero
		}
		return other
	}
	for start := 0; start < len(data); {
		k, end := kind(start), start+len(unit(data, start))
		for end < len(data) && kind(end) == k {
			end += len(unit(data, end))
		}
		var err error
		switch at := off + int64(start); k {
		case there:
			l.choose.kept(end - start)
		case zero:
			err = l.disk.Zero(at, int64(end-start))
			l.zeroed.Add(int64(end - start))
		case other:
			begun := time.Now()
			_, err = l.disk.WriteAt(data[start:end], at)
			l.choose.didWrite(end-start, time.Since(begun))
			l.stored.Add(int64(end - start))
		}
		if err != nil {
			return &DiskError{fmt.Sprintf("cannot write at byte %d", off+int64(start)), err}
		}
		start = end
	}
	return nil
}

// unit returns the piece of data at start that is all zero or not.
func unit(data []byte, start int) []byte {
	return data[start:min(len(data), start+zeroUnit)]
}

// isZero reports whether b, of at most a MiB, is all zeros.
func isZero(b []byte) bool { return bytes.Equal(b, zeroHead[:len(b)]) }

// isZeros reports whether b is all zeros.
func isZeros(b []byte) bool {
	for start := 0; start < len(b); start += zeroUnit {
		if !isZero(unit(b, start)) {
			return false
		}
	}
	return true
}

// padded returns the first n bytes of buf and zeros up to a whole logical block, as far
// as the disk reaches: an image need not end where a block does.
func padded(buf []byte, n int, off int64, d Disk) []byte {
	bs := int64(d.BlockSize())
	whole := min((int64(n)+bs-1)/bs*bs, d.Size()-off, int64(cap(buf)))
	clear(buf[n:whole:whole])
	return buf[:whole]
}
