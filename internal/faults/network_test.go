package faults

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/openseastack/netboot-imager/internal/flashtest"
)

// TestNetwork: the image server and the way to it.
func TestNetwork(t *testing.T) {
	matrix(t, network, networkRows)
}

// short is for rows that wait until the imager gives up; a third of it must be long for a
// busy machine.
var short = map[string]any{"stall_timeout": "8s"}

// networkRows are faults of the server and of what it says. Truncation and bit flips have
// sweeps of their own (sweep_test.go), links that are bad in themselves another file.
var networkRows = []row{
	{
		fault:  "nothing is wrong (raw)",
		status: 200, says: "successfully written", after: whole, peers: true,
	}, {
		fault: "nothing is wrong (gzip)", format: "gzip",
		status: 200, says: "successfully written", after: whole, peers: true,
	}, {
		fault: "301 to an allowed host", serve: redirect(http.StatusMovedPermanently, "127.0.0.1"),
		status: 200, says: "successfully written", after: whole, peers: true,
	}, {
		fault: "302 to an allowed host", serve: redirect(http.StatusFound, "127.0.0.1"),
		status: 200, says: "successfully written", after: whole,
	}, {
		fault: "302 to a host that is not allowed, which has an image", serve: redirect(http.StatusFound, "127.0.0.2"),
		status: 403, says: "127.0.0.2", after: unchanged,
	}, {
		fault: "307 to a host that is not allowed, in the middle of the download", serve: redirectOnResume("127.0.0.2"),
		status: 403, says: "127.0.0.2", after: cleared,
	}, {
		fault: "a redirect to itself, for ever", serve: redirectToItself,
		status: 502, says: "redirect", after: unchanged, peers: true,
	}, {
		fault: "a redirect to file:///etc/passwd", serve: redirectTo("file:///etc/passwd"),
		status: 502, says: "scheme", after: unchanged,
	}, {
		fault: "404 with an HTML page", serve: statuses(404, -1),
		status: 502, says: "404", after: unchanged, peers: true,
	}, {
		fault: "401", serve: statuses(401, -1),
		status: 502, says: "401", after: unchanged,
	}, {
		fault: "500 with an HTML page, for good", config: short, serve: statuses(500, -1),
		status: 502, says: "500", after: unchanged, peers: true,
	}, {
		fault: "503 twice, then the image", serve: statuses(503, 2),
		status: 200, after: whole, peers: true, check: retried(2),
	}, {
		fault: "200 with an HTML page (a captive portal)", encode: replace("<!DOCTYPE html><html><title>Welcome</title></html>"),
		status: 422, says: "HTML page", after: unchanged, peers: true,
	}, {
		fault: "200 with JSON ({\"error\": …})", encode: replace(`{"error": "image not found"}`),
		status: 422, says: "JSON", after: unchanged,
	}, {
		fault: "204 without a body", serve: handler(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(204) }),
		status: 502, says: "204", after: unchanged,
	}, {
		fault: "200 with a body of 0 bytes", encode: replace(""),
		status: 422, says: "empty", after: unchanged, peers: true,
	}, {
		fault: "an answer that is not HTTP", serve: raw("SSH-2.0-OpenSSH_9.2\r\n"),
		status: 502, after: unchanged, peers: true,
	}, {
		fault: "a server that speaks TLS, at an http:// URL", url: tlsServer,
		status: 502, says: "400", after: unchanged,
	}, {
		fault: "a header of 1 MiB", serve: handler(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Long", string(make([]byte, 0))+longHeader)
		}),
		status: 502, after: unchanged,
	}, {
		fault: "nobody listens on the port", config: short, url: func(_ testing.TB, s *flashtest.Server) string { s.Stop(); return s.URL() },
		status: 502, says: "cannot be reached", after: unchanged, peers: true,
	}, {
		fault: "connections break after every 1 MiB (FIN)", serve: drop(mib, false),
		status: 200, after: whole, peers: true, check: retried(5),
	}, {
		fault: "connections break after every 1 MiB (RST)", serve: drop(mib, true),
		status: 200, after: whole, check: retried(5),
	}, {
		fault: "connections break after every 1 MiB, gzip", format: "gzip", serve: drop(mib, false),
		status: 200, after: whole, peers: true, check: retried(2),
	}, {
		fault: "connections break after every 1 MiB, xz", format: "xz", serve: drop(mib, true),
		status: 200, after: whole, check: retried(2),
	}, {
		fault: "connections break, and the server has no ranges", format: "gzip", serve: all(dropTimes(2, 2*mib), func(t testing.TB, s *flashtest.Server) { s.NoRanges = true }),
		status: 200, after: whole,
	}, {
		fault: "connections break, and the server has neither ETag nor Last-Modified", serve: all(dropTimes(2, 2*mib), func(t testing.TB, s *flashtest.Server) { s.ETag = "" }),
		status: 200, after: whole,
	}, {
		fault: "206 with another range than the one asked for", serve: all(dropTimes(1, 2*mib), func(t testing.TB, s *flashtest.Server) { s.WrongRange = true }),
		status: 200, after: whole,
	}, {
		fault: "200 instead of 206, so the beginning comes again", serve: all(dropTimes(1, 2*mib), func(t testing.TB, s *flashtest.Server) { s.NoRanges = true }),
		status: 200, after: whole,
	}, {
		fault: "206 for a request without Range, of the middle", serve: handler(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Range", "bytes 100-199/10485760")
			w.WriteHeader(206)
			w.Write(make([]byte, 100))
		}),
		status: 502, says: "206", after: unchanged, peers: true,
	}, {
		fault: "the image changes between two attempts, and with it the ETag", serve: changeOnResume(`"v2"`, ""),
		status: 502, says: "changed during the download", after: cleared,
	}, {
		fault: "the image changes between two attempts, and with it Last-Modified", serve: changeOnResume("", "Tue, 24 Nov 2026 10:00:00 GMT"),
		status: 502, says: "changed during the download", after: cleared,
	}, {
		fault: "the image changes between two attempts, and with it the ETag; the server ignores If-Range", serve: spliceOnResume(`"v2"`, ""),
		status: 502, says: "ETag was", after: cleared,
	}, {
		fault: "the image changes between two attempts, and with it Last-Modified; the server ignores If-Range", serve: spliceOnResume("", "Tue, 24 Nov 2026 10:00:00 GMT"),
		status: 502, says: "Last-Modified was", after: cleared,
	}, {
		fault: "the image changes between two attempts, and the server has no validators", serve: changeOnResume("", ""),
		status: 502, says: "changed during the download", after: cleared,
	}, {
		fault: "the image changes between two attempts, and the server says the same ETag: gzip", format: "gzip", serve: changeOnResume(`"v1"`, ""),
		status: 422, says: "its gzip data", after: cleared,
	}, {
		fault: "the image changes between two attempts, and the server says the same ETag: raw, sha256 given", serve: changeOnResume(`"v1"`, ""),
		request: map[string]any{"sha256": flashtest.SHA256(sampleImage())},
		status:  422, says: "sha256 mismatch", after: cleared,
	}, {
		fault: "the image becomes shorter between two attempts (416)", serve: shrinkOnResume,
		status: 502, says: "changed during the download", after: cleared,
	}, {
		fault: "the image disappears between two attempts (404)", serve: onResume(func(s *flashtest.Server) { s.Statuses = []int{404} }),
		status: 502, says: "404", after: cleared,
	}, {
		fault: "the server restarts: gone for half a second, then back", serve: restart,
		status: 200, after: whole, check: retried(1),
	}, {
		fault: "the server goes away for good", config: short, serve: onResume(func(s *flashtest.Server) { s.Statuses = forever(503) }),
		status: 502, says: "503", after: cleared, peers: true,
	}, {
		fault: "body longer than Content-Length, which is right", serve: longBody(0),
		status: 200, after: whole,
	}, {
		fault: "body longer than Content-Length, which is wrong: raw", serve: longBody(-4096),
		status: 422, says: "truncated", after: unchanged, peers: true,
	}, {
		fault: "body longer than Content-Length, which is wrong: gzip", format: "gzip", serve: longBody(-4096),
		status: 422, says: "truncated", after: cleared, peers: true,
	}, {
		fault: "less than Content-Length each time, behind the last partition, raw", config: short, image: spareTail, serve: func(t testing.TB, s *flashtest.Server) { s.Cut = 9 * mib },
		status: 422, says: "truncated", after: cleared, peers: true,
	}, {
		fault: "a chunked body with a broken chunk header", config: short, serve: brokenChunk,
		status: 502, after: cleared,
	}, {
		fault: "stalls before the header", config: short, serve: handler(func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }),
		status: 504, says: "stalled", after: unchanged, peers: true,
	}, {
		fault: "stalls in the middle, raw", config: short, serve: func(t testing.TB, s *flashtest.Server) { s.Stall = 5 * mib },
		status: 504, says: "stalled", after: cleared, peers: true,
	}, {
		fault: "stalls in the middle, gzip", config: short, format: "gzip", serve: func(t testing.TB, s *flashtest.Server) { s.Stall = 2 * mib },
		status: 504, says: "stalled", after: cleared,
	}, {
		fault: "stalls within the first MiB", config: short, serve: func(t testing.TB, s *flashtest.Server) { s.Stall = 100000 },
		status: 504, says: "stalled", after: unchanged,
	}, {
		fault: "stalls once for longer than a third of the limit, then goes on", config: map[string]any{"stall_timeout": "12s"}, serve: stallOnce,
		status: 200, after: whole, check: retried(1),
	}, {
		fault: "one byte every 0.1 s for twice the stall limit; then the user cancels", serve: trickle(3 * mib),
		config: map[string]any{"stall_timeout": "6s"},
		during: func(im *imager) error {
			if err := im.await(writing); err != nil {
				return err
			}
			time.Sleep(12 * time.Second) // it is a row about time
			return im.cancel()
		},
		status: 409, says: "cancelled by", after: cleared,
	}, {
		fault: "the user cancels in the middle", serve: func(t testing.TB, s *flashtest.Server) { s.Stall = 5 * mib },
		config: map[string]any{"stall_timeout": "1m"},
		during: cancelWhile(writing),
		status: 409, says: "cancelled by", after: cleared,
	}, {
		fault: "Content-Encoding: gzip that nobody asked for", format: "gzip", serve: handlerWith(func(s *flashtest.Server, w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			w.Header().Set("Content-Length", fmt.Sprint(len(s.Data)))
			w.Write(s.Data)
		}),
		status: 200, after: whole,
	}, {
		fault: "one flipped bit in raw data, sha256 given", encode: flip(5 * mib * 8), request: map[string]any{"sha256": flashtest.SHA256(sampleImage())},
		status: 422, says: "sha256 mismatch", after: cleared,
	},
}

