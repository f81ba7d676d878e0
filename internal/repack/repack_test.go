package repack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/openseastack/netboot-imager/internal/board"
	"github.com/openseastack/netboot-imager/internal/flashtest"
	"github.com/openseastack/netboot-imager/internal/source"
)

// decoders are the real tools that must read what is written, by format.
var decoders = map[string][][]string{
	BGZF: {{"gzip", "-dc"}, {"pigz", "-dc"}, {"bgzip", "-dc"}, {"python3", "-c", "import gzip,sys; sys.stdout.buffer.write(gzip.decompress(sys.stdin.buffer.read()))"}},
	Zstd: {{"zstd", "-dcq"}, {"pzstd", "-dcq"}},
}

func write(t *testing.T, path string, data []byte) string {
	t.Helper()
	if err := os.WriteFile(path, data, 0o640); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestRepack makes both formats of every supported one; the real tools say what they are.
func TestRepack(t *testing.T) {
	img := flashtest.Image(pieceSize+512*3, 1)
	for _, from := range []string{"raw", "gzip", "pigz", "bgzip", "xz", "zstd", "bzip2"} {
		data := flashtest.Compress(t, from, img)
		for _, format := range []string{BGZF, Zstd} {
			t.Run(from+" to "+format, func(t *testing.T) {
				dir := t.TempDir()
				in := write(t, filepath.Join(dir, "os.img.bin"), data)
				var stages []string
				res, err := Repack(t.Context(), Options{In: in, Format: format, Level: Fast, Row: func(s board.State) {
					if !slices.Contains(stages, s.Stage) {
						stages = append(stages, s.Stage)
					}
				}})
				if err != nil {
					t.Fatal(err)
				}
				out := filepath.Join(dir, "os.img.bin"+Suffix(format))
				packed := read(t, out)
				want := Result{Out: out, Sum: out + ".sha256", From: flashtest.FormatOf(from), InSize: int64(len(data)), OutSize: int64(len(packed)), Size: int64(len(img)), SHA256: flashtest.SHA256(img)}
				if *res != want {
					t.Errorf("result = %+v, want %+v", *res, want)
				}
				for _, tool := range decoders[format] {
					if from != "raw" {
						continue // what comes out is the same
					}
					if got := flashtest.Pipe(t, packed, tool[0], tool[1:]...); !bytes.Equal(got, img) {
						t.Errorf("%s makes another image of it", tool[0])
					}
				}
				if got := fmt.Sprint(stages); got != "[packing checking]" {
					t.Errorf("told of the stages %s", got)
				}
				// The sum is of the image under its bare name.
				write(t, filepath.Join(dir, "os.img.bin"), img)
				t.Chdir(dir)
				if got := flashtest.Run(t, "sha256sum", "-c", "--strict", filepath.Base(res.Sum)); got != "os.img.bin: OK\n" {
					t.Errorf("sha256sum says %q", got)
				}
				if st, err := os.Stat(out); err != nil || st.Mode().Perm() != 0o640 {
					t.Errorf("the file's mode is %v, not the original's (%v)", st.Mode(), err)
				}
			})
		}
	}
}

// TestSizes puts the image's end at every edge of members and pieces.
func TestSizes(t *testing.T) {
	noise := make([]byte, 2*pieceSize)
	rand.NewChaCha8([32]byte{1}).Read(noise)
	dir := t.TempDir()
	for _, format := range []string{BGZF, Zstd} {
		for level, sizes := range map[Level][]int{
			Fast: {1, memberSize - 1, memberSize, memberSize + 1, pieceSize - 1, pieceSize, pieceSize + 1, 2 * pieceSize}, Normal: {memberSize + 1}, Best: {memberSize + 1},
		} {
			for _, size := range sizes {
				in := write(t, filepath.Join(dir, "noise"), noise[:size])
				out := filepath.Join(dir, "packed")
				if _, err := Repack(t.Context(), Options{In: in, Out: out, Format: format, Level: level, Force: true, Replace: true}); err != nil {
					t.Fatalf("%s %s, %d bytes: %v", format, level, size, err)
				}
				packed := read(t, out)
				if got := flashtest.Pipe(t, packed, decoders[format][0][0], decoders[format][0][1:]...); !bytes.Equal(got, noise[:size]) {
					t.Errorf("%s %s, %d bytes: another image comes out", format, level, size)
				}
				if format == BGZF && !bytes.HasSuffix(packed, bgzfEnd) {
					t.Errorf("%d bytes: the end marker is missing", size)
				}
				if most := size + size/100 + 1024; len(packed) > most {
					t.Errorf("%s %s: %d bytes of noise became %d", format, level, size, len(packed))
				}
			}
		}
	}
}

// TestEndMarker takes the end marker from a file: that must be noticed.
func TestEndMarker(t *testing.T) {
	dir := t.TempDir()
	in := write(t, filepath.Join(dir, "os.img"), flashtest.Image(2<<20, 3))
	res, err := Repack(t.Context(), Options{In: in, Format: BGZF, Level: Fast})
	if err != nil {
		t.Fatal(err)
	}
	packed := read(t, res.Out)
	write(t, res.Out, packed[:len(packed)-len(bgzfEnd)])
	err = prove(t.Context(), res.Out, Options{Out: res.Out, Row: quiet}, res)
	if !flashtest.As[*source.ImageError](err) {
		t.Errorf("without its end marker: %v", err)
	}
}

// TestProof has the proof look at files that are not what they should be.
func TestProof(t *testing.T) {
	dir := t.TempDir()
	img := flashtest.Image(2<<20, 3)
	in := write(t, filepath.Join(dir, "os.img"), img)
	for _, format := range []string{BGZF, Zstd} {
		res, err := Repack(t.Context(), Options{In: in, Format: format, Level: Fast})
		if err != nil {
			t.Fatal(err)
		}
		packed := read(t, res.Out)
		for off := 0; off < len(packed); off += 1 + len(packed)/16 {
			bad := bytes.Clone(packed)
			bad[off] ^= 0x10
			write(t, res.Out, bad)
			err := prove(t.Context(), res.Out, Options{Out: res.Out, Row: quiet}, res)
			// A few bits of headers mean nothing, as the time in gzip's.
			if got, derr := pipe(bad, decoders[format][0]); err == nil && (derr != nil || !bytes.Equal(got, img)) {
				t.Errorf("%s: a changed byte %d of %d was not noticed", format, off, len(packed))
			}
		}
	}
	other := flashtest.Compress(t, "gzip", flashtest.Image(2<<20, 4))
	write(t, filepath.Join(dir, "other.gz"), other)
	res := &Result{Size: int64(len(img)), SHA256: flashtest.SHA256(img)}
	if err := prove(t.Context(), filepath.Join(dir, "other.gz"), Options{Row: quiet}, res); err == nil || !strings.Contains(err.Error(), "decodes to") {
		t.Errorf("another image: %v", err)
	}
}

// TestRefusals: whatever is refused leaves everything as it was.
func TestRefusals(t *testing.T) {
	img := flashtest.Image(3<<20, 5)
	gz := flashtest.Compress(t, "gzip", img)
	xz := flashtest.Compress(t, "xz", img)
	xz[len(xz)/2] ^= 1
	tests := []struct {
		name, want string
		in         []byte
		opt        Options
	}{
		{"a text", "not a disk image: it is a text; stations refuse to write it. With -force", []byte("hello\n"), Options{}},
		{"an HTML page in gzip", "it is an HTML page", flashtest.Compress(t, "gzip", []byte("<!doctype html><html>")), Options{}},
		{"gzip in gzip", "it is a gzip file", flashtest.Compress(t, "gzip", gz), Options{}},
		{"nothing", "the image is empty", nil, Options{}},
		{"truncated gzip", "the image is truncated: its gzip data ends early", gz[:len(gz)/2], Options{}},
		{"truncated gzip by force", "the image is truncated: its gzip data ends early", gz[:len(gz)/2], Options{Force: true}},
		{"junk behind gzip", "junk behind its end", append(bytes.Clone(gz), "junk"...), Options{}},
		{"corrupt xz", "the image is corrupt", xz, Options{}},
		{"an image without its end", "partition table reaches to byte", img[:2<<20], Options{}},
		{"no replacement", "exists; have it replaced by -replace", gz, Options{Format: Zstd}},
		{"a directory", "is no regular file", gz, Options{Out: ".", Replace: true}},
		{"a format that is none", `no format "lzo"`, gz, Options{Format: "lzo", Replace: true}},
		{"a level that is none", `no level "11"`, gz, Options{Level: "11", Replace: true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			t.Chdir(dir)
			write(t, "os.img.gz", tt.in)
			write(t, "os.img.zst", []byte("was here before"))
			write(t, "os.img.gz.sha256", []byte("a sum"))
			opt := tt.opt
			opt.In = "os.img.gz"
			if opt.Format == "" {
				opt.Format, opt.Replace = BGZF, true
			}
			if opt.Level == "" {
				opt.Level = Fast
			}
			_, err := Repack(t.Context(), opt)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v, want one with %q", err, tt.want)
			}
			asBefore(t, dir, map[string]string{"os.img.gz": string(tt.in), "os.img.zst": "was here before", "os.img.gz.sha256": "a sum"})
		})
	}
}

