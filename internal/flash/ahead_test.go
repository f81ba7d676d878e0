package flash

import (
	"bytes"
	"testing"
	"time"

	"github.com/openseastack/netboot-imager/internal/flashtest"
)

// slowly writes img over a connection slower than the disk, with flushes so frequent that
// most blocks can be read back meanwhile.
func slowly(t *testing.T, d Disk, img []byte) (*Receipt, error) {
	t.Helper()
	srv := flashtest.NewServer(t, img)
	srv.Slow = time.Millisecond
	s := open(t, t.Context(), srv)
	p, err := Prepare(t.Context(), d, s, s.Info, Options{Logf: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	p.syncEvery = 2 * time.Millisecond
	return p.Run(t.Context())
}

// TestAhead reads back while the network is what everybody waits for.
func TestAhead(t *testing.T) {
	img := dense(32*mib, 31)
	d := flashtest.NewDisk(64 * mib)
	r, err := slowly(t, d, img)
	if err != nil {
		t.Fatal(err)
	}
	if r.AheadBytes == 0 || r.AheadBytes > int64(len(img)) {
		t.Errorf("read back %d bytes while writing", r.AheadBytes)
	}
	if !bytes.Equal(d.Bytes()[:len(img)], img) {
		t.Error("the disk differs from the image")
	}
}

// TestAheadOfCounterfeits reads blocks back that are lost later. No disk of less capacity
// than it claims gets away with that, nor one that loses a MiB.
func TestAheadOfCounterfeits(t *testing.T) {
	img := dense(32*mib, 32)
	for _, capacity := range []int64{mib, 8 * mib, 30 * mib, 31 * mib} {
		d := flashtest.NewDisk(64 * mib)
		d.Capacity = capacity
		if r, err := slowly(t, d, img); !flashtest.As[*MismatchError](err) {
			t.Errorf("capacity of %d MiB: %+v, error %v", capacity>>20, r, err)
		}
		unbootable(t, d)
	}
	t.Run("one MiB, cured by writing again", func(t *testing.T) {
		d := flashtest.NewDisk(64 * mib)
		lost := false
		d.OnWrite = func(off int64, p []byte) error {
			if off >= 28*mib && p != nil && !lost {
				lost = true
				return d.Zero(5*mib, mib)
			}
			return nil
		}
		r, err := slowly(t, d, img)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(d.Bytes()[:len(img)], img) || len(r.Repaired) != 1 {
			t.Errorf("the disk differs from the image, or repaired %v", r.Repaired)
		}
	})
}
