package faults

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/openseastack/netboot-imager/internal/disk"
	"github.com/openseastack/netboot-imager/internal/flashtest"
	"github.com/openseastack/netboot-imager/internal/ptable"
	"golang.org/x/sys/unix"
)

const mib = 1 << 20

// diskSize is that of the disks that rows write to, unless they say otherwise.
const diskSize = 24 * mib

// state is what is on a disk, as independent tools judge it.
type state string

const (
	unchanged state = "the old system, unchanged"
	whole     state = "the image"
	cleared   state = "not bootable"
	corrupt   state = "BOOTABLE, BUT NOT THE IMAGE"
	untested  state = "" // rows that look at the disk themselves
)

// target is a disk with an old system on it.
type target struct {
	dev string // what the imager writes to
	old []byte // what was on it
	// read returns what is on the medium; by the device itself unless set.
	read func(t testing.TB) []byte
	// answered, unless nil, is called when the answer has come.
	answered func()
}

// oldSystem is what is on the disks before: a system that starts, over all of the disk. It
// must not be changed.
func oldSystem(size int64) []byte {
	if size == diskSize {
		return usualOldSystem()
	}
	return flashtest.Image(int(size), 4711)
}

var (
	usualOldSystem = sync.OnceValue(func() []byte { return flashtest.Image(diskSize, 4711) })

	sampleImage = sync.OnceValue(func() []byte { return flashtest.Image(10*mib, 1) })
	// otherImage is another version of sampleImage, of the same size.
	otherImage = sync.OnceValue(func() []byte { return flashtest.Image(10*mib, 2) })
)

// loopDisk is a loop device over a file, with partitions scanned as on a real disk.
func loopDisk(t testing.TB, size int64, losetup ...string) *target {
	t.Helper()
	file := filepath.Join(t.TempDir(), "disk.img")
	old := oldSystem(size)
	if err := os.WriteFile(file, old, 0o600); err != nil {
		t.Fatal(err)
	}
	return &target{dev: flashtest.Attach(t, file, append([]string{"--partscan"}, losetup...)...), old: old}
}

// reset puts the old system back, for sweeps that use a disk many times.
func (d *target) reset(t testing.TB) {
	t.Helper()
	f, err := os.OpenFile(d.dev, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(d.old, 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
}

// content reads the disk past the page cache.
func (d *target) content(t testing.TB) []byte {
	t.Helper()
	if d.read != nil {
		return d.read(t)
	}
	b, err := readDirect(d.dev, len(d.old))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func readDirect(path string, size int) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECT, 0)
	if err != nil { // tmpfs has none
		if f, err = os.Open(path); err != nil {
			return nil, err
		}
	}
	defer f.Close()
	b := disk.AlignedBuffer(size)
	// A file may have become shorter: dd cuts it. A disk cannot.
	if _, err := io.ReadFull(f, b); err != nil && (strings.HasPrefix(path, "/dev/") || err != io.ErrUnexpectedEOF) {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return b, nil
}

// examine says what is on the disk, and what it read.
func (d *target) examine(t testing.TB, img []byte) (state, []byte) {
	t.Helper()
	got := d.content(t)
	return classify(t, d.dev, got, d.old, img), got
}

// classify is examine for bytes that have been read; dev is what the tools look at.
func classify(t testing.TB, dev string, got, old, img []byte) state {
	t.Helper()
	switch {
	case bytes.Equal(got, old):
		return unchanged
	case bytes.HasPrefix(got, img):
		return whole
	}
	if by := startsBy(t, dev, got); by != "" {
		t.Logf("the disk would be started: %s", by)
		return corrupt
	}
	return cleared
}

// startsBy says by whose judgement the disk has a partition table that a firmware or
// a kernel would use; "" if by nobody's. The judges are our own reader and, unless dev is
// "", sfdisk, blkid and the kernel itself.
func startsBy(t testing.TB, dev string, content []byte) string {
	t.Helper()
	if table, err := ptable.Parse(content[:min(len(content), ptable.HeadSize)], 512); err == nil {
		return fmt.Sprintf("our reader finds %d partitions (%s)", len(table.Partitions), table.Kind)
	}
	if dev == "" {
		return ""
	}
	if out, err := exec.Command("sfdisk", "--dump", dev).Output(); err == nil {
		return "sfdisk finds a table: " + strings.Join(strings.Fields(string(out)), " ")
	}
	if out, err := exec.Command("blkid", "-p", "-s", "PTTYPE", "-o", "value", dev).Output(); err == nil && len(bytes.TrimSpace(out)) > 0 {
		return "blkid finds a table: " + string(bytes.TrimSpace(out))
	}
	if !strings.HasPrefix(dev, "/dev/") {
		return ""
	}
	// The kernel's own scan, in the partitions' directory of sysfs.
	if out, err := exec.Command("blockdev", "--rereadpt", dev).CombinedOutput(); err != nil {
		t.Logf("blockdev --rereadpt %s: %v %s", dev, err, out) // a partition is in use
	}
	parts, err := filepath.Glob(filepath.Join("/sys/class/block", filepath.Base(dev), "*", "partition"))
	if err != nil {
		t.Fatal(err)
	}
	if len(parts) > 0 {
		return fmt.Sprintf("the kernel finds %d partitions", len(parts))
	}
	return ""
}

// compressions remembers what tools made of images, as many rows send the same.
var compressions sync.Map // compressionKey -> []byte

type compressionKey struct {
	format string
	sum    string
}

// compressed returns img in a format of flashtest.Compress.
func compressed(t testing.TB, format string, img []byte) []byte {
	t.Helper()
	if format == "raw" {
		return img
	}
	key := compressionKey{format, flashtest.SHA256(img)}
	if b, ok := compressions.Load(key); ok {
		return b.([]byte)
	}
	b := flashtest.Compress(t, format, img)
	compressions.Store(key, b)
	return b
}
