package flash

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/openseastack/netboot-imager/internal/disk"
	"github.com/openseastack/netboot-imager/internal/flashtest"
	"github.com/openseastack/netboot-imager/internal/source"
)

const mib = 1 << 20

// open opens the image that srv serves.
func open(t *testing.T, ctx context.Context, srv *flashtest.Server) *source.Stream {
	t.Helper()
	c := source.NewClient(source.Config{
		Hosts: source.Hosts{Prefixes: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
		Stall: 3 * time.Second, ReadAhead: mib,
	})
	u, err := source.ParseURL(srv.URL())
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.Open(ctx, u, func(s string) { t.Log(s) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// job runs a whole job and returns its plan, too.
func job(t *testing.T, d Disk, srv *flashtest.Server, opt Options) (*Plan, *Receipt, error) {
	t.Helper()
	opt.Logf = t.Logf
	img := open(t, t.Context(), srv)
	p, err := Prepare(t.Context(), d, img, img.Info, opt)
	if err != nil {
		return nil, nil, err
	}
	r, err := p.Run(t.Context())
	return p, r, err
}

// unbootable fails the test if the first MiB of d is not all zeros.
func unbootable(t *testing.T, d *flashtest.Disk) {
	t.Helper()
	b := d.Bytes()
	if n := min(len(b), mib); !bytes.Equal(b[:n], make([]byte, n)) {
		t.Error("the disk's first MiB is not zero, so the disk looks bootable")
	}
}

// TestSizes writes images of many sizes, on disks of two block sizes, with and without
// zeroing.
func TestSizes(t *testing.T) {
	for _, sector := range []int{512, 4096} {
		for _, size := range []int{2 * mib, 4*mib - 512, 4 * mib, 4*mib + 512, 8 * mib} {
			for _, noZeroing := range []bool{false, true} {
				for _, room := range []int64{0, 2 * mib} {
					t.Run(fmt.Sprintf("%d/%d/%v/%d", sector, size, noZeroing, room), func(t *testing.T) {
						img := flashtest.Image(size, uint64(size))
						if sector == 4096 {
							flashtest.MBR(img, 256, uint32(size/4096-256))
						}
						d := flashtest.NewDisk((int64(size)+room+4095)/4096*4096 + room)
						d.Sector, d.NoZeroing = sector, noZeroing
						_, r, err := job(t, d, flashtest.NewServer(t, img), Options{})
						if err != nil {
							t.Fatal(err)
						}
						if got := d.Bytes()[:size]; !bytes.Equal(got, img) {
							t.Error("the disk differs from the image")
						}
						if r.ImageSHA256 != flashtest.SHA256(img) || r.ImageSize != int64(size) || !r.Verified {
							t.Errorf("receipt = %+v", r)
						}
						rest := d.Bytes()[size:]
						if n := len(rest); n > tailSize && !bytes.Equal(rest[n-tailSize:], make([]byte, tailSize)) {
							t.Error("the place of a backup GPT was not cleared")
						}
					})
				}
			}
		}
	}
}

// TestSmall writes what is smaller than the head, or has an odd size, by force.
func TestSmall(t *testing.T) {
	for _, size := range []int{1, 511, 512, 513, mib - 1, mib, mib + 1, 4*mib + 1, 8*mib - 1} {
		img := bytes.Repeat([]byte("x"), size)
		d := flashtest.NewDisk(16 * mib)
		_, r, err := job(t, d, flashtest.NewServer(t, img), Options{Force: true})
		if err != nil {
			t.Errorf("%d bytes: %v", size, err)
			continue
		}
		got := d.Bytes()
		if !bytes.Equal(got[:size], img) || r.ImageSize != int64(size) || r.ImageSHA256 != flashtest.SHA256(img) {
			t.Errorf("%d bytes: the disk differs, receipt %+v", size, r)
		}
		if pad := (size + 511) / 512 * 512; !bytes.Equal(got[size:pad], make([]byte, pad-size)) {
			t.Errorf("%d bytes: the last block is not padded with zeros", size)
		}
	}
}

// TestRefusals lists images that are refused before anything is changed.
func TestRefusals(t *testing.T) {
	img := flashtest.Image(4*mib, 1)
	with := func(at int, text string) []byte {
		b := make([]byte, 2*mib)
		copy(b[at:], text)
		return b
	}
	edit := func(f func(b []byte)) []byte {
		b := bytes.Clone(img)
		f(b)
		return b
	}
	gzip := func(b []byte) []byte { return flashtest.Compress(t, "gzip", b) }
	tests := []struct {
		name string
		data []byte
		disk int64
		text string
	}{
		{"HTML", []byte("<!DOCTYPE html>\n<html><body>404</body></html>"), 8 * mib, "an HTML page"},
		{"HTML in gzip", gzip([]byte("<html><body>404</body></html>")), 8 * mib, "an HTML page inside the gzip compression; the server has no image at this URL"},
		{"JSON", []byte(`{"error": "not found"}`), 8 * mib, "a JSON document"},
		{"text", []byte("not found\n"), 8 * mib, "a text"},
		{"tar", with(257, "ustar\x0000"), 8 * mib, "a tar archive"},
		{"zip", with(0, "PK\x03\x04"), 8 * mib, "a zip archive"},
		{"squashfs", with(0, "hsqs"), 8 * mib, "a squashfs file system"},
		{"ext4", with(1080, "\x53\xef"), 8 * mib, "an ext4 file system"},
		{"qcow2", with(0, "QFI\xfb"), 8 * mib, "qemu-img"},
		{"lz4", with(0, "\x04\x22\x4d\x18"), 8 * mib, "an lz4 file"},
		{"7z", with(0, "7z\xbc\xaf\x27\x1c"), 8 * mib, "a 7z archive"},
		{"gzip in gzip", gzip(gzip(img)), 8 * mib, "a gzip file inside the gzip compression"},
		{"xz in zstd", flashtest.Compress(t, "zstd", flashtest.Compress(t, "xz", img)), 8 * mib, "an xz file inside the zstd compression"},
		{"zeros", make([]byte, 2*mib), 8 * mib, "nothing but zeros"},
		{"noise", bytes.Repeat([]byte{0xde, 0xad, 0xbe, 0xef}, mib), 8 * mib, "no partition table"},
		{"one byte", []byte{7}, 8 * mib, "no partition table"},
		{"nothing in gzip", gzip(nil), 8 * mib, "empty"},
		{"FAT without partitions", edit(func(b []byte) { copy(b, "\xeb\x3c\x90mkfs.fat"); b[21] = 0xf8; copy(b[54:], "FAT16   ") }), 8 * mib, "a FAT file system"},
		{"larger than the disk", img, 4*mib - 512, "larger than the disk"},
		{"partition larger than the disk", gzip(edit(func(b []byte) { flashtest.MBR(b, 2048, 8*2048) })), 8 * mib, "partition 1 of the image is larger than the disk"},
		{"partition larger than the image", edit(func(b []byte) { flashtest.MBR(b, 2048, 4*2048) }), 8 * mib, "truncated"},
		{"partition over the table", edit(func(b []byte) { flashtest.MBR(b, 0, 2048) }), 8 * mib, "MBR is broken"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := flashtest.NewDisk(tt.disk)
			before := d.Bytes()
			_, _, err := job(t, d, flashtest.NewServer(t, tt.data), Options{})
			if !flashtest.As[*ImageError](err) && !flashtest.As[*TooLargeError](err) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("error = %v, want one about %q", err, tt.text)
			}
			if !bytes.Equal(before, d.Bytes()) {
				t.Error("the disk was changed")
			}
		})
	}
}

// TestFailures lists failures after the first change. The disk must not look bootable.
func TestFailures(t *testing.T) {
	img := flashtest.Image(20*mib, 2)
	var trip atomic.Int64 // bytes written
	tests := []struct {
		name   string
		disk   func(d *flashtest.Disk)
		server func(s *flashtest.Server)
		opt    Options
		size   int64 // of the disk, 32 MiB if 0
		is     func(error) bool
		text   string
	}{
		{name: "write error", disk: func(d *flashtest.Disk) {
			d.OnWrite = func(off int64, p []byte) error { return failAt(off, len(p), 9*mib) }
		}, is: flashtest.As[*DiskError], text: "cannot write"},
		{name: "no space", disk: func(d *flashtest.Disk) {
			d.OnWrite = func(off int64, p []byte) error {
				if off >= 12*mib && off < 30*mib {
					return syscall.ENOSPC
				}
				return nil
			}
		}, is: flashtest.As[*DiskError], text: "no space"},
		{name: "gone in mid-write", disk: func(d *flashtest.Disk) {
			d.OnWrite = func(off int64, p []byte) error {
				if trip.Add(int64(len(p))) > 10*mib && off > 0 {
					return syscall.ENODEV
				}
				return nil
			}
		}, is: flashtest.As[*DiskError], text: "no such device"},
		{name: "flush fails", disk: func(d *flashtest.Disk) {
			n := 0
			d.OnSync = func() error {
				if n++; n == 3 { // the first two are of the wiping
					return syscall.EIO
				}
				return nil
			}
		}, is: flashtest.As[*DiskError], text: "flush"},
		{name: "read-back error for ever", disk: func(d *flashtest.Disk) {
			d.OnRead = func(off int64, p []byte) error { return failAt(off, len(p), 9*mib) }
		}, is: flashtest.As[*MismatchError], text: "bytes 8388608-12582911"},
		{name: "a block that stays wrong", disk: func(d *flashtest.Disk) {
			d.Stored = func(off int64, p []byte) bool { flip(off, p, 13*mib); return false }
		}, is: flashtest.As[*MismatchError], text: "bytes 12582912-16777215"},
		{name: "two blocks that stay wrong", disk: func(d *flashtest.Disk) {
			d.Stored = func(off int64, p []byte) bool { flip(off, p, 5*mib); flip(off, p, 13*mib); return false }
		}, is: flashtest.As[*MismatchError], text: "bytes 4194304-8388607, bytes 12582912-16777215"},
		{name: "first MiB stays wrong", disk: func(d *flashtest.Disk) {
			d.Stored = func(off int64, p []byte) bool {
				if off == 0 && !bytes.Equal(p, make([]byte, len(p))) {
					p[100] ^= 1
				}
				return false
			}
		}, is: flashtest.As[*MismatchError], text: "bytes 0-511"},
		{name: "counterfeit, half of it missing", disk: func(d *flashtest.Disk) { d.Capacity = 10 * mib }, is: flashtest.As[*MismatchError], text: "read-back mismatch"},
		{name: "counterfeit, only the last MiB missing", disk: func(d *flashtest.Disk) { d.Capacity = 19 * mib }, is: flashtest.As[*MismatchError], text: "less capacity"},
		{name: "truncated", server: func(s *flashtest.Server) { s.Cut = 13 * mib }, is: flashtest.As[*source.ImageError], text: "truncated"},
		{name: "truncated without a length", server: func(s *flashtest.Server) { s.Cut, s.Close = 13*mib, true }, is: flashtest.As[*ImageError], text: "truncated"},
		{name: "stalled", server: func(s *flashtest.Server) { s.Stall = 13 * mib }, is: flashtest.As[*source.StallError], text: "stalled"},
		{name: "sha256", opt: Options{SHA256: flashtest.SHA256(nil)}, is: flashtest.As[*ImageError], text: "sha256 mismatch"},
		{name: "larger than the disk, known at the end", server: func(s *flashtest.Server) {
			b := bytes.Clone(img)
			flashtest.MBR(b, 2048, 2048)
			s.Data, s.Chunked = b, true
		}, size: 12 * mib, is: flashtest.As[*TooLargeError], text: "at least"},
		{name: "the kernel refuses the table", disk: func(d *flashtest.Disk) { d.PartsErr = syscall.EBUSY }, is: flashtest.As[*DiskError], text: "busy"},
	}
	compressed := map[string][]byte{"raw": img, "gzip": flashtest.Compress(t, "gzip", img)}
	for _, tt := range tests {
		for _, format := range []string{"raw", "gzip"} {
			t.Run(tt.name+"/"+format, func(t *testing.T) {
				if format == "gzip" && (tt.server != nil) {
					return // the server's faults are of raw images, above
				}
				trip.Store(0)
				d := flashtest.NewDisk(cmp.Or(tt.size, 32*mib))
				if tt.disk != nil {
					tt.disk(d)
				}
				srv := flashtest.NewServer(t, compressed[format])
				if tt.server != nil {
					tt.server(srv)
				}
				p, r, err := job(t, d, srv, tt.opt)
				if err == nil {
					t.Fatalf("success over a bad disk: %+v", r)
				}
				if !tt.is(err) || !strings.Contains(err.Error(), tt.text) {
					t.Errorf("error = %T %v, want one about %q", err, err, tt.text)
				}
				if p == nil || p.State() != Cleared {
					t.Error("the plan does not say that the disk was cleared")
				}
				unbootable(t, d)
			})
		}
	}
}

// failAt fails operations that touch the byte at.
func failAt(off int64, n int, at int64) error {
	if off <= at && at < off+int64(n) {
		return syscall.EIO
	}
	return nil
}

// flip flips a bit of the byte at.
func flip(off int64, p []byte, at int64) {
	if off <= at && at < off+int64(len(p)) {
		p[at-off] ^= 0x10
	}
}

// TestRepair has a disk that gets some blocks wrong at first.
func TestRepair(t *testing.T) {
	img := flashtest.Image(20*mib, 3)
	for _, format := range []string{"raw", "gzip", "xz"} {
		data := flashtest.Compress(t, format, img)
		for _, wrong := range []int{1, 2, 3} {
			t.Run(fmt.Sprintf("%s/%d", format, wrong), func(t *testing.T) {
				d := flashtest.NewDisk(32 * mib)
				times := map[int64]int{}
				d.Stored = func(off int64, p []byte) bool {
					for _, at := range []int64{mib + 5, 9 * mib, 20*mib - 1} {
						if off <= at && at < off+int64(len(p)) && times[at] < wrong {
							times[at]++
							flip(off, p, at)
						}
					}
					return false
				}
				_, r, err := job(t, d, flashtest.NewServer(t, data), Options{})
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(d.Bytes()[:len(img)], img) {
					t.Error("the disk differs from the image")
				}
				want := []Range{{mib, 3 * mib}, {8 * mib, 4 * mib}, {16 * mib, 4 * mib}}
				if fmt.Sprint(r.Repaired) != fmt.Sprint(want) {
					t.Errorf("repaired = %v, want %v", r.Repaired, want)
				}
			})
		}
	}
}

// TestRepairOfChangedImage must not splice another version into the disk.
func TestRepairOfChangedImage(t *testing.T) {
	img := flashtest.Image(8*mib, 4)
	other := bytes.Clone(img)
	other[5*mib]++
	d := flashtest.NewDisk(16 * mib)
	srv := flashtest.NewServer(t, img)
	srv.ETag = "" // nothing but the content tells them apart
	bad := true
	d.Stored = func(off int64, p []byte) bool {
		if bad && off <= 5*mib && 5*mib < off+int64(len(p)) {
			bad = false
			flip(off, p, 5*mib)
			srv.Set(func(s *flashtest.Server) { s.Data = other })
		}
		return false
	}
	// The change must come after the download: hold nothing back.
	_, _, err := job(t, d, srv, Options{})
	if !flashtest.As[*source.ServerError](err) || !strings.Contains(err.Error(), "changed") {
		t.Errorf("error = %v, want one about the change", err)
	}
	unbootable(t, d)
}

// TestNoVerify writes without reading back: a silent corruption goes unnoticed, which is
// what the option means, and shows that the other tests notice it by reading back.
func TestNoVerify(t *testing.T) {
	img := flashtest.Image(8*mib, 5)
	d := flashtest.NewDisk(16 * mib)
	d.Stored = func(off int64, p []byte) bool { flip(off, p, 5*mib); return false }
	_, r, err := job(t, d, flashtest.NewServer(t, img), Options{NoVerify: true})
	if err != nil || r.Verified {
		t.Errorf("receipt = %+v, error %v", r, err)
	}
}

// TestIgnoredWrites is of a worn-out card that accepts writes and ignores them.
func TestIgnoredWrites(t *testing.T) {
	d := flashtest.NewDisk(16 * mib)
	d.Stored = func(off int64, p []byte) bool { return true }
	_, _, err := job(t, d, flashtest.NewServer(t, flashtest.Image(8*mib, 6)), Options{NoVerify: true})
	if !flashtest.As[*MismatchError](err) || !strings.Contains(err.Error(), "ignores writes") {
		t.Errorf("error = %v", err)
	}
}

// TestZeroingThatLies is of a disk that claims to have zeroed and has not.
func TestZeroingThatLies(t *testing.T) {
	img := flashtest.Image(20*mib, 7)
	clear(img[8*mib : 12*mib])
	d := flashtest.NewDisk(32 * mib)
	lying := &lyingDisk{d}
	_, r, err := job(t, lying, flashtest.NewServer(t, img), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(d.Bytes()[:len(img)], img) || len(r.Repaired) == 0 {
		t.Errorf("the disk differs from the image, repaired %v", r.Repaired)
	}
}

type lyingDisk struct{ *flashtest.Disk }

func (*lyingDisk) Zero(off, n int64) error { return nil }

// TestOrder makes sure that a power cut at any moment leaves either nothing bootable or
// everything: before each write, the disk is looked at.
func TestOrder(t *testing.T) {
	img := flashtest.Image(12*mib, 8)
	d := flashtest.NewDisk(16 * mib)
	var (
		mu               sync.Mutex
		inHead, ops, syn int
	)
	d.OnSync = func() error {
		mu.Lock()
		defer mu.Unlock()
		syn++
		return nil
	}
	d.OnWrite = func(off int64, p []byte) error {
		mu.Lock()
		defer mu.Unlock()
		ops++
		now := d.Bytes()
		whole := bytes.Equal(now[mib:len(img)], img[mib:])
		if off < mib && p != nil && !isZero(p[:min(len(p), mib)]) {
			inHead++
			if !whole {
				t.Error("the first MiB is written while the rest is not complete")
			}
			if syn < 2 {
				t.Error("the first MiB is written before the rest was flushed")
			}
		} else if ops > 2 && !bytes.Equal(now[:mib], make([]byte, mib)) {
			t.Errorf("the first MiB is not zero while byte %d is written", off)
		}
		return nil
	}
	if _, _, err := job(t, d, flashtest.NewServer(t, img), Options{}); err != nil {
		t.Fatal(err)
	}
	if inHead != 1 {
		t.Errorf("the first MiB was written %d times, want once", inHead)
	}
}

// TestCancel stops a job at several moments; it is never a success.
func TestCancel(t *testing.T) {
	img := flashtest.Image(20*mib, 9)
	why := errors.New("the operator said so")
	for _, at := range []int64{2 * mib, 10 * mib, 19 * mib} {
		ctx, cancel := context.WithCancelCause(t.Context())
		d := flashtest.NewDisk(32 * mib)
		d.OnWrite = func(off int64, p []byte) error {
			if off <= at && at < off+int64(len(p)) {
				cancel(why)
			}
			return nil
		}
		s := open(t, ctx, flashtest.NewServer(t, img))
		p, err := Prepare(ctx, d, s, s.Info, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if r, err := p.Run(ctx); !errors.Is(err, why) {
			t.Errorf("cancelled at %d: %+v, error %v", at, r, err)
		}
		unbootable(t, d)
	}
}

// TestCancelAtTheEnd stops a job while the kernel reads the new partition table. It is
// either a success with a whole disk, or a failure with an unbootable one.
func TestCancelAtTheEnd(t *testing.T) {
	img := flashtest.Image(8*mib, 12)
	ctx, cancel := context.WithCancelCause(t.Context())
	d := &lateDisk{flashtest.NewDisk(16 * mib), func() { cancel(errors.New("the operator said so")) }}
	s := open(t, ctx, flashtest.NewServer(t, img))
	p, err := Prepare(ctx, d, s, s.Info, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if r, err := p.Run(ctx); err == nil || p.State() != Cleared {
		t.Errorf("%+v, error %v, state %v", r, err, p.State())
	}
	unbootable(t, d.Disk)
}

// lateDisk calls cancel when it is asked for its partitions.
type lateDisk struct {
	*flashtest.Disk
	cancel func()
}

func (d *lateDisk) RereadPartitions() ([]disk.Partition, error) {
	d.cancel()
	return nil, nil
}

// TestUnknownState is of disks on which the first MiB cannot be cleared: nobody may say
// that they are not bootable.
func TestUnknownState(t *testing.T) {
	img := flashtest.Image(8*mib, 13)
	for name, set := range map[string]func(d *flashtest.Disk){
		"wiping fails":       func(d *flashtest.Disk) { d.OnWrite = func(off int64, p []byte) error { return failAt(off, mib, 0) } },
		"writes are ignored": func(d *flashtest.Disk) { d.Stored = func(int64, []byte) bool { return true } },
		"the first MiB cannot be cleared again": func(d *flashtest.Disk) {
			var headIsOn atomic.Bool
			d.OnWrite = func(off int64, p []byte) error {
				if headIsOn.Load() {
					return syscall.EIO
				}
				if off == 0 && p != nil && !isZero(p) {
					headIsOn.Store(true)
				}
				return nil
			}
			d.OnSync = func() error {
				if headIsOn.Load() {
					return syscall.EIO
				}
				return nil
			}
		},
	} {
		d := flashtest.NewDisk(16 * mib)
		set(d)
		s := open(t, t.Context(), flashtest.NewServer(t, img))
		p, err := Prepare(t.Context(), d, s, s.Info, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if r, err := p.Run(t.Context()); err == nil || p.State() != Unknown {
			t.Errorf("%s: %+v, error %v, state %v, want Unknown", name, r, err, p.State())
		}
	}
}

// TestHangingDisk is of a disk that does not come back from a write.
func TestHangingDisk(t *testing.T) {
	d := flashtest.NewDisk(32 * mib)
	hang := make(chan struct{})
	d.OnWrite = func(off int64, p []byte) error {
		if off >= 8*mib && off < 30*mib {
			<-hang
		}
		return nil
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	s := open(t, ctx, flashtest.NewServer(t, flashtest.Image(20*mib, 10)))
	p, err := Prepare(ctx, d, s, s.Info, Options{Stall: 200 * time.Millisecond, Cancel: cancel})
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(10*time.Second, func() { cancel(errors.New("the hanging disk was not noticed")) })
	context.AfterFunc(ctx, func() { close(hang) })
	if _, err := p.Run(ctx); !flashtest.As[*StallError](err) {
		t.Errorf("error = %v, want a StallError", err)
	}
	unbootable(t, d)
}

// TestProgress follows a job's progress: bytes that are durable, a percent that never
// goes back, stages within their bands.
func TestProgress(t *testing.T) {
	img := flashtest.Image(40*mib, 11)
	for _, format := range []string{"raw", "zstd"} {
		p := NewProgress(time.Now)
		var stages []string
		p.OnStage = func() { stages = append(stages, p.Snapshot().Stage) }
		d := flashtest.NewDisk(64 * mib)
		var synced atomic.Int64
		last := 0
		check := func() {
			s := p.Snapshot()
			band := bands[s.Stage]
			if s.Percent < last || s.Percent > 99 || float64(s.Percent) < band[0] || float64(s.Percent) > band[1] {
				t.Errorf("%s: percent %d after %d in stage %s", format, s.Percent, last, s.Stage)
			}
			if s.Stage == StageWriting && s.PhaseBytes > synced.Load() {
				t.Errorf("%s: %d bytes reported, %d are on the medium", format, s.PhaseBytes, synced.Load())
			}
			last = s.Percent
		}
		var written atomic.Int64
		d.OnWrite = func(off int64, p []byte) error {
			if off > 0 {
				time.Sleep(150 * time.Millisecond)
			}
			return nil
		}
		d.OnSync = func() error { synced.Store(written.Load()); check(); return nil }
		d.Stored = func(off int64, p []byte) bool { written.Add(int64(len(p))); check(); return false }
		srv := flashtest.NewServer(t, flashtest.Compress(t, format, img))
		if _, _, err := job(t, d, srv, Options{Progress: p}); err != nil {
			t.Fatal(err)
		}
		if got, want := fmt.Sprint(stages), fmt.Sprint([]string{StageChecking, StageWiping, StageWriting, StageSyncing}); got != want {
			t.Errorf("%s: stages = %v, want %v", format, got, want)
		}
		if last < 95 {
			t.Errorf("%s: percent ended at %d", format, last)
		}
	}
}

func TestBottleneck(t *testing.T) {
	s := time.Second
	tests := []struct {
		c    counters
		want string
	}{
		{counters{starved: 8 * s / 10, receiving: s}, BottleneckNetwork},
		{counters{starved: 4 * s / 10, receiving: 9 * s / 10}, BottleneckNetwork}, // and decoding takes 6 tenths
		{counters{starved: s / 10, receiving: 3 * s / 10}, BottleneckDecompress},
		{counters{diskWait: 8 * s / 10, receiving: s / 10}, BottleneckDisk},
		{counters{}, BottleneckDecompress},
		{counters{format: source.Raw, starved: s / 10, receiving: s / 10}, BottleneckNetwork},
		{counters{format: source.Raw, diskWait: s / 10}, BottleneckDisk},
	}
	for _, tt := range tests {
		if got := bottleneck(tt.c, counters{}, s, ""); got != tt.want {
			t.Errorf("bottleneck(%+v) = %q, want %q", tt.c, got, tt.want)
		}
	}
}

var (
	_ Disk  = (*disk.Target)(nil)
	_ Disk  = (*flashtest.Disk)(nil)
	_ Image = (*source.Stream)(nil)
)
