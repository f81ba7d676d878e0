package source

import (
	"bufio"
	"errors"
	"fmt"
	"runtime"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/compress/zstd"
)

// maxWindow bounds the memory in bytes that a zstd stream can ask for: what zstd writes
// without --ultra --long. A station may have 1 GiB in all.
const maxWindow = 64 << 20

// zstdDecoder decodes zstd frames (RFC 8878). The frames' walker sees to the ends.
//
// Where blocks are decoded one after another, free space does not go through the library,
// which takes longer for it than for data: the walker keeps long runs of blocks of zeros
// back, and Read makes them. It works because the library asks for a block only when all
// before it have been read, at the beginning of a Read, and gives at most that block.
type zstdDecoder struct {
	frames *zstdFrames
	z      *zstd.Decoder

	made    int64  // bytes of those that the walker kept back
	held    []byte // what comes behind them
	heldErr error
}

// zstdOutput is what was decoded of a frame, for the walker, which has kept from the
// library what it would compare that with. Read adds what the library gave, the walker
// the zeros that it kept back.
type zstdOutput struct {
	size uint64
	sum  xxhash.Digest
}

func (o *zstdOutput) reset() {
	o.size = 0
	o.sum.Reset()
}

func (o *zstdOutput) add(p []byte) {
	o.size += uint64(len(p))
	o.sum.Write(p)
}

func newZstd(br *bufio.Reader, workers int) (*zstdDecoder, error) {
	d := &zstdDecoder{frames: &zstdFrames{br: br}}
	if workers == 1 {
		d.frames.out = new(zstdOutput)
	}
	var err error
	d.z, err = zstd.NewReader(d.frames, zstd.WithDecoderConcurrency(workers), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderMaxMemory(1<<62))
	if err != nil {
		return nil, err
	}
	return d, nil
}

// zstdWorkers is how many goroutines decode. Up to three take turns at a block, which costs
// a quarter more of the processor than one does: on few cores, which hash and write, too,
// that is slower.
func zstdWorkers() int {
	if runtime.NumCPU() >= 4 {
		return 4
	}
	return 1
}

func (d *zstdDecoder) Read(p []byte) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	if d.made == d.frames.kept && len(d.held) == 0 && d.heldErr == nil {
		n, err = d.decode(p)
		if d.made == d.frames.kept {
			d.add(p[:n])
			return n, err
		}
		d.held, d.heldErr = append(d.held[:0], p[:n]...), err
	}
	if zeros := d.frames.kept - d.made; zeros > 0 {
		n = int(min(zeros, int64(len(p))))
		clear(p[:n])
		d.made += int64(n)
		return n, nil
	}
	n = copy(p, d.held)
	if d.held = d.held[n:]; len(d.held) == 0 {
		err, d.heldErr = d.heldErr, nil
	}
	d.add(p[:n])
	return n, err
}

// add tells the walker what the library gave.
func (d *zstdDecoder) add(p []byte) {
	if d.frames.out != nil {
		d.frames.out.add(p)
	}
}

// decode has the library decode.
func (d *zstdDecoder) decode(p []byte) (int, error) {
	n, err := d.z.Read(p)
	if err != nil {
		if fault := d.frames.fault(); fault != nil {
			err = fault // the decoder may have put it in other words
		}
		if errors.Is(err, zstd.ErrWindowSizeExceeded) {
			err = fmt.Errorf("its window is larger than %d MiB; compress the image without --long and --ultra", maxWindow>>20)
		}
	}
	return n, err
}

func (d *zstdDecoder) Close() error {
	d.z.Close()
	return nil
}
