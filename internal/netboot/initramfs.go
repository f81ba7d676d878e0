package netboot

import (
	"fmt"
	"io"
	"io/fs"

	"github.com/cavaliergopher/cpio"
	"github.com/klauspost/compress/zstd"
)

// initramfsAlign is what the initramfs' size is rounded up to, in bytes: boot loaders
// before 2023-11-20 placed one of another size wrongly
// (https://github.com/raspberrypi/firmware/issues/1843). The kernel skips zeros after
// a compressed archive.
const initramfsAlign = 4

// writeInitramfs writes the root file system as a zstd-compressed cpio archive in the
// "newc" format (Documentation/driver-api/early-userspace/buffer-format.rst). Times
// and owners are 0, so that the same files give the same bytes. It returns the
// archive's size before compression.
func writeInitramfs(w io.Writer, root *rootFS) (uncompressed int64, err error) {
	cw := &countWriter{w: w}
	zw, err := zstd.NewWriter(cw, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return 0, err
	}
	archive := &countWriter{w: zw}
	if err := writeCPIO(archive, root); err != nil {
		return 0, fmt.Errorf("writing the initramfs: %w", err)
	}
	if err := zw.Close(); err != nil {
		return 0, fmt.Errorf("compressing the initramfs: %w", err)
	}
	if rest := cw.n % initramfsAlign; rest != 0 {
		if _, err := cw.Write(make([]byte, initramfsAlign-rest)); err != nil {
			return 0, err
		}
	}
	return archive.n, nil
}

func writeCPIO(w io.Writer, root *rootFS) error {
	cw := cpio.NewWriter(w)
	// The kernel starts /init; a gokrazy root file system has its init elsewhere.
	nodes := append([]node{
		{path: ".", mode: fs.ModeDir | 0o755},
		{path: "init", mode: fs.ModeSymlink | 0o777, target: "/gokrazy/init"},
	}, root.nodes...)
	for i, n := range nodes {
		h := &cpio.Header{
			Name:  n.path,
			Inode: int64(i + 1),
			Links: 1,
			Mode:  cpio.FileMode(n.mode.Perm()),
			Size:  int64(len(n.data)),
		}
		data := n.data
		switch n.mode.Type() {
		case fs.ModeDir:
			h.Mode |= cpio.TypeDir
			h.Mode |= 0o200 // an initramfs is writable, and gokrazy makes directories in /perm
		case fs.ModeSymlink:
			h.Mode |= cpio.TypeSymlink
			data = []byte(n.target)
			h.Size = int64(len(data))
		default:
			h.Mode |= cpio.TypeReg
		}
		if err := cw.WriteHeader(h); err != nil {
			return fmt.Errorf("%s: %w", n.path, err)
		}
		if _, err := cw.Write(data); err != nil {
			return fmt.Errorf("%s: %w", n.path, err)
		}
	}
	return cw.Close()
}

// countWriter counts the bytes that pass.
type countWriter struct {
	w io.Writer
	n int64
}

func (c *countWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
