package flashtest

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Server is an image server that misbehaves on command. Its fields may be changed
// between requests under Lock.
type Server struct {
	sync.Mutex

	Data     []byte
	ETag     string // "" for none; in quotes otherwise
	Modified string // Last-Modified, "" for none
	NoRanges bool   // ignores Range
	Chunked  bool   // no Content-Length
	Close    bool   // neither Content-Length nor chunks: the end is the connection's, as in HTTP/1.0

	// DropAfter cuts each connection after that many body bytes, if > 0.
	DropAfter int64
	// Reset makes a cut a TCP reset instead of a FIN.
	Reset bool
	// Cut makes the resource end after that many bytes, cleanly or not as the framing has
	// it, if >= 0. NewServer sets it to -1.
	Cut int64
	// Statuses are answered, one a request, before any data is.
	Statuses []int
	// Stall stops sending for good after that many bytes, if >= 0.
	Stall int64
	// Slow waits between pieces of 64 KiB.
	Slow time.Duration
	// WrongRange answers 206 with a range that begins elsewhere.
	WrongRange bool
	// Then, if set, is called when a request has its parameters, with the lock held: what it
	// changes is for the next request.
	Then func(s *Server)
	// Handler, if set, answers instead.
	Handler http.HandlerFunc

	// Requests are the Range headers that came, "" for none.
	Requests []string

	http *httptest.Server
}

// NewServer serves data on loopback until the test ends, with an ETag and ranges.
func NewServer(t testing.TB, data []byte) *Server {
	t.Helper()
	return ServeOn(t, data, nil)
}

// ServeOn is NewServer on a listener; on loopback if that is nil.
func ServeOn(t testing.TB, data []byte, ln net.Listener) *Server {
	t.Helper()
	s := &Server{Data: data, ETag: `"v1"`, Cut: -1, Stall: -1}
	s.http = httptest.NewUnstartedServer(s)
	if ln != nil {
		s.http.Listener.Close()
		s.http.Listener = ln
	}
	s.http.Start()
	t.Cleanup(func() {
		s.http.CloseClientConnections()
		s.http.Close()
	})
	return s
}

// URL is the image's address. It has no extension, as on the netboot server.
func (s *Server) URL() string { return s.http.URL + "/api/images/download/test-image" }

// Addr is the server's HOST:PORT.
func (s *Server) Addr() string { return s.http.Listener.Addr().String() }

// Set changes the server between requests.
func (s *Server) Set(f func(s *Server)) {
	s.Lock()
	defer s.Unlock()
	f(s)
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.Lock()
	s.Requests = append(s.Requests, r.Header.Get("Range"))
	data, etag, modified := s.Data, s.ETag, s.Modified
	noRanges, chunked, closing, drop, reset, cut, stall, slow, wrong := s.NoRanges, s.Chunked, s.Close, s.DropAfter, s.Reset, s.Cut, s.Stall, s.Slow, s.WrongRange
	status := 0
	if len(s.Statuses) > 0 {
		status, s.Statuses = s.Statuses[0], s.Statuses[1:]
	}
	h := s.Handler
	if s.Then != nil {
		s.Then(s)
	}
	s.Unlock()
	if h != nil {
		h(w, r)
		return
	}
	if status != 0 {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(status)
		fmt.Fprintf(w, "<!DOCTYPE html><html><title>%d</title></html>", status)
		return
	}

	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	var start int64
	code := 200
	if rng := r.Header.Get("Range"); rng != "" && !noRanges && fits(r.Header.Get("If-Range"), etag, modified) {
		start, err = strconv.ParseInt(strings.TrimSuffix(strings.TrimPrefix(rng, "bytes="), "-"), 10, 64)
		if err != nil {
			panic(err)
		}
		code = 206
	}
	var head bytes.Buffer
	fmt.Fprintf(&head, "HTTP/1.1 %d %s\r\nConnection: close\r\n", code, http.StatusText(code))
	if etag != "" {
		fmt.Fprintf(&head, "ETag: %s\r\n", etag)
	}
	if modified != "" {
		fmt.Fprintf(&head, "Last-Modified: %s\r\n", modified)
	}
	if code == 206 {
		if start > int64(len(data)) {
			panic("range behind the end")
		}
		said := start
		if wrong {
			said++
			start++
		}
		fmt.Fprintf(&head, "Content-Range: bytes %d-%d/%d\r\n", said, len(data)-1, len(data))
	}
	body := data[start:]
	switch {
	case chunked:
		head.WriteString("Transfer-Encoding: chunked\r\n")
	case !closing:
		fmt.Fprintf(&head, "Content-Length: %d\r\n", len(body))
	}
	head.WriteString("\r\n")
	if _, err := conn.Write(head.Bytes()); err != nil {
		return
	}
	whole := true
	if cut >= 0 && start+int64(len(body)) > cut {
		body, whole = body[:max(0, cut-start)], closing // without framing a cut looks like the end
	}
	if drop > 0 && int64(len(body)) > drop {
		body, whole = body[:drop], false
	}
	var stalled []byte
	if stall >= 0 && start+int64(len(body)) > stall {
		n := max(0, stall-start)
		body, stalled = body[:n], body[n:]
	}
	if !send(conn, body, chunked, slow) {
		return
	}
	if len(stalled) > 0 {
		io.Copy(io.Discard, conn) // until the client goes
		return
	}
	if whole && chunked {
		io.WriteString(conn, "0\r\n\r\n")
	}
	if !whole && reset {
		conn.(*net.TCPConn).SetLinger(0)
	}
}

// fits reports whether an If-Range condition holds (RFC 9110, section 13.1.5).
func fits(condition, etag, modified string) bool {
	return condition == "" || condition == etag && !strings.HasPrefix(etag, "W/") || condition == modified
}

func send(conn net.Conn, body []byte, chunked bool, slow time.Duration) bool {
	for len(body) > 0 {
		n := min(len(body), 64<<10)
		if chunked {
			if _, err := fmt.Fprintf(conn, "%x\r\n", n); err != nil {
				return false
			}
		}
		if _, err := conn.Write(body[:n]); err != nil {
			return false
		}
		if chunked {
			if _, err := io.WriteString(conn, "\r\n"); err != nil {
				return false
			}
		}
		body = body[n:]
		if slow > 0 {
			time.Sleep(slow)
		}
	}
	return true
}

// Stop closes the server: its port refuses connections from then on.
func (s *Server) Stop() { s.http.Close() }
