package disk

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/openseastack/netboot-imager/internal/ptable"
	"golang.org/x/sys/unix"
)

// BufferAlign is the alignment in bytes of memory for direct I/O: no disk wants more.
const BufferAlign = 4096

// AlignedBuffer returns n bytes of memory that begin at a multiple of BufferAlign.
func AlignedBuffer(n int) []byte {
	b := make([]byte, n+BufferAlign)
	skip := int(-uintptr(unsafe.Pointer(unsafe.SliceData(b))) & (BufferAlign - 1))
	return b[skip : skip+n : skip+n]
}

// zeros is written where a disk cannot zero ranges by itself.
var zeros = AlignedBuffer(1 << 20)

// Target is an opened disk. Its methods may be used from several goroutines at once.
type Target struct {
	// config
	sys       System
	node      *node
	size      int64
	blockSize int
	align     int64 // of offsets and lengths for direct I/O

	// state
	buffered  *os.File
	direct    *os.File    // nil if the target has no O_DIRECT
	useDirect atomic.Bool // false once direct I/O turned out not to work
	noZeroing atomic.Bool // true once the kernel's zeroing turned out not to work
}

// Size is the disk's size in bytes.
func (t *Target) Size() int64 { return t.size }

// BlockSize is the logical block size in bytes.
func (t *Target) BlockSize() int { return t.blockSize }

// Direct reports whether I/O goes past the page cache.
func (t *Target) Direct() bool { return t.useDirect.Load() }

// ZeroingOffload reports whether Zero works without writing zeros, as far as is known.
func (t *Target) ZeroingOffload() bool { return !t.noZeroing.Load() }

// WriteAt writes p at off, past the page cache where p and off are aligned and the
// target has O_DIRECT. It is on the medium after Sync.
func (t *Target) WriteAt(p []byte, off int64) (int, error) {
	return t.transfer(p, off, (*os.File).WriteAt)
}

// ReadAt reads from the medium, not from the page cache, provided that Sync has been
// called since the range was written.
func (t *Target) ReadAt(p []byte, off int64) (int, error) {
	return t.transfer(p, off, func(f *os.File, p []byte, off int64) (int, error) {
		if f == t.buffered {
			// Clean pages of the range are dropped, dirty ones would stay (posix_fadvise(2)).
			from := off &^ (BufferAlign - 1)
			if err := unix.Fadvise(int(f.Fd()), from, off+int64(len(p))-from+BufferAlign, unix.FADV_DONTNEED); err != nil {
				return 0, fmt.Errorf("drop cached pages of %s: %w", t.node.path, err)
			}
		}
		n, err := f.ReadAt(p, off)
		if err == io.EOF && n < len(p) {
			err = io.ErrUnexpectedEOF
		}
		return n, err
	})
}

// transfer does the aligned part of a transfer directly and the rest through the cache.
func (t *Target) transfer(p []byte, off int64, io func(*os.File, []byte, int64) (int, error)) (int, error) {
	if off < 0 || off+int64(len(p)) > t.size {
		return 0, fmt.Errorf("bytes %d to %d are outside of %s, which has %d", off, off+int64(len(p)), t.node.path, t.size)
	}
	done := 0
	if t.useDirect.Load() && off%t.align == 0 && uintptr(unsafe.Pointer(unsafe.SliceData(p)))%BufferAlign == 0 {
		whole := len(p) - int(int64(len(p))%t.align)
		if whole > 0 {
			n, err := io(t.direct, p[:whole], off)
			switch {
			case err == nil:
				done = n
			case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EOPNOTSUPP):
				// Some file systems take the flag and refuse the I/O.
				t.useDirect.Store(false)
			default:
				return n, t.pathError(err)
			}
		}
	}
	if done == len(p) {
		return done, nil
	}
	n, err := io(t.buffered, p[done:], off+int64(done))
	return done + n, t.pathError(err)
}

// Zero makes n bytes at off read as zeros: by the kernel's zeroing where the disk has
// that, else by writing them. Punching a hole is the one mode for which the kernel
// promises zeros and never falls back to writing by itself (blkdev_fallocate in
// block/fops.c).
func (t *Target) Zero(off, n int64) error {
	if off < 0 || n < 0 || off+n > t.size {
		return fmt.Errorf("bytes %d to %d are outside of %s, which has %d", off, off+n, t.node.path, t.size)
	}
	bs := int64(t.blockSize)
	if off%bs == 0 && n%bs == 0 && n > 0 && !t.noZeroing.Load() {
		for {
			err := unix.Fallocate(int(t.buffered.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
			switch {
			case err == nil:
				return nil
			case errors.Is(err, unix.EINTR):
				continue
			case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENODEV):
				t.noZeroing.Store(true)
			default:
				return fmt.Errorf("zero %d bytes at %d of %s: %w", n, off, t.node.path, err)
			}
			break
		}
	}
	for n > 0 {
		w, err := t.WriteAt(zeros[:min(n, int64(len(zeros)))], off)
		if err != nil {
			return err
		}
		off, n = off+int64(w), n-int64(w)
	}
	return nil
}

// Sync waits until everything written is on the medium, its write cache included.
func (t *Target) Sync() error {
	if err := t.buffered.Sync(); err != nil {
		return t.pathError(err)
	}
	return nil
}

// RereadPartitions has the kernel read the partition table again and returns what it
// found. Where the kernel finds nothing, because it does not scan such a target (regular
// files, some loop devices) or does not know this kind of table, the partitions are those
// of the table on the medium.
func (t *Target) RereadPartitions() ([]Partition, error) {
	if !t.node.file {
		err := t.rescan()
		if err != nil && !errors.Is(err, unix.EINVAL) { // EINVAL: the kernel does not scan this disk (disk_scan_partitions in block/genhd.c)
			return nil, fmt.Errorf("the kernel could not read the new partition table of %s: %w", t.node.path, err)
		}
		if found := t.node.partitions(); err == nil && len(found) > 0 {
			return found, nil
		}
	}
	head := AlignedBuffer(int(min(ptable.HeadSize, t.size)))
	if _, err := t.ReadAt(head, 0); err != nil {
		return nil, err
	}
	return tablePartitions(t.node.path, head, int64(t.blockSize)), nil
}

// rescan does BLKRRPART. Something may have a partition open for a moment (udev probes
// new ones), so EBUSY is tried again for five seconds.
func (t *Target) rescan() error {
	var err error
	for range 20 {
		if err = unix.IoctlSetInt(int(t.buffered.Fd()), unix.BLKRRPART, 0); !errors.Is(err, unix.EBUSY) {
			return err
		}
		time.Sleep(250 * time.Millisecond)
	}
	return err
}

// Close closes the disk. It does not wait for the medium: Sync does.
func (t *Target) Close() error {
	var err error
	if t.direct != nil {
		err = t.direct.Close()
	}
	if t.buffered != nil {
		err = errors.Join(err, t.buffered.Close())
	}
	return err
}

// pathError makes sure that an I/O error names the disk once.
func (t *Target) pathError(err error) error {
	if err == nil {
		return nil
	}
	var pe *os.PathError
	if errors.As(err, &pe) {
		return fmt.Errorf("%s %s: %w", pe.Op, t.node.path, pe.Err)
	}
	return fmt.Errorf("%s: %w", t.node.path, err)
}
