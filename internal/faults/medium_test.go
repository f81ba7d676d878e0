package faults

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/openseastack/netboot-imager/internal/flashtest"
	"golang.org/x/sys/unix"
)

// medium is what a disk stores its data on: a FUSE file under a loop device, so that the
// imager has a real block device of the kernel's, with real ioctls and O_DIRECT, over
// storage that fails on command.
type medium struct {
	fs.Inode

	// Faults. They happen while armed is set.
	onWrite  func(off int64, p []byte) syscall.Errno // before p is stored; may change it
	onRead   func(off int64, p []byte) syscall.Errno // after p was read; may change it
	onZero   func(off, n int64) syscall.Errno        // before a range is zeroed
	onSync   func() syscall.Errno
	ignore   func(off int64) bool // writes that are confirmed and not stored
	holes    bool                 // zeroing is confirmed and not done
	capacity int64                // if > 0, addresses wrap around there
	maxWrite int                  // bytes of a write that come at once, 512 KiB unless set
	record   bool                 // keep the operations

	mu    sync.Mutex
	armed bool
	data  []byte
	ops   []op
	size  int64
}

// op is an operation on a medium.
type op struct {
	sync bool
	off  int64
	data []byte // nil for zeros
	n    int64
}

var (
	_ fs.NodeGetattrer = (*medium)(nil)
	_ fs.NodeOpener    = (*medium)(nil)
	_ fs.NodeReader    = (*medium)(nil)
	_ fs.NodeWriter    = (*medium)(nil)
	_ fs.NodeFsyncer   = (*medium)(nil)
	_ fs.NodeAllocater = (*medium)(nil)
	_ fs.NodeSetattrer = (*medium)(nil)
	_ fs.NodeFlusher   = (*medium)(nil)
	_ fs.NodeStatfser  = (*medium)(nil)
	_ fs.NodeOnAdder   = (*mediumRoot)(nil)
)

// mediumRoot is the directory with the medium in it.
type mediumRoot struct {
	fs.Inode
	medium *medium
}

func (r *mediumRoot) OnAdd(ctx context.Context) {
	if r.medium != nil {
		r.AddChild("medium", r.NewPersistentInode(ctx, r.medium, fs.StableAttr{Mode: syscall.S_IFREG}), true)
	}
}

func (m *medium) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Mode, out.Size, out.Blksize = syscall.S_IFREG|0o600, uint64(m.size), 4096
	out.Blocks = uint64(m.size / 512)
	return 0
}

// Setattr is there because the kernel updates times.
func (m *medium) Setattr(ctx context.Context, f fs.FileHandle, _ *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	return m.Getattr(ctx, f, out)
}

func (m *medium) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	out.Bsize = 4096
	return 0
}

func (m *medium) Flush(context.Context, fs.FileHandle) syscall.Errno { return 0 }

// Open has every read and write come here, past the page cache.
func (m *medium) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return nil, fuse.FOPEN_DIRECT_IO, 0
}

// each calls f for the pieces of [off, off+n) as they lie in data.
func (m *medium) each(off int64, n int, f func(at int64, from, to int)) {
	for done := 0; done < n; {
		at, k := off+int64(done), n-done
		if m.capacity > 0 {
			at %= m.capacity
			k = int(min(int64(k), m.capacity-at))
		}
		f(at, done, done+k)
		done += k
	}
}

func (m *medium) Read(_ context.Context, _ fs.FileHandle, p []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	p = p[:max(0, min(int64(len(p)), m.size-off))]
	m.mu.Lock()
	m.each(off, len(p), func(at int64, from, to int) { copy(p[from:to], m.data[at:]) })
	hook := m.onRead
	if !m.armed {
		hook = nil
	}
	m.mu.Unlock()
	if hook != nil {
		if errno := hook(off, p); errno != 0 {
			return nil, errno
		}
	}
	return fuse.ReadResultData(p), 0
}

