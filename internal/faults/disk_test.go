package faults

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/openseastack/netboot-imager/internal/flashtest"
	"golang.org/x/sys/unix"
)

// TestDisk: disks that fail, lie, and go away, under a real block device.
func TestDisk(t *testing.T) {
	matrix(t, disks, diskRows)
}

const bad = 6*mib + 4096 // a byte of the medium that something is wrong with

var diskRows = []row{
	{
		fault: "EIO on write at byte 6295552", disk: broken(func(m *medium) { m.onWrite = eioAt(bad) }),
		status: 500, says: "cannot write at byte", after: cleared, peers: true,
	}, {
		fault: "EIO on write at byte 6295552, without reading back", request: map[string]any{"verify": false}, disk: broken(func(m *medium) { m.onWrite = eioAt(bad) }),
		status: 500, says: "cannot write at byte", after: cleared,
	}, {
		fault: "EIO on write at byte 6295552, and the kernel's driver loses it (a short write of a loop device)", disk: broken(func(m *medium) { m.onWrite, m.maxWrite = eioAt(bad), 4096 }),
		// Where the lost write begins a request of its own, the driver does report it: both name the block.
		status: 500, says: "4194304", after: cleared, peers: true,
	}, {
		fault: "EIO on the first write of all, and no zeroing", disk: broken(func(m *medium) { m.onWrite, m.onZero = eioAt(0), noZeroing }),
		status: 500, says: "cannot be cleared", after: unchanged, peers: true,
	}, {
		fault: "EIO on the last write of all: the first MiB", disk: broken(func(m *medium) {
			m.onWrite = func(off int64, p []byte) syscall.Errno {
				if off == 0 && !isZero(p) {
					return syscall.EIO
				}
				return 0
			}
		}),
		status: 500, says: "cannot write the first MiB", after: cleared,
	}, {
		fault: "EIO on write once", disk: broken(func(m *medium) { m.onWrite = once(eioAt(bad)) }),
		status: 500, says: "cannot write at byte", after: cleared,
	}, {
		fault: "EIO on every flush", disk: broken(func(m *medium) { m.onSync = func() syscall.Errno { return syscall.EIO } }),
		status: 500, says: "cannot be flushed", after: cleared, peers: true,
	}, {
		fault: "EIO on one flush: the kernel tells it once", disk: broken(func(m *medium) {
			first := times(1)
			m.onSync = func() syscall.Errno {
				if !first() {
					return 0
				}
				return syscall.EIO
			}
		}),
		status: 500, says: "cannot be flushed", after: cleared,
	}, {
		fault: "EIO on the flush behind the first MiB", disk: broken(func(m *medium) {
			m.onSync = func() syscall.Errno {
				if m.holds(0, sampleImage()[:512]) {
					return syscall.EIO
				}
				return 0
			}
		}),
		status: 500, says: "cannot be flushed", after: cleared,
	}, {
		fault: "EIO when the disk is read before the write", disk: broken(func(m *medium) { m.onRead = eioOnRead(0) }),
		status: 500, says: "input/output error", after: unchanged,
	}, {
		fault: "EIO on read-back, always", disk: broken(func(m *medium) { m.onRead = eioOnRead(bad) }),
		status: 500, says: "bytes 4194304-8388607", after: cleared, peers: true,
	}, {
		fault: "EIO on read-back, once: reading again is enough", disk: broken(func(m *medium) { m.onRead = once(eioOnRead(bad)) }),
		status: 200, after: whole,
	}, {
		fault: "EIO on read-back until the sector is written again (a pending sector)", disk: broken(pendingSector),
		status: 200, after: whole, check: repaired,
	}, {
		fault: "silent corruption: one bit of one sector is stuck", disk: broken(func(m *medium) { m.onWrite = flipAt(bad) }),
		status: 500, says: "bytes 4194304-8388607", after: cleared, peers: true,
	}, {
		fault: "silent corruption: one bit flips on write, once", disk: broken(func(m *medium) { m.onWrite = once(flipAt(bad)) }),
		status: 200, after: whole, check: repaired, peers: true,
	}, {
		fault: "silent corruption: one bit flips on read, once", disk: broken(func(m *medium) { m.onRead = once(flipAt(bad)) }),
		status: 200, after: whole, check: repaired,
	}, {
		fault: "silent corruption of the first MiB, always", disk: broken(func(m *medium) { m.onWrite = flipAt(70000) }),
		status: 500, says: "mismatch", after: cleared, peers: true,
	}, {
		fault: "silent corruption of the first MiB, once", disk: broken(func(m *medium) {
			flip := flipAt(70000)
			first := times(1)
			m.onWrite = func(off int64, p []byte) syscall.Errno {
				if covers(off, int64(len(p)), 70000) && !isZero(p) && first() {
					return flip(off, p)
				}
				return 0
			}
		}),
		status: 200, after: whole,
	}, {
		fault: "the medium gives back other data each time it is read", disk: broken(func(m *medium) {
			var n atomic.Uint32
			m.onRead = func(off int64, p []byte) syscall.Errno {
				if covers(off, int64(len(p)), bad) {
					p[bad-off] ^= byte(n.Add(1)) | 1
				}
				return 0
			}
		}),
		status: 500, says: "bytes 4194304-8388607", after: cleared,
	}, {
		fault: "writes are confirmed and not stored: a worn-out card that has become read-only", disk: broken(func(m *medium) { m.ignore = func(int64) bool { return true } }),
		status: 500, says: "ignores writes", after: unchanged, peers: true,
	}, {
		fault: "writes behind 4 MiB are confirmed and not stored", disk: broken(func(m *medium) { m.ignore = func(off int64) bool { return off >= 4*mib } }),
		status: 500, says: "mismatch", after: cleared, peers: true,
	}, {
		fault: "zeroing is confirmed and not done", image: hollowImage, disk: broken(func(m *medium) {
			m.holes = true
		}),
		status: 200, after: whole, check: repaired,
	}, {
		fault: "no zeroing at all", image: hollowImage, disk: broken(func(m *medium) { m.onZero = noZeroing }),
		status: 200, after: whole,
	}, {
		fault: "a counterfeit card: 8 MiB that claim to be 24", disk: broken(func(m *medium) { m.capacity = 8 * mib }),
		status: 500, says: "mismatch", after: cleared, peers: true,
	}, {
		fault: "a counterfeit card whose end is 1 MiB before the image's: only the first MiB wraps", disk: broken(func(m *medium) { m.capacity = 9 * mib }),
		status: 500, says: "less capacity than it claims", after: cleared, peers: true,
	}, {
		fault: "a counterfeit card that is large enough for the image", disk: broken(func(m *medium) { m.capacity = 16 * mib }),
		status: 200, after: whole,
	}, {
		fault: "the disk disappears in mid-write (every operation fails from then on)", disk: broken(vanish(6 * mib)),
		status: 500, says: "disk error", after: cleared, peers: true,
	}, {
		fault: "the disk disappears while it is wiped", disk: broken(func(m *medium) {
			gone := func() syscall.Errno { return syscall.EIO }
			m.onSync = gone
			m.onWrite = func(int64, []byte) syscall.Errno { return syscall.EIO }
			m.onZero = func(off, n int64) syscall.Errno {
				if off == 0 {
					return 0
				}
				return syscall.EIO
			}
		}),
		status: 500, says: "may still start", after: cleared,
	}, {
		fault: "very slow: 0.2 s for each write of up to 512 KiB", disk: broken(func(m *medium) {
			m.onWrite = func(int64, []byte) syscall.Errno { time.Sleep(200 * time.Millisecond); return 0 } // it is a row about time
		}),
		status: 200, after: whole, peers: true,
	}, {
		fault: "hangs in mid-write, for good", config: short, disk: hanging,
		status: 504, says: "does not respond", after: cleared,
	}, {
		fault: "ENOSPC: a file-backed disk on a file system that is full", disk: fullDisk,
		status: 500, says: "no space left on device", after: cleared, peers: true,
	}, {
		fault: "write-protected", disk: func(t testing.TB) *target { return loopDisk(t, diskSize, "--read-only") },
		status: 409, says: "write-protect", after: unchanged, peers: true,
	}, {
		fault: "one of its partitions is mounted", disk: mounted,
		status: 409, says: "is mounted on", after: unchanged, peers: true,
	}, {
		fault: "another program has it open exclusively", disk: taken,
		status: 409, says: "opened it exclusively", after: unchanged, peers: true,
	}, {
		fault: "a partition instead of the disk", disk: partition,
		status: 400, says: "is a partition", after: untested,
	}, {
		fault: "a symbolic link to the disk", disk: symlink,
		status: 400, says: "is a symbolic link", after: unchanged,
	}, {
		fault: "the old system's backup GPT is at the disk's end", disk: gptDisk,
		status: 200, after: whole, check: endCleared,
	}, {
		fault: "not there", disk: func(t testing.TB) *target {
			return &target{dev: "/dev/mmcblk7", read: func(testing.TB) []byte { return nil }}
		},
		status: 404, says: "not present", after: unchanged,
	},
}

