package bench

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"
)

// server serves images as a netboot server does, and counts what it sends.
type server struct {
	images []*Image
	sent   atomic.Int64 // bytes of bodies
	http   *http.Server
}

// serve serves images on ln until ctx ends.
func serve(ctx context.Context, ln net.Listener, images []*Image) *server {
	s := &server{images: images}
	s.http = &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { s.http.Close() })
	go s.http.Serve(ln) // ends with ErrServerClosed
	return s
}

// suffixes are the names' endings by format; bmaptool goes by them.
var suffixes = map[string]string{"gzip": ".gz", "pigz": ".gz", "bgzip": ".gz", "xz": ".xz", "xz-T0": ".xz", "zstd": ".zst"}

// url is where image number i is served in format.
func url(base string, i int, format string) string {
	return fmt.Sprintf("%s/%d/%s/image.img%s", base, i, format, suffixes[format])
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for i, img := range s.images {
		for _, format := range Formats {
			if r.URL.Path == url("", i, format) {
				s.send(w, r, img.Path(format))
				return
			}
		}
	}
	http.NotFound(w, r)
}

func (s *server) send(w http.ResponseWriter, r *http.Request, path string) {
	f, err := os.Open(path)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(&counting{w, &s.sent}, r, "", fi.ModTime(), f)
}

// counting counts a body, and passes on what makes it cheap to send (sendfile).
type counting struct {
	http.ResponseWriter
	n *atomic.Int64
}

func (c *counting) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.n.Add(int64(n))
	return n, err
}

func (c *counting) ReadFrom(r io.Reader) (int64, error) {
	n, err := io.Copy(c.ResponseWriter, r)
	c.n.Add(n)
	return n, err
}