// asBefore makes sure that dir holds these files and no others.
func asBefore(t *testing.T, dir string, want map[string]string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if _, ok := want[e.Name()]; !ok {
			t.Errorf("%s was left behind", e.Name())
		}
	}
	for name, data := range want {
		if string(read(t, filepath.Join(dir, name))) != data {
			t.Errorf("%s was changed", name)
		}
	}
}

// TestInPlace replaces an image by itself, and the sum of what was there before.
func TestInPlace(t *testing.T) {
	img := flashtest.Image(3<<20, 6)
	in := write(t, filepath.Join(t.TempDir(), "os.img.gz"), flashtest.Compress(t, "gzip", img))
	write(t, in+".sha256", []byte("stale"))
	if _, err := Repack(t.Context(), Options{In: in, Format: BGZF, Level: Fast, Replace: true}); err != nil {
		t.Fatal(err)
	}
	if got := flashtest.Pipe(t, read(t, in), "bgzip", "-dc"); !bytes.Equal(got, img) {
		t.Error("another image came out")
	}
	if got := string(read(t, in+".sha256")); !strings.HasPrefix(got, flashtest.SHA256(img)+"  os.img\n#") {
		t.Errorf("the sum is %q", got)
	}
}

// TestForce repacks what is no disk image, and says so.
func TestForce(t *testing.T) {
	in := write(t, filepath.Join(t.TempDir(), "text"), []byte("hello\n"))
	res, err := Repack(t.Context(), Options{In: in, Format: Zstd, Level: Best, Force: true})
	if err != nil {
		t.Fatal(err)
	}
	if res.NotImage == nil || !strings.Contains(res.NotImage.Why, "it is a text") {
		t.Errorf("it was not said what this is: %+v", res)
	}
}

