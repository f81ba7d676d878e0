package bootserver

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/openseastack/netboot-imager/internal/imagestore"
)

// uploadStall is how long an upload may go without a byte.
const uploadStall = 2 * time.Minute

// listImages answers GET /api/images.
func (s *Server) listImages(w http.ResponseWriter, r *http.Request) error {
	images, err := s.opt.Images.List()
	if err != nil {
		return err
	}
	free, err := s.opt.Images.Free()
	if err != nil {
		return err
	}
	reply(w, http.StatusOK, struct {
		Images []imagestore.Image `json:"images"`
		Free   int64              `json:"free_bytes"`
	}{images, free})
	return nil
}

func (s *Server) download(w http.ResponseWriter, r *http.Request) error {
	return s.opt.Images.Serve(w, r, param(r, "name"))
}

// uploaded tells how far an upload is that broke off.
func (s *Server) uploaded(w http.ResponseWriter, r *http.Request) error {
	have, total, err := s.opt.Images.Have(param(r, "name"))
	if err != nil {
		return err
	}
	w.Header().Set("Upload-Offset", strconv.FormatInt(have, 10))
	reply(w, http.StatusOK, struct {
		Have  int64 `json:"have"`
		Total int64 `json:"total"`
	}{have, total})
	return nil
}

// upload answers PUT /api/images/FILE: the whole image, or with Content-Range a part of
// it, as curl sends with -T FILE -C OFFSET.
func (s *Server) upload(w http.ResponseWriter, r *http.Request) error {
	u, err := parseUpload(r)
	if err != nil {
		return err
	}
	u.File = param(r, "name")
	im, err := s.opt.Images.Put(u, &stallReader{r.Body, http.NewResponseController(w)})
	if err != nil {
		var conflict *imagestore.ConflictError
		if errors.As(err, &conflict) {
			w.Header().Set("Upload-Offset", strconv.FormatInt(conflict.Have, 10))
		}
		var ne net.Error
		if errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &ne) && ne.Timeout() {
			return &httpError{http.StatusRequestTimeout, err.Error()}
		}
		return err
	}
	if im == nil {
		have := u.Offset + u.Length
		w.Header().Set("Upload-Offset", strconv.FormatInt(have, 10))
		reply(w, http.StatusAccepted, struct {
			Success bool   `json:"success"`
			Message string `json:"message"`
			Have    int64  `json:"have"`
			Total   int64  `json:"total"`
		}{true, fmt.Sprintf("%d of %d bytes are here; go on there", have, u.Total), have, u.Total})
		return nil
	}
	s.opt.Logf("image %s: %d bytes uploaded from %s", im.File, im.Size, r.RemoteAddr)
	reply(w, http.StatusCreated, struct {
		Success bool              `json:"success"`
		Message string            `json:"message"`
		Image   *imagestore.Image `json:"image"`
	}{true, "Image uploaded: " + im.File, im})
	return nil
}

func parseUpload(r *http.Request) (u imagestore.Upload, err error) {
	if r.ContentLength < 0 {
		return u, &httpError{http.StatusLengthRequired, "an upload must say its length, so that its room is known; send Content-Length"}
	}
	if r.ContentLength == 0 {
		return u, badRequest("the upload is empty; send the image as the request's body")
	}
	u = imagestore.Upload{Length: r.ContentLength, Total: r.ContentLength}
	if cr := r.Header.Get("Content-Range"); cr != "" {
		var last int64
		if n, err := fmt.Sscanf(cr+"$", "bytes %d-%d/%d$", &u.Offset, &last, &u.Total); n != 3 || err != nil || last-u.Offset+1 != u.Length {
			return u, badRequest("Content-Range %q does not fit to a body of %d bytes; send it like bytes 100-199/200", cr, u.Length)
		}
	}
	if sum := r.URL.Query().Get("sha256"); r.URL.Query().Has("sha256") {
		u.SHA256 = strings.ToLower(sum)
		if len(sum) != 64 || strings.Trim(u.SHA256, "0123456789abcdef") != "" {
			return u, badRequest("sha256 must be 64 hex digits: the SHA-256 of the uploaded file; leave it out for no check")
		}
	}
	return u, nil
}

// stallReader reads a body that may take as long as it takes, as long as it moves.
type stallReader struct {
	r  io.Reader
	rc *http.ResponseController
}

func (s *stallReader) Read(p []byte) (int, error) {
	if err := s.rc.SetReadDeadline(time.Now().Add(uploadStall)); err != nil {
		return 0, err
	}
	return s.r.Read(p)
}

// deleteImage answers DELETE /api/images/FILE.
func (s *Server) deleteImage(w http.ResponseWriter, r *http.Request) error {
	name := param(r, "name")
	if err := s.opt.Images.Delete(name); err != nil {
		return err
	}
	s.opt.Logf("image %s: deleted, as %s asked", name, r.RemoteAddr)
	reply(w, http.StatusOK, struct {
		Success bool   `json:"success"`
		Message string `json:"message"`
	}{true, "Image deleted: " + name})
	return nil
}