// writing is a moment of a write.
func writing(s status) bool { return s.Stage == "writing" }

// cancelWhile cancels the write at a moment of it.
func cancelWhile(moment func(status) bool) func(*imager) error {
	return func(im *imager) error {
		if err := im.await(moment); err != nil {
			return err
		}
		return im.cancel()
	}
}

// retried checks that the receipt tells of at least n retries.
func retried(n int) func(*outcome) error {
	return func(o *outcome) error {
		if o.answer.Receipt.Retries < n {
			return fmt.Errorf("the receipt tells of %d retries, want at least %d", o.answer.Receipt.Retries, n)
		}
		return nil
	}
}

// spareTail has data behind its only partition: nothing but HTTP tells that it is missing.
func spareTail(testing.TB) []byte {
	img := append([]byte(nil), sampleImage()...)
	flashtest.MBR(img, 2048, 4*mib/512)
	return img
}

type serveFunc = func(t testing.TB, s *flashtest.Server)

func all(fs ...serveFunc) serveFunc {
	return func(t testing.TB, s *flashtest.Server) {
		for _, f := range fs {
			f(t, s)
		}
	}
}

func handler(h http.HandlerFunc) serveFunc {
	return func(t testing.TB, s *flashtest.Server) { s.Handler = h }
}

func handlerWith(h func(*flashtest.Server, http.ResponseWriter, *http.Request)) serveFunc {
	return func(t testing.TB, s *flashtest.Server) {
		s.Handler = func(w http.ResponseWriter, r *http.Request) { h(s, w, r) }
	}
}

