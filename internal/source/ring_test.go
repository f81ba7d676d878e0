package source

import (
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestStarved: a long wait for the network counts while it lasts, so that whoever looks
// every second sees what the decoder waits for.
func TestStarved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		g := newRing(1 << 20)
		var goroutines sync.WaitGroup
		g.start(r, &goroutines)
		read := make(chan error)
		go func() {
			_, err := io.ReadFull(g, make([]byte, 4))
			read <- err
		}()
		time.Sleep(time.Minute)
		if got := g.starved.Elapsed(); got != time.Minute {
			t.Errorf("waited %v after a minute without a byte, want 1m0s", got)
		}
		if _, err := w.Write([]byte("four")); err != nil {
			t.Fatal(err)
		}
		if err := <-read; err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute) // the decoder is busy
		if got := g.starved.Elapsed(); got != time.Minute {
			t.Errorf("waited %v in all, want 1m0s", got)
		}
		w.Close()
		goroutines.Wait()
	})
}
