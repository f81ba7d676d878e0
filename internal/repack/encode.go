package repack

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zstd"
)

// Formats that are written.
const (
	BGZF = "bgzf"
	Zstd = "zstd"
)

// Suffix is what names of files in format end with.
func Suffix(format string) string {
	if format == Zstd {
		return ".zst"
	}
	return ".gz"
}

// Level is how hard to compress. Decoding is as fast at any level.
type Level string

// Levels.
const (
	Fast   Level = "fast"
	Normal Level = "normal"
	Best   Level = "best"
)

// pieceSize is how much of the image is compressed at once, on one core: a zstd frame,
// or 64 members of BGZF and a bit.
const pieceSize = 4 << 20

// encoder compresses pieces of an image, each on its own. One goroutine uses it.
type encoder interface {
	// encode appends what piece becomes to dst.
	encode(dst, piece []byte) ([]byte, error)
}

// ending is what format wants behind the last piece.
func ending(format string) []byte {
	if format == BGZF {
		return bgzfEnd
	}
	return nil
}

func newEncoder(format string, level Level) (encoder, error) {
	switch format {
	case BGZF:
		return newBGZF(level)
	case Zstd:
		l, ok := map[Level]zstd.EncoderLevel{Fast: zstd.SpeedFastest, Normal: zstd.SpeedDefault, Best: zstd.SpeedBetterCompression}[level]
		if !ok {
			return nil, levelError(level)
		}
		z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(l), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(true), zstd.WithWindowSize(pieceSize))
		return zstdEncoder{z}, err
	}
	return nil, fmt.Errorf("there is no format %q; there are %s (any gzip tool reads it) and %s", format, BGZF, Zstd)
}

func levelError(level Level) error {
	return fmt.Errorf("there is no level %q; there are %s, %s and %s", level, Fast, Normal, Best)
}

// zstdEncoder makes a frame of each piece.
type zstdEncoder struct{ z *zstd.Encoder }

func (e zstdEncoder) encode(dst, piece []byte) ([]byte, error) { return e.z.EncodeAll(piece, dst), nil }

// memberSize is how many bytes of the image go into a BGZF member: as many as bgzip
// (htslib's BGZF_BLOCK_SIZE) puts there, so that what cannot be compressed still fits.
const memberSize = 0xff00

// bgzfHead is a member's header up to its size: gzip with the extra field "BC".
const bgzfHead = "\x1f\x8b\x08\x04\x00\x00\x00\x00\x00\xff\x06\x00BC\x02\x00"

// bgzfEnd is the empty member at the end of each file (SAM specification, 4.1.2).
var bgzfEnd = []byte(bgzfHead + "\x1b\x00\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00")

// bgzfEncoder makes members of each piece.
type bgzfEncoder struct {
	w      *flate.Writer
	stored *flate.Writer // for what grows when it is compressed
	out    *sink
}

func newBGZF(level Level) (*bgzfEncoder, error) {
	l, ok := map[Level]int{Fast: 1, Normal: 6, Best: 9}[level]
	if !ok {
		return nil, levelError(level)
	}
	e := &bgzfEncoder{out: &sink{}}
	var err error
	if e.w, err = flate.NewWriter(e.out, l); err != nil {
		return nil, err
	}
	e.stored, err = flate.NewWriter(e.out, flate.NoCompression)
	return e, err
}

func (e *bgzfEncoder) encode(dst, piece []byte) ([]byte, error) {
	for len(piece) > 0 {
		data := piece[:min(len(piece), memberSize)]
		piece = piece[len(data):]
		var err error
		if dst, err = e.member(dst, data); err != nil {
			return nil, err
		}
	}
	return dst, nil
}

// member appends one member.
func (e *bgzfEncoder) member(dst, data []byte) ([]byte, error) {
	start := len(dst)
	const most = 1 << 16
	for _, w := range []*flate.Writer{e.w, e.stored} {
		e.out.b = append(append(dst[:start], bgzfHead...), 0, 0)
		w.Reset(e.out)
		if _, err := w.Write(data); err != nil {
			return nil, err
		}
		if err := w.Close(); err != nil {
			return nil, err
		}
		dst = binary.LittleEndian.AppendUint32(e.out.b, crc32.ChecksumIEEE(data))
		dst = binary.LittleEndian.AppendUint32(dst, uint32(len(data)))
		if size := len(dst) - start; size <= most {
			binary.LittleEndian.PutUint16(dst[start+len(bgzfHead):], uint16(size-1))
			return dst, nil
		}
	}
	return nil, fmt.Errorf("BUG: %d bytes do not fit into a BGZF member", len(data))
}

// sink appends what is written to it.
type sink struct{ b []byte }

func (s *sink) Write(p []byte) (int, error) {
	s.b = append(s.b, p...)
	return len(p), nil
}