// statuses answers n requests (all if n < 0) with a status and an HTML page.
func statuses(code, n int) serveFunc {
	return func(t testing.TB, s *flashtest.Server) {
		if n < 0 {
			s.Statuses = forever(code)
			return
		}
		for range n {
			s.Statuses = append(s.Statuses, code)
		}
	}
}

// forever is more requests than a row makes.
func forever(code int) []int {
	codes := make([]int, 10000)
	for i := range codes {
		codes[i] = code
	}
	return codes
}

func replace(body string) func([]byte) []byte {
	return func([]byte) []byte { return []byte(body) }
}

// flip flips a bit.
func flip(bit int) func([]byte) []byte {
	return func(b []byte) []byte {
		b[bit/8] ^= 1 << (bit % 8)
		return b
	}
}

// elsewhere serves the same data on another loopback address.
func elsewhere(t testing.TB, s *flashtest.Server, host string) string {
	t.Helper()
	ln, err := net.Listen("tcp", host+":0")
	if err != nil {
		t.Fatal(err)
	}
	other := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", s.ETag)
		w.Header().Set("Content-Length", fmt.Sprint(len(s.Data)))
		w.Write(s.Data)
	}))
	other.Listener.Close()
	other.Listener = ln
	other.Start()
	t.Cleanup(other.Close)
	return other.URL + "/image"
}

