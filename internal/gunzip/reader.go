package gunzip

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"runtime"

	"github.com/openseastack/netboot-imager/internal/inflate"
)

// DefaultMaxMemory is what [Options].MaxMemory is taken for if it is 0.
const DefaultMaxMemory = 32 << 20

// Options are how to decode; the zero value is a good choice.
type Options struct {
	// Concurrency is how many goroutines decode members whose size is known
	// ahead. 0 means GOMAXPROCS, 1 that the caller of Read decodes everything.
	Concurrency int
	// MaxMemory bounds the buffers of the Reader, in bytes. 0 means
	// DefaultMaxMemory. With less than about 2 MiB nothing is done in parallel,
	// and about 300 KiB are needed for that.
	MaxMemory int64
	// EndMarker makes a BGZF file without the empty member that ends it (SAM
	// specification, 4.1.2) truncated: otherwise a file that was cut between two
	// members cannot be told from a whole one. compress/gzip does not look at it.
	EndMarker bool
}

// Where a Reader is in the file.
type place uint8

const (
	betweenMembers place = iota
	afterHeader          // member is set, nothing of its data is consumed
	inMember             // the caller of Read is decoding it
)

// A Reader decodes a gzip file. Only InputOffset may be called while another
// method runs.
type Reader struct {
	in      *inflate.Input
	inf     *inflate.Reader
	place   place
	member  member
	crc     uint32 // of what has been decoded of the member
	length  uint32 // of that, modulo 2^32
	workers int    // 1 for none
	options Options
	pool    *pool  // nil until it is needed and after the end
	block   []byte // what the pool decodes to if the caller's buffer is too small
	spill   []byte // what it decodes a member to of which not all fits there
	pending []byte // decoded and not given out yet
	err     error
}

// NewReader reads the header of the first member from r and returns a Reader of
// the file. The error is a [*CorruptError], or what [Reader.Read] returns. A file
// of no bytes is not gzip. r may be read up to 128 KiB ahead.
func NewReader(r io.Reader, opt Options) (*Reader, error) {
	return newReader(inflate.NewInput(r), opt)
}

func newReader(in *inflate.Input, opt Options) (*Reader, error) {
	z := &Reader{in: in, options: opt}
	if z.options.MaxMemory <= 0 {
		z.options.MaxMemory = DefaultMaxMemory
	}
	if z.options.Concurrency <= 0 {
		z.options.Concurrency = runtime.GOMAXPROCS(0)
	}
	z.workers = z.options.workers()
	var err error
	if z.member, err = readHeader(z.in); err != nil {
		return nil, err
	}
	z.place = afterHeader
	return z, nil
}

// Read fills p unless the file ends or an error comes first, which the next call
// returns. The error is io.EOF only when every member has been checked and the
// whole input was read; [io.ErrUnexpectedEOF] if the file was cut off,
// [*CorruptError], [*TrailingError], inflate.CorruptError, or what the source
// returned. All of p may be used as scratch space; from 256 KiB on everything is
// decoded straight into p.
func (z *Reader) Read(p []byte) (n int, err error) {
	for n < len(p) {
		if len(z.pending) > 0 {
			m := copy(p[n:], z.pending)
			z.pending = z.pending[m:]
			n += m
			continue
		}
		if z.err != nil {
			break
		}
		n += z.fill(p[n:])
	}
	if z.err != nil {
		z.stop()
	}
	if n > 0 || len(p) == 0 {
		return n, nil
	}
	return 0, z.err
}

// fill does the next thing there is to do, puts what comes out into p and perhaps
// z.pending, and an error into z.err.
func (z *Reader) fill(p []byte) (n int) {
	switch z.place {
	case betweenMembers:
		z.nextMember()
	case afterHeader:
		if z.workers > 1 && z.member.size > 0 {
			return z.fillParallel(p)
		}
		z.begin()
	case inMember:
		return z.fillSerial(p)
	}
	return 0
}

// nextMember reads the header of the next member, if there is one.
func (z *Reader) nextMember() {
	if z.err = another(z.in); z.err != nil {
		if z.err == io.EOF && z.options.EndMarker && z.member.size > 0 && z.length > 0 {
			z.err = io.ErrUnexpectedEOF
		}
		return
	}
	if z.member, z.err = readHeader(z.in); z.err != nil {
		return
	}
	z.place = afterHeader
}

// begin makes the caller of Read decode the member.
func (z *Reader) begin() {
	if z.inf == nil {
		z.inf = new(inflate.Reader)
	}
	z.inf.Reset(z.in)
	z.crc, z.length = 0, 0
	z.place = inMember
}

// checkStep is after how many bytes the CRC is computed: while they are still in
// the second-level cache, but with few interruptions of the decoder.
const checkStep = 256 << 10

// fillSerial decodes to p, at most to the end of the member.
func (z *Reader) fillSerial(p []byte) (n int) {
	for n < len(p) {
		step := p[n:min(len(p), n+checkStep)]
		m, err := z.inf.Read(step)
		z.crc = crc32.Update(z.crc, crc32.IEEETable, step[:m])
		z.length += uint32(m)
		n += m
		if err == io.EOF {
			z.err = z.trailer()
			z.place = betweenMembers
			return n
		}
		if err != nil {
			z.err = err
			return n
		}
	}
	return n
}

// trailer consumes and checks the end of a member (RFC 1952, 2.3.1).
func (z *Reader) trailer() error {
	if err := need(z.in, trailerSize); err != nil {
		return err
	}
	b := z.in.Buffered()
	crc, length := binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:])
	at := z.in.Offset()
	z.in.Discard(trailerSize)
	switch size := z.in.Offset() - z.member.start; {
	case crc != z.crc:
		return &CorruptError{Offset: at, Reason: "wrong checksum: the data is not what was compressed"}
	case length != z.length:
		return &CorruptError{Offset: at + 4, Reason: "wrong length of the data"}
	case z.member.size > 0 && size != int64(z.member.size):
		return &CorruptError{Offset: z.member.start, Reason: wrongSize}
	}
	return nil
}

const wrongSize = "the size in the header is not that of the member"

// InputOffset returns how many bytes of the file have been consumed, to within
// the 128 KiB of a read; after io.EOF it is the size of the file. It may be
// called at any time from any goroutine.
func (z *Reader) InputOffset() int64 { return z.in.Progress() }

// Close ends the goroutines of the Reader, if there still are any, and frees its
// buffers. Further Reads return [os.ErrClosed]. It does not close the source.
func (z *Reader) Close() error {
	z.stop()
	z.pending, z.block, z.spill = nil, nil, nil
	if z.err == nil || errors.Is(z.err, io.EOF) {
		z.err = os.ErrClosed
	}
	return nil
}

func (z *Reader) stop() {
	if z.pool != nil {
		z.pool.stop()
		z.pool = nil
	}
}
