package unxz

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/ulikunitz/xz"
	ulzma "github.com/ulikunitz/xz/lzma"
)

// fuzzMemory keeps dictionaries small, for speed; fuzzOutput skips the inputs
// that decode to a great many bytes.
const (
	fuzzMemory = 1 << 20
	fuzzOutput = 8 << 20
)

// FuzzFile feeds whole files to decoders with one goroutine and with several,
// to ulikunitz/xz and, if UNXZ_ORACLE is set, to liblzma.
//
// What is accepted here has to decode to the same bytes with ulikunitz/xz. The
// reverse does not hold: that takes data that is cut off between two parts of
// the format for whole, and does not look at how the range decoder ends.
// liblzma has to agree in both directions.
func FuzzFile(f *testing.F) {
	for _, file := range smallFiles(f) {
		f.Add(file)
	}
	f.Fuzz(compareFile)
}

// FuzzBlock has the CRCs, the index and the check made right, so that what is
// in the header and the data of the blocks gets to be decoded.
func FuzzBlock(f *testing.F) {
	text := []byte(strings.Repeat("what is in the block ", 20))
	data, _ := payload(compress(f, text, "--lzma2=dict=4KiB"))
	f.Add([]byte{0, filterLZMA2, 1, 0}, data, byte(1), byte(0))
	f.Add(lzma2Header(0, len(data), len(text)), data, byte(4), byte(1))
	f.Add([]byte{1, filterX86, 0, filterLZMA2, 1, 0}, data, byte(10), byte(2))
	f.Add([]byte{2, filterDelta, 1, 3, filterARM64, 4, 4, 0, 0, 0, filterLZMA2, 1, 0}, data, byte(0), byte(3))
	f.Add([]byte{2, filterARM, 0, filterARMT, 0, filterLZMA2, 1, 0}, data, byte(0), byte(3))
	f.Fuzz(func(t *testing.T, header, data []byte, check, wrong byte) {
		if len(header) > 1000 || len(header) == 0 {
			return
		}
		// What the block decodes to, filters included, is for the decoder
		// itself to say; where it is wrong, the oracles fail on the check.
		var out collect
		h := blockHeader{dict: 4096}
		var spec bytes.Buffer
		spec.Write(header)
		spec.Write(make([]byte, (4-(spec.Len()+1)%4)%4))
		if raw := spec.Bytes(); parseBody(raw, &h) == nil && h.dict <= fuzzMemory {
			out.decode(&h, data)
		}
		b := newBuilder(checkID(check & 15))
		n := 1 + int(wrong>>6)
		for range n {
			b.block(header, data, out.got)
		}
		switch wrong & 15 {
		case 8:
			b.indexCount++
		case 9:
			b.indexBack = int(wrong) - 30
		case 10:
			b.footerFlags = wrong
		case 11:
			b.indexExtra = []byte{wrong, 0}
		}
		compareFile(t, b.end())
	})
}

// parseBody is readBlockHeader for a body without size and CRC.
func parseBody(body []byte, h *blockHeader) error {
	b := builder{}
	b.block(body, nil, nil)
	var in input
	in.reset(bytes.NewReader(b.file[1:]), 0)
	return readBlockHeader(&in, b.file[0], make([]byte, blockHeaderMax), h)
}

// collect is a sink that keeps everything.
type collect struct {
	w   ring
	got []byte
}

func (c *collect) reserve(w *ring) (int, error) {
	if len(c.got) > fuzzOutput {
		return 0, errTooMuch
	}
	return w.room(), nil
}

func (c *collect) commit(n int) { c.got = append(c.got, c.w.buf[c.w.pos-n:c.w.pos]...) }

var errTooMuch = errors.New("more output than a fuzz test wants")

// decode decodes the data of a block, as far as that goes.
func (c *collect) decode(h *blockHeader, data []byte) {
	var in input
	in.reset(bytes.NewReader(append(bytes.Clone(data), 0, 0, 0)), 0)
	plain := *h
	plain.compressed, plain.uncompressed = -1, -1
	c.w.reset(make([]byte, ringLen(&plain)), int(h.dict))
	dict := &c.w
	if h.nfilters > 0 {
		dict = new(ring)
		dict.reset(make([]byte, ringLen(&plain)), int(h.dict))
	}
	var b blockDecoder
	b.decode(&in, &plain, checkNone, dict, &c.w, c)
}