func redirect(code int, host string) serveFunc {
	return func(t testing.TB, s *flashtest.Server) {
		to := elsewhere(t, s, host)
		s.Handler = func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, code) }
	}
}

func redirectTo(to string) serveFunc {
	return handler(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", to)
		w.WriteHeader(http.StatusFound)
	})
}

func redirectToItself(t testing.TB, s *flashtest.Server) {
	s.Handler = func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, r.URL.String(), http.StatusFound)
	}
}

// onResume breaks the first connection in the middle and then changes the server.
func onResume(change func(s *flashtest.Server)) serveFunc {
	return func(t testing.TB, s *flashtest.Server) {
		s.DropAfter = int64(min(4*mib, len(s.Data)/2))
		s.Then = func(s *flashtest.Server) {
			s.DropAfter, s.Then = 0, nil
			change(s)
		}
	}
}

func redirectOnResume(host string) serveFunc {
	return func(t testing.TB, s *flashtest.Server) {
		to := elsewhere(t, s, host)
		onResume(func(s *flashtest.Server) {
			s.Handler = func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, to, http.StatusTemporaryRedirect)
			}
		})(t, s)
	}
}

// changeOnResume exchanges the image between two attempts, and its validators if they
// are given.
func changeOnResume(etag, modified string) serveFunc {
	return func(t testing.TB, s *flashtest.Server) {
		switch {
		case etag != "":
		case modified != "":
			s.ETag, s.Modified = "", "Mon, 23 Nov 2026 10:00:00 GMT"
		default:
			s.ETag = ""
		}
		other := otherImage()
		if len(s.Data) != len(other) {
			other = make([]byte, len(s.Data))
			copy(other, compressed(t, "gzip", otherImage()))
		}
		onResume(func(s *flashtest.Server) { s.Data, s.ETag, s.Modified = other, etag, modified })(t, s)
	}
}

// spliceOnResume is changeOnResume at a server that sends a part of the new image.
func spliceOnResume(etag, modified string) serveFunc {
	return func(t testing.TB, s *flashtest.Server) {
		if etag == "" {
			s.ETag, s.Modified = "", "Mon, 23 Nov 2026 10:00:00 GMT"
		}
		onResume(func(s *flashtest.Server) {
			s.Handler = func(w http.ResponseWriter, r *http.Request) {
				var start int
				fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &start)
				other := otherImage()
				if etag != "" {
					w.Header().Set("ETag", etag)
				} else {
					w.Header().Set("Last-Modified", modified)
				}
				w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", start, len(other)-1, len(other)))
				w.WriteHeader(http.StatusPartialContent)
				w.Write(other[start:])
			}
		})(t, s)
	}
}

