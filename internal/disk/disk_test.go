package disk_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/openseastack/netboot-imager/internal/disk"
	"github.com/openseastack/netboot-imager/internal/flashtest"
	"golang.org/x/sys/unix"
)

const mib = 1 << 20

// read returns what is on a device or in a file.
func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// refused fails the test unless opening device is refused with an error like want, about
// text, and leaves the disk at path as it was.
func refused[T error](t *testing.T, sys disk.System, device string, allowed []string, path, text string) {
	t.Helper()
	before := read(t, path)
	target, err := sys.Open(device, allowed)
	if err == nil {
		target.Close()
	}
	var want T
	if !errors.As(err, &want) || !strings.Contains(err.Error(), text) {
		t.Errorf("Open(%q) = %T %v, want a %T about %q", device, err, err, want, text)
	}
	if !bytes.Equal(before, read(t, path)) {
		t.Errorf("Open(%q) changed the disk", device)
	}
}

// partitioned makes a loop device with one ext4 partition, and returns both.
func partitioned(t *testing.T) (dev, part string) {
	t.Helper()
	dev = flashtest.Loop(t, 16*mib, "--partscan")
	flashtest.Pipe(t, []byte("label: dos\nlabel-id: 0x1badf00d\nstart=2048, type=83\n"), "sfdisk", "-q", dev)
	part = dev + "p1"
	if _, err := os.Stat(part); err != nil {
		flashtest.Run(t, "partx", "--add", dev) // a kernel that does not know this kind of table
	}
	flashtest.Run(t, "mkfs.ext4", "-q", part)
	return dev, part
}

func TestNames(t *testing.T) {
	dev, part := partitioned(t)
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	if err := os.Symlink(dev, link); err != nil {
		t.Fatal(err)
	}
	devLink := "/dev/netboot-imager-test-link"
	devFile := "/dev/netboot-imager-test-file"
	os.Symlink(filepath.Base(dev), devLink)
	os.WriteFile(devFile, make([]byte, mib), 0o600)
	t.Cleanup(func() { os.Remove(devLink); os.Remove(devFile) })
	allowed := []string{dev}

	// Other ways to write the name are not in the list.
	base := filepath.Base(dev)
	for _, name := range []string{dev + "/", "/dev//" + base, "/dev/./" + base, "/dev/../dev/" + base, "dev/" + base, " " + dev, dev + "\x00", strings.ToUpper(dev), link, devLink, "", "/", "/dev/null", "/proc/self/fd/0"} {
		refused[*disk.NotAllowedError](t, disk.Host, name, allowed, dev, dev)
	}
	refused[*disk.NotAllowedError](t, disk.Host, part, allowed, dev, "partition")
	// In the list, but nothing that may be written.
	refused[*disk.NotAllowedError](t, disk.Host, part, []string{part}, dev, "is a partition; a disk image needs the whole disk, "+dev)
	refused[*disk.NotAllowedError](t, disk.Host, link, []string{link}, dev, "symbolic link")
	refused[*disk.NotAllowedError](t, disk.Host, devLink, []string{devLink}, dev, "symbolic link")
	refused[*disk.NotAllowedError](t, disk.Host, devFile, []string{devFile}, dev, "regular file in /dev")
	refused[*disk.NotAllowedError](t, disk.Host, "/dev/null", []string{"/dev/null"}, dev, "neither")
	refused[*disk.NotAllowedError](t, disk.Host, dir, []string{dir}, dev, "neither")
	// Not there.
	refused[*disk.NotPresentError](t, disk.Host, "/dev/nvme9n1", []string{"/dev/nvme9n1"}, dev, "not present")
	missing := filepath.Join(dir, "missing.img")
	refused[*disk.NotPresentError](t, disk.Host, missing, []string{missing}, dev, "not present")
	if _, err := os.Stat(missing); err == nil {
		t.Error("the missing file was created")
	}
	if _, err := os.Stat("/dev/nvme9n1"); err == nil {
		t.Error("the missing device was created")
	}
	empty := filepath.Join(dir, "empty.img")
	os.WriteFile(empty, nil, 0o600)
	refused[*disk.NotPresentError](t, disk.Host, empty, []string{empty}, dev, "truncate")
}

