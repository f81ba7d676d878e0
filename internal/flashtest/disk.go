package flashtest

import (
	"fmt"
	"sync"
	"syscall"

	"github.com/openseastack/netboot-imager/internal/disk"
)

// Disk is a disk in RAM. Its hooks make it misbehave; set them before it is used.
type Disk struct {
	// config
	Sector    int                                   // logical block size in bytes, 512 if 0
	Capacity  int64                                 // if > 0, addresses wrap around there, as on a counterfeit card
	NoZeroing bool                                  // Zero fails to be offloaded, and writes
	OnWrite   func(off int64, p []byte) error       // before a write or zeroing; p is nil for zeroing
	OnRead    func(off int64, p []byte) error       // after a read, may change p
	Stored    func(off int64, p []byte) (drop bool) // may change what a write stores, or drop it
	OnSync    func() error
	Parts     []disk.Partition
	PartsErr  error

	// state
	mu     sync.Mutex
	data   []byte
	Writes int64 // bytes written, zeroing not counted
	Syncs  int
}

// NewDisk returns a disk of size bytes that is full of old data.
func NewDisk(size int64) *Disk {
	d := &Disk{data: make([]byte, size)}
	for i := range d.data {
		d.data[i] = 0xA5
	}
	return d
}

// Bytes returns what is on the disk.
func (d *Disk) Bytes() []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]byte(nil), d.data...)
}

func (d *Disk) Size() int64 { return int64(len(d.data)) }

func (d *Disk) BlockSize() int {
	if d.Sector == 0 {
		return 512
	}
	return d.Sector
}

func (d *Disk) Direct() bool         { return true }
func (d *Disk) ZeroingOffload() bool { return !d.NoZeroing }
func (d *Disk) Info() disk.Info {
	return disk.Info{Device: "/dev/fake", Present: true, Size: d.Size(), Model: "fake", Serial: "0001", LogicalBlockSize: d.BlockSize()}
}

// check fails for transfers that a block device would refuse.
func (d *Disk) check(off int64, n int) error {
	bs := int64(d.BlockSize())
	if off < 0 || off+int64(n) > d.Size() {
		return fmt.Errorf("outside of the disk: %d bytes at %d: %w", n, off, syscall.ENOSPC)
	}
	if off%bs != 0 || int64(n)%bs != 0 && off+int64(n) != d.Size() {
		return fmt.Errorf("unaligned: %d bytes at %d: %w", n, off, syscall.EINVAL)
	}
	return nil
}

// each calls f for the pieces of [off, off+n) as they lie in data.
func (d *Disk) each(off int64, n int, f func(at int64, from, to int)) {
	for done := 0; done < n; {
		at, m := off+int64(done), n-done
		if d.Capacity > 0 {
			at %= d.Capacity
			m = int(min(int64(m), d.Capacity-at))
		}
		f(at, done, done+m)
		done += m
	}
}

func (d *Disk) WriteAt(p []byte, off int64) (int, error) {
	if err := d.check(off, len(p)); err != nil {
		return 0, err
	}
	if d.OnWrite != nil {
		if err := d.OnWrite(off, p); err != nil {
			return 0, err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.Writes += int64(len(p))
	stored := p
	if d.Stored != nil {
		stored = append([]byte(nil), p...)
		if d.Stored(off, stored) {
			return len(p), nil
		}
	}
	d.each(off, len(stored), func(at int64, from, to int) { copy(d.data[at:], stored[from:to]) })
	return len(p), nil
}

func (d *Disk) ReadAt(p []byte, off int64) (int, error) {
	if err := d.check(off, len(p)); err != nil {
		return 0, err
	}
	d.mu.Lock()
	d.each(off, len(p), func(at int64, from, to int) { copy(p[from:to], d.data[at:]) })
	d.mu.Unlock()
	if d.OnRead != nil {
		if err := d.OnRead(off, p); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

func (d *Disk) Zero(off, n int64) error {
	if d.NoZeroing {
		_, err := d.WriteAt(make([]byte, n), off)
		return err
	}
	if err := d.check(off, int(n)); err != nil {
		return err
	}
	if d.OnWrite != nil {
		if err := d.OnWrite(off, nil); err != nil {
			return err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.Stored != nil && d.Stored(off, make([]byte, n)) {
		return nil
	}
	d.each(off, int(n), func(at int64, from, to int) { clear(d.data[at : at+int64(to-from)]) })
	return nil
}

func (d *Disk) Sync() error {
	d.mu.Lock()
	d.Syncs++
	d.mu.Unlock()
	if d.OnSync != nil {
		return d.OnSync()
	}
	return nil
}

func (d *Disk) RereadPartitions() ([]disk.Partition, error) { return d.Parts, d.PartsErr }
