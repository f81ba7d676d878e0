package unxz

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// optionSets are ways to call xz that reach every part of the format.
func optionSets() []string {
	sets := []string{
		"-6 --check=none", "-6 --check=crc32", "-6 --check=crc64", "-6 --check=sha256",
		"-6 -T2 --block-size=100000", "-3 -T2 --block-size=65536 --check=sha256", "-1 --block-size=4096", "-T1 --block-size=300000",
		"-T1 --block-list=1,2,70000,0",
		"--delta --lzma2", "--delta=dist=256 --lzma2=preset=1", "--x86 --lzma2", "--x86=start=4096 --lzma2=preset=3",
		"--arm --lzma2", "--armthumb --lzma2", "--arm64 --lzma2", "--delta=dist=3 --x86 --arm64 --lzma2",
		"--x86 --delta=dist=4 --arm --lzma2=preset=0", "-T2 --block-size=50000 --x86 --lzma2",
		"--lzma2=dict=4KiB", "--lzma2=dict=6KiB", "--lzma2=dict=64KiB,nice=273", "--lzma2=dict=4KiB,mf=hc3,nice=5,mode=fast",
		"--lzma2=nice=2,mf=bt2", "--lzma2=nice=273,mf=bt4,depth=1000", "--lzma2=mode=fast,mf=hc4,nice=32",
		"-T2 --block-size=70000 --lzma2=dict=4KiB",
	}
	for preset := range 10 {
		sets = append(sets, fmt.Sprintf("-%d", preset), fmt.Sprintf("-%de", preset))
	}
	for lc := range 5 {
		for lp := range 5 - lc {
			sets = append(sets, fmt.Sprintf("--lzma2=preset=1,lc=%d,lp=%d,pb=%d", lc, lp, (lc*2+lp)%5))
		}
	}
	for pb := range 5 {
		sets = append(sets, fmt.Sprintf("--lzma2=preset=0,pb=%d", pb))
	}
	return sets
}

func TestRealXZ(t *testing.T) {
	data := sample(t, 300_000)
	for _, set := range optionSets() {
		t.Run(set, func(t *testing.T) {
			t.Parallel()
			for _, want := range [][]byte{data, data[:1], nil, data[:777]} {
				file := compress(t, want, strings.Fields(set)...)
				for _, opt := range both {
					got, err := decompress(file, opt)
					if err != nil || !bytes.Equal(got, want) {
						t.Fatalf("%+v: got %d bytes, %v; want %d", opt, len(got), err, len(want))
					}
				}
			}
		})
	}
}

func TestReadSizes(t *testing.T) {
	want := sample(t, 20_000)
	for _, file := range [][]byte{
		compress(t, want, "-6"), compress(t, want, "--delta", "--lzma2=dict=4KiB"),
		compress(t, want, "-T2", "--block-size=9999"),
	} {
		for size := 1; size <= 600; size++ {
			z, err := NewReader(bytes.NewReader(file), both[size%2])
			if err != nil {
				t.Fatal(err)
			}
			var got []byte
			p := make([]byte, size)
			for {
				n, err := z.Read(p)
				got = append(got, p[:n]...)
				if err == io.EOF {
					break
				}
				if err != nil || n == 0 {
					t.Fatalf("Read of %d bytes: %d, %v", size, n, err)
				}
			}
			if !bytes.Equal(got, want) {
				t.Fatalf("reads of %d bytes differ", size)
			}
			z.Close()
		}
	}
}

func TestReaderContract(t *testing.T) {
	want := sample(t, 50_000)
	for _, args := range []string{"-6", "-T2 --block-size=7777", "--x86 --lzma2"} {
		file := compress(t, want, strings.Fields(args)...)
		for name, wrap := range map[string]func(io.Reader) io.Reader{
			"whole":      func(r io.Reader) io.Reader { return r },
			"one byte":   iotest.OneByteReader,
			"half":       iotest.HalfReader,
			"data & err": iotest.DataErrReader,
		} {
			for _, opt := range both {
				z, err := NewReader(wrap(bytes.NewReader(file)), opt)
				if err != nil {
					t.Fatal(err)
				}
				if err := iotest.TestReader(z, want); err != nil {
					t.Errorf("%s, %s, %+v: %v", args, name, opt, err)
				}
				if got := z.InputOffset(); got != int64(len(file)) {
					t.Errorf("%s, %s: InputOffset %d, want %d", args, name, got, len(file))
				}
				z.Close()
			}
		}
	}
}

// A ring comes round many times, at every place in pieces and matches.
func TestRingWraps(t *testing.T) {
	want := sample(t, 3<<20)
	for _, set := range []string{"--lzma2=preset=1,dict=4KiB", "--lzma2=preset=1,dict=768KiB", "--lzma2=preset=6,dict=1MiB", "--lzma2=preset=0,dict=96KiB,nice=273"} {
		file := compress(t, want, "-T1", set)
		got, err := decompress(file, Options{Concurrency: 1})
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: got %d bytes, %v", set, len(got), err)
		}
	}
}
