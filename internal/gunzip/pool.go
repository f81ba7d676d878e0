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
	src    []byte // what follows the header
	dst    []byte // where the output goes, as long as the trailer says
}

// A pool is the goroutines that decode members beside the caller of Read. A batch
// of jobs is handed to them with do and awaited with wait. The caller decodes too,
// whenever as many jobs as may be are waiting: so it need not sleep, and if the
// machine has no time for the goroutines nothing is slower than without them.
type pool struct {
	work chan *job // never full
	free chan *job // those not in use; what limits memory

	batch  sync.WaitGroup
	ended  sync.WaitGroup
	failed atomic.Bool // a job of the batch failed

	mu    sync.Mutex
	first failure // of the batch

	self inflate.Reader // of the caller of Read

	// decode is inflate.Reader.DecodeAll but in tests.
	decode func(d *inflate.Reader, dst, src []byte) (rest []byte, err error)
}

// A failure is the job, of those of its batch that failed, that comes first.
type failure struct {
	index, offset int
	err           error
}

// jobsPerWorker is enough for a goroutine to be busy while the caller decodes.
const jobsPerWorker = 4

// newPool starts one goroutine less than there are workers: the other one is who
// calls Read.
func newPool(workers int) *pool {
	jobs := (workers - 1) * jobsPerWorker
	p := &pool{
		work:   make(chan *job, jobs),
		free:   make(chan *job, jobs),
		decode: (*inflate.Reader).DecodeAll,
	}
	for range jobs {
		p.free <- new(job)
	}
	for range workers - 1 {
		p.ended.Go(p.worker)
	}
	return p
}

// stop ends the goroutines and waits for them.
func (p *pool) stop() {
	close(p.work)
	p.ended.Wait()
}

// do has a job done: by a goroutine, with a copy of src, or at once.
func (p *pool) do(j job) {
	select {
	case queued := <-p.free:
		if queued.src == nil {
			queued.src = make([]byte, 0, maxMember)
		}
		j.src = append(queued.src[:0], j.src...)
		*queued = j
		p.batch.Add(1)
		p.work <- queued
	default:
		p.run(&p.self, &j)
	}
}

// wait returns when all jobs are done, with the first that failed, if any did. The
// next batch may begin then.
func (p *pool) wait() failure {
	for {
		select {
		case j := <-p.work:
			p.runQueued(&p.self, j)
			continue
		default:
		}
		break
	}
	p.batch.Wait()
	f := p.first
	p.first = failure{}
	p.failed.Store(false)
	return f
}

func (p *pool) worker() {
	d := new(inflate.Reader)
	for j := range p.work {
		p.runQueued(d, j)
	}
}

func (p *pool) runQueued(d *inflate.Reader, j *job) {
	p.run(d, j)
	j.dst = nil
	p.free <- j
	p.batch.Done()
}

// run does a job and notes if it fails.
func (p *pool) run(d *inflate.Reader, j *job) {
	err := p.decodeMember(d, j)
	if err == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.first.err == nil || j.index < p.first.index {
		p.first = failure{j.index, j.offset, err}
	}
	p.failed.Store(true)
}

// decodeMember decodes and checks one member.
func (p *pool) decodeMember(d *inflate.Reader, j *job) (err error) {
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
