// Package flash writes a disk image to a disk: the job itself.
//
// It knows neither the HTTP service nor /dev; it sees two interfaces, Disk and Image,
// so that the whole job is tested on files and on fakes. Prepare does every check that
// can be made before the first change, Run does the rest, in an order that never leaves
// a half-written disk that looks whole:
//
//  1. the disk's first MiB and the place of a backup GPT are zeroed, flushed, read back;
//  2. everything but the image's first MiB is written and flushed, unless it is there
//     already, where it pays to look;
//  3. everything is read back past the page cache and compared by digests made on the
//     way in, partly during 2 if the disk has nothing else to do; blocks that differ are
//     fetched and written again;
//  4. the first MiB is written, flushed and read back; a page of every other MiB is
//     looked at once more;
//  5. the kernel reads the new partition table.
//
// Success means all of that. Offsets and sizes are in bytes.
package flash

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/openseastack/netboot-imager/internal/disk"
	"github.com/openseastack/netboot-imager/internal/ptable"
	"github.com/openseastack/netboot-imager/internal/source"
)

// Disk is what a job writes to; *disk.Target is one. Its methods are called from
// several goroutines.
type Disk interface {
	io.WriterAt
	io.ReaderAt // from the medium, for ranges that were synced
	Size() int64
	BlockSize() int          // logical, bytes
	Zero(off, n int64) error // makes a range read as zeros
	Sync() error             // returns when everything is on the medium
	Direct() bool            // I/O goes past the page cache
	ZeroingOffload() bool    // Zero does not write
	RereadPartitions() ([]disk.Partition, error)
	Info() disk.Info
}

// Image is what a job writes; *source.Stream is one.
type Image interface {
	io.Reader     // image bytes; io.EOF only at a clean and complete end
	Taken() int64 // downloaded bytes that were decoded
	Retries() int64
	Starved() time.Duration    // Read has waited for the network
	Receiving() time.Duration  // the network has been waited for, by Read or ahead of it
	Transfer() source.Transfer // after io.EOF
	Again(ctx context.Context, off int64) (io.ReadCloser, error)
	Interrupt() // ends a Read that waits
}

// Options are a job's options. The zero value is usable apart from Stall.
type Options struct {
	SHA256   string                  // expected digest of the image, lower-case hex; "" for none
	NoVerify bool                    // do not read the disk back
	Force    bool                    // write what is no disk image, too
	Stall    time.Duration           // a disk operation without an end for this long ends the job…
	Cancel   context.CancelCauseFunc // …by this, with a *StallError; nil if the caller does not mind
	Progress *Progress               // may be nil
	Logf     func(format string, args ...any)
}

const (
	// headSize is how much of the image is held back until everything else is right.
	headSize = ptable.HeadSize
	// blockSize is the unit of writing, reading back and repairing.
	blockSize = 4 << 20
	// tailSize is what is cleared at the disk's end: room for a backup GPT of 128
	// entries at any sector size.
	tailSize = 64 << 10
)

// Plan is a job that passed every check that can be made without changing the disk.
type Plan struct {
	// config
	disk  *watched
	image Image
	info  source.Info
	opt   Options

	syncEvery time.Duration // 0 for the default; tests have others
	cacheSize int64         // the same

	// state
	head    []byte        // the image's first MiB, or all of a smaller one; aligned
	table   *ptable.Table // nil if there is none (force)
	ledger  ledger        // of the blocks behind the head; empty if nothing is read back
	size    int64         // of the image, known at its end
	state   DiskState
	receipt Receipt
}

