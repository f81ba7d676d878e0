package source

import (
	"crypto/sha256"
	"hash"
	"io"
	"sync"
	"sync/atomic"

	"github.com/openseastack/netboot-imager/internal/stopwatch"
)

// ring is a bounded buffer in RAM between the connection and the decoder: a slow card
// must not stall the connection into the server's time-out, and decoding goes on while
// the network pauses. One goroutine fills it, one reads, and one makes the SHA-256 of what
// passes through, which takes longer than to receive it and must not be added to that.
type ring struct {
	mu     sync.Mutex
	filled sync.Cond // signalled when bytes or an error come
	moved  sync.Cond // signalled when bytes are read or summed, or the reader goes
	buf    []byte
	in     int64 // bytes put in since the beginning; all that follow are at most in
	out    int64 // bytes read
	summed int64 // bytes that sum has
	sum    hash.Hash
	err    error // of the source, after the bytes that are in
	closed bool
	ended  bool // makeSum has

	taken     atomic.Int64        // out, for anybody
	starved   stopwatch.Stopwatch // the reader's waits for bytes
	receiving stopwatch.Stopwatch // what fills it, in the source
}

func newRing(size int) *ring {
	g := &ring{buf: make([]byte, size), sum: sha256.New()}
	g.filled.L, g.moved.L = &g.mu, &g.mu
	return g
}

// chunk is how many bytes are put in or summed at once, so that the others get something
// early.
const chunk = 256 << 10

// start has the ring filled from src until an error, which it hands on, or until close.
func (g *ring) start(src io.Reader, goroutines *sync.WaitGroup) {
	goroutines.Go(func() { g.fill(src) })
	goroutines.Go(g.makeSum)
}

func (g *ring) fill(src io.Reader) {
	for {
		g.mu.Lock()
		free := func() int64 { return int64(len(g.buf)) - (g.in - min(g.out, g.summed)) }
		for free() == 0 && !g.closed {
			g.moved.Wait()
		}
		if g.closed {
			g.mu.Unlock()
			return
		}
		room := g.piece(g.in, min(chunk, free()))
		g.mu.Unlock()

		g.receiving.Start()
		n, err := src.Read(room) // only this goroutine touches room
		g.receiving.Stop()

		g.mu.Lock()
		g.in += int64(n)
		g.err = err
		g.filled.Broadcast()
		g.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// piece is the place of at most n bytes from byte number at on.
func (g *ring) piece(at, n int64) []byte {
	start := at % int64(len(g.buf))
	return g.buf[start:min(int64(len(g.buf)), start+n)]
}

// makeSum sums what comes in, until all of it came. Closing the ring ends it only while
// the source has not ended: whoever has read to the end may close before the last bytes
// are summed, and wants their digest all the same.
func (g *ring) makeSum() {
	g.mu.Lock()
	defer g.mu.Unlock()
	defer func() {
		g.ended = true
		g.moved.Broadcast()
	}()
	for {
		for g.summed == g.in && g.err == nil && !g.closed {
			g.filled.Wait()
		}
		if g.summed == g.in || g.closed && g.err == nil {
			return
		}
		p := g.piece(g.summed, min(chunk, g.in-g.summed))
		g.mu.Unlock()
		g.sum.Write(p)
		g.mu.Lock()
		g.summed += int64(len(p))
		g.moved.Broadcast()
	}
}

// digest returns the SHA-256 of all bytes that are in, when it is made; nil if the ring was
// closed before the source ended. What fills the ring must not do so meanwhile, but may be
// who asks.
func (g *ring) digest() []byte {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.summed < g.in && !g.ended {
		g.moved.Wait()
	}
	if g.summed < g.in {
		return nil
	}
	return g.sum.Sum(nil)
}

// Read implements io.Reader.
func (g *ring) Read(p []byte) (int, error) {
	g.mu.Lock()
	if g.out == g.in && g.err == nil && !g.closed {
		g.starved.Start()
		for g.out == g.in && g.err == nil && !g.closed {
			g.filled.Wait()
		}
		g.starved.Stop()
	}
	have, err, closed := g.in-g.out, g.err, g.closed
	g.mu.Unlock()
	if closed {
		return 0, io.ErrClosedPipe
	}
	if have == 0 {
		return 0, err
	}
	n := copy(p, g.piece(g.out, have)) // only this goroutine changes out
	g.mu.Lock()
	g.out += int64(n)
	g.taken.Store(g.out)
	g.moved.Broadcast()
	g.mu.Unlock()
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

// close releases the ring's goroutines and makes Read fail.
func (g *ring) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	g.filled.Broadcast()
	g.moved.Broadcast()
}