func TestInUse(t *testing.T) {
	dev, part := partitioned(t)
	allowed := []string{dev}
	dir := t.TempDir()

	t.Run("mounted", func(t *testing.T) {
		point := filepath.Join(dir, "a mount point")
		os.Mkdir(point, 0o700)
		if err := unix.Mount(part, point, "ext4", unix.MS_RDONLY, ""); err != nil {
			t.Fatal(err)
		}
		defer unix.Unmount(point, 0)
		refused[*disk.InUseError](t, disk.Host, dev, allowed, dev, "is mounted on "+point)
	})
	t.Run("swap", func(t *testing.T) {
		swap := flashtest.Loop(t, 16*mib, "--partscan")
		flashtest.Run(t, "mkswap", swap)
		flashtest.Run(t, "swapon", swap)
		defer flashtest.Run(t, "swapoff", swap)
		refused[*disk.InUseError](t, disk.Host, swap, []string{swap}, swap, "swap")
	})
	t.Run("held by a loop device", func(t *testing.T) {
		over := flashtest.Attach(t, dev)
		refused[*disk.InUseError](t, disk.Host, dev, allowed, dev, "is held by "+filepath.Base(over))
	})
	t.Run("partition held by a loop device", func(t *testing.T) {
		over := flashtest.Attach(t, part)
		refused[*disk.InUseError](t, disk.Host, dev, allowed, dev, filepath.Base(part)+" is held by "+filepath.Base(over))
	})
	t.Run("opened exclusively", func(t *testing.T) {
		fd, err := unix.Open(dev, unix.O_RDONLY|unix.O_EXCL|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		refused[*disk.InUseError](t, disk.Host, dev, allowed, dev, "exclusively")
	})
	t.Run("opened twice", func(t *testing.T) {
		first, err := disk.Host.Open(dev, allowed)
		if err != nil {
			t.Fatal(err)
		}
		defer first.Close()
		refused[*disk.InUseError](t, disk.Host, dev, allowed, dev, "exclusively")
	})
	t.Run("write-protected", func(t *testing.T) {
		flashtest.Run(t, "blockdev", "--setro", dev)
		defer flashtest.Run(t, "blockdev", "--setrw", dev)
		refused[*disk.InUseError](t, disk.Host, dev, allowed, dev, "protect")
	})
	t.Run("file under a loop device", func(t *testing.T) {
		file := filepath.Join(dir, "disk.img")
		os.WriteFile(file, make([]byte, 4*mib), 0o600)
		over := flashtest.Attach(t, file)
		refused[*disk.InUseError](t, disk.Host, file, []string{file}, file, "is held by "+filepath.Base(over))
	})
	t.Run("file locked", func(t *testing.T) {
		file := filepath.Join(dir, "locked.img")
		os.WriteFile(file, make([]byte, 4*mib), 0o600)
		first, err := disk.Host.Open(file, []string{file})
		if err != nil {
			t.Fatal(err)
		}
		defer first.Close()
		refused[*disk.InUseError](t, disk.Host, file, []string{file}, file, "locked")
	})
	// And when nothing uses it any more, it can be had.
	target, err := disk.Host.Open(dev, allowed)
	if err != nil {
		t.Fatal(err)
	}
	target.Close()
}

// fakeProc makes a /proc with this kernel command line and no mounts.
func fakeProc(t *testing.T, cmdline, mountinfo, swaps string) disk.System {
	t.Helper()
	dir := t.TempDir()
	os.Mkdir(filepath.Join(dir, "self"), 0o700)
	for name, text := range map[string]string{"cmdline": cmdline, "self/mountinfo": mountinfo, "swaps": swaps} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return disk.System{Proc: dir, Sys: "/sys"}
}

func TestBootDisk(t *testing.T) {
	dev, part := partitioned(t)
	var st unix.Stat_t
	if err := unix.Stat(part, &st); err != nil {
		t.Fatal(err)
	}
	major, minor := unix.Major(uint64(st.Rdev)), unix.Minor(uint64(st.Rdev))
	allowed := []string{dev}
	for _, root := range []string{
		dev, part, dev + "p2", "PARTUUID=1badf00d-01", "PARTUUID=1BADF00D-01", "PARTUUID=1badf00d-01/PARTNROFF=1",
		fmt.Sprintf("%d:%d", major, minor), fmt.Sprintf("%x%02x", major, minor),
	} {
		if minor > 255 && !strings.ContainsAny(root, ":/=") {
			continue // the short form has no room for this minor number
		}
		sys := fakeProc(t, "console=tty1 root="+root+" panic=10\n", "", "")
		refused[*disk.InUseError](t, sys, dev, allowed, dev, "root="+root)
	}
	for _, root := range []string{"/dev/loop999p2", dev + "0p1", "/dev/sda1", "PARTUUID=1badf00d-03", "PARTUUID=deadbeef-01", "/dev/nfs", "LABEL=x", ""} {
		target, err := fakeProc(t, "root="+root, "", "").Open(dev, allowed)
		if err != nil {
			t.Errorf("root=%s: %v", root, err)
			continue
		}
		target.Close()
	}
	// The root file system itself, and one that shows another device number.
	sys := fakeProc(t, "", fmt.Sprintf("21 1 %d:%d / / ro,relatime shared:1 - squashfs /dev/root ro\n", major, minor), "")
	refused[*disk.InUseError](t, sys, dev, allowed, dev, "the running system lives on")
	sys = fakeProc(t, "", "21 1 0:27 / /data rw - btrfs "+part+" rw\n", "")
	refused[*disk.InUseError](t, sys, dev, allowed, dev, "is mounted on /data")
	sys = fakeProc(t, "", "", "Filename\tType\tSize\tUsed\tPriority\n"+part+"    partition\t65532\t0\t-2\n")
	refused[*disk.InUseError](t, sys, dev, allowed, dev, "swap")
	// Not knowing is no reason to go on.
	sys = disk.System{Proc: t.TempDir(), Sys: "/sys"}
	if target, err := sys.Open(dev, allowed); err == nil {
		target.Close()
		t.Error("the disk was opened without knowing the mounts")
	}
}

// TestHolders has a made-up sysfs: this kernel need not have device mapper or md.
func TestHolders(t *testing.T) {
	dev, part := partitioned(t)
	sys := disk.System{Proc: "/proc", Sys: t.TempDir()}
	base := filepath.Base(dev)
	dir := filepath.Join(sys.Sys, "devices/virtual/block", base)
	devno := func(path string) string {
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%d:%d", unix.Major(uint64(st.Rdev)), unix.Minor(uint64(st.Rdev)))
	}
	p := filepath.Join(dir, filepath.Base(part))
	for _, d := range []string{filepath.Join(p, "holders/dm-0"), filepath.Join(sys.Sys, "dev/block")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	os.WriteFile(filepath.Join(p, "partition"), []byte("1\n"), 0o600)
	os.WriteFile(filepath.Join(p, "dev"), []byte(devno(part)+"\n"), 0o600)
	os.Symlink(dir, filepath.Join(sys.Sys, "dev/block", devno(dev)))
	refused[*disk.InUseError](t, sys, dev, []string{dev}, dev, filepath.Base(part)+" is held by dm-0")
}

// noise returns n random bytes in memory that is aligned for direct I/O.
func noise(n int) []byte {
	b := disk.AlignedBuffer(n)
	rand.Read(b)
	return b
}

// TestIO writes and reads back on a loop device, on a file, and on a file system without
// O_DIRECT.
func TestIO(t *testing.T) {
	tmpfs := filepath.Join(t.TempDir(), "tmpfs")
	os.Mkdir(tmpfs, 0o700)
	flashtest.NeedRoot(t)
	if err := unix.Mount("tmpfs", tmpfs, "tmpfs", 0, "size=64m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(tmpfs, 0) })
	file := func(dir string, size int64) string {
		path := filepath.Join(dir, fmt.Sprintf("disk%d.img", size))
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
		return path
	}
	dir := t.TempDir()
	for name, path := range map[string]string{
		"loop":          flashtest.Loop(t, 16*mib),
		"loop, 4096":    flashtest.Loop(t, 16*mib, "--sector-size", "4096"),
		"file":          file(dir, 16*mib),
		"file, odd end": file(dir, 16*mib+1234),
		"tmpfs":         file(tmpfs, 16*mib),
	} {
		t.Run(name, func(t *testing.T) {
			d, err := disk.Host.Open(path, []string{path})
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			t.Logf("size %d, blocks of %d, direct %v", d.Size(), d.BlockSize(), d.Direct())
			want := read(t, path)
			write := func(off int64, n int) {
				t.Helper()
				b := noise(n)
				if m, err := d.WriteAt(b, off); m != n || err != nil {
					t.Fatalf("WriteAt(%d bytes, %d) = %d, %v", n, off, m, err)
				}
				copy(want[off:], b)
			}
			write(0, 4*mib)
			write(8*mib, mib+4096)
			if end := d.Size() - d.Size()%4096; d.Size() > end {
				write(end-4096, int(d.Size()-end)+4096) // not aligned
			}
			write(12*mib, 4096)
			for _, z := range [][2]int64{{mib, 2 * mib}, {9 * mib, 4096}} {
				if err := d.Zero(z[0], z[1]); err != nil {
					t.Fatal(err)
				}
				clear(want[z[0] : z[0]+z[1]])
			}
			if err := d.Sync(); err != nil {
				t.Fatal(err)
			}
			got := disk.AlignedBuffer(len(want))
			if _, err := d.ReadAt(got, 0); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Error("ReadAt does not return what was written")
			}
			if !bytes.Equal(read(t, path), want) {
				t.Error("the disk does not hold what was written")
			}
			// Memory that is not aligned is slow, not wrong.
			if _, err := d.ReadAt(got[1:4097], 4096); err != nil || !bytes.Equal(got[1:4097], want[4096:8192]) {
				t.Errorf("ReadAt into unaligned memory: %v", err)
			}
			for _, off := range []int64{-1, d.Size() - 100, d.Size()} {
				if _, err := d.WriteAt(make([]byte, 4096), off); err == nil {
					t.Errorf("WriteAt(…, %d) outside of the disk succeeded", off)
				}
				if err := d.Zero(off, 4096); err == nil {
					t.Errorf("Zero(%d, …) outside of the disk succeeded", off)
				}
			}
		})
	}
}

// TestReadPastCache changes a file behind the target's back: through the page cache the
// old bytes would be seen.
func TestReadPastCache(t *testing.T) {
	flashtest.NeedRoot(t)
	dev := flashtest.Loop(t, 16*mib)
	d, err := disk.Host.Open(dev, []string{dev})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	// Fill the page cache of the device, then write past it by another descriptor.
	cached, err := os.Open(dev)
	if err != nil {
		t.Fatal(err)
	}
	defer cached.Close()
	io.CopyN(io.Discard, cached, 4*mib)
	b := noise(4096)
	if _, err := d.WriteAt(b, 8192); err != nil {
		t.Fatal(err)
	}
	got := disk.AlignedBuffer(4096)
	if _, err := d.ReadAt(got, 8192); err != nil || !bytes.Equal(got, b) {
		t.Errorf("ReadAt: %v, equal %v", err, bytes.Equal(got, b))
	}
	if !d.Direct() {
		t.Error("a loop device is not used directly")
	}
}

func TestRereadPartitions(t *testing.T) {
	for _, scan := range []bool{true, false} {
		args := []string{}
		if scan {
			args = append(args, "--partscan")
		}
		dev := flashtest.Loop(t, 16*mib, args...)
		d, err := disk.Host.Open(dev, []string{dev})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		img := flashtest.Image(8*mib, 1)
		buf := disk.AlignedBuffer(len(img))
		copy(buf, img)
		if _, err := d.WriteAt(buf, 0); err != nil {
			t.Fatal(err)
		}
		got, err := d.RereadPartitions()
		want := fmt.Sprintf("[{%sp1 1048576 %d}]", filepath.Base(dev), 7*mib)
		if err != nil || fmt.Sprint(got) != want {
			t.Errorf("partscan %v: got %v, %v, want %s", scan, got, err, want)
		}
	}
}

func TestInventory(t *testing.T) {
	dev, part := partitioned(t)
	point := t.TempDir()
	if err := unix.Mount(part, point, "ext4", unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(point, 0)
	file := filepath.Join(t.TempDir(), "disk.img")
	os.WriteFile(file, flashtest.Image(4*mib, 1), 0o600)
	got := disk.Host.Inventory([]string{dev, file, "/dev/nvme9n1", "/dev/null"})
	if g := got[0]; !g.Present || g.Size != 16*mib || g.LogicalBlockSize != 512 || !strings.Contains(g.InUse, point) || len(g.Partitions) != 1 || g.Partitions[0].Size != 15*mib {
		t.Errorf("loop device: %+v", g)
	}
	if g := got[1]; !g.Present || g.Size != 4*mib || g.InUse != "" || len(g.Partitions) != 1 || g.Partitions[0].Name != "disk.imgp1" && g.Partitions[0].Name != "disk.img1" {
		t.Errorf("file: %+v", g)
	}
	if g := got[2]; g.Present || g.Error != "" {
		t.Errorf("missing device: %+v", g)
	}
	if g := got[3]; g.Present || g.Error == "" {
		t.Errorf("/dev/null: %+v", g)
	}
}
