package inflate

import "io"

// What a Reader is in the middle of.
type state uint8

const (
	atBlock   state = iota // before the header of a block
	inStored               // in the bytes of a stored block
	inSymbols              // among the symbols of a Huffman block
)

// A Reader decodes one DEFLATE stream. It must not be used by two goroutines at
// the same time.
type Reader struct {
	in    *Input
	owned *Input // what NewReader and Reset made, for use again

	// The next nbits bits of the stream, the first in bit 0; the rest are 0.
	// They are those before in.pos.
	bits  uint64
	nbits uint

	state  state
	final  bool // this is the last block
	stored int  // bytes left of the stored block

	// The part of a match for which there was no room.
	matchLen, matchDist int

	fixed  bool // the tables are those of a fixed block
	litLen [litLenSize]uint32
	dist   [distSize]uint32

	hist history
	err  error
}

// NewReader returns a Reader of the stream that r begins with. If r is an
// [*Input] the Reader shares it, and leaves it at the byte after the stream;
// else it makes an Input of its own and may read up to 128 KiB more of r than
// the stream is long, see [Reader.Buffered].
func NewReader(r io.Reader) *Reader {
	d := new(Reader)
	d.Reset(r)
	return d
}

// Reset makes d ready for another stream, as [NewReader] does, without
// allocating.
func (d *Reader) Reset(r io.Reader) {
	in, ok := r.(*Input)
	if !ok {
		if d.owned == nil {
			d.owned = new(Input)
		}
		in = d.owned
		in.Reset(r)
	}
	d.start(in)
}

func (d *Reader) start(in *Input) {
	d.in = in
	d.bits, d.nbits = 0, 0
	d.state, d.final, d.stored = atBlock, false, 0
	d.matchLen, d.matchDist = 0, 0
	d.hist.len = 0
	d.err = nil
}

// Read decodes into p until p is full or the stream ends; it returns fewer bytes
// than p holds only before an end or an error, and then returns that error alone
// in the next call. All of p may be used as scratch space.
//
// The error is io.EOF after the last block, [io.ErrUnexpectedEOF] if the input
// ends before, a [*CorruptError], or what the source returned. It stays the same
// from then on.
func (d *Reader) Read(p []byte) (int, error) {
	if d.err != nil || len(p) == 0 {
		return 0, d.err
	}
	n := d.decode(p)
	if d.err == nil {
		d.hist.add(p[:n])
	}
	if n > 0 {
		return n, nil
	}
	return 0, d.err
}

// DecodeAll decodes the stream that src begins with into dst, which it must fill
// exactly, or the error is [ErrLength]. It returns the bytes of src that follow
// the stream. It abandons the stream that d was reading.
func (d *Reader) DecodeAll(dst, src []byte) (rest []byte, err error) {
	if d.owned == nil {
		d.owned = new(Input)
	}
	d.owned.ResetBytes(src)
	d.start(d.owned)
	n := d.decode(dst)
	if d.err == nil {
		// dst is full. What may follow is only the end of the stream; a match
		// would not find what it refers to.
		var one [1]byte
		more := d.decode(one[:]) > 0
		if e, ok := d.err.(*CorruptError); more || ok && e.Reason == tooFar {
			d.err = ErrLength
		}
	}
	if d.err != io.EOF {
		return nil, d.err
	}
	if n != len(dst) {
		return nil, ErrLength
	}
	return d.in.Buffered(), nil
}

// Buffered returns what has been read from the source and not been decoded:
// after io.EOF the first of the bytes that follow the stream.
func (d *Reader) Buffered() []byte { return d.in.Buffered() }

// InputOffset returns how many bytes of the source have been decoded, counting
// a byte of which only some bits have been used. After io.EOF that is the length
// of the stream, if the Input began with it.
func (d *Reader) InputOffset() int64 { return d.in.Offset() - int64(d.nbits/8) }

// decode fills p as far as it can and returns how far that is. If that is not to
// the end, d.err says why.
func (d *Reader) decode(p []byte) (n int) {
	if d.matchLen > 0 {
		n = d.copyMatch(p, 0, d.matchDist, d.matchLen)
	}
	for n < len(p) && d.err == nil {
		switch d.state {
		case atBlock:
			if d.final {
				d.align()
				d.err = io.EOF
				break
			}
			d.blockHeader()
		case inStored:
			n = d.copyStored(p, n)
		case inSymbols:
			n = d.fast(p, n)
			if d.state == inSymbols && d.err == nil {
				n = d.careful(p, n)
			}
		}
	}
	return n
}

// align drops the bits up to the next byte of the stream, and hands the whole
// bytes of the bit buffer back to the input.
func (d *Reader) align() {
	d.in.pos -= int(d.nbits / 8)
	d.bits, d.nbits = 0, 0
}