// FuzzLZMA2 feeds bare LZMA2 data to the decoder, to ulikunitz/xz/lzma and to
// liblzma.
func FuzzLZMA2(f *testing.F) {
	text := []byte(strings.Repeat("what is in the block ", 20) + "0123456789")
	for _, set := range []string{"--lzma2=dict=4KiB", "--lzma2=lc=0,lp=4,pb=4,dict=4KiB", "--lzma2=lc=4,pb=0,dict=64KiB,mode=fast"} {
		for _, plain := range [][]byte{text, sample(f, 3000), sample(f, 100_000)[90_000:]} {
			data, _ := payload(compress(f, plain, set))
			f.Add(data, byte(0))
		}
	}
	data, chunks := payload(compress(f, text, "--lzma2=dict=4KiB"))
	f.Add(join(chunks, verbatim(2, text), append([]byte{0xc0}, chunks[1:]...), verbatim(1, text), chunks), byte(1))
	f.Add(append(data, "and more"...), byte(16))
	f.Fuzz(func(t *testing.T, data []byte, dict byte) {
		dict %= 17 // up to 1 MiB
		got, used, failure := decodeRaw(data, int(dictSize(dict)))
		if failure == errTooMuch {
			return
		}
		ok := failure == nil

		if r, err := (ulzma.Reader2Config{DictCap: int(dictSize(dict))}).NewReader2(bytes.NewReader(data)); err != nil {
			t.Fatal(err)
		} else if want, err := io.ReadAll(r); ok && (err != nil || !bytes.Equal(got, want)) {
			t.Errorf("%d bytes, but ulikunitz/xz says %d, %v", len(got), len(want), err)
		}
		if okWant, want := askOracle(t, dict, data); oracleSet() && (ok != okWant || ok && !bytes.Equal(want[4:], got)) {
			t.Errorf("%v, %d bytes; liblzma: %v, %d bytes", ok, len(got), okWant, len(want))
		} else if okWant && int(binary.LittleEndian.Uint32(want)) != used {
			t.Errorf("%d bytes used, liblzma used %d", used, binary.LittleEndian.Uint32(want))
		}
	})
}

// compareFile decodes a file in every way.
func compareFile(t *testing.T, file []byte) {
	var got [2][]byte
	var errs [2]error
	for i, opt := range both {
		opt.MaxMemory = fuzzMemory
		z, err := NewReader(bytes.NewReader(file), opt)
		if err == nil {
			got[i], err = io.ReadAll(io.LimitReader(z, fuzzOutput))
			z.Close()
		}
		errs[i] = err
	}
	if len(got[0]) == fuzzOutput {
		return
	}
	if (errs[0] == nil) != (errs[1] == nil) || errs[0] == nil && !bytes.Equal(got[0], got[1]) {
		t.Fatalf("one goroutine: %d bytes, %v; several: %d bytes, %v", len(got[0]), errs[0], len(got[1]), errs[1])
	}
	ok := errs[0] == nil
	var memory *MemoryError
	var unsupported *UnsupportedError
	if errors.As(errs[0], &memory) || errors.As(errs[0], &unsupported) {
		return
	}
	if want, err := peer(file); ok && (err != nil || !bytes.Equal(want, got[0])) && !beyondPeer(file, err) {
		t.Errorf("%d bytes, but ulikunitz/xz says %d, %v", len(got[0]), len(want), err)
	}
	if okWant, want := askOracle(t, 255, file); oracleSet() && (ok != okWant || ok && !bytes.Equal(want, got[0])) {
		t.Errorf("%d bytes, %v; liblzma: %v, %d bytes", len(got[0]), errs[0], okWant, len(want))
	}
}

// beyondPeer reports whether err is one of ulikunitz/xz for what the format
// allows: other filters, and here padding of any length at the end.
func beyondPeer(file []byte, err error) bool {
	return err != nil && (strings.Contains(err.Error(), "filter") || !bytes.HasSuffix(file, []byte(footerMagic)))
}

// peer decodes a file with ulikunitz/xz.
func peer(file []byte) ([]byte, error) {
	r, err := xz.NewReader(bytes.NewReader(file))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(r, fuzzOutput))
}

// oracle is liblzma behind a pipe, see testdata/oracle.py.
var oracle struct {
	sync.Mutex
	in  io.WriteCloser
	out *bufio.Reader
}

func oracleSet() bool { return os.Getenv("UNXZ_ORACLE") != "" }

// askOracle returns whether liblzma decodes the data, and its output.
func askOracle(t *testing.T, kind byte, data []byte) (bool, []byte) {
	if !oracleSet() {
		return false, nil
	}
	oracle.Lock()
	defer oracle.Unlock()
	if oracle.in == nil {
		args := strings.Fields(os.Getenv("UNXZ_ORACLE"))
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Stderr = os.Stderr
		var err error
		if oracle.in, err = cmd.StdinPipe(); err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		oracle.out = bufio.NewReader(out)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
	}
	head := binary.LittleEndian.AppendUint32([]byte{kind}, uint32(len(data)))
	if _, err := oracle.in.Write(append(head, data...)); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 5)
	if _, err := io.ReadFull(oracle.out, answer); err != nil {
		t.Fatal(err)
	}
	want := make([]byte, binary.LittleEndian.Uint32(answer[1:]))
	if _, err := io.ReadFull(oracle.out, want); err != nil {
		t.Fatal(err)
	}
	return answer[0] == 1, want
}
