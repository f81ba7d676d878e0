// Package flashtest holds what tests of several packages share: a disk that fails on
// command, an image server that misbehaves on command, sample images, loop devices, and
// the real tools.
//
// The fakes are for faults that the real thing cannot be made to have; everything else
// is tested on real loop devices.
package flashtest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Need returns the path of a program, failing the test if it is missing: `make test`
// installs them all.
func Need(t testing.TB, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		for _, dir := range []string{"/usr/sbin/", "/sbin/"} { // not on an ordinary user's PATH
			if path, err := exec.LookPath(dir + program); err == nil {
				return path
			}
		}
		t.Fatalf("%v; install what is missing by tools/install-deps.sh test", err)
	}
	return path
}

// NeedRoot ends a test that needs root: skipped for a developer, failed in CI.
func NeedRoot(t testing.TB) {
	t.Helper()
	if os.Getuid() == 0 {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("needs root, and CI must not skip it")
	}
	t.Skip("needs root: loop devices")
}

// Run runs a program and returns what it printed on standard output.
func Run(t testing.TB, program string, args ...string) string {
	t.Helper()
	cmd := exec.Command(Need(t, program), args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", program, strings.Join(args, " "), err, out, stderr.Bytes())
	}
	return string(out)
}

// Pipe feeds input to a program and returns what it printed.
func Pipe(t testing.TB, input []byte, program string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(Need(t, program), args...)
	cmd.Stdin = bytes.NewReader(input)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, stderr.Bytes())
	}
	return out
}

// Compressors are command lines that compress standard input to standard output, by the
// name of what they make.
var Compressors = map[string][]string{
	"gzip":  {"gzip", "-c"},
	"pigz":  {"pigz", "-c"},
	"bgzip": {"bgzip", "-c"},
	"xz":    {"xz", "-c", "-1"},
	"zstd":  {"zstd", "-q", "-c"},
	"bzip2": {"bzip2", "-c", "-1"},
}

// FormatOf is what the imager calls the format that a compressor makes.
func FormatOf(compressor string) string {
	switch compressor {
	case "pigz", "bgzip":
		return "gzip"
	}
	return compressor
}

// Compress returns data as compressed by the real tool; "raw" returns it as it is.
func Compress(t testing.TB, compressor string, data []byte) []byte {
	t.Helper()
	if compressor == "raw" {
		return data
	}
	args, ok := Compressors[compressor]
	if !ok {
		t.Fatalf("no compressor %q", compressor)
	}
	return Pipe(t, data, args[0], args[1:]...)
}

// Image returns a small disk image of size bytes (a multiple of 512, at least 2 MiB): an
// MBR with one partition that reaches to the end, text that compresses, noise that does
// not, and a stretch of zeros. The same seed gives the same image.
func Image(size int, seed uint64) []byte {
	img := make([]byte, size)
	rng := rand.New(rand.NewPCG(seed, 1))
	for off := 1 << 20; off < size; {
		n := min(size-off, 64<<10+rng.IntN(1<<20))
		part := img[off : off+n]
		switch rng.IntN(3) {
		case 0: // zeros
		case 1:
			for i := range part {
				part[i] = byte(rng.Uint32())
			}
		default:
			for i := 0; i < n; {
				i += copy(part[i:], []string{"raspberry ", "flash ", "station ", "netboot\n"}[rng.IntN(4)])
			}
		}
		off += n
	}
	copy(img[size-8:], "the end.")
	MBR(img, 2048, uint32(size/512-2048))
	return img
}

// MBR puts a partition table with one partition of type 83 into img.
func MBR(img []byte, start, sectors uint32) {
	binary.LittleEndian.PutUint32(img[440:], 0x1badf00d)
	e := img[446:]
	clear(e[:64])
	e[4] = 0x83
	binary.LittleEndian.PutUint32(e[8:], start)
	binary.LittleEndian.PutUint32(e[12:], sectors)
	img[510], img[511] = 0x55, 0xAA
}

// As reports whether err is or wraps a T, for tables of expected errors.
func As[T error](err error) bool {
	var target T
	return errors.As(err, &target)
}

// SHA256 returns the digest of b in hex, as receipts have it.
func SHA256(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
