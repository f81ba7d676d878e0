package redeploy

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/openseastack/netboot-imager/internal/netboot"
)

// limits are the largest images in bytes that are taken: gokrazy's partitions have 100 MB
// and 500 MB.
var limits = map[string]int64{"boot": 100 << 20, "root": 500 << 20, "mbr": 1 << 20}

// reserve is how many bytes of the file system are left free.
const reserve = 256 << 20

// TooLargeError is an image that is larger than gokrazy's partition for it, or than what is
// free.
type TooLargeError struct{ What string }

func (e *TooLargeError) Error() string { return e.What }

// NotUploadedError is a switch without images.
type NotUploadedError struct{ Missing string }

func (e *NotUploadedError) Error() string {
	return fmt.Sprintf("no %s image has been uploaded since the last switch, so there is nothing to switch to", e.Missing)
}

// ImageError is a pair of images of which no tree can be made.
type ImageError struct{ Err error }

func (e *ImageError) Error() string {
	return fmt.Sprintf("no netboot tree can be made of the uploaded images, and nothing was changed: %v", e.Err)
}
func (e *ImageError) Unwrap() error { return e.Err }

// incoming holds what gok has sent until it is used. Only whole images are kept.
type incoming struct {
	dir string
	mu  sync.Mutex
}

func (in *incoming) path(name string) string { return filepath.Join(in.dir, name+".img") }

// newHash is what the client wants its bytes summed with.
func newHash(name string) hash.Hash {
	if name == "crc32" {
		return crc32.NewIEEE()
	}
	return sha256.New()
}

// put stores an image, if all of it comes, and returns its checksum. The MBR is only summed
// up: nothing boots from a disk here.
func (in *incoming) put(name string, body io.Reader, h hash.Hash) (sum []byte, err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	limit := limits[name]
	body = io.TeeReader(io.LimitReader(body, limit+1), h)
	if name == "mbr" {
		if n, err := io.Copy(io.Discard, body); err != nil || n > limit {
			return nil, errors.Join(err, tooLarge(name, n, limit))
		}
		return h.Sum(nil), nil
	}
	if err := os.MkdirAll(in.dir, 0o700); err != nil {
		return nil, err
	}
	// gok sends the root file system first. What is left of an earlier update must not be
	// mixed with it.
	if name == "root" {
		if err := in.discard(); err != nil {
			return nil, err
		}
	}
	var st unix.Statfs_t
	if err := unix.Statfs(in.dir, &st); err != nil {
		return nil, fmt.Errorf("asking for the free space of %s: %w", in.dir, err)
	}
	if free := int64(st.Bavail)*st.Bsize - reserve; free < 2*limit {
		return nil, &TooLargeError{fmt.Sprintf("%d bytes are free for an update, which may need %d; delete images", max(free, 0), 2*limit)}
	}
	f, err := os.CreateTemp(in.dir, name+"-")
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name())
	n, err := io.Copy(f, body)
	err = errors.Join(err, tooLarge(name, n, limit), f.Sync(), f.Close())
	if err != nil {
		return nil, fmt.Errorf("receiving the %s image: %w", name, err)
	}
	if err := os.Rename(f.Name(), in.path(name)); err != nil {
		return nil, err
	}
	return h.Sum(nil), nil
}

func tooLarge(name string, n, limit int64) error {
	if n > limit {
		return &TooLargeError{fmt.Sprintf("the %s image is larger than %d bytes, gokrazy's partition for it", name, limit)}
	}
	return nil
}

// open opens the uploaded pair.
func (in *incoming) open() (*netboot.Images, error) {
	for _, name := range []string{"root", "boot"} {
		if _, err := os.Stat(in.path(name)); errors.Is(err, fs.ErrNotExist) {
			return nil, &NotUploadedError{name}
		}
	}
	return netboot.OpenImages(in.path("boot"), in.path("root"))
}

// discard removes what has been uploaded.
func (in *incoming) discard() error {
	entries, err := os.ReadDir(in.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if err := os.Remove(filepath.Join(in.dir, e.Name())); err != nil {
			return fmt.Errorf("removing an earlier upload: %w", err)
		}
	}
	return nil
}
