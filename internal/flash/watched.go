package flash

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/openseastack/netboot-imager/internal/disk"
)

// watched counts a disk's operations, so that a disk that hangs is noticed.
type watched struct {
	Disk
	running atomic.Int64
	epoch   time.Time
	moved   atomic.Int64 // nanoseconds after epoch when an operation last began on an idle disk or ended
}

func newWatched(d Disk) *watched { return &watched{Disk: d, epoch: time.Now()} }

// now is the time since epoch by the monotonic clock: a station's clock is at 1970 until
// NTP answers, and jumps then, be it in mid-write.
func (w *watched) now() time.Duration { return time.Since(w.epoch) }

// watch calls cancel with a *StallError when operations run and none ends for limit. The
// function that it returns ends the watch.
func (w *watched) watch(limit time.Duration, cancel context.CancelCauseFunc) func() {
	if limit <= 0 || cancel == nil {
		return func() {}
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(min(limit, 4*time.Second) / 4)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				if w.running.Load() > 0 && w.now()-time.Duration(w.moved.Load()) > limit {
					cancel(&StallError{limit})
				}
			}
		}
	}()
	return func() { close(stop); <-done }
}

func (w *watched) begin() {
	if w.running.Load() == 0 {
		w.moved.Store(int64(w.now())) // before it counts as running
	}
	w.running.Add(1)
}

func (w *watched) end() {
	w.moved.Store(int64(w.now()))
	w.running.Add(-1)
}

func (w *watched) WriteAt(p []byte, off int64) (int, error) {
	w.begin()
	defer w.end()
	return w.Disk.WriteAt(p, off)
}

func (w *watched) ReadAt(p []byte, off int64) (int, error) {
	w.begin()
	defer w.end()
	return w.Disk.ReadAt(p, off)
}

func (w *watched) Zero(off, n int64) error {
	w.begin()
	defer w.end()
	return w.Disk.Zero(off, n)
}

func (w *watched) RereadPartitions() ([]disk.Partition, error) {
	w.begin()
	defer w.end()
	return w.Disk.RereadPartitions()
}

func (w *watched) Sync() error {
	w.begin()
	defer w.end()
	return w.Disk.Sync()
}
