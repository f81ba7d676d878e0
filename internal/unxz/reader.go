package unxz

import (
	"errors"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
)

// Options say how much of the machine a Reader may use. The zero value means
// the defaults.
type Options struct {
	// Concurrency is how many blocks are decoded at once, at most; 0 stands
	// for GOMAXPROCS. With 1, blocks are decoded one after another, though
	// still ahead of Read and beside it.
	Concurrency int

	// MaxMemory bounds, in bytes, the dictionaries and the blocks in flight,
	// compressed and decompressed; 0 stands for 96 MiB. A file whose
	// dictionary alone is larger is refused. A few hundred KiB for each
	// decoder and half a MiB of room behind a dictionary come on top.
	MaxMemory int64
}

// DefaultMaxMemory is Options.MaxMemory when that is zero, in bytes.
const DefaultMaxMemory = 96 << 20

// Reader decompresses an xz file.
//
// Read and Close may be called from two goroutines, and InputOffset from any.
type Reader struct {
	opt    Options
	in     input // the parser's
	total  atomic.Int64
	flags  streamFlags  // of the first stream, read by NewReader
	serial blockDecoder // the parser's, for blocks it decodes itself

	mu     sync.Mutex
	cond   sync.Cond // any change of what mu guards
	memory memory
	jobs   []*job // in the order of the file; the first is what Read reads
	todo   []*job // those that wait for a worker
	spare  []*job // finished ones, for their memory
	idle   int    // workers that wait
	busy   int    // workers that do not
	parsed bool   // the parser is through
	end    error  // with what; io.EOF is success
	err    error  // sticky error of Read
	closed bool   // nothing goes on from here

	running sync.WaitGroup
}

// NewReader begins to decompress r, which has to be at the start of an xz
// file. It reads the first stream header and fails if that is not one.
//
// The Reader reads ahead, all of r in the end: after the last stream only zero
// bytes may follow.
//
// Errors, from here and from Read: [CorruptError], [TrailingError],
// [UnsupportedError], [MemoryError], [io.ErrUnexpectedEOF] for a file that was
// cut off, and whatever r.Read returns.
func NewReader(r io.Reader, opt Options) (*Reader, error) {
	if opt.Concurrency < 0 || opt.MaxMemory < 0 {
		return nil, errors.New("unxz: a negative option")
	}
	if opt.Concurrency == 0 {
		opt.Concurrency = runtime.GOMAXPROCS(0)
	}
	if opt.MaxMemory == 0 {
		opt.MaxMemory = DefaultMaxMemory
	}
	z := &Reader{opt: opt}
	z.cond.L = &z.mu
	z.memory.limit = opt.MaxMemory
	z.in.total = &z.total
	z.in.reset(r, 0)
	if err := readMagic(&z.in); err != nil {
		return nil, err
	}
	var err error
	if z.flags, err = readStreamHeader(&z.in); err != nil {
		return nil, err
	}
	z.running.Go(z.parse)
	return z, nil
}

// Read decompresses into p and returns what is there, at least one byte. After
// an error, io.EOF included, it returns that for ever. io.EOF means that the
// file was whole and that all of it was verified; bytes returned before an
// error were not.
func (z *Reader) Read(p []byte) (int, error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if len(p) == 0 || z.err != nil {
		return 0, z.err
	}
	total := 0
	for total < len(p) {
		// Only the first byte is worth waiting for.
		if total > 0 && (len(z.jobs) == 0 || z.jobs[0].written == z.jobs[0].taken && !z.jobs[0].done) {
			break
		}
		for len(z.jobs) == 0 && !z.parsed && !z.closed {
			z.cond.Wait()
		}
		if z.closed {
			z.err = ErrClosed
			break
		}
		if len(z.jobs) == 0 {
			z.err = z.end
			break
		}
		j := z.jobs[0]
		n := j.take(p[total:])
		total += n
		if n > 0 || !j.done {
			continue
		}
		if j.err != nil {
			z.err = j.err
			break
		}
		z.retire()
	}
	if z.err != nil {
		z.stop()
		if total > 0 {
			return total, nil // the error is for the next call
		}
	}
	return total, z.err
}

// InputOffset is how many compressed bytes have been read from the source so
// far. It runs ahead of what Read has returned.
func (z *Reader) InputOffset() int64 { return z.total.Load() }

// Close stops all decoding and waits until it has stopped; it does not close
// the source, of which a Read may be under way: if that can block for ever,
// end it first. Close always returns nil.
func (z *Reader) Close() error {
	z.mu.Lock()
	z.stop()
	z.mu.Unlock()
	z.running.Wait()
	return nil
}

// stop makes everything wait no longer. It is called with the mutex held.
func (z *Reader) stop() {
	z.closed = true
	z.cond.Broadcast()
}