func shrinkOnResume(t testing.TB, s *flashtest.Server) {
	onResume(func(s *flashtest.Server) {
		s.Handler = func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Range", "bytes */1000")
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
		}
	})(t, s)
}

func drop(after int64, reset bool) serveFunc {
	return func(t testing.TB, s *flashtest.Server) { s.DropAfter, s.Reset = after, reset }
}

// dropTimes breaks n connections, each after some bytes, and then no more.
func dropTimes(n int, after int64) serveFunc {
	return func(t testing.TB, s *flashtest.Server) {
		s.DropAfter = after
		s.Then = func(s *flashtest.Server) {
			if len(s.Requests) >= n {
				s.DropAfter = 0
			}
		}
	}
}

// restart closes the server's port in mid-transfer and opens it again.
func restart(t testing.TB, s *flashtest.Server) {
	onResume(func(s *flashtest.Server) {
		addr, data, etag := s.Addr(), s.Data, s.ETag
		go func() {
			s.Stop()
			time.Sleep(500 * time.Millisecond) // it is a row about time
			ln, err := net.Listen("tcp", addr)
			if err != nil {
				t.Errorf("the port is gone: %v", err)
				return
			}
			again := flashtest.NewServer(t, data)
			again.ETag = etag
			srv := &http.Server{Handler: again}
			t.Cleanup(func() { srv.Close() })
			if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
				t.Error(err)
			}
		}()
	})(t, s)
}

var longHeader = func() string {
	b := make([]byte, mib)
	for i := range b {
		b[i] = 'x'
	}
	return string(b)
}()

// hijack answers with bytes.
func hijack(f func(s *flashtest.Server, c net.Conn)) serveFunc {
	return handlerWith(func(s *flashtest.Server, w http.ResponseWriter, r *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer c.Close()
		f(s, c)
	})
}

func raw(answer string) serveFunc {
	return hijack(func(_ *flashtest.Server, c net.Conn) { io.WriteString(c, answer) })
}

// longBody announces the data's length plus delta, and sends all of it and more.
func longBody(delta int) serveFunc {
	return hijack(func(s *flashtest.Server, c net.Conn) {
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nETag: \"v1\"\r\nContent-Length: %d\r\n\r\n", len(s.Data)+delta)
		c.Write(s.Data)
		io.WriteString(c, "this is too much")
	})
}

func brokenChunk(t testing.TB, s *flashtest.Server) {
	hijack(func(s *flashtest.Server, c net.Conn) {
		io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		half := s.Data[:5*mib]
		fmt.Fprintf(c, "%x\r\n%s\r\nnot a number\r\n", len(half), half)
	})(t, s)
}

// tlsServer returns the http:// URL of a server that wants https.
func tlsServer(t testing.TB, _ *flashtest.Server) string {
	s := httptest.NewTLSServer(http.NotFoundHandler())
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	t.Cleanup(s.Close)
	return strings.Replace(s.URL, "https:", "http:", 1) + "/image"
}

// stallOnce stalls the first answer in the middle, and no other.
func stallOnce(t testing.TB, s *flashtest.Server) {
	s.Stall = 5 * mib
	s.Then = func(s *flashtest.Server) { s.Stall, s.Then = -1, nil }
}

// trickle sends some bytes and then one every 0.1 s.
func trickle(after int) serveFunc {
	return hijack(func(s *flashtest.Server, c net.Conn) {
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nETag: \"v1\"\r\nContent-Length: %d\r\n\r\n", len(s.Data))
		if _, err := c.Write(s.Data[:after]); err != nil {
			return
		}
		for _, b := range s.Data[after:] {
			time.Sleep(100 * time.Millisecond)
			if _, err := c.Write([]byte{b}); err != nil {
				return
			}
		}
	})
}
