package flash

import (
	"bytes"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/openseastack/netboot-imager/internal/flashtest"
)

// slowly writes img over a connection slower than the disk, with flushes so frequent that
// most blocks can be read back meanwhile. cache is the disk's, as is believed.
func slowly(t *testing.T, d Disk, img []byte, cache int64) (*Receipt, error) {
	t.Helper()
	srv := flashtest.NewServer(t, img)
	srv.Slow = time.Millisecond
	s := open(t, t.Context(), srv)
	p, err := Prepare(t.Context(), d, s, s.Info, Options{Logf: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	p.syncEvery, p.cacheSize = 2*time.Millisecond, cache
	return p.Run(t.Context())
}

// TestAhead reads back while the network is what everybody waits for.
func TestAhead(t *testing.T) {
	img := dense(32*mib, 31)
	d := flashtest.NewDisk(64 * mib)
	r, err := slowly(t, d, img, 1)
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
	for _, capacity := range []int64{8 * mib, 31 * mib} {
		d := flashtest.NewDisk(64 * mib)
		d.Capacity = capacity
		if r, err := slowly(t, d, img, 1); !flashtest.As[*MismatchError](err) {
			t.Errorf("capacity of %d MiB: %+v, error %v", capacity>>20, r, err)
		}
		unbootable(t, d)
	}
	t.Run("one MiB, cured by writing again", func(t *testing.T) {
		d := flashtest.NewDisk(64 * mib)
		var lost atomic.Bool
		d.OnWrite = func(off int64, p []byte) error {
			if off >= 28*mib && p != nil && lost.CompareAndSwap(false, true) {
				return d.Zero(5*mib, mib)
			}
			return nil
		}
		r, err := slowly(t, d, img, 1)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(d.Bytes()[:len(img)], img) || len(r.Repaired) != 1 {
			t.Errorf("the disk differs from the image, or repaired %v", r.Repaired)
		}
	})
}

// TestAheadOfCache reads back only what a cache in the disk does not hold any more, and
// what a flush has confirmed.
func TestAheadOfCache(t *testing.T) {
	const blocks = 6
	d := flashtest.NewDisk(blocks * blockSize)
	l := &pipeline{Plan: &Plan{disk: newWatched(d), head: zeroHead, size: d.Size(), cacheSize: 2 * blockSize}, wake: make(chan struct{}, 1)}
	var mu sync.Mutex
	var read []int64
	d.OnRead = func(off int64, p []byte) error {
		mu.Lock()
		defer mu.Unlock()
		read = append(read, off/blockSize)
		return nil
	}
	for i := range blocks {
		s := l.span(i)
		l.ledger.note(i, d.Bytes()[s.Start:s.Start+s.Length])
		l.ledger.wrote(i, int(s.Length), int64(i+1)*blockSize)
	}
	l.steady.Store(true)
	written, done := make(chan struct{}), make(chan struct{})
	go func() { defer close(done); l.readAhead(t.Context(), written) }()
	for flushed, want := range [][]int64{nil, nil, nil, {0}, {0, 1}, {0, 1, 2}, {0, 1, 2, 3}} {
		l.flushed.Store(int64(flushed) * blockSize)
		l.durable.Store(int64(flushed))
		for range 3 { // the third comes to pass after the first has been acted on
			l.wake <- struct{}{}
		}
		mu.Lock()
		if !slices.Equal(read, want) {
			t.Errorf("with %d blocks flushed, blocks %v were read; want %v", flushed, read, want)
		}
		mu.Unlock()
	}
	close(written)
	<-done
	if got := l.ledger.blocks(true); !slices.Equal(got, []int{0, 1, 2, 3}) || l.ahead.Load() != 4*blockSize-headSize {
		t.Errorf("read back %v, %d bytes", got, l.ahead.Load())
	}
}
