package imagestore

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
)

// uploadDir holds what has been uploaded so far: NAME.part with the bytes and NAME.json
// with the upload's particulars.
const uploadDir = ".uploads"

// syncEvery is how many bytes are written before they are made durable, and with that the
// most that is uploaded again after a power cut.
const syncEvery = 16 << 20

func partPath(file string) string { return path.Join(uploadDir, file+".part") }
func jsonPath(file string) string { return path.Join(uploadDir, file+".json") }

// Upload is a request to put bytes into an image.
type Upload struct {
	File   string // name of the image's file
	Offset int64  // where the bytes of this request belong
	Length int64  // how many those are
	Total  int64  // size of the whole image in bytes
	SHA256 string // of the whole image, hex; "" for no check
}

// ConflictError is an upload that does not fit to what is there. Have is how many bytes
// there are: an upload may go on from there.
type ConflictError struct {
	Why  string
	Have int64
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("%s; go on at byte %d, or begin anew at 0", e.Why, e.Have)
}

// BusyError is an upload of a file that another request is uploading.
type BusyError struct{ File string }

func (e *BusyError) Error() string {
	return "another request is uploading " + e.File + "; wait for its end"
}

// DigestError is an upload whose bytes are not those that were announced.
type DigestError struct{ File, Got, Want string }

func (e *DigestError) Error() string {
	return fmt.Sprintf("the upload of %s has sha256 %s, and %s was announced: it was thrown away, upload it anew", e.File, e.Got, e.Want)
}

// upload is a running one.
type upload struct{ need int64 }

// particulars are what a later request must agree with.
type particulars struct {
	Total  int64  `json:"total"`
	SHA256 string `json:"sha256,omitempty"`
	// Durable is how many bytes a power cut cannot take away.
	Durable int64 `json:"durable"`
}

// Have returns how many bytes of an unfinished upload of file there are, and of how many.
func (s *Store) Have(file string) (have, total int64, err error) {
	if err := checkName(file); err != nil {
		return 0, 0, err
	}
	p, err := s.unfinished(file)
	return p.Durable, p.Total, err
}

// unfinished is the zero value if there is no upload to go on with.
func (s *Store) unfinished(file string) (particulars, error) {
	var p particulars
	b, err := s.root.ReadFile(jsonPath(file))
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return p, fmt.Errorf("looking at the unfinished upload of %s: %w", file, err)
	}
	info, err := s.root.Stat(partPath(file))
	if errors.Is(err, fs.ErrNotExist) || err == nil && (json.Unmarshal(b, &p) != nil || info.Size() < p.Durable) {
		return particulars{}, nil // the power went in between: begin anew
	}
	if err != nil {
		return p, fmt.Errorf("looking at the unfinished upload of %s: %w", file, err)
	}
	return p, nil
}

// note stores the particulars in one step.
func (s *Store) note(file string, p particulars) error {
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	tmp := jsonPath(file) + ".new"
	if err := s.root.WriteFile(tmp, b, 0o644); err != nil {
		return fmt.Errorf("noting how far the upload of %s is: %w", file, err)
	}
	if err := s.root.Rename(tmp, jsonPath(file)); err != nil {
		return fmt.Errorf("noting how far the upload of %s is: %w", file, err)
	}
	return nil
}

// Put stores u.Length bytes of body. When the image is whole, it takes the place of an
// older one of that name in one step, and is returned; until then the image returned is
// nil. If body ends early, what came is kept and can be added to.
func (s *Store) Put(u Upload, body io.Reader) (*Image, error) {
	if err := checkName(u.File); err != nil {
		return nil, err
	}
	if u.Offset < 0 || u.Length <= 0 || u.Length > u.Total-u.Offset {
		return nil, &ConflictError{fmt.Sprintf("%d bytes at byte %d are not in an image of %d bytes", u.Length, u.Offset, u.Total), 0}
	}
	free, err := s.take(u)
	if err != nil {
		return nil, err
	}
	defer free()
	f, p, err := s.begin(u)
	if err != nil {
		return nil, err
	}
	if err := s.receive(f, body, u, &p); err != nil || p.Durable < p.Total {
		return nil, cmp.Or(err, f.Close())
	}
	if err := checkDigest(f, u.File, p); err != nil {
		f.Close()
		return nil, errors.Join(err, s.forget(u.File))
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	// An old checksum is of the old image.
	if err := s.root.Remove(u.File + sidecarSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err := s.root.Rename(partPath(u.File), u.File); err != nil {
		return nil, fmt.Errorf("putting the upload of %s in its place: %w", u.File, err)
	}
	if err := errors.Join(s.forget(u.File), s.sync(".")); err != nil {
		return nil, err
	}
	im, g, err := s.open(u.File)
	if err != nil {
		return nil, err
	}
	im.Name, im.URL = u.File, downloadPath(u.File)
	return im, g.Close()
}

// take reserves the file and room for it.
func (s *Store) take(u Upload) (free func(), err error) {
	room, err := s.Free()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.uploads[u.File] != nil {
		return nil, &BusyError{u.File}
	}
	need := u.Total - u.Offset
	for _, other := range s.uploads {
		room -= other.need
	}
	if need > room-s.Reserve {
		return nil, &SpaceError{need, max(room, 0), s.Reserve}
	}
	s.uploads[u.File] = &upload{need}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.uploads, u.File)
	}, nil
}

