package flash

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/openseastack/netboot-imager/internal/disk"
	"github.com/openseastack/netboot-imager/internal/flashtest"
)

// dense is an image without long stretches of zeros, of whole blocks.
func dense(size int, seed uint64) []byte {
	img := flashtest.Image(size, seed)
	for at := mib; at < size; at += 64 << 10 {
		copy(img[at:], fmt.Sprintf("%d of %d", at, seed))
	}
	return img
}

// TestAgain writes images over ones that are there already. Next to nothing is written
// where nothing changed, and all that did is; at no time does the disk look bootable.
func TestAgain(t *testing.T) {
	img := dense(32*mib, 21)
	edit := func(at ...int) []byte {
		b := bytes.Clone(img)
		for _, i := range at {
			b[i] ^= 1
		}
		return b
	}
	tests := []struct {
		name   string
		next   []byte
		zeroes bool  // the disk has zeroing offload
		most   int64 // bytes written, of the first MiB and to measure included
		kept   int64 // bytes, at least
	}{
		{"the same", img, true, 5 * mib, 28 * mib},
		{"the same, without offload", img, false, 7 * mib, 28 * mib},
		{"a byte in the middle and the last", edit(14*mib, 32*mib-1), true, 8 * mib, 26 * mib},
		{"only the first MiB", edit(700_000), true, 5 * mib, 28 * mib},
		{"another image", dense(32*mib, 22), true, 33 * mib, 0},
		{"a longer one", append(bytes.Clone(img), dense(4*mib, 23)...), true, 8 * mib, 28 * mib},
	}
	for _, format := range []string{"raw", "gzip"} {
		for i, tt := range tests {
			if format != "raw" && i > 0 {
				continue
			}
			t.Run(tt.name+"/"+format, func(t *testing.T) {
				d := flashtest.NewDisk(48 * mib)
				d.NoZeroing = !tt.zeroes
				if _, r, err := job(t, d, flashtest.NewServer(t, img), Options{}); err != nil || r.Compare.Chosen != Overwrite {
					t.Fatalf("first write: %+v, error %v", r, err)
				}
				before := d.Writes
				var mu sync.Mutex
				ops := 0
				d.OnWrite = func(off int64, p []byte) error {
					mu.Lock()
					defer mu.Unlock()
					ops++
					head := make([]byte, mib)
					d.ReadAt(head, 0)
					if final := off == 0 && p != nil && !isZero(p[:min(len(p), mib)]); !final && ops > 2 && !isZero(head) {
						t.Errorf("the first MiB is not zero while byte %d is written", off)
					}
					return nil
				}
				_, r, err := job(t, d, flashtest.NewServer(t, flashtest.Compress(t, format, tt.next)), Options{})
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(d.Bytes()[:len(tt.next)], tt.next) {
					t.Error("the disk differs from the image")
				}
				if r.ImageSHA256 != flashtest.SHA256(tt.next) {
					t.Error("the receipt has another SHA-256 than the image")
				}
				if wrote := d.Writes - before; wrote > tt.most {
					t.Errorf("wrote %d KiB, want at most %d", wrote>>10, tt.most>>10)
				}
				if r.Compare.UnchangedBytes < tt.kept-3*mib {
					t.Errorf("%d KiB were found unchanged, want %d", r.Compare.UnchangedBytes>>10, tt.kept>>10)
				}
				if want := map[bool]string{true: Compare, false: Overwrite}[tt.kept > 0]; r.Compare.Chosen != want {
					t.Errorf("chosen: %+v, want %s", r.Compare, want)
				}
			})
		}
	}
}