func (m *medium) Write(_ context.Context, _ fs.FileHandle, p []byte, off int64) (uint32, syscall.Errno) {
	p = slices.Clone(p)
	m.mu.Lock()
	hook := m.onWrite
	if !m.armed {
		hook = nil
	}
	m.mu.Unlock()
	if hook != nil {
		if errno := hook(off, p); errno != 0 {
			return 0, errno
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.armed && m.ignore != nil && m.ignore(off) {
		return uint32(len(p)), 0
	}
	m.each(off, len(p), func(at int64, from, to int) { copy(m.data[at:], p[from:to]) })
	if m.record {
		m.ops = append(m.ops, op{off: off, data: p, n: int64(len(p))})
	}
	return uint32(len(p)), 0
}

// Allocate punches holes: the loop device's zeroing.
func (m *medium) Allocate(_ context.Context, _ fs.FileHandle, off, n uint64, mode uint32) syscall.Errno {
	if mode&unix.FALLOC_FL_PUNCH_HOLE == 0 && mode&unix.FALLOC_FL_ZERO_RANGE == 0 {
		return syscall.EOPNOTSUPP
	}
	m.mu.Lock()
	hook := m.onZero
	if !m.armed {
		hook = nil
	}
	m.mu.Unlock()
	if hook != nil {
		if errno := hook(int64(off), int64(n)); errno != 0 {
			return errno
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.armed && (m.holes || m.ignore != nil && m.ignore(int64(off))) {
		return 0
	}
	m.each(int64(off), int(n), func(at int64, from, to int) { clear(m.data[at : at+int64(to-from)]) })
	if m.record {
		m.ops = append(m.ops, op{off: int64(off), n: int64(n)})
	}
	return 0
}

func (m *medium) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	m.mu.Lock()
	hook := m.onSync
	if !m.armed {
		hook = nil
	}
	m.mu.Unlock()
	if hook != nil {
		if errno := hook(); errno != 0 {
			return errno
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.record {
		m.ops = append(m.ops, op{sync: true})
	}
	return 0
}

// arm begins the faults, or ends them all.
func (m *medium) arm(on bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.armed = on
}

// content is what is stored, as it is addressed.
func (m *medium) content() []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := make([]byte, m.size)
	m.each(0, len(b), func(at int64, from, to int) { copy(b[from:to], m.data[at:]) })
	return b
}

// most is how long requests to a medium are, in bytes.
const most = 512 << 10

// mediumDisk is a loop device over m, with an old system on it.
func mediumDisk(t testing.TB, m *medium) *target {
	t.Helper()
	flashtest.NeedRoot(t)
	if m.size == 0 {
		m.size = diskSize
	}
	m.data = slices.Clone(oldSystem(m.size))
	if m.maxWrite == 0 {
		m.maxWrite = most
	}
	dir := t.TempDir()
	server, err := fs.Mount(dir, &mediumRoot{medium: m}, &fs.Options{MountOptions: fuse.MountOptions{
		DirectMountStrict: true, MaxWrite: m.maxWrite, Name: "medium", FsName: "medium",
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// The loop device lets go of it a little after it was detached.
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			err := server.Unmount()
			if err == nil {
				return
			}
			if time.Now().After(deadline) {
				t.Errorf("unmounting the medium: %v", err)
				return
			}
		}
	})
	dev := flashtest.Attach(t, filepath.Join(dir, "medium"), "--partscan")
	// A request that FUSE splits, and of which a later part fails, is a short write. The loop
	// driver takes that for a success (lo_complete_rq in drivers/block/loop.c), so the
	// request must not be longer than what comes at once.
	limit := fmt.Sprintf("/sys/block/%s/queue/max_sectors_kb", filepath.Base(dev))
	if err := os.WriteFile(limit, fmt.Append(nil, most>>10), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.arm(false) })
	m.arm(true)
	return &target{dev: dev, old: m.content(), read: func(testing.TB) []byte { m.arm(false); return m.content() }}
}

// broken is a disk whose medium fails as f says.
func broken(f func(m *medium)) func(testing.TB) *target {
	return func(t testing.TB) *target {
		m := &medium{}
		f(m)
		return mediumDisk(t, m)
	}
}

// times is a fault that happens n times and then no more.
func times(n int64) func() bool {
	var left atomic.Int64
	left.Store(n)
	return func() bool { return left.Add(-1) >= 0 }
}

// covers reports whether n bytes at off hold byte at.
func covers(off, n, at int64) bool { return off <= at && at < off+n }
