package gunzip

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/openseastack/netboot-imager/internal/inflate"
)

// A job is a member for the pool to decode.
type job struct {
	at     member
	index  int    // of the job in its batch
	offset int    // where in the output of the batch it belongs
	src    []byte // a copy of what follows the header
	dst    []byte // where the output goes, as long as the trailer says
}

// A pool is the goroutines that decode members. A batch of jobs is handed to them
// with do and awaited with wait.
type pool struct {
	work chan *job
	free chan *job // those not in use; what limits memory

	batch  sync.WaitGroup
	ended  sync.WaitGroup
	failed atomic.Bool // a job of the batch failed

	mu    sync.Mutex
	first failure // of the batch

	// decode is inflate.Reader.DecodeAll but in tests.
	decode func(d *inflate.Reader, dst, src []byte) (rest []byte, err error)
}

// A failure is the job, of those of its batch that failed, that comes first.
type failure struct {
	index, offset int
	err           error
}

const jobsPerWorker = 2

func newPool(workers int) *pool {
	p := &pool{
		work:   make(chan *job, workers*jobsPerWorker),
		free:   make(chan *job, workers*jobsPerWorker),
		decode: (*inflate.Reader).DecodeAll,
	}
	for range cap(p.free) {
		p.free <- &job{src: make([]byte, 0, maxMember)}
	}
	for range workers {
		p.ended.Go(p.worker)
	}
	return p
}

// stop ends the goroutines and waits for them.
func (p *pool) stop() {
	close(p.work)
	p.ended.Wait()
}

// do queues a job from p.free.
func (p *pool) do(j *job) {
	p.batch.Add(1)
	p.work <- j
}

// wait returns when all jobs are done, with the first that failed, if any did. The
// next batch may begin then.
func (p *pool) wait() failure {
	p.batch.Wait()
	f := p.first
	p.first = failure{}
	p.failed.Store(false)
	return f
}

func (p *pool) worker() {
	d := new(inflate.Reader)
	for j := range p.work {
		if err := p.run(d, j); err != nil {
			p.mu.Lock()
			if p.first.err == nil || j.index < p.first.index {
				p.first = failure{j.index, j.offset, err}
			}
			p.mu.Unlock()
			p.failed.Store(true)
		}
		j.dst = nil
		p.free <- j
		p.batch.Done()
	}
}

// run decodes and checks one member.
func (p *pool) run(d *inflate.Reader, j *job) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Offset: j.at.start, Value: v, Stack: debug.Stack()}
		}
	}()
	trailer := j.src[len(j.src)-trailerSize:]
	end := j.at.data + int64(len(j.src)-trailerSize)
	rest, err := p.decode(d, j.dst, j.src)
	switch {
	case err == io.ErrUnexpectedEOF:
		return &CorruptError{Offset: j.at.start, Reason: wrongSize}
	case err == inflate.ErrLength:
		return &CorruptError{Offset: end + 4, Reason: "wrong length of the data"}
	case err != nil:
		var corrupt *inflate.CorruptError
		if errors.As(err, &corrupt) {
			return &inflate.CorruptError{Offset: j.at.data + corrupt.Offset, Reason: corrupt.Reason}
		}
		return err
	case len(rest) != trailerSize:
		return &CorruptError{Offset: j.at.start, Reason: wrongSize}
	case crc32.ChecksumIEEE(j.dst) != binary.LittleEndian.Uint32(trailer):
		return &CorruptError{Offset: end, Reason: "wrong checksum: the data is not what was compressed"}
	}
	return nil
}
