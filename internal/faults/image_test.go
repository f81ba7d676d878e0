package faults

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/openseastack/netboot-imager/internal/flashtest"
)

// TestImage: images that are not what a disk image should be.
func TestImage(t *testing.T) {
	matrix(t, images, imageRows)
}

var imageRows = []row{
	{
		fault: "larger than the disk, raw: known from Content-Length", image: imageOf(32 * mib),
		status: 422, says: "larger than the disk", after: unchanged, peers: true,
	}, {
		fault: "larger than the disk, gzip: known from its partitions", image: imageOf(32 * mib), format: "gzip",
		status: 422, says: "larger than the disk", after: unchanged, peers: true,
	}, {
		fault: "larger than the disk, gzip: known only at the end", image: longTail, format: "gzip",
		status: 422, says: "larger than the disk", after: cleared, peers: true,
	}, {
		fault: "exactly as large as the disk", image: imageOf(diskSize),
		status: 200, after: whole, peers: true,
	}, {
		fault: "exactly as large as the disk, GPT, gzip", image: gptImage(diskSize, 512), format: "gzip",
		status: 200, after: whole,
	}, {
		fault: "one sector larger than the disk", image: imageOf(diskSize + 512), format: "gzip",
		status: 422, says: "larger than the disk", after: unchanged,
	}, {
		fault: "not a multiple of the sector (100 bytes more)", image: oddImage,
		status: 200, after: whole, peers: true,
	}, {
		fault: "not a multiple of the sector, on a disk with 4096-byte sectors", image: oddImage4k, format: "gzip", disk: disk4k,
		status: 200, after: whole,
	}, {
		fault: "smaller than 1 MiB", image: tinyImage,
		status: 200, after: whole,
	}, {
		fault: "exactly 1 MiB", image: func(testing.TB) []byte {
			img := make([]byte, mib)
			flashtest.MBR(img, 64, 1984)
			return img
		},
		status: 200, after: whole,
	}, {
		fault: "GPT for 4096-byte sectors on a disk with 512", image: gptImage(10*mib, 4096),
		status: 422, says: "sectors of 4096 bytes", after: unchanged, peers: true,
	}, {
		fault: "GPT for 512-byte sectors on a disk with 4096", image: gptImage(10*mib, 512), disk: disk4k,
		status: 422, says: "sectors of 512 bytes", after: unchanged,
	}, {
		fault: "GPT for 4096-byte sectors on such a disk", image: gptImage(10*mib, 4096), disk: disk4k,
		status: 200, after: whole,
	}, {
		fault: "its backup GPT is missing: raw, cut before it", image: cutGPT,
		status: 422, says: "backup GPT", after: unchanged, peers: true,
	}, {
		fault: "its backup GPT is missing: gzip, cut before it", image: cutGPT, format: "gzip",
		status: 422, says: "backup GPT", after: cleared,
	}, {
		fault: "its backup GPT is missing, force", image: cutGPT, request: map[string]any{"force": true},
		status: 200, after: whole,
	}, {
		fault: "a wrong checksum in its GPT", image: brokenGPT, format: "gzip",
		status: 422, says: "checksum", after: unchanged,
	}, {
		fault: "cut before its partition ends, and compressed after that", image: cutBefore, format: "gzip",
		status: 422, says: "truncated", after: cleared, peers: true,
	}, {
		fault: "cut between two gzip members", format: "gzip", encode: firstMember,
		status: 422, says: "truncated", after: cleared,
	}, {
		fault: "BGZF without its end marker", format: "bgzip", encode: func(b []byte) []byte { return b[:len(b)-28] },
		status: 422, says: "truncated", after: cleared,
	}, {
		fault: "junk behind its end: gzip", format: "gzip", encode: behind("junk"),
		status: 422, says: "junk behind its end", after: cleared, peers: true,
	}, {
		fault: "junk behind its end: xz", format: "xz", encode: behind("junk"),
		status: 422, says: "junk behind its end", after: cleared, peers: true,
	}, {
		fault: "junk behind its end: zstd", format: "zstd", encode: behind("junk"),
		status: 422, says: "junk behind its end", after: cleared,
	}, {
		fault: "junk behind its end: bzip2", format: "bzip2", encode: behind("junk"),
		status: 422, says: "junk behind its end", after: cleared,
	}, {
		fault: "an HTML page behind its end: gzip", format: "gzip", encode: behind("<html>504 Gateway Time-out</html>"),
		status: 422, says: "junk behind its end", after: cleared,
	}, {
		fault: "zero padding behind its end: gzip", format: "gzip", encode: behind(strings.Repeat("\x00", 4096)),
		status: 200, after: whole,
	}, {
		fault: "zero padding behind its end: xz", format: "xz", encode: behind(strings.Repeat("\x00", 4096)),
		status: 200, after: whole,
	}, {
		fault: "a wrong CRC-32 in the gzip trailer", format: "gzip", encode: flipBack(8),
		status: 422, says: "corrupt", after: cleared, peers: true,
	}, {
		fault: "a wrong length in the gzip trailer", format: "gzip", encode: flipBack(4),
		status: 422, says: "corrupt", after: cleared, peers: true,
	}, {
		fault: "a wrong CRC in the xz index", format: "xz", encode: flipBack(16),
		status: 422, says: "corrupt", after: cleared,
	}, {
		fault: "the request's sha256 is another image's", format: "gzip", request: map[string]any{"sha256": strings.Repeat("0", 64)},
		status: 422, says: "sha256 mismatch", after: cleared,
	}, {
		fault: "one flipped bit in a raw image, no sha256 given: nothing can show it, and the receipt says what was written", image: flippedImage,
		status: 200, after: whole,
	}, {
		fault: "a bomb: 8 GiB of zeros behind a partition table, 8 MB as gzip", image: bombHead, format: "raw", encode: bomb("gzip", "-1", "-c"),
		status: 422, says: "larger than the disk", after: cleared,
	}, {
		fault: "a bomb: 8 GiB of zeros behind a partition table, 6 kB as bzip2", image: bombHead, encode: bomb("bzip2", "-c"),
		status: 422, says: "larger than the disk", after: cleared,
	}, {
		fault: "a bomb: 8 GiB of zeros behind a partition table, 1 MB as xz", image: bombHead, encode: bomb("xz", "-0", "-c"),
		status: 422, says: "larger than the disk", after: cleared,
	}, {
		fault: "a bomb: 8 GiB of zeros behind a partition table, 0.3 MB as zstd", image: bombHead, encode: bomb("zstd", "-q", "-c"),
		status: 422, says: "larger than the disk", after: cleared,
	}, {
		fault: "nothing but zeros", image: func(testing.TB) []byte { return make([]byte, 10*mib) }, format: "gzip",
		status: 422, says: "nothing but zeros", after: unchanged, peers: true,
	}, {
		fault: "empty", encode: replace(""),
		status: 422, says: "empty", after: unchanged,
	}, {
		fault: "gzip of nothing", image: func(testing.TB) []byte { return nil }, format: "gzip",
		status: 422, says: "empty", after: unchanged, peers: true,
	}, {
		fault: "one byte", encode: replace("\x1f"),
		status: 422, says: "not a disk image", after: unchanged, peers: true,
	}, {
		fault: "the first byte of gzip's magic number, then nothing", encode: replace("\x1f\x8b"),
		status: 422, says: "truncated", after: unchanged,
	}, {
		fault: "HTML", encode: replace("\n<!-- hello --><html><body>It works!</body></html>"),
		status: 422, says: "an HTML page", after: unchanged, peers: true,
	}, {
		fault: "HTML within gzip", image: func(testing.TB) []byte { return []byte("<!doctype html><title>x</title>") }, format: "gzip",
		status: 422, says: "HTML page inside the gzip compression", after: unchanged,
	}, {
		fault: "a zip archive with the image in it", encode: zipped,
		status: 422, says: "a zip archive", after: unchanged, peers: true,
	}, {
		fault: "a tar archive", encode: piped("sh", "-c", `d=$(mktemp -d) && cat > "$d/image" && tar -C "$d" -cf - image && rm -r "$d"`),
		status: 422, says: "a tar archive", after: unchanged,
	}, {
		fault: "gzip within gzip", format: "gzip", encode: piped("gzip", "-1", "-c"),
		status: 422, says: "a gzip file inside the gzip compression", after: unchanged,
	}, {
		fault: "lzma (the old .lzma)", encode: piped("xz", "-1", "--format=lzma", "-c"),
		status: 422, says: "an lzma file", after: unchanged,
	}, {
		fault: "a file system without a partition table", image: ext4, format: "gzip",
		status: 422, says: "ext4 file system without a partition table", after: unchanged, peers: true,
	}, {
		fault: "noise", encode: piped("sh", "-c", "head -c 5000000 /dev/urandom"),
		status: 422, says: "not a disk image", after: unchanged, peers: true,
	}, {
		fault: "xz with a dictionary of 1 GiB", encode: piped("xz", "-0", "--lzma2=dict=1GiB", "-c"),
		status: 422, says: "dictionary", after: unchanged,
	}, {
		fault: "zstd with a window of 1 GiB", encode: piped("zstd", "-q", "-1", "--long=30", "--zstd=wlog=30", "-c"),
		status: 422, says: "window", after: unchanged,
	},
}

