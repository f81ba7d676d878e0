package flash

import (
	"bytes"
	"context"

	"github.com/openseastack/netboot-imager/internal/disk"
)

// zeroHead is what a wiped first MiB reads as.
var zeroHead = make([]byte, headSize)

// wipe makes the disk unbootable: its first MiB and the place of a backup GPT become
// zeros, on the medium.
func (p *Plan) wipe(ctx context.Context) error {
	p.opt.Progress.begin(StageWiping, "Clearing the old partition tables")
	p.state = Unknown
	return p.clear(ctx, true)
}

// clear zeroes the first MiB, and the disk's end if tail is set, and makes sure of it. A
// worn-out card may go on accepting writes and ignore them; that shows here.
//
// The first block is cleared on the medium before anything else is touched: should the
// power fail in between, the disk has either all of the old system or no partition table.
func (p *Plan) clear(ctx context.Context, tail bool) error {
	d := p.disk
	n := min(headSize, d.Size())
	first := min(int64(d.BlockSize()), n)
	zero := d.Zero
	for attempt := 0; ; attempt++ {
		if err := zero(0, first); err != nil {
			return &DiskError{"the first MiB cannot be cleared", err}
		}
		if err := d.Sync(); err != nil {
			return &DiskError{"the cleared first block cannot be flushed", err}
		}
		if err := zero(first, n-first); err != nil {
			return &DiskError{"the first MiB cannot be cleared", err}
		}
		// What the image covers is written anyway, after this.
		if start := d.Size() - tailSize; tail && start > n {
			start -= start % int64(d.BlockSize())
			if err := zero(start, d.Size()-start); err != nil {
				return &DiskError{"the end of the disk cannot be cleared", err}
			}
		}
		if err := d.Sync(); err != nil {
			return &DiskError{"the cleared first MiB cannot be flushed", err}
		}
		buf := disk.AlignedBuffer(int(n))
		if _, err := d.ReadAt(buf, 0); err != nil {
			return &DiskError{"the cleared first MiB cannot be read back", err}
		}
		if bytes.Equal(buf, zeroHead[:n]) {
			p.state = Cleared
			return nil
		}
		if attempt > 0 {
			return &MismatchError{[]Range{{0, n}}, "it ignores writes, as worn-out cards and write-protected ones do; replace it"}
		}
		p.opt.Logf("the disk's first MiB is not zero after the disk has zeroed it; writing zeros instead")
		zero = func(off, n int64) error {
			_, err := d.WriteAt(disk.AlignedBuffer(int(n)), off)
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}