// TestStopped stops in mid-work.
func TestStopped(t *testing.T) {
	for _, stage := range []string{"packing", "checking"} {
		dir := t.TempDir()
		data := flashtest.Image(12<<20, 7)
		in := write(t, filepath.Join(dir, "os.img"), data)
		ctx, cancel := context.WithCancelCause(t.Context())
		stop := errors.New("stop")
		_, err := Repack(ctx, Options{In: in, Format: BGZF, Level: Fast, Row: func(s board.State) {
			if s.Stage == stage {
				cancel(stop)
			}
		}})
		if !errors.Is(err, stop) {
			t.Errorf("stopped while %s: %v", stage, err)
		}
		asBefore(t, dir, map[string]string{"os.img": string(data)})
	}
}

// TestNoSpace fills a real file system.
func TestNoSpace(t *testing.T) {
	flashtest.NeedRoot(t)
	dir := t.TempDir()
	flashtest.Run(t, "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", dir)
	t.Cleanup(func() { flashtest.Run(t, "umount", dir) })
	old := write(t, filepath.Join(dir, "os.img.gz"), []byte("the old one"))
	in := write(t, filepath.Join(t.TempDir(), "os.img"), flashtest.Image(8<<20, 8))
	_, err := Repack(t.Context(), Options{In: in, Out: old, Format: BGZF, Level: Fast, Replace: true})
	if err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("error = %v", err)
	}
	asBefore(t, dir, map[string]string{"os.img.gz": "the old one"})
}

func TestOutName(t *testing.T) {
	for in, want := range map[string]string{
		"a/os.img.xz": "a/os.img.gz", "os.img": "os.img.gz", "os.img.gz": "os.img.gz", "os.zst": "os.gz", "download": "download.gz", ".gz": ".gz", "x.img.bz2": "x.img.gz",
	} {
		if got := OutName(in, BGZF); got != want {
			t.Errorf("OutName(%q) = %q, want %q", in, got, want)
		}
	}
	if got := OutName("os.img.gz", Zstd); got != "os.img.zst" {
		t.Errorf("for zstd: %q", got)
	}
}

// pipe is flashtest.Pipe for what may fail.
func pipe(input []byte, tool []string) ([]byte, error) {
	cmd := exec.Command(tool[0], tool[1:]...)
	cmd.Stdin = bytes.NewReader(input)
	return cmd.Output()
}

// quiet is a Row that nobody looks at.
func quiet(board.State) {}