func imageOf(size int) func(testing.TB) []byte {
	return func(testing.TB) []byte { return flashtest.Image(size, 3) }
}

// longTail has its partition within the disk, and data far behind it.
func longTail(testing.TB) []byte {
	img := flashtest.Image(32*mib, 3)
	flashtest.MBR(img, 2048, 8*mib/512)
	return img
}

func oddImage(testing.TB) []byte {
	img := append(flashtest.Image(10*mib, 4), []byte(strings.Repeat("0123456789", 10))...)
	return img
}

// oddImage4k is oddImage with a table that counts in 4096-byte sectors.
func oddImage4k(t testing.TB) []byte {
	img := oddImage(t)
	flashtest.MBR(img, 256, 9*mib/4096)
	return img
}

func tinyImage(testing.TB) []byte {
	img := bytes.Repeat([]byte("tiny "), 600<<10/5)
	img = img[:512<<10]
	clear(img[:512])
	flashtest.MBR(img, 64, 960)
	return img
}

func flippedImage(testing.TB) []byte { return flip(5 * mib * 8)(bytes.Clone(sampleImage())) }

// gptImage is an image with a GPT that sfdisk made, for a disk with sectors of that size.
func gptImage(size, sector int) func(testing.TB) []byte {
	return func(t testing.TB) []byte {
		img := flashtest.Image(size, 5)
		clear(img[:mib])
		clear(img[size-64<<10:])
		file := filepath.Join(t.TempDir(), "gpt.img")
		if err := os.WriteFile(file, img, 0o600); err != nil {
			t.Fatal(err)
		}
		dev := flashtest.Loop(t, int64(size), "--sector-size", fmt.Sprint(sector))
		flashtest.Run(t, "dd", "if="+file, "of="+dev, "bs=1M", "conv=fsync", "status=none")
		first := mib / sector
		script := fmt.Sprintf("label: gpt\nfirst-lba: %d\nstart=%d, size=%d, type=L\n", first, first, 4*mib/sector)
		flashtest.Pipe(t, []byte(script), "sfdisk", "-q", "--no-reread", "--no-tell-kernel", dev)
		b, err := os.ReadFile(dev)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
}

// cutGPT is a GPT image without its last 64 KiB, where the backup GPT was.
func cutGPT(t testing.TB) []byte {
	img := gptImage(10*mib, 512)(t)
	return img[:len(img)-64<<10]
}

func brokenGPT(t testing.TB) []byte {
	img := gptImage(10*mib, 512)(t)
	img[512+16] ^= 1
	return img
}

// cutBefore has half of its partition.
func cutBefore(testing.TB) []byte { return sampleImage()[:7*mib] }

func disk4k(t testing.TB) *target {
	return loopDisk(t, diskSize, "--sector-size", "4096")
}

func behind(tail string) func([]byte) []byte {
	return func(b []byte) []byte { return append(b, tail...) }
}

// flipBack flips a bit n bytes before the end.
func flipBack(n int) func([]byte) []byte {
	return func(b []byte) []byte {
		b[len(b)-n] ^= 0x10
		return b
	}
}

// firstMember returns the first of two gzip members that make the image.
func firstMember([]byte) []byte {
	return piped("gzip", "-c")(sampleImage()[:6*mib])
}

// piped sends bytes through a program.
func piped(program string, args ...string) func([]byte) []byte {
	return func(b []byte) []byte {
		cmd := exec.Command(program, args...)
		cmd.Stdin = bytes.NewReader(b)
		cmd.Dir = scratch
		out, err := cmd.Output()
		if err != nil {
			panic(fmt.Sprintf("%s: %v", program, err))
		}
		return out
	}
}

func zipped(b []byte) []byte {
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	w, err := z.Create("disk.img")
	if err == nil {
		_, err = w.Write(b)
	}
	if err != nil || z.Close() != nil {
		panic("zip")
	}
	return out.Bytes()
}

func ext4(t testing.TB) []byte {
	file := filepath.Join(t.TempDir(), "ext4.img")
	if err := os.WriteFile(file, make([]byte, 8*mib), 0o600); err != nil {
		t.Fatal(err)
	}
	flashtest.Run(t, "mkfs.ext4", "-q", file)
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// bombHead is the beginning of a bomb.
func bombHead(testing.TB) []byte {
	img := make([]byte, mib)
	flashtest.MBR(img, 2048, 2048)
	return img
}

// bomb compresses the head and zeros behind it.
func bomb(program string, args ...string) func([]byte) []byte {
	return func(head []byte) []byte {
		size := int64(sometimes(256, 8192)) * mib
		cmd := exec.Command(program, args...)
		cmd.Stdin = io.MultiReader(bytes.NewReader(head), io.LimitReader(zeros{}, size))
		out, err := cmd.Output()
		if err != nil {
			panic(fmt.Sprintf("%s: %v", program, err))
		}
		return out
	}
}

// zeros is an endless reader.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