// begin opens the unfinished upload at u.Offset.
func (s *Store) begin(u Upload) (*os.File, particulars, error) {
	p, err := s.unfinished(u.File)
	if err != nil {
		return nil, p, err
	}
	if u.Offset == 0 {
		if err := s.forget(u.File); err != nil {
			return nil, p, err
		}
		p = particulars{Total: u.Total, SHA256: u.SHA256}
		f, err := s.root.OpenFile(partPath(u.File), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o644)
		if err != nil {
			return nil, p, fmt.Errorf("beginning the upload of %s: %w", u.File, err)
		}
		if err := s.note(u.File, p); err != nil {
			f.Close()
			return nil, p, err
		}
		return f, p, nil
	}
	switch {
	case u.Offset != p.Durable:
		return nil, p, &ConflictError{fmt.Sprintf("the upload of %s has %d bytes so far, not %d", u.File, p.Durable, u.Offset), p.Durable}
	case u.Total != p.Total:
		return nil, p, &ConflictError{fmt.Sprintf("the upload of %s was begun for %d bytes, not %d: this is another file", u.File, p.Total, u.Total), p.Durable}
	case u.SHA256 != "" && p.SHA256 != "" && u.SHA256 != p.SHA256:
		return nil, p, &ConflictError{fmt.Sprintf("the upload of %s was begun for another sha256: this is another file", u.File), p.Durable}
	}
	if u.SHA256 != "" {
		p.SHA256 = u.SHA256
	}
	f, err := s.root.OpenFile(partPath(u.File), os.O_RDWR, 0)
	if err != nil {
		return nil, p, fmt.Errorf("going on with the upload of %s: %w", u.File, err)
	}
	// What is behind may be what a power cut left of bytes that were never made durable.
	if err := f.Truncate(p.Durable); err != nil {
		f.Close()
		return nil, p, err
	}
	if _, err := f.Seek(p.Durable, io.SeekStart); err != nil {
		f.Close()
		return nil, p, err
	}
	return f, p, nil
}

// receive writes body to f, and notes every syncEvery bytes how far that is durable. What
// came is kept if the rest does not come.
func (s *Store) receive(f *os.File, body io.Reader, u Upload, p *particulars) error {
	for end := u.Offset + u.Length; p.Durable < end; {
		want := min(end-p.Durable, syncEvery)
		n, err := io.Copy(f, io.LimitReader(body, want))
		if err == nil && n < want {
			err = io.ErrUnexpectedEOF
		}
		serr := f.Sync()
		if serr == nil {
			p.Durable += n
			serr = s.note(u.File, *p)
		}
		if err = cmp.Or(err, serr); err != nil {
			f.Close()
			return fmt.Errorf("the upload of %s broke off with %d of %d bytes stored (%w); go on there", u.File, p.Durable, p.Total, err)
		}
	}
	return nil
}

// checkDigest reads the whole file back if a digest was announced.
func checkDigest(f *os.File, file string, p particulars) error {
	if p.SHA256 == "" {
		return nil
	}
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(f, 0, p.Total)); err != nil {
		return fmt.Errorf("reading the upload of %s back: %w", file, err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != p.SHA256 {
		return &DigestError{file, got, p.SHA256}
	}
	return nil
}

// forget removes what is left of an upload.
func (s *Store) forget(file string) error {
	for _, name := range []string{jsonPath(file), partPath(file)} {
		if err := s.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing an unfinished upload: %w", err)
		}
	}
	return nil
}

// sync makes the directory's entries durable.
func (s *Store) sync(dir string) error {
	d, err := s.root.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
