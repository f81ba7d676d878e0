package unxz

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"
)

// BenchmarkDecode decodes a sample, or the xz file that UNXZ_BENCH names.
func BenchmarkDecode(b *testing.B) {
	files := map[string][]byte{}
	if name := os.Getenv("UNXZ_BENCH"); name != "" {
		file, err := os.ReadFile(name)
		if err != nil {
			b.Fatal(err)
		}
		files["file"] = file
	} else {
		data := sample(b, 16<<20)
		for name, args := range map[string]string{"one block": "-6 -T1", "blocks": "-6 -T2 --block-size=2MiB"} {
			files[name] = compress(b, data, strings.Fields(args)...)
		}
	}
	for name, file := range files {
		for _, opt := range []Options{{Concurrency: 1}, {}} {
			b.Run(name+map[int]string{1: "/serial", 0: "/parallel"}[opt.Concurrency], func(b *testing.B) {
				b.ReportAllocs()
				p := make([]byte, 4<<20)
				for b.Loop() {
					z, err := NewReader(bytes.NewReader(file), opt)
					if err != nil {
						b.Fatal(err)
					}
					n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{z}, p)
					if err != nil {
						b.Fatal(err)
					}
					b.SetBytes(n)
					z.Close()
				}
			})
		}
	}
}
