package operator

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/openseastack/netboot-imager/internal/client"
)

// localImage is a file that this command serves for as long as stations fetch it.
type localImage struct {
	path     string
	file     *os.File
	size     int64
	modified time.Time
	url      string // path part; nobody can guess it
	etag     string // strong, with quotes
	announce string // HOST or HOST:PORT that stations are told instead of the address that reaches them

	stop     context.CancelFunc
	digested chan struct{} // sum and err are known
	sum      string        // SHA-256 of the file, hex
	err      error

	mu      sync.Mutex
	servers map[string]*http.Server // by HOST:PORT asked for
	bases   map[string]string       // http://HOST:PORT
}

// openImage opens a file for serving. Its digest is computed meanwhile: see check.
func openImage(ctx context.Context, path, announce string) (*localImage, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("the image: %w; give a URL or a file", err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file", path)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("the image: %w", err)
	}
	id := rand.Text()
	ctx, stop := context.WithCancel(ctx)
	m := &localImage{
		stop: stop,
		path: path, file: f, size: info.Size(), modified: info.ModTime(), announce: announce,
		url:      "/" + id + "/" + url.PathEscape(filepath.Base(path)),
		etag:     fmt.Sprintf(`"%s-%x-%x"`, id, info.Size(), info.ModTime().UnixNano()),
		digested: make(chan struct{}),
		servers:  map[string]*http.Server{}, bases: map[string]string{},
	}
	go m.digest(ctx)
	return m, nil
}

func (m *localImage) digest(ctx context.Context) {
	defer close(m.digested)
	sum := sha256.New()
	buf := make([]byte, 1<<20)
	for at := int64(0); ; {
		n, err := m.file.ReadAt(buf, at)
		sum.Write(buf[:n])
		at += int64(n)
		if err == io.EOF {
			break
		}
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			m.err = fmt.Errorf("reading %s: %w", m.path, err)
			return
		}
	}
	m.sum = hex.EncodeToString(sum.Sum(nil))
}

// changed reports whether the file is another one than when it was opened.
func (m *localImage) changed() error {
	info, err := m.file.Stat()
	if err != nil {
		return err
	}
	if info.Size() != m.size || !info.ModTime().Equal(m.modified) {
		return fmt.Errorf("%s was changed while it was served", m.path)
	}
	return nil
}

// check returns an error unless what the station has downloaded is this file, all of it.
func (m *localImage) check(r *client.Receipt) error {
	<-m.digested
	if m.err != nil {
		return m.err
	}
	if err := m.changed(); err != nil {
		return err
	}
	if r.TransferSHA256 != m.sum || r.TransferSize != m.size {
		return fmt.Errorf("what the station has downloaded (%d bytes, sha256 %s) is not %s (%d bytes, sha256 %s)",
			r.TransferSize, r.TransferSHA256, m.path, m.size, m.sum)
	}
	return nil
}

// urlFor returns the URL by which a station reaches the file: at the address that this
// machine has towards it. It serves there from then on.
func (m *localImage) urlFor(ctx context.Context, s client.Station) (string, error) {
	listen, host := ":0", m.announce
	if host != "" {
		if h, port, err := net.SplitHostPort(host); err == nil {
			host, listen = h, ":"+port
		}
	} else {
		// Connecting a UDP socket sends nothing; the kernel chooses the route.
		conn, err := (&net.Dialer{}).DialContext(ctx, "udp", s.Addr)
		if err != nil {
			return "", &client.UnreachableError{Addr: s.Addr, Err: err}
		}
		host = conn.LocalAddr().(*net.UDPAddr).IP.String()
		conn.Close()
		listen = net.JoinHostPort(host, "0")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if base, ok := m.bases[listen]; ok {
		return base + m.url, nil
	}
	ln, err := net.Listen("tcp", listen)
	if err != nil {
		return "", fmt.Errorf("the image cannot be served: %w", err)
	}
	srv := &http.Server{Handler: m, ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10}
	m.servers[listen] = srv
	go srv.Serve(ln)
	base := "http://" + net.JoinHostPort(host, fmt.Sprint(ln.Addr().(*net.TCPAddr).Port))
	m.bases[listen] = base
	return base + m.url, nil
}

// host is the address in a URL that urlFor has made.
func host(image string) string {
	u, err := url.Parse(image)
	if err != nil {
		return image
	}
	if a, err := netip.ParseAddr(u.Hostname()); err == nil {
		return a.String()
	}
	return u.Hostname()
}

func (m *localImage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.EscapedPath() != m.url {
		http.Error(w, "not here", http.StatusNotFound)
		return
	}
	if err := m.changed(); err != nil {
		http.Error(w, err.Error(), http.StatusGone)
		return
	}
	w.Header().Set("ETag", m.etag)
	w.Header().Set("Content-Type", "application/octet-stream")
	// A reader of its own for each request: a file has one position.
	http.ServeContent(w, r, "", m.modified, io.NewSectionReader(m.file, 0, m.size))
}

// close stops serving.
func (m *localImage) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, srv := range m.servers {
		srv.Close()
	}
	m.stop()
	<-m.digested
	m.file.Close()
}
