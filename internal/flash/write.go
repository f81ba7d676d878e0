package flash

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/openseastack/netboot-imager/internal/disk"
	"github.com/openseastack/netboot-imager/internal/source"
	"github.com/openseastack/netboot-imager/internal/stopwatch"
	"golang.org/x/sync/errgroup"
)

const (
	buffers   = 8               // blocks in flight
	writers   = 2               // goroutines that write them
	zeroUnit  = 1 << 20         // zero ranges are looked for in pieces of this size
	syncEvery = 1 * time.Second // default; so that progress is of what is on the medium
)

// block is a piece of the image on its way to the disk.
type block struct {
	buf   []byte // blockSize bytes, aligned
	index int    // its number, as in the ledger
	off   int64
	n     int   // bytes of the image
	taken int64 // of the download, when the block was complete
	users atomic.Int32
}

// pipeline moves the image behind its head to the disk: one goroutine decodes, one makes
// digests, some write, one flushes, one reads back when the disk has nothing else to do.
type pipeline struct {
	*Plan
	free, write, digest chan *block
	choose              chooser
	wake                chan struct{} // for readAhead

	written  atomic.Int64 // bytes
	taken    atomic.Int64 // of the download, by blocks that are written
	zeroed   atomic.Int64
	stored   atomic.Int64        // bytes given to the disk
	ahead    atomic.Int64        // bytes read back
	busy     atomic.Int32        // writers at work
	durable  atomic.Int64        // writes, in the ledger's order, that a flush has confirmed
	flushed  atomic.Int64        // of stored, what a flush has confirmed
	steady   atomic.Bool         // the decoder has not waited for the disk lately
	diskWait stopwatch.Stopwatch // the decoder's waits for a free block
}

// write downloads, decodes and writes everything behind the head.
func (p *Plan) write(ctx context.Context) error {
	p.opt.Progress.begin(StageWriting, "Writing")
	g, ctx := errgroup.WithContext(ctx)
	l := &pipeline{Plan: p, free: make(chan *block, buffers), write: make(chan *block, buffers), digest: make(chan *block, buffers),
		wake: make(chan struct{}, 1)}
	l.choose.verify = !p.opt.NoVerify
	for range buffers {
		l.free <- &block{buf: disk.AlignedBuffer(blockSize)}
	}
	// A decoder that waits for the network must not outlive a disk that failed.
	stop := context.AfterFunc(ctx, p.image.Interrupt)
	defer stop()

	start, before := time.Now(), l.count()
	// The SHA-256 of a raw image is that of its download, which is made there.
	raw := p.info.Format == source.Raw
	whole := sha256.New()
	whole.Write(p.head)
	g.Go(func() error {
		defer close(l.write)
		defer close(l.digest)
		if !raw {
			hasten()
		}
		return l.read(ctx)
	})
	g.Go(func() error {
		for b := range l.digest {
			if !raw {
				whole.Write(b.buf[:b.n])
			}
			if !p.opt.NoVerify {
				p.ledger.note(b.index, b.buf[:b.n])
			}
			l.release(b)
		}
		return nil
	})
	var writing sync.WaitGroup
	writing.Add(writers)
	for range writers {
		g.Go(func() error {
			defer writing.Done()
			old := disk.AlignedBuffer(blockSize)
			for b := range l.write {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				l.busy.Add(1)
				err := l.put(b, old)
				l.busy.Add(-1)
				if err != nil {
					return err
				}
				l.nudge()
			}
			return nil
		})
	}
	written := make(chan struct{})
	go func() { writing.Wait(); close(written) }()
	g.Go(func() error { return l.flushUntil(ctx, written) })
	if !p.opt.NoVerify {
		g.Go(func() error { l.readAhead(ctx, written); return nil })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if err := p.complete(p.size); err != nil {
		return err
	}
	p.receipt.Bottleneck = bottleneck(l.count(), before, time.Since(start), "")
	p.receipt.ZeroedBytes, p.receipt.WrittenBytes, p.receipt.AheadBytes = l.zeroed.Load(), l.stored.Load(), l.ahead.Load()
	p.receipt.Compare = l.choose.choice()
	p.receipt.ImageSize = p.size
	p.receipt.Transfer = p.image.Transfer()
	p.receipt.ImageSHA256 = hex.EncodeToString(whole.Sum(nil))
	if raw {
		if p.receipt.Transfer.Bytes != p.size {
			return fmt.Errorf("BUG: a raw image of %d bytes came as %d", p.size, p.receipt.Transfer.Bytes)
		}
		p.receipt.ImageSHA256 = p.receipt.Transfer.SHA256
	}
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
			b.index, b.off, b.n, b.taken = int(off/blockSize), off, n, l.image.Taken()
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
	l.diskWait.Start()
	defer l.diskWait.Stop()
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

// flushUntil flushes the disk regularly and reports what is on the medium, until all is
// written.
func (l *pipeline) flushUntil(ctx context.Context, written <-chan struct{}) error {
	tick := time.NewTicker(cmp.Or(l.syncEvery, syncEvery))
	defer tick.Stop()
	var waited time.Duration
	for {
		select {
		case <-written:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		c, writes, stored := l.count(), l.ledger.writes(), l.stored.Load()
		if err := l.disk.Sync(); err != nil {
			return &DiskError{"written data cannot be flushed", err}
		}
		l.flushed.Store(stored)
		l.durable.Store(int64(writes))
		l.steady.Store(c.diskWait == waited)
		waited = c.diskWait
		l.nudge()
		l.opt.Progress.sample(c)
	}
}

// count reads the counters. What it says of the disk is on the medium after a Sync that
// begins later.
func (l *pipeline) count() counters {
	return counters{
		bytes:     l.written.Load(),
		total:     l.info.Size,
		expected:  l.expected(),
		taken:     l.taken.Load(),
		transfer:  l.info.TransferSize,
		starved:   l.image.Starved(),
		receiving: l.image.Receiving(),
		diskWait:  l.diskWait.Elapsed(),
		format:    l.info.Format,
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
	if err := p.disk.Sync(); err != nil {
		return &DiskError{"written data cannot be flushed", err}
	}
	return nil
}
