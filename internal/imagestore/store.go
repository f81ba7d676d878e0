package imagestore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Image is one file.
type Image struct {
	// Name is what it is asked for by: without suffix where this is the best file of that
	// name, with it otherwise.
	Name     string    `json:"name"`
	File     string    `json:"file"`
	URL      string    `json:"url"` // path of the download
	Size     int64     `json:"size"`
	Modified time.Time `json:"modified"`
	Format   string    `json:"format"` // raw, gzip, xz, zstd or bzip2, by its first bytes
	ETag     string    `json:"etag"`   // as in HTTP, with quotes
	// SHA256 of the file as it is served, in hex; empty until it has been computed.
	SHA256 string `json:"sha256,omitempty"`
	// Checked says that SHA256 was computed of the present content.
	Checked bool `json:"sha256_checked"`
	// Error says why the image is not served.
	Error string `json:"error,omitempty"`
}

// NotFoundError is an image that is not there.
type NotFoundError struct{ Name string }

func (e *NotFoundError) Error() string {
	return fmt.Sprintf("no image %q; GET /api/images lists those that there are", e.Name)
}

// DamagedError is an image that is not what its checksum file says.
type DamagedError struct{ File, Got, Want string }

func (e *DamagedError) Error() string {
	return fmt.Sprintf("image %s has sha256 %s, and %s%s says %s: it is damaged or the checksum is of another version; put both there anew", e.File, e.Got, e.File, sidecarSuffix, e.Want)
}

// Store is a directory of images. Use Open.
type Store struct {
	// config
	db   *bolt.DB
	root *os.Root
	// Reserve is how many bytes uploads leave free on the file system.
	Reserve int64
	logf    func(format string, args ...any)

	// state
	stop    context.CancelFunc
	hashing sync.WaitGroup
	mu      sync.Mutex
	queue   map[string]bool // files whose digest is to be computed
	wake    chan struct{}
	uploads map[string]*upload // running, by file name
}

// Open opens the images of dir, which is made if it is not there, with the index in db.
// Close it before db.
func Open(dir string, db *bolt.DB, logf func(format string, args ...any)) (*Store, error) {
	if err := os.MkdirAll(filepath.Join(dir, uploadDir), 0o755); err != nil {
		return nil, fmt.Errorf("making the directory of images: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("opening the directory of images: %w", err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(bucket)
		return err
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening the image index: %w", err), root.Close())
	}
	ctx, stop := context.WithCancel(context.Background())
	s := &Store{db: db, root: root, Reserve: 256 << 20, logf: logf, stop: stop,
		queue: map[string]bool{}, wake: make(chan struct{}, 1), uploads: map[string]*upload{}}
	s.hashing.Go(func() { s.hash(ctx) })
	if _, err := s.List(); err != nil { // begins to compute digests
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Close ends the computing of digests.
func (s *Store) Close() error {
	s.stop()
	s.hashing.Wait()
	return s.root.Close()
}

// List returns all images by name.
func (s *Store) List() ([]Image, error) {
	dir, err := s.root.Open(".")
	if err != nil {
		return nil, fmt.Errorf("listing images: %w", err)
	}
	defer dir.Close()
	entries, err := dir.ReadDir(-1)
	if err != nil {
		return nil, fmt.Errorf("listing images: %w", err)
	}
	images := []Image{}
	for _, e := range entries {
		if checkName(e.Name()) != nil || e.IsDir() {
			continue
		}
		im, f, err := s.open(e.Name())
		if errors.Is(err, fs.ErrNotExist) {
			continue // it has just gone, or is no regular file
		}
		if err != nil {
			s.logf("image %s: %v", e.Name(), err)
			continue
		}
		f.Close()
		images = append(images, *im)
	}
	slices.SortFunc(images, func(a, b Image) int { return strings.Compare(a.File, b.File) })
	s.name(images)
	return images, nil
}

// name gives each image the shortest name that means it.
func (s *Store) name(images []Image) {
	for i := range images {
		name := stem(images[i].File)
		for _, file := range candidates(name) {
			if j := slices.IndexFunc(images, func(im Image) bool { return im.File == file }); j >= 0 {
				if j != i {
					name = images[i].File
				}
				break
			}
		}
		images[i].Name, images[i].URL = name, downloadPath(name)
	}
}

// Open returns the image that name means, and its file, which the caller closes.
func (s *Store) Open(name string) (*Image, *os.File, error) {
	if err := checkName(name); err != nil {
		return nil, nil, err
	}
	for _, file := range candidates(name) {
		im, f, err := s.open(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		im.Name, im.URL = name, downloadPath(name)
		return im, f, nil
	}
	return nil, nil, &NotFoundError{name}
}

// open opens a file of the directory. One that is not regular does not exist.
func (s *Store) open(file string) (_ *Image, _ *os.File, err error) {
	// Not a FIFO that nobody writes to: looked at before it is opened.
	info, err := s.root.Stat(file)
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, fs.ErrNotExist
	}
	f, err := s.root.Open(file)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	if info, err = f.Stat(); err != nil {
		return nil, nil, err
	}
	e, err := s.entryOf(file, printOf(info))
	if err != nil {
		return nil, nil, err
	}
	im := &Image{File: file, Size: info.Size(), Modified: info.ModTime(), ETag: `"` + e.ETag + `"`, SHA256: e.SHA256, Checked: e.SHA256 != ""}
	if im.Format, err = format(f); err != nil {
		return nil, nil, err
	}
	if e.SHA256 == "" {
		s.enqueue(file)
	}
	want := s.sidecar(file)
	switch {
	case im.SHA256 == "":
		im.SHA256 = want
	case want != "" && want != im.SHA256:
		im.Error = (&DamagedError{file, im.SHA256, want}).Error()
	}
	return im, f, nil
}

// sidecar is the digest that the checksum file names, "" if there is none.
func (s *Store) sidecar(file string) string {
	f, err := s.root.Open(file + sidecarSuffix)
	if err != nil {
		return ""
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 4096))
	if err != nil {
		return ""
	}
	for _, word := range strings.Fields(string(b)) {
		if w := strings.ToLower(word); isSHA256(w) {
			return w
		}
	}
	return ""
}

func isSHA256(s string) bool { return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == "" }

// magics are the first bytes of what the imager decodes.
var magics = []struct{ name, magic string }{
	{"gzip", "\x1f\x8b"}, {"xz", "\xfd7zXZ\x00"}, {"zstd", "\x28\xb5\x2f\xfd"}, {"bzip2", "BZh"},
}

func format(f *os.File) (string, error) {
	head := make([]byte, 6)
	n, err := f.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return "", err
	}
	for _, m := range magics {
		if strings.HasPrefix(string(head[:n]), m.magic) {
			return m.name, nil
		}
	}
	return "raw", nil
}

// Delete removes an image and its checksum file. name is the file's.
func (s *Store) Delete(name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	err := s.root.Remove(name)
	if errors.Is(err, fs.ErrNotExist) {
		return &NotFoundError{name}
	}
	if err != nil {
		return fmt.Errorf("deleting image %s: %w", name, err)
	}
	if err := s.root.Remove(name + sidecarSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("deleting the checksum of image %s: %w", name, err)
	}
	return nil
}