// repaired checks that the receipt names what was repaired.
func repaired(o *outcome) error {
	if len(o.answer.Receipt.Repaired) == 0 {
		return fmt.Errorf("the receipt names no repaired range: %s", o.answer.raw)
	}
	return nil
}

type transferHook = func(off int64, p []byte) syscall.Errno

func eioAt(at int64) transferHook {
	return func(off int64, p []byte) syscall.Errno {
		if covers(off, int64(len(p)), at) {
			return syscall.EIO
		}
		return 0
	}
}

// eioOnRead is eioAt for reads; it is another name because of what it is used for.
func eioOnRead(at int64) transferHook { return eioAt(at) }

// flipAt flips a bit of the byte at an offset.
func flipAt(at int64) transferHook {
	return func(off int64, p []byte) syscall.Errno {
		if covers(off, int64(len(p)), at) {
			p[at-off] ^= 4
		}
		return 0
	}
}

// once has a fault happen the first time that it would: when it changes something or fails.
func once(f transferHook) transferHook {
	var done atomic.Bool
	return func(off int64, p []byte) syscall.Errno {
		if done.Load() {
			return 0
		}
		before := bytes.Clone(p)
		errno := f(off, p)
		if errno == 0 && bytes.Equal(before, p) {
			return 0
		}
		if !done.CompareAndSwap(false, true) {
			copy(p, before)
			return 0
		}
		return errno
	}
}

