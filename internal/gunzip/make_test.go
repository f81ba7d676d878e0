package gunzip

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"hash/crc32"
	"io"
	"math/rand"
	"testing"
)

// text is what compresses, with some runs.
func text(n int) []byte {
	r := rand.New(rand.NewSource(int64(n)))
	b := make([]byte, 0, n+1000)
	for len(b) < n {
		switch r.Intn(30) {
		case 0:
			b = append(b, make([]byte, r.Intn(900))...)
		case 1:
			for range r.Intn(40) {
				b = append(b, byte(r.Intn(256)))
			}
		default:
			for range 1 + r.Intn(9) {
				b = append(b, byte('a'+r.Intn(5)*r.Intn(5)))
			}
		}
	}
	return b[:n]
}

// A memberSpec says how to make a member; the zero value is the plainest.
type memberSpec struct {
	data      []byte
	level     int
	flags     byte // besides those that the fields below set
	extra     []byte
	name      []byte
	comment   []byte
	headerCRC bool
	bgzf      bool
	change    func(b []byte) // of the finished member
}

func (m memberSpec) bytes() []byte {
	b := []byte{magic1, magic2, methodDeflate, m.flags, 1, 2, 3, 4, 0, 255}
	extra := m.extra
	if m.bgzf {
		extra = append(append([]byte{}, extra...), 'B', 'C', 2, 0, 0, 0)
	}
	if extra != nil {
		b[3] |= flagExtra
		b = binary.LittleEndian.AppendUint16(b, uint16(len(extra)))
		b = append(b, extra...)
	}
	size := len(b) - 2
	if m.name != nil {
		b[3] |= flagName
		b = append(append(b, m.name...), 0)
	}
	if m.comment != nil {
		b[3] |= flagComment
		b = append(append(b, m.comment...), 0)
	}
	if m.headerCRC {
		b[3] |= flagHeaderCRC
	}
	var z bytes.Buffer
	w, err := flate.NewWriter(&z, m.level)
	if err != nil {
		panic(err)
	}
	w.Write(m.data)
	w.Close()
	if m.bgzf {
		crc := 0
		if m.headerCRC {
			crc = 2
		}
		binary.LittleEndian.PutUint16(b[size:], uint16(len(b)+crc+z.Len()+trailerSize-1))
	}
	if m.headerCRC {
		b = binary.LittleEndian.AppendUint16(b, uint16(crc32.ChecksumIEEE(b)))
	}
	b = append(b, z.Bytes()...)
	b = binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(m.data))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(m.data)))
	if m.change != nil {
		m.change(b)
	}
	return b
}

// bgzf cuts data into members as bgzip does, with its empty one at the end.
func bgzf(data []byte, level int) []byte {
	var b []byte
	for len(data) > 0 {
		n := min(len(data), 0xff00)
		b = append(b, memberSpec{data: data[:n], level: level, bgzf: true}.bytes()...)
		data = data[n:]
	}
	return append(b, memberSpec{bgzf: true, level: 6}.bytes()...)
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// modes are all ways to decode.
var modes = []Options{
	{Concurrency: 1},
	{Concurrency: 2},
	{Concurrency: 5},
	{Concurrency: 3, MaxMemory: 2 << 20},
}

// gunzip decodes all of r with Reads of one size.
func gunzip(t testing.TB, r io.Reader, opt Options, size int) ([]byte, error) {
	z, err := NewReader(r, opt)
	if err != nil {
		return nil, err
	}
	defer z.Close()
	var out []byte
	buf := make([]byte, size)
	for {
		n, err := z.Read(buf)
		out = append(out, buf[:n]...)
		if err != nil {
			if n > 0 {
				t.Error("Read returned bytes and an error")
			}
			if m, again := z.Read(buf); m != 0 || again != err {
				t.Errorf("after error %v Read returned %d, %v", err, m, again)
			}
			if err == io.EOF {
				err = nil
			}
			return out, err
		}
		if n == 0 {
			t.Fatal("Read returned nothing")
		}
	}
}
