package source

import (
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// ring is a bounded buffer in RAM between the connection and the decoder: a slow card
// must not stall the connection into the server's time-out, and decoding goes on while
// the network pauses. One goroutine fills it, one reads.
type ring struct {
	mu     sync.Mutex
	filled sync.Cond // signalled when bytes or an error come
	freed  sync.Cond // signalled when room comes or the reader goes
	buf    []byte
	r, n   int   // read position, bytes held
	err    error // of the source, after the bytes held
	closed bool

	taken   atomic.Int64 // bytes read out
	starved atomic.Int64 // nanoseconds that the reader waited for bytes
}

func newRing(size int) *ring {
	g := &ring{buf: make([]byte, size)}
	g.filled.L, g.freed.L = &g.mu, &g.mu
	return g
}

// fill reads from src until an error, which it hands on, or until close.
func (g *ring) fill(src io.Reader) {
	const most = 256 << 10 // in one Read, so that the reader gets something early
	for {
		g.mu.Lock()
		for g.n == len(g.buf) && !g.closed {
			g.freed.Wait()
		}
		if g.closed {
			g.mu.Unlock()
			return
		}
		w := (g.r + g.n) % len(g.buf)
		room := g.buf[w:min(len(g.buf), w+min(most, len(g.buf)-g.n))]
		g.mu.Unlock()

		n, err := src.Read(room) // only this goroutine touches room

		g.mu.Lock()
		g.n += n
		g.err = err
		g.filled.Signal()
		g.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// Read implements io.Reader.
func (g *ring) Read(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.n == 0 && g.err == nil && !g.closed {
		start := time.Now()
		for g.n == 0 && g.err == nil && !g.closed {
			g.filled.Wait()
		}
		g.starved.Add(int64(time.Since(start)))
	}
	if g.closed {
		return 0, io.ErrClosedPipe
	}
	if g.n == 0 {
		return 0, g.err
	}
	n := copy(p, g.buf[g.r:min(len(g.buf), g.r+g.n)])
	g.r = (g.r + n) % len(g.buf)
	g.n -= n
	g.taken.Add(int64(n))
	g.freed.Signal()
	return n, nil
}

// fault returns the error that ended the source, unless it ended well or has not ended.
func (g *ring) fault() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err == io.EOF {
		return nil
	}
	return g.err
}

// close releases the filler and makes Read fail.
func (g *ring) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	g.filled.Broadcast()
	g.freed.Broadcast()
}