func noZeroing(off, n int64) syscall.Errno { return syscall.EOPNOTSUPP }

func isZero(p []byte) bool { return len(bytes.Trim(p, "\x00")) == 0 }

// holds reports whether the medium has want at off.
func (m *medium) holds(off int64, want []byte) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return bytes.Equal(m.data[off:off+int64(len(want))], want)
}

// pendingSector fails to read until it is written a second time.
func pendingSector(m *medium) {
	var writes atomic.Int32
	m.onWrite = func(off int64, p []byte) syscall.Errno {
		if covers(off, int64(len(p)), bad) {
			writes.Add(1)
		}
		return 0
	}
	m.onRead = func(off int64, p []byte) syscall.Errno {
		if writes.Load() < 2 {
			return eioAt(bad)(off, p)
		}
		return 0
	}
}

// hollowImage has a hole of 3 MiB, for the disk's zeroing.
func hollowImage(testing.TB) []byte {
	img := bytes.Clone(sampleImage())
	clear(img[4*mib : 7*mib])
	return img
}

// vanish has everything fail once something is written at or behind an offset.
func vanish(at int64) func(m *medium) {
	return func(m *medium) {
		var gone atomic.Bool
		errno := func() syscall.Errno {
			if gone.Load() {
				return syscall.EIO
			}
			return 0
		}
		m.onWrite = func(off int64, p []byte) syscall.Errno {
			if off >= at && off < 20*mib { // not when the end is wiped
				gone.Store(true)
			}
			return errno()
		}
		m.onRead = func(int64, []byte) syscall.Errno { return errno() }
		m.onZero = func(int64, int64) syscall.Errno { return errno() }
		m.onSync = errno
	}
}

// hanging does not finish a write until the answer has been given.
func hanging(t testing.TB) *target {
	m := &medium{}
	release := make(chan struct{})
	m.onWrite = func(off int64, p []byte) syscall.Errno {
		if covers(off, int64(len(p)), bad) {
			<-release
		}
		return 0
	}
	d := mediumDisk(t, m)
	d.answered = func() { close(release) }
	return d
}

// fullDisk is a sparse file of diskSize on a file system with less room.
func fullDisk(t testing.TB) *target {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=6m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	old := make([]byte, diskSize)
	copy(old, oldSystem(diskSize)[:mib])
	file := filepath.Join(dir, "disk.img")
	if err := os.WriteFile(file, old[:mib], 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, diskSize); err != nil {
		t.Fatal(err)
	}
	return &target{dev: file, old: old}
}

// gptDisk has an old system with a GPT, whose backup is at the disk's end.
func gptDisk(t testing.TB) *target {
	d := loopDisk(t, diskSize)
	d.old = gptImage(diskSize, 512)(t)
	d.reset(t)
	return d
}

// endCleared checks that nothing of the old GPT is left.
func endCleared(o *outcome) error {
	if end := o.content[len(o.content)-33*512:]; !isZero(end) {
		return fmt.Errorf("the old backup GPT is still there")
	}
	return nil
}

// partitioned is a disk whose partition the kernel is told of, as that of the test
// machines does not know MBRs.
func partitioned(t testing.TB) *target {
	d := loopDisk(t, diskSize)
	flashtest.Run(t, "addpart", d.dev, "1", "2048", fmt.Sprint(diskSize/512-2048))
	t.Cleanup(func() { flashtest.Run(t, "delpart", d.dev, "1") })
	return d
}

// mounted has a file system in its only partition, which is mounted.
func mounted(t testing.TB) *target {
	d := partitioned(t)
	flashtest.Run(t, "mkfs.ext4", "-q", "-F", d.dev+"p1")
	dir := t.TempDir()
	if err := unix.Mount(d.dev+"p1", dir, "ext4", unix.MS_RDONLY, "noload"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	d.old = d.content(t)
	return d
}

func taken(t testing.TB) *target {
	d := loopDisk(t, diskSize)
	fd, err := unix.Open(d.dev, unix.O_RDONLY|unix.O_EXCL|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return d
}

func partition(t testing.TB) *target {
	d := partitioned(t)
	return &target{dev: d.dev + "p1", read: func(t testing.TB) []byte {
		if got := d.content(t); !bytes.Equal(got, d.old) {
			t.Error("the disk changed")
		}
		return nil
	}}
}

func symlink(t testing.TB) *target {
	d := loopDisk(t, diskSize)
	link := filepath.Join(t.TempDir(), "disk")
	if err := os.Symlink(d.dev, link); err != nil {
		t.Fatal(err)
	}
	return &target{dev: link, old: d.old}
}