// TestAgainOnLoop does it on a real device, whose kernel counts what is written.
func TestAgainOnLoop(t *testing.T) {
	img := dense(64*mib, 24)
	dev := flashtest.Loop(t, 80*mib)
	written := func() int64 { // Documentation/block/stat.rst
		b, err := os.ReadFile(filepath.Join("/sys/block", filepath.Base(dev), "stat"))
		if err != nil {
			t.Fatal(err)
		}
		sectors, err := strconv.ParseInt(strings.Fields(string(b))[6], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return sectors * 512
	}
	for round := range 2 {
		d, err := disk.Host.Open(dev, []string{dev})
		if err != nil {
			t.Fatal(err)
		}
		before := written()
		_, r, err := job(t, d, flashtest.NewServer(t, flashtest.Compress(t, "zstd", img)), Options{})
		if err != nil {
			t.Fatal(err)
		}
		wrote := written() - before
		t.Logf("wrote %d KiB; %+v", wrote>>10, *r.Compare)
		if round == 0 && wrote < 60*mib || round == 1 && wrote > 6*mib {
			t.Errorf("write number %d gave the disk %d KiB", round+1, wrote>>10)
		}
		got := make([]byte, len(img))
		if _, err := d.ReadAt(got, 0); err != nil || !bytes.Equal(got, img) {
			t.Errorf("the disk differs from the image, error %v", err)
		}
		d.Close()
	}
}

// TestUnreadable is of a disk that cannot be read before it is written: it is written.
func TestUnreadable(t *testing.T) {
	img := dense(32*mib, 25)
	d := flashtest.NewDisk(48 * mib)
	if _, _, err := job(t, d, flashtest.NewServer(t, img), Options{}); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	fresh := map[int64]bool{}
	d.OnWrite = func(off int64, p []byte) error {
		mu.Lock()
		defer mu.Unlock()
		for at := off / mib; at*mib < off+int64(len(p)); at++ {
			fresh[at] = true
		}
		return nil
	}
	d.OnRead = func(off int64, p []byte) error { // sectors that heal when they are written
		mu.Lock()
		defer mu.Unlock()
		if off >= mib && !fresh[off/mib] {
			return failAt(off, len(p), off)
		}
		return nil
	}
	_, r, err := job(t, d, flashtest.NewServer(t, img), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if r.Compare.Chosen != Overwrite || !bytes.Equal(d.Bytes()[:len(img)], img) {
		t.Errorf("%+v", r.Compare)
	}
}

// TestChooser has rates of media: what pays is chosen, and what changes is noticed.
func TestChooser(t *testing.T) {
	const ms = time.Millisecond
	tests := []struct {
		name        string
		read, write time.Duration // for a block
		verify      bool
		equal       func(i int) bool
		want        string
		mostLooked  int // of 200 blocks
		leastEqual  int // found
	}{
		{"new disk", ms, 2 * ms, true, func(int) bool { return false }, Overwrite, 17, 0},
		{"the same again on a card", ms, 2 * ms, true, func(int) bool { return true }, Compare, 200, 200},
		{"the same again, not verified", ms, 2 * ms, false, func(int) bool { return true }, Compare, 200, 200},
		{"writes faster than it reads", 2 * ms, ms, false, func(int) bool { return true }, Overwrite, 17, 4},
		{"writes faster than it reads, verified", 2 * ms, ms, true, func(int) bool { return true }, Compare, 200, 200},
		{"another beginning", ms, 2 * ms, true, func(i int) bool { return i > 20 }, Compare, 200, 150},
		{"another end", ms, 2 * ms, true, func(i int) bool { return i < 30 }, Overwrite, 50, 30},
		{"every other block, slow to read", 2 * ms, ms, true, func(i int) bool { return i%2 == 0 }, Overwrite, 60, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := chooser{verify: tt.verify}
			looked, found := 0, 0
			for i := range 200 {
				first, all := c.look()
				equal := tt.equal(i)
				if first || all {
					looked++
					c.didRead(blockSize, tt.read)
					c.decided(equal)
				}
				if equal && (first || all) {
					found++
				}
				if !equal || !first && !all || c.measure() {
					c.didWrite(blockSize, tt.write)
				}
			}
			if got := c.choice().Chosen; got != tt.want || looked > tt.mostLooked || found < tt.leastEqual {
				t.Errorf("chosen %s, looked at %d, found %d equal; want %s, at most %d, at least %d", got, looked, found, tt.want, tt.mostLooked, tt.leastEqual)
			}
		})
	}
}
