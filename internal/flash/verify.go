package flash

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/openseastack/netboot-imager/internal/disk"
	"github.com/openseastack/netboot-imager/internal/source"
	"golang.org/x/sync/errgroup"
)

const (
	verifiers  = 2 // blocks that are read back at once
	lookers    = 4 // pages that are looked at at once
	maxRepairs = 3 // times that a block is written again
	// maxBad is how many bad blocks are repaired. A disk with more of them is not worth it,
	// and is probably a counterfeit that has less capacity than it claims.
	maxBad = 64
)

// start returns where block i of the image begins.
func (p *Plan) start(i int) int64 { return max(int64(i)*blockSize, int64(len(p.head))) }

// span returns the range of block i of the image, without padding. Block 0 begins behind
// the head.
func (p *Plan) span(i int) Range {
	start, end := p.start(i), min(int64(i+1)*blockSize, p.size)
	return Range{start, end - start}
}

// verify reads back everything behind the head that was not read already and repairs
// what differs.
func (p *Plan) verify(ctx context.Context) error {
	if p.opt.NoVerify {
		return nil
	}
	err := p.readBack(ctx)
	var mismatch *MismatchError
	if errors.As(err, &mismatch) {
		// On a disk whose addresses wrap around, others' bytes are where the head was cleared.
		p.state = Unknown
		if e := p.clear(context.WithoutCancel(ctx), false); e != nil {
			p.opt.Logf("after the failure the first MiB could not be cleared again: %v", e)
		}
	}
	return err
}

func (p *Plan) readBack(ctx context.Context) error {
	p.opt.Progress.begin(StageSyncing, "Reading back")
	// What was read back during the writing must not have changed since.
	changed, err := p.changed(ctx, p.ledger.blocks(true))
	if err != nil {
		return err
	}
	for _, i := range changed {
		p.ledger.unmark(i)
	}
	bad, err := p.differing(ctx, p.ledger.blocks(false), true)
	if err != nil {
		return err
	}
	for round := 1; len(bad) > 0; round++ {
		ranges := p.spans(bad)
		if len(bad) > maxBad {
			return &MismatchError{ranges, fmt.Sprintf("more than %d of its %d blocks are bad, so nothing was repaired; it is probably defective or has less capacity than it claims", maxBad, len(p.ledger.digests))}
		}
		if round > maxRepairs {
			return &MismatchError{ranges, fmt.Sprintf("writing them again %d times did not help; replace the disk", maxRepairs)}
		}
		p.opt.Logf("read-back: %d blocks differ (first at %v); fetching and writing them again, round %d of %d", len(bad), ranges[0], round, maxRepairs)
		p.opt.Progress.begin(StageSyncing, fmt.Sprintf("Repairing %d blocks that read back wrong", len(bad)))
		if err := p.rewrite(ctx, bad); err != nil {
			return err
		}
		still, err := p.differing(ctx, bad, false)
		if err != nil {
			return err
		}
		for _, i := range bad {
			if !slices.Contains(still, i) {
				p.receipt.Repaired = append(p.receipt.Repaired, p.span(i))
			}
		}
		bad = still
	}
	slices.SortFunc(p.receipt.Repaired, func(a, b Range) int { return cmp.Compare(a.Start, b.Start) })
	return nil
}

func (p *Plan) spans(blocks []int) []Range {
	out := make([]Range, len(blocks))
	for i, b := range blocks {
		out[i] = p.span(b)
	}
	return out
}

