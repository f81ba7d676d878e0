package unxz

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
)

// xzTool runs the real xz on stdin and returns its output. Without xz the
// test is skipped, but fails where CI is set.
func xzTool(t testing.TB, stdin []byte, args ...string) ([]byte, error) {
	t.Helper()
	path, err := exec.LookPath("xz")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("xz is missing; tools/install-deps.sh test installs it")
		}
		t.Skip("xz is not installed; tools/install-deps.sh test installs it")
	}
	cmd := exec.Command(path, args...)
	cmd.Stdin = bytes.NewReader(stdin)
	return cmd.Output()
}

// compress is xzTool where that has to succeed.
func compress(t testing.TB, data []byte, args ...string) []byte {
	t.Helper()
	out, err := xzTool(t, data, append([]string{"-c"}, args...)...)
	if err != nil {
		t.Fatalf("xz %q: %v", args, err)
	}
	return out
}

// decompress reads all of file and closes the Reader.
func decompress(file []byte, opt Options) ([]byte, error) {
	z, err := NewReader(bytes.NewReader(file), opt)
	if err != nil {
		return nil, err
	}
	defer z.Close()
	return io.ReadAll(z)
}

// both are options with one decoder and with several.
var both = []Options{{Concurrency: 1}, {Concurrency: 3}}

// sample is n bytes of what images hold: words, machine code, zeros, noise and
// patterns of every short period, in pieces of all lengths.
func sample(t testing.TB, n int) []byte {
	t.Helper()
	name, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	code, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	words := []string{"image ", "disk ", "partition ", "sector ", "block ", "station ", "netboot ", "\n"}
	out := make([]byte, 0, n+1<<16)
	for len(out) < n {
		size := 1 << rng.IntN(16)
		switch rng.IntN(6) {
		case 0:
			out = append(out, make([]byte, size)...)
		case 1:
			for range size / 8 {
				out = append(out, words[rng.IntN(len(words))]...)
			}
		case 2:
			at := rng.IntN(len(code))
			out = append(out, code[at:min(at+size, len(code))]...)
		case 3:
			for range size / 16 {
				out = append(out, byte(rng.Uint32()))
			}
		case 4:
			period := 1 + rng.IntN(40)
			for range size {
				if len(out) < period {
					break
				}
				out = append(out, out[len(out)-period])
			}
		case 5: // something from long ago
			if len(out) > size {
				at := rng.IntN(len(out) - size)
				out = append(out, out[at:at+size]...)
			}
		}
	}
	return out[:n]
}