// Prepare reads the image's first MiB and checks that it is a disk image that fits on d.
// Nothing is changed.
func Prepare(ctx context.Context, d Disk, img Image, info source.Info, opt Options) (*Plan, error) {
	if opt.Progress == nil {
		opt.Progress = NewProgress(time.Now)
	}
	if opt.Logf == nil {
		opt.Logf = func(string, ...any) {}
	}
	opt.Progress.begin(StageChecking, "Downloading the beginning of the image")
	p := &Plan{disk: newWatched(d), image: img, info: info, opt: opt, head: disk.AlignedBuffer(headSize)}
	n, err := fill(img, p.head)
	p.head = p.head[:n]
	switch {
	case err == io.EOF && n == 0:
		return nil, &ImageError{"the image is empty: it has 0 bytes; upload it again"}
	case err != nil && err != io.EOF:
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	if err := p.recognise(); err != nil {
		return nil, err
	}
	return p, nil
}

// recognise makes sure that the head is that of a disk image that fits.
func (p *Plan) recognise() error {
	have := p.disk.Size()
	if p.info.Size > have {
		return &TooLargeError{Need: p.info.Size, Have: have, What: "the image"}
	}
	if int64(len(p.head)) > have {
		return &TooLargeError{Need: int64(len(p.head)), Have: have, What: "the image", AtLeast: true}
	}
	table, err := ptable.Parse(p.head, int64(p.disk.BlockSize()))
	if err != nil {
		if p.opt.Force {
			return nil
		}
		return p.notAnImage(err)
	}
	p.table = table
	if p.opt.Force {
		return nil
	}
	if table.SectorSize != int64(p.disk.BlockSize()) {
		return &ImageError{fmt.Sprintf("the image is made for disks with sectors of %d bytes, this disk has %d; use an image made for it", table.SectorSize, p.disk.BlockSize())}
	}
	for _, part := range table.Partitions {
		if part.End() > have {
			return &TooLargeError{Need: part.End(), Have: have, What: fmt.Sprintf("partition %d of the image", part.Number)}
		}
	}
	if table.AlternateEnd > have {
		return &TooLargeError{Need: table.AlternateEnd, Have: have, What: "the image, by its backup GPT,"}
	}
	if p.info.Size >= 0 {
		return p.complete(p.info.Size)
	}
	return nil
}

// notAnImage says what the image is instead.
func (p *Plan) notAnImage(err error) error {
	const hint = `; if it is meant to be written as it is, send "force": true`
	if what := source.Identify(p.head); what != "" {
		inside := ""
		if p.info.Format != source.Raw {
			inside = " inside the " + p.info.Format + " compression"
		}
		// The name may go on behind a semicolon, with what to make of it.
		what, rest, _ := strings.Cut(what, ";")
		if rest != "" {
			rest = ";" + rest
		}
		return &ImageError{"not a disk image: it is " + what + inside + rest + hint}
	}
	if err != ptable.ErrNone {
		return &ImageError{"not a disk image: " + err.Error() + hint}
	}
	return &ImageError{"not a disk image: its first MiB has no partition table (MBR or GPT)" + hint}
}

// complete makes sure that an image of size bytes holds all its partitions. One that
// does not was cut short before it was compressed or served.
func (p *Plan) complete(size int64) error {
	if p.table == nil || p.opt.Force {
		return nil
	}
	for _, part := range p.table.Partitions {
		if part.End() > size {
			return &ImageError{fmt.Sprintf(`the image is truncated: it has %d bytes, but its partition %d ends at %d; upload it again, or send "force": true if it is meant to be like that`, size, part.Number, part.End())}
		}
	}
	if end := p.table.AlternateEnd; end > size {
		return &ImageError{fmt.Sprintf(`the image is truncated: it has %d bytes, but its backup GPT ends at %d; upload it again, or send "force": true if it is meant to be like that`, size, end)}
	}
	return nil
}

// Describe says in one line what Run would do.
func (p *Plan) Describe() string {
	what := "something without a partition table"
	if p.table != nil {
		what = fmt.Sprintf("a disk image with %d partitions (%s)", len(p.table.Partitions), p.table.Kind)
	}
	size := ""
	if p.info.Size >= 0 {
		size = ", " + Size(p.info.Size)
	}
	return fmt.Sprintf("%s%s, from %s, to %s (%s)", what, size, p.info.Format, p.disk.Info().Device, Size(p.disk.Size()))
}

// DiskState is what is known of the disk.
type DiskState int

const (
	Unchanged DiskState = iota // nothing has been written
	Unknown                    // something has been, or may have been: the disk may start
	Cleared                    // its first MiB is zero, as read back: it cannot start
)

// State says what is known of the disk when Run has failed.
func (p *Plan) State() DiskState { return p.state }

// Run does the job; it returns when all its goroutines have ended, which a hanging disk
// may put off for ever: Options.Cancel tells the caller. When it fails, State says what
// became of the disk.
func (p *Plan) Run(ctx context.Context) (*Receipt, error) {
	defer p.disk.watch(p.opt.Stall, p.opt.Cancel)()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	p.receipt.Started = time.Now()
	steps := []struct {
		do   func(context.Context) error
		took *float64
	}{
		{p.wipe, &p.receipt.Phases.Wipe},
		{p.write, &p.receipt.Phases.Write},
		{p.flush, &p.receipt.Phases.Sync},
		{p.verify, &p.receipt.Phases.Verify},
		{p.finish, &p.receipt.Phases.Finish},
	}
	for i, step := range steps {
		start := time.Now()
		err := step.do(ctx)
		*step.took = time.Since(start).Seconds()
		// What came of a cancelled step is no news. But when the last one has succeeded, the
		// disk is complete, and to say anything else would be false.
		if last := i == len(steps)-1; ctx.Err() != nil && (err != nil || !last) {
			err = context.Cause(ctx)
		}
		if err != nil {
			return nil, err
		}
	}
	return p.finalReceipt(), nil
}
