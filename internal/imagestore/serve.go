package imagestore

import (
	"net/http"
	"net/url"
)

// DownloadPath is the path that images are downloaded under, followed by a name.
const DownloadPath = "/api/images/download/"

func downloadPath(name string) string { return DownloadPath + url.PathEscape(name) }

// Serve answers a GET or HEAD for the image that name means. Its error, if any, was not
// answered yet. Ranges, If-Range and If-None-Match are net/http's; w must not be wrapped,
// or the kernel's sendfile is not used.
func (s *Store) Serve(w http.ResponseWriter, r *http.Request, name string) error {
	im, f, err := s.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if im.Error != "" {
		return &DamagedError{im.File, im.SHA256, s.sidecar(im.File)}
	}
	h := w.Header()
	h.Set("ETag", im.ETag)
	// Never Content-Encoding: the image is the file as it is, and its name says nothing.
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Cache-Control", "no-cache") // use it only after asking whether it is current
	h.Set("X-Content-Type-Options", "nosniff")
	if im.SHA256 != "" {
		h.Set("X-Image-SHA256", im.SHA256)
	}
	http.ServeContent(w, r, "", im.Modified, f)
	return nil
}
