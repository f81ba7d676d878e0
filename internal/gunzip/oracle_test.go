package gunzip

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/openseastack/netboot-imager/internal/inflate"
)

// compressors are programs that read standard input, and that write it compressed
// to standard output. Each makes other streams than the others.
var compressors = []string{
	"gzip -1", "gzip -2", "gzip -3", "gzip -4", "gzip -5", "gzip -6", "gzip -7", "gzip -8", "gzip -9",
	"gzip -6 --rsyncable",
	"pigz -0", "pigz -1", "pigz -6", "pigz -9", "pigz -11 -I 1", "pigz -6 -i -b 128", "pigz -H", "pigz -U",
	"bgzip -c", "bgzip -c -l 0", "bgzip -c -l 1", "bgzip -c -l 9", "bgzip -c -@ 2",
	"libdeflate-gzip -1", "libdeflate-gzip -6", "libdeflate-gzip -12",
}

// TestCompressors decodes what real compressors make.
func TestCompressors(t *testing.T) {
	inputs := map[string][]byte{
		"text":   text(400000),
		"binary": program(t, 700000),
		"zeros":  make([]byte, 2000000),
		"byte":   {'x'},
		"empty":  {},
	}
	for _, command := range append(compressors, "zopfli") {
		t.Run(command, func(t *testing.T) {
			tool := strings.Fields(command)
			if _, err := exec.LookPath(tool[0]); err != nil {
				if os.Getenv("CI") == "true" {
					t.Fatalf("%v; tools/install-deps.sh test", err)
				}
				t.Skipf("%v; tools/install-deps.sh test", err)
			}
			for name, want := range inputs {
				slow := tool[0] == "zopfli" || command == "pigz -11 -I 1" || command == "libdeflate-gzip -12"
				if slow {
					want = want[:min(len(want), 100000)]
				}
				file := compress(t, tool, want)
				for _, opt := range modes[:2] {
					for _, size := range []int{4000, 1 << 20} {
						got, err := gunzip(t, bytes.NewReader(file), opt, size)
						if err != nil || !bytes.Equal(got, want) {
							t.Errorf("%s, %+v, Reads of %d: %d bytes of %d, error %v", name, opt, size, len(got), len(want), err)
						}
					}
				}
				if tool[0] == "bgzip" {
					if m, err := readHeader(inflate.NewInput(bytes.NewReader(file))); err != nil || m.size == 0 {
						t.Errorf("%s: a member's size was not found (%v)", name, err)
					}
				}
			}
		})
	}
}

// compress runs a program. zopfli reads no standard input.
func compress(t *testing.T, tool []string, data []byte) []byte {
	t.Helper()
	var out, errs bytes.Buffer
	args := tool[1:]
	if tool[0] == "zopfli" {
		name := t.TempDir() + "/data"
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "-c", "--i5", name)
	}
	c := exec.Command(tool[0], args...)
	c.Stdin, c.Stdout, c.Stderr = bytes.NewReader(data), &out, &errs
	if err := c.Run(); err != nil {
		t.Fatalf("%v: %v\n%s", c, err, &errs)
	}
	return out.Bytes()
}

// program is the beginning of this program, machine code for the most part.
func program(t *testing.T, n int) []byte {
	t.Helper()
	name, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b[:min(n, len(b))]
}
