package flash

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/maphash"
	"io"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/openseastack/netboot-imager/internal/disk"
	"github.com/openseastack/netboot-imager/internal/source"
	"golang.org/x/sync/errgroup"
)

const (
	buffers   = 8               // blocks in flight
	writers   = 2               // goroutines that write them
	zeroUnit  = 1 << 20         // zero ranges are looked for in pieces of this size
	syncEvery = 1 * time.Second // so that progress is of what is on the medium
)

// seed makes the digests of blocks. A digest of 64 bits that differs from run to run is
// enough: it has to notice a failing disk, not an adversary (the SHA-256 of the image is
// in the receipt).
var seed = maphash.MakeSeed()

// block is a piece of the image on its way to the disk.
type block struct {
	buf   []byte // blockSize bytes, aligned
	off   int64
	n     int   // bytes of the image
	taken int64 // of the download, when the block was complete
	users atomic.Int32
}

// pipeline moves the image behind its head to the disk: one goroutine decodes, one makes
// digests, some write, one flushes.
type pipeline struct {
	*Plan
	free, write, digest chan *block

	written  atomic.Int64 // bytes
	taken    atomic.Int64 // of the download, by blocks that are written
	zeroed   atomic.Int64
	diskWait atomic.Int64 // nanoseconds that the decoder waited for a free block
}

// write downloads, decodes and writes everything behind the head.
func (p *Plan) write(ctx context.Context) error {
	p.opt.Progress.begin(StageWriting, "Writing")
	g, ctx := errgroup.WithContext(ctx)
	l := &pipeline{Plan: p, free: make(chan *block, buffers), write: make(chan *block, buffers), digest: make(chan *block, buffers)}
	for range buffers {
		l.free <- &block{buf: disk.AlignedBuffer(blockSize)}
	}
	// A decoder that waits for the network must not outlive a disk that failed.
	stop := context.AfterFunc(ctx, p.image.Interrupt)
	defer stop()

	start := time.Now()
	whole := sha256.New()
	whole.Write(p.head)
	g.Go(func() error {
		defer close(l.write)
		defer close(l.digest)
		return l.read(ctx)
	})
	g.Go(func() error {
		for b := range l.digest {
			whole.Write(b.buf[:b.n])
			p.digests = append(p.digests, maphash.Bytes(seed, b.buf[:b.n]))
			l.release(b)
		}
		return nil
	})
	var writing sync.WaitGroup
	writing.Add(writers)
	for range writers {
		g.Go(func() error {
			defer writing.Done()
			for b := range l.write {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				if err := l.put(b); err != nil {
					return err
				}
			}
			return nil
		})
	}
	written := make(chan struct{})
	go func() { writing.Wait(); close(written) }()
	g.Go(func() error { return l.flushUntil(ctx, written) })
	if err := g.Wait(); err != nil {
		return err
	}
	if err := p.complete(p.size); err != nil {
		return err
	}
	p.receipt.Bottleneck = bottleneck(l.count(), counters{}, time.Since(start), "")
	p.receipt.ZeroedBytes = l.zeroed.Load()
	p.receipt.ImageSize = p.size
	p.receipt.ImageSHA256 = hex.EncodeToString(whole.Sum(nil))
	if want := p.opt.SHA256; want != "" && p.receipt.ImageSHA256 != want {
		return &ImageError{fmt.Sprintf("sha256 mismatch: the image has %s, the request says %s; upload the image again or correct the request", p.receipt.ImageSHA256, want)}
	}
	return nil
}

// read fills blocks until the image ends.
func (l *pipeline) read(ctx context.Context) (err error) {
	defer func() {
		if v := recover(); v != nil {
			l.opt.Logf("BUG: panic while decoding: %v\n%s", v, debug.Stack())
			err = &ImageError{"the image cannot be decoded: the decoder failed on it; please report what the service's log says"}
		}
	}()
	off := int64(len(l.head))
	for {
		b, err := l.acquire(ctx)
		if err != nil {
			return err
		}
		// The head leaves the first block short, so that all others are aligned.
		room := b.buf[:blockSize-off%blockSize]
		n, err := fill(l.image, room)
		if err != nil && err != io.EOF {
			return err
		}
		if off+int64(n) > l.disk.Size() {
			return &TooLargeError{Need: off + int64(n), Have: l.disk.Size(), What: "the image", AtLeast: true}
		}
		if n > 0 {
			b.off, b.n, b.taken = off, n, l.image.Taken()
			off += int64(n)
			b.users.Store(2)
			for _, c := range []chan *block{l.digest, l.write} {
				select {
				case c <- b:
				case <-ctx.Done():
					return context.Cause(ctx)
				}
			}
		}
		if err == io.EOF {
			l.size = off
			return nil
		}
	}
}

