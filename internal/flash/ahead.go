package flash

import (
	"cmp"
	"context"
	"hash/maphash"

	"github.com/openseastack/netboot-imager/internal/disk"
)

// While the disk waits for the network or for the decoder, it can just as well be read:
// what was read back meanwhile need not be read at the end. Reading must not prove less
// than it does at the end, so only such blocks are read that a flush has confirmed and
// that later ones have pushed out of a cache in the disk, as far as anybody can know.
// That they are still there at the end, and were not overwritten by a disk whose
// addresses wrap around, is what Plan.changed looks at.

// cacheSize is how many bytes of data have to be written behind a block before it is
// read, so that it does not come from a cache in the disk, which outlives a flush. Cards
// have next to none; SSDs keep tens of MiB of data in their RAM, or in 64 MiB of the
// host's. Blocks written later are read at the end.
const cacheSize = 256 << 20

// calm reports whether nothing wants to be written.
func (l *pipeline) calm() bool { return l.steady.Load() && l.busy.Load() == 0 && len(l.write) == 0 }

// nudge tells readAhead that something may have become true.
func (l *pipeline) nudge() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// readAhead reads blocks back, as long as the disk has nothing else to do, until all is
// written. It has no errors: what is wrong stays for the end.
func (l *pipeline) readAhead(ctx context.Context, written <-chan struct{}) {
	buf := disk.AlignedBuffer(blockSize)
	for n := 0; ; {
		select {
		case <-written:
			return
		case <-ctx.Done():
			return
		default:
		}
		if n < int(l.durable.Load()) && l.calm() {
			if w, digest, ok := l.ledger.nth(n); ok && l.flushed.Load()-w.at >= cmp.Or(l.cacheSize, cacheSize) {
				off := l.start(int(w.block))
				data := padded(buf, int(w.size), off, l.disk)
				if _, err := l.disk.ReadAt(data, off); err == nil && maphash.Bytes(seed, data[:w.size]) == digest {
					l.ledger.mark(int(w.block))
					l.ahead.Add(int64(w.size))
				}
				n++
				continue
			}
		}
		select {
		case <-written:
			return
		case <-ctx.Done():
			return
		case <-l.wake:
		}
	}
}
