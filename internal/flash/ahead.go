package flash

import (
	"context"
	"hash/maphash"

	"github.com/openseastack/netboot-imager/internal/disk"
)

// While the disk waits for the network or for the decoder, it can just as well be read:
// what was read back meanwhile need not be read at the end. Only blocks that a flush has
// confirmed are read, so that they come from the medium as far as the disk lets anybody
// know. That they are still there at the end, and were not overwritten by a disk whose
// addresses wrap around, is what Plan.changed looks at.

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
			if i, digest, size, ok := l.ledger.nth(n); ok {
				off := l.start(i)
				data := padded(buf, size, off, l.disk)
				if _, err := l.disk.ReadAt(data, off); err == nil && maphash.Bytes(seed, data[:size]) == digest {
					l.ledger.mark(i)
					l.ahead.Add(int64(size))
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