// fill reads until p is full or r ends. Unlike io.ReadFull it returns r's own error, so
// that an early end is never taken for the end.
func fill(r io.Reader, p []byte) (int, error) {
	n := 0
	for n < len(p) {
		m, err := r.Read(p[n:])
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// acquire waits for a free block.
func (l *pipeline) acquire(ctx context.Context) (*block, error) {
	select {
	case b := <-l.free:
		return b, nil
	default:
	}
	start := time.Now()
	defer func() { l.diskWait.Add(int64(time.Since(start))) }()
	select {
	case b := <-l.free:
		return b, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (l *pipeline) release(b *block) {
	if b.users.Add(-1) == 0 {
		l.free <- b
	}
}

// put writes a block, zero ranges by the disk's zeroing.
func (l *pipeline) put(b *block) error {
	data := padded(b.buf, b.n, b.off, l.disk)
	for start := 0; start < len(data); {
		zero, end := isZero(unit(data, start)), start
		for end < len(data) && isZero(unit(data, end)) == zero {
			end += len(unit(data, end))
		}
		var err error
		if off := b.off + int64(start); zero {
			err = l.disk.Zero(off, int64(end-start))
			l.zeroed.Add(int64(end - start))
		} else {
			_, err = l.disk.WriteAt(data[start:end], off)
		}
		if err != nil {
			return &DiskError{fmt.Sprintf("cannot write at byte %d", b.off+int64(start)), err}
		}
		start = end
	}
	l.written.Add(int64(b.n))
	for seen := l.taken.Load(); b.taken > seen && !l.taken.CompareAndSwap(seen, b.taken); {
		seen = l.taken.Load()
	}
	l.release(b)
	return nil
}

// unit returns the piece of data at start that is all zero or not.
func unit(data []byte, start int) []byte {
	return data[start:min(len(data), start+zeroUnit)]
}

func isZero(b []byte) bool { return bytes.Equal(b, zeroHead[:len(b)]) }

// padded returns the first n bytes of buf and zeros up to a whole logical block, as far
// as the disk reaches: an image need not end where a block does.
func padded(buf []byte, n int, off int64, d Disk) []byte {
	bs := int64(d.BlockSize())
	whole := min((int64(n)+bs-1)/bs*bs, d.Size()-off, int64(cap(buf)))
	clear(buf[n:whole:whole])
	return buf[:whole]
}

// flushUntil flushes the disk regularly and reports what is on the medium, until all is
// written.
func (l *pipeline) flushUntil(ctx context.Context, written <-chan struct{}) error {
	tick := time.NewTicker(syncEvery)
	defer tick.Stop()
	for {
		select {
		case <-written:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		c := l.count()
		if err := l.disk.Sync(); err != nil {
			return &DiskError{"written data cannot be flushed", err}
		}
		l.opt.Progress.sample(c)
	}
}

// count reads the counters. What it says of the disk is on the medium after a Sync that
// begins later.
func (l *pipeline) count() counters {
	return counters{
		bytes:    l.written.Load(),
		total:    l.info.Size,
		expected: l.expected(),
		taken:    l.taken.Load(),
		transfer: l.info.TransferSize,
		starved:  l.image.Starved(),
		diskWait: time.Duration(l.diskWait.Load()),
		raw:      l.info.Format == source.Raw,
	}
}

// expected guesses the image's size from its partitions, for progress only.
func (l *pipeline) expected() int64 {
	if l.table == nil {
		return 0
	}
	return max(l.table.End(), l.table.AlternateEnd)
}

// flush waits for the rest to be on the medium.
func (p *Plan) flush(ctx context.Context) error {
	p.opt.Progress.begin(StageSyncing, "Flushing the disk's cache")
	p.receipt.Transfer = p.image.Transfer()
	if err := p.disk.Sync(); err != nil {
		return &DiskError{"written data cannot be flushed", err}
	}
	return nil
}
