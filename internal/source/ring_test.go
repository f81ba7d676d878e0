package source

import (
	"bytes"
	"crypto/sha256"
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
		if got := g.receiving.Elapsed(); got != 2*time.Minute {
			t.Errorf("received for %v, want 2m0s: the network is slow whether or not the decoder is busy", got)
		}
		w.Close()
		goroutines.Wait()
	})
}

// TestDigestAfterClose: who has read to the end and closes the ring at once gets the digest
// of everything, however far behind the sum is.
func TestDigestAfterClose(t *testing.T) {
	data := bytes.Repeat([]byte("an image "), 1<<20)
	want := sha256.Sum256(data)
	for range 20 {
		g := newRing(2 * len(data))
		var goroutines sync.WaitGroup
		g.start(bytes.NewReader(data), &goroutines)
		if n, err := io.Copy(io.Discard, g); err != nil || n != int64(len(data)) {
			t.Fatalf("read %d bytes, %v", n, err)
		}
		g.close()
		if got := g.digest(); !bytes.Equal(got, want[:]) {
			t.Fatalf("digest %x, want %x", got, want)
		}
		goroutines.Wait()
	}
}