// differing reads blocks back and returns those that are not what was written, in order.
// A block that cannot be read counts as one: writing it again may cure it.
func (p *Plan) differing(ctx context.Context, blocks []int, show bool) ([]int, error) {
	var (
		mu    sync.Mutex
		bad   []int
		wrong atomic.Int64 // len(bad)
		done  atomic.Int64
	)
	var total int64
	for _, i := range blocks {
		total += p.span(i).Length
	}
	todo := make(chan int)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(todo)
		for _, i := range blocks {
			if wrong.Load() > maxBad {
				return nil // enough to know that it is of no use
			}
			select {
			case todo <- i:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return nil
	})
	for range verifiers {
		g.Go(func() error {
			buf := disk.AlignedBuffer(blockSize)
			for i := range todo {
				ok, err := p.same(buf, i)
				if err != nil && wrong.Load() < 4 {
					p.opt.Logf("read-back: %v: %v", p.span(i), err)
				}
				if !ok {
					wrong.Add(1)
					mu.Lock()
					bad = append(bad, i)
					mu.Unlock()
				}
				if n := done.Add(p.span(i).Length); show {
					p.opt.Progress.compared(n, total)
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	slices.Sort(bad)
	return bad, nil
}

// same reads block i into buf and reports whether it is what was written.
func (p *Plan) same(buf []byte, i int) (bool, error) {
	s := p.span(i)
	data := padded(buf, int(s.Length), s.Start, p.disk)
	if _, err := p.disk.ReadAt(data, s.Start); err != nil {
		return false, err
	}
	return maphash.Bytes(seed, data[:s.Length]) == p.ledger.digests[i], nil
}

// rewrite fetches blocks, which are in order, once more and writes them, without the
// disk's zeroing.
func (p *Plan) rewrite(ctx context.Context, blocks []int) error {
	at := p.span(blocks[0]).Start
	again, err := p.image.Again(ctx, at)
	if err != nil {
		return err
	}
	defer again.Close()
	buf := disk.AlignedBuffer(blockSize)
	for _, i := range blocks {
		s := p.span(i)
		if _, err := io.CopyN(io.Discard, again, s.Start-at); err != nil {
			return p.noEnd(err)
		}
		if n, err := fill(again, buf[:s.Length]); int64(n) < s.Length {
			return p.noEnd(err)
		}
		at = s.Start + s.Length
		if maphash.Bytes(seed, buf[:s.Length]) != p.ledger.digests[i] {
			return &source.ServerError{URL: p.info.URL, Why: "the image changed during the write: " + s.String() + " are others now; start the write again"}
		}
		if _, err := p.disk.WriteAt(padded(buf, int(s.Length), s.Start, p.disk), s.Start); err != nil {
			return &DiskError{fmt.Sprintf("cannot write at byte %d", s.Start), err}
		}
	}
	if err := p.disk.Sync(); err != nil {
		return &DiskError{"rewritten data cannot be flushed", err}
	}
	return nil
}

// noEnd makes an error of an end that comes before the image was as long as before.
func (p *Plan) noEnd(err error) error {
	if err == io.EOF {
		return &source.ServerError{URL: p.info.URL, Why: "the image changed during the write: it has become shorter; start the write again"}
	}
	return err
}

// finish writes the head, which makes the disk bootable, and has the kernel look at it.
func (p *Plan) finish(ctx context.Context) (err error) {
	p.opt.Progress.begin(StageSyncing, "Writing the first MiB")
	defer func() {
		if err == nil {
			return
		}
		// The disk must not look whole. ctx may have ended; this is short.
		if e := p.clear(context.WithoutCancel(ctx), false); e != nil {
			p.opt.Logf("after the failure the first MiB could not be cleared again: %v", e)
		}
	}()
	p.state = Unknown
	if err := p.writeHead(); err != nil {
		return err
	}
	if !p.opt.NoVerify {
		if err := p.noAlias(ctx); err != nil {
			return err
		}
	}
	parts, err := p.disk.RereadPartitions()
	if err != nil {
		return &DiskError{"the image is on the disk and was read back, but", err}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	p.receipt.Partitions = parts
	return nil
}

// writeHead writes the first MiB, flushes it and reads it back, whatever NoVerify says:
// a disk's partition table is worth one MiB of reading. The first block comes last, alone
// and flushed: without it no part of the rest counts, so that a power cut here cannot
// leave a partition table over a first MiB with holes.
func (p *Plan) writeHead() error {
	data := padded(p.head, len(p.head), 0, p.disk)
	first := min(p.disk.BlockSize(), len(data))
	for _, part := range []Range{{int64(first), int64(len(data) - first)}, {0, int64(first)}} {
		if err := p.writePart(data, part); err != nil {
			return err
		}
	}
	return nil
}

// writePart writes a part of the first MiB, flushes it and reads it back.
func (p *Plan) writePart(data []byte, part Range) error {
	if part.Length == 0 {
		return nil
	}
	// Aligned memory, as data has it only at its beginning.
	want, got := disk.AlignedBuffer(int(part.Length)), disk.AlignedBuffer(int(part.Length))
	copy(want, data[part.Start:])
	var failed error
	for range maxRepairs {
		if _, err := p.disk.WriteAt(want, part.Start); err != nil {
			return &DiskError{"cannot write the first MiB", err}
		}
		if err := p.disk.Sync(); err != nil {
			return &DiskError{"the first MiB cannot be flushed", err}
		}
		if _, failed = p.disk.ReadAt(got, part.Start); failed == nil && bytes.Equal(got, want) {
			return nil
		}
		p.opt.Logf("read-back: the first MiB differs (%v); writing it again", failed)
	}
	return &MismatchError{[]Range{part}, fmt.Sprintf("writing them %d times did not help; replace the disk", maxRepairs)}
}

// changed looks at a page of each MiB of blocks and returns the blocks that are not any
// more what they were when they were read back. It is what catches a counterfeit disk
// whose addresses wrap around: what is written to an address that it does not have goes
// to another one, a MiB or more at a time, and that MiB may have been read back before.
func (p *Plan) changed(ctx context.Context, blocks []int) ([]int, error) {
	var (
		mu   sync.Mutex
		bad  []int
		next atomic.Int64
	)
	g, ctx := errgroup.WithContext(ctx)
	for range lookers {
		g.Go(func() error {
			buf, whole := disk.AlignedBuffer(pageSize), disk.AlignedBuffer(blockSize)
			for {
				n := int(next.Add(1)) - 1
				if n >= len(blocks) {
					return nil
				}
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				ok, err := p.unchanged(buf, whole, blocks[n])
				if err != nil {
					p.opt.Logf("read-back: %v: %v", p.span(blocks[n]), err)
				}
				if !ok {
					mu.Lock()
					bad = append(bad, blocks[n])
					mu.Unlock()
				}
			}
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	slices.Sort(bad)
	return bad, nil
}

// unchanged looks at the pages of block i. buf has room for a page, whole for a block.
func (p *Plan) unchanged(buf, whole []byte, i int) (bool, error) {
	for at := p.start(i) / zeroUnit; at < min(int64(i+1)*blockSize/zeroUnit, int64(len(p.ledger.samples))); at++ {
		s := p.ledger.samples[at]
		if !s.ok {
			continue
		}
		page := int(s.page) * pageSize
		if _, err := p.disk.ReadAt(buf, at*zeroUnit+int64(page)); err != nil {
			return false, err
		}
		if maphash.Bytes(seed, buf) != s.digest {
			return false, nil
		}
		// An image may hold a copy of its own beginning, of which a page says nothing.
		if page+pageSize <= len(p.head) && bytes.Equal(buf, p.head[page:page+pageSize]) && !isZero(buf) {
			if ok, err := p.same(whole, i); !ok {
				return false, err
			}
		}
	}
	return true, nil
}

// noAlias makes sure that writing the first MiB has changed no other.
func (p *Plan) noAlias(ctx context.Context) error {
	all := make([]int, len(p.ledger.digests))
	for i := range all {
		all[i] = i
	}
	bad, err := p.changed(ctx, all)
	if err != nil {
		return err
	}
	if len(bad) > 0 {
		return &MismatchError{p.spans(bad), "they changed after they were read back: the disk has less capacity than it claims, or loses what it was given; replace it"}
	}
	return nil
}
