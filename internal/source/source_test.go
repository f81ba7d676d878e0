package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/openseastack/netboot-imager/internal/flashtest"
)

// newClient returns a client that may connect to loopback.
func newClient(_ *testing.T, stall time.Duration) *Client {
	return NewClient(Config{
		Hosts:     Hosts{Prefixes: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
		Stall:     stall,
		ReadAhead: 1 << 20,
	})
}

// get downloads and decodes url.
func get(t *testing.T, c *Client, url string) ([]byte, *Stream, error) {
	t.Helper()
	u, err := ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.Open(t.Context(), u, func(string) {})
	if err != nil {
		return nil, nil, err
	}
	defer s.Close()
	b, err := io.ReadAll(s)
	return b, s, err
}

var formats = []string{"raw", "gzip", "pigz", "bgzip", "xz", "zstd", "bzip2"}

func TestFormats(t *testing.T) {
	img := flashtest.Image(5<<20, 1)
	for _, name := range formats {
		t.Run(name, func(t *testing.T) {
			data := flashtest.Compress(t, name, img)
			srv := flashtest.NewServer(t, data)
			got, s, err := get(t, newClient(t, 5*time.Second), srv.URL())
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, img) {
				t.Error("the image came out differently")
			}
			if s.Info.Format != flashtest.FormatOf(name) || s.Info.TransferSize != int64(len(data)) || s.Info.ETag != `"v1"` {
				t.Errorf("info = %+v", s.Info)
			}
			if tr := s.Transfer(); tr.Bytes != int64(len(data)) || tr.SHA256 != flashtest.SHA256(data) || tr.Retries != 0 {
				t.Errorf("transfer = %+v, want %d bytes, %s", tr, len(data), flashtest.SHA256(data))
			}
		})
	}
}

// TestEnds puts all kinds of ends on a stream, in every format and framing.
func TestEnds(t *testing.T) {
	img := flashtest.Image(2<<20, 2)[1<<20 : 1<<20+70_000]
	for _, name := range formats[1:] {
		whole := flashtest.Compress(t, name, img)
		tests := []struct {
			what string
			data []byte
			want []byte // nil for an error
		}{
			{"as it is", whole, img},
			{"4 zeros behind", append(bytes.Clone(whole), 0, 0, 0, 0), img},
			{"512 zeros behind", append(bytes.Clone(whole), make([]byte, 512)...), img},
			{"100 KiB of zeros behind", append(bytes.Clone(whole), make([]byte, 100<<10)...), img},
			{"twice", append(bytes.Clone(whole), whole...), append(bytes.Clone(img), img...)},
			{"one byte of junk", append(bytes.Clone(whole), 'x'), nil},
			{"two bytes of junk", append(bytes.Clone(whole), "xy"...), nil},
			{"three bytes of junk", append(bytes.Clone(whole), "xyz"...), nil},
			{"junk", append(bytes.Clone(whole), "this is some junk behind the end"...), nil},
			{"junk behind zeros", append(append(bytes.Clone(whole), make([]byte, 512)...), 'x'), nil},
			{"half of a second one", append(bytes.Clone(whole), whole[:len(whole)/2]...), nil},
			{"beginning of a second one", append(bytes.Clone(whole), whole[:5]...), nil},
			{"one byte short", whole[:len(whole)-1], nil},
		}
		for _, framing := range []string{"length", "chunked", "close"} {
			for _, tt := range tests {
				t.Run(name+"/"+framing+"/"+tt.what, func(t *testing.T) {
					srv := flashtest.NewServer(t, tt.data)
					srv.Chunked, srv.Close = framing == "chunked", framing == "close"
					got, _, err := get(t, newClient(t, 10*time.Second), srv.URL())
					if tt.want != nil {
						if err != nil || !bytes.Equal(got, tt.want) {
							t.Errorf("got %d bytes, %v, want %d", len(got), err, len(tt.want))
						}
						return
					}
					if !flashtest.As[*ImageError](err) {
						t.Errorf("got %d bytes, error %v, want an ImageError", len(got), err)
					}
				})
			}
		}
	}
}

// TestTruncated cuts every format at every offset (a sample of them where there are
// many), with a connection that ends as if all were well.
func TestTruncated(t *testing.T) {
	img := []byte(strings.Repeat("all work and no play makes jack a dull boy\n", 40))
	for i := range img[:700] {
		img[i] ^= byte(i * 7 >> 2)
	}
	for _, name := range formats[1:] {
		t.Run(name, func(t *testing.T) {
			one := flashtest.Compress(t, name, img)
			whole := append(bytes.Clone(one), one...) // so that there are inner ends, too
			for cut := range len(whole) {
				s := &Stream{ring: newRing(64 << 10), body: &body{}, ctx: context.Background(), cancel: func() {}}
				s.ring.start(bytes.NewReader(whole[:cut]), &s.filler)
				err := s.begin(nil)
				var got []byte
				if err == nil {
					got, err = io.ReadAll(s)
				}
				s.Close()
				// The first stream may be complete and the second not have begun.
				complete := cut == len(one) && bytes.Equal(got, img)
				if cut < 10 && err == nil {
					complete = bytes.Equal(got, whole[:cut]) // too short to be anything but raw
				}
				if err == nil && !complete || err != nil && cut == len(one) {
					t.Errorf("cut at %d of %d (inner end %d): %d bytes, error %v", cut, len(whole), len(one), len(got), err)
				}
			}
		})
	}
}

// TestResume breaks the download in many ways; it must arrive all the same, unchanged.
func TestResume(t *testing.T) {
	img := flashtest.Image(8<<20, 3)
	gz := flashtest.Compress(t, "gzip", img)
	if len(gz) < 4*300_000 {
		t.Fatalf("the compressed image has only %d bytes", len(gz))
	}
	tests := []struct {
		name string
		set  func(s *flashtest.Server)
	}{
		{"dropped every 300 kB", func(s *flashtest.Server) { s.DropAfter = 300_000 }},
		{"reset every 300 kB", func(s *flashtest.Server) { s.DropAfter, s.Reset = 300_000, true }},
		{"dropped, chunked", func(s *flashtest.Server) { s.DropAfter, s.Chunked = 300_000, true }},
		{"dropped, Last-Modified only", func(s *flashtest.Server) {
			s.DropAfter, s.ETag, s.Modified = 300_000, "", "Sun, 22 Nov 2026 10:00:00 GMT"
		}},
		{"dropped, weak ETag", func(s *flashtest.Server) {
			s.DropAfter, s.ETag, s.Modified = 300_000, `W/"v1"`, "Sun, 22 Nov 2026 10:00:00 GMT"
		}},
		{"errors at first", func(s *flashtest.Server) { s.Statuses = []int{500, 503, 429} }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			srv := flashtest.NewServer(t, gz)
			tt.set(srv)
			got, s, err := get(t, newClient(t, 10*time.Second), srv.URL())
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, img) {
				t.Error("the image came out differently")
			}
			if s.Retries() == 0 || s.Transfer().SHA256 != flashtest.SHA256(gz) {
				t.Errorf("transfer = %+v, want %s after retries", s.Transfer(), flashtest.SHA256(gz))
			}
		})
	}
}

// growing lets a server without ranges get further each time.
func growing(srv *flashtest.Server, step int64) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		srv.Set(func(s *flashtest.Server) { s.Handler, s.DropAfter = nil, s.DropAfter+step })
		srv.ServeHTTP(w, r)
		srv.Set(func(s *flashtest.Server) { s.Handler = growing(srv, step) })
	}
}

// TestReadForward resumes at servers without ranges or without a validator.
func TestReadForward(t *testing.T) {
	img := flashtest.Image(3<<20, 4)
	for name, set := range map[string]func(s *flashtest.Server){
		"no ranges":                 func(s *flashtest.Server) { s.NoRanges = true },
		"no ranges, no ETag":        func(s *flashtest.Server) { s.NoRanges, s.ETag = true, "" },
		"ranges, but no validators": func(s *flashtest.Server) { s.ETag = "" },
		"ranges that are wrong":     func(s *flashtest.Server) { s.WrongRange = true },
	} {
		t.Run(name, func(t *testing.T) {
			srv := flashtest.NewServer(t, img)
			set(srv)
			srv.Handler = growing(srv, 1<<20)
			got, s, err := get(t, newClient(t, 10*time.Second), srv.URL())
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, img) || s.Transfer().SHA256 != flashtest.SHA256(img) {
				t.Error("the image came out differently")
			}
		})
	}
}

// TestChanged replaces the image during the download. Nothing may be spliced.
func TestChanged(t *testing.T) {
	img := flashtest.Image(3<<20, 5)
	other := bytes.Clone(img)
	other[100]++ // in what was downloaded before the connection broke
	shorter := img[:len(img)-512]
	tests := []struct {
		name string
		set  func(s *flashtest.Server)
		then func(s *flashtest.Server)
	}{
		{"ETag", nil, func(s *flashtest.Server) { s.ETag = `"v2"` }},
		{"ETag without ranges", func(s *flashtest.Server) { s.NoRanges = true }, func(s *flashtest.Server) { s.ETag = `"v2"` }},
		{"Last-Modified", func(s *flashtest.Server) { s.ETag, s.Modified = "", "Sun, 22 Nov 2026 10:00:00 GMT" },
			func(s *flashtest.Server) { s.Modified = "Sun, 22 Nov 2026 11:00:00 GMT" }},
		{"content, no validators", func(s *flashtest.Server) { s.ETag = "" }, func(s *flashtest.Server) { s.Data = other }},
		{"content, no validators, chunked", func(s *flashtest.Server) { s.ETag, s.Chunked = "", true }, func(s *flashtest.Server) { s.Data = other }},
		{"length", nil, func(s *flashtest.Server) { s.Data = shorter }},
		{"length, no ETag", func(s *flashtest.Server) { s.ETag = "" }, func(s *flashtest.Server) { s.Data = shorter }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			srv := flashtest.NewServer(t, img)
			srv.DropAfter = 1 << 20
			if tt.set != nil {
				tt.set(srv)
			}
			srv.Handler = func(w http.ResponseWriter, r *http.Request) {
				srv.Set(func(s *flashtest.Server) { s.Handler = nil })
				srv.ServeHTTP(w, r)
				srv.Set(func(s *flashtest.Server) { tt.then(s); s.DropAfter = 0 })
			}
			got, _, err := get(t, newClient(t, 5*time.Second), srv.URL())
			if !flashtest.As[*ServerError](err) || !strings.Contains(err.Error(), "changed") {
				t.Errorf("got %d bytes, error %v, want a ServerError about the change", len(got), err)
			}
		})
	}
}

// after serves img, cut after the first MiB; then answers by h.
func after(srv *flashtest.Server, h http.HandlerFunc) {
	srv.DropAfter = 1 << 20
	srv.Handler = func(w http.ResponseWriter, r *http.Request) {
		srv.Set(func(s *flashtest.Server) { s.Handler = nil })
		srv.ServeHTTP(w, r)
		srv.Set(func(s *flashtest.Server) { s.Handler, s.DropAfter = h, 0 })
	}
}

// TestPartialAnswers has servers that answer a resumed download in unusual, correct ways.
func TestPartialAnswers(t *testing.T) {
	img := flashtest.Image(3<<20, 12)
	rest := func(w http.ResponseWriter, of string, from, to int) {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%s", from, to-1, of))
		w.Header().Set("Content-Length", fmt.Sprint(to-from))
		w.WriteHeader(http.StatusPartialContent)
		w.Write(img[from:to])
	}
	from := func(r *http.Request) (n int) {
		fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &n)
		return n
	}
	size := fmt.Sprint(len(img))
	const monday, tuesday = "Mon, 23 Nov 2026 10:00:00 GMT", "Tue, 24 Nov 2026 10:00:00 GMT"
	tests := []struct {
		name string
		set  func(s *flashtest.Server)
		then func(s *flashtest.Server, w http.ResponseWriter, r *http.Request)
	}{
		{"206 without Last-Modified", func(s *flashtest.Server) { s.Modified = monday }, func(s *flashtest.Server, w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", `"v1"`)
			rest(w, size, from(r), len(img))
		}},
		{"206 without any validator", nil, func(s *flashtest.Server, w http.ResponseWriter, r *http.Request) {
			rest(w, size, from(r), len(img))
		}},
		{"same ETag, another date", func(s *flashtest.Server) { s.Modified = monday }, func(s *flashtest.Server, w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", `"v1"`)
			w.Header().Set("Last-Modified", tuesday)
			rest(w, size, from(r), len(img))
		}},
		{"pieces", nil, func(s *flashtest.Server, w http.ResponseWriter, r *http.Request) {
			rest(w, size, from(r), min(from(r)+300_000, len(img)))
		}},
		{"a piece of unknown whole, then all", func(s *flashtest.Server) { s.Chunked = true }, func(s *flashtest.Server, w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") != "" {
				rest(w, "*", from(r), from(r)+100_000) // not the end, though nothing says so
				return
			}
			w.Header().Set("ETag", `"v1"`)
			w.(http.Flusher).Flush()
			w.Write(img)
		}},
		{"416 behind the last byte, then all", func(s *flashtest.Server) { s.Chunked = true }, func(s *flashtest.Server, w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") != "" {
				w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
				return
			}
			w.Header().Set("ETag", `"v1"`)
			w.(http.Flusher).Flush()
			w.Write(img)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			srv := flashtest.NewServer(t, img)
			if tt.set != nil {
				tt.set(srv)
			}
			after(srv, func(w http.ResponseWriter, r *http.Request) { tt.then(srv, w, r) })
			got, s, err := get(t, newClient(t, 10*time.Second), srv.URL())
			if err != nil || !bytes.Equal(got, img) || s.Transfer().SHA256 != flashtest.SHA256(img) {
				t.Errorf("got %d bytes, %v", len(got), err)
			}
		})
	}
}

// TestStallWithoutRanges keeps the limit also when each attempt reads forward, and does
// not go on for ever when the image is fetched again.
func TestStallWithoutRanges(t *testing.T) {
	img := flashtest.Image(3<<20, 13)
	srv := flashtest.NewServer(t, img)
	srv.NoRanges, srv.Stall = true, 1<<20
	if got, _, err := get(t, newClient(t, 2*time.Second), srv.URL()); !flashtest.As[*StallError](err) {
		t.Errorf("got %d bytes, error %v, want a StallError", len(got), err)
	}
	if n := len(srv.Requests); n > 6 {
		t.Errorf("%d attempts, though each waits for a third of the limit", n)
	}

	srv = flashtest.NewServer(t, img)
	srv.NoRanges = true
	u, _ := ParseURL(srv.URL())
	s, err := newClient(t, 2*time.Second).Open(t.Context(), u, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := io.Copy(io.Discard, s); err != nil {
		t.Fatal(err)
	}
	srv.Set(func(s *flashtest.Server) { s.DropAfter = 1 << 20 })
	if again, err := s.Again(t.Context(), 2<<20); err == nil {
		_, err = io.Copy(io.Discard, again)
		again.Close()
		if err == nil {
			t.Error("a download that always breaks early was complete")
		}
	}
}

// TestFaults lists how a download ends that cannot go on.
func TestFaults(t *testing.T) {
	img := flashtest.Image(2<<20, 6)
	closed := flashtest.NewServer(t, nil)
	tests := []struct {
		name string
		set  func(s *flashtest.Server)
		url  string
		is   func(error) bool
		text string
	}{
		{"404", func(s *flashtest.Server) { s.Statuses = []int{404} }, "", flashtest.As[*ServerError], "404"},
		{"403", func(s *flashtest.Server) { s.Statuses = []int{403} }, "", flashtest.As[*ServerError], "403"},
		{"204", func(s *flashtest.Server) { s.Statuses = []int{204} }, "", flashtest.As[*ServerError], "204"},
		{"206 unasked", func(s *flashtest.Server) { s.Statuses = []int{206} }, "", flashtest.As[*ServerError], "206"},
		{"500 for ever", func(s *flashtest.Server) { s.Statuses = make500s() }, "", flashtest.As[*ServerError], "500"},
		{"empty", func(s *flashtest.Server) { s.Data = nil }, "", flashtest.As[*ImageError], "empty"},
		{"always short", func(s *flashtest.Server) { s.Cut = 1 << 20 }, "", flashtest.As[*ImageError], "truncated"},
		{"always short, no ranges", func(s *flashtest.Server) { s.Cut, s.NoRanges = 1<<20, true }, "", flashtest.As[*ImageError], "truncated"},
		{"always short, chunked", func(s *flashtest.Server) { s.Cut, s.Chunked = 1<<20, true }, "", flashtest.As[*ImageError], "truncated"},
		{"stalls before the first byte", func(s *flashtest.Server) { s.Stall = 0 }, "", flashtest.As[*StallError], "stalled"},
		{"stalls in the middle", func(s *flashtest.Server) { s.Stall = 1 << 20 }, "", flashtest.As[*StallError], "stalled after 1048576 bytes"},
		{"stalls before the header", func(s *flashtest.Server) {
			s.Handler = func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
		}, "", flashtest.As[*StallError], "stalled"},
		{"refused", nil, "http://" + closed.Addr() + "/x", flashtest.As[*ServerError], "refused"},
		{"redirect to a forbidden host", func(s *flashtest.Server) {
			s.Handler = http.RedirectHandler("http://192.0.2.1/x", http.StatusFound).ServeHTTP
		}, "", flashtest.As[*HostError], "192.0.2.1"},
		{"redirect to another scheme", func(s *flashtest.Server) {
			s.Handler = http.RedirectHandler("file:///etc/passwd", http.StatusFound).ServeHTTP
		}, "", flashtest.As[*ServerError], "scheme"},
		{"redirect loop", func(s *flashtest.Server) {
			s.Handler = func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) }
		}, "", flashtest.As[*ServerError], "redirects"},
		{"forbidden host", nil, "http://192.0.2.1/x", flashtest.As[*HostError], "192.0.2.1"},
		{"forbidden host, mapped", nil, "http://[::ffff:192.0.2.1]/x", flashtest.As[*HostError], "192.0.2.1"},
		{"no HTTP", func(s *flashtest.Server) {
			s.Handler = func(w http.ResponseWriter, r *http.Request) {
				c, _, _ := http.NewResponseController(w).Hijack()
				c.Write([]byte("SSH-2.0-OpenSSH_9.2\r\n"))
				c.Close()
			}
		}, "", flashtest.As[*ServerError], "malformed"},
	}
	closed.Stop()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			srv := flashtest.NewServer(t, img)
			if tt.set != nil {
				tt.set(srv)
			}
			url := tt.url
			if url == "" {
				url = srv.URL()
			}
			begin := time.Now()
			got, _, err := get(t, newClient(t, 2*time.Second), url)
			if !tt.is(err) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got %d bytes, error %T %v, want one about %q", len(got), err, err, tt.text)
			}
			if took := time.Since(begin); took > 30*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

func make500s() []int {
	s := make([]int, 1000)
	for i := range s {
		s[i] = 500
	}
	return s
}

// TestRedirect follows a redirect to an allowed host.
func TestRedirect(t *testing.T) {
	img := flashtest.Image(2<<20, 7)
	srv := flashtest.NewServer(t, img)
	from := flashtest.NewServer(t, nil)
	from.Handler = http.RedirectHandler(srv.URL(), http.StatusMovedPermanently).ServeHTTP
	got, _, err := get(t, newClient(t, 10*time.Second), from.URL())
	if err != nil || !bytes.Equal(got, img) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
}

// TestHosts lists who may be connected to.
func TestHosts(t *testing.T) {
	img := flashtest.Image(2<<20, 8)
	srv := flashtest.NewServer(t, img)
	_, port, _ := strings.Cut(srv.Addr(), ":")
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	tests := []struct {
		hosts Hosts
		host  string
		ok    bool
	}{
		{Hosts{Prefixes: loopback}, "127.0.0.1", true},
		{Hosts{Prefixes: loopback}, "localhost", true}, // a name may lead to an allowed address
		{Hosts{Prefixes: loopback}, "[::ffff:127.0.0.1]", true},
		{Hosts{Names: []string{"localhost"}}, "localhost", true},
		{Hosts{Names: []string{"localhost"}}, "LOCALHOST", true},
		{Hosts{Names: []string{"localhost"}}, "127.0.0.1", true}, // what the name resolves to
		{Hosts{Names: []string{"images.invalid"}}, "localhost", false},
		{Hosts{}, "127.0.0.1", false},
		{Hosts{Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}, "localhost", false},
	}
	for _, tt := range tests {
		c := NewClient(Config{Hosts: tt.hosts, Stall: 10 * time.Second})
		_, _, err := get(t, c, fmt.Sprintf("http://%s:%s/x", tt.host, port))
		if tt.ok && err != nil || !tt.ok && !flashtest.As[*HostError](err) {
			t.Errorf("%+v: %s: error %v, want success %v", tt.hosts, tt.host, err, tt.ok)
		}
	}
}

// TestNoContentEncoding makes sure that nothing between asks for another encoding, and
// that an answer which names one is taken by its content.
func TestNoContentEncoding(t *testing.T) {
	img := flashtest.Image(2<<20, 9)
	gz := flashtest.Compress(t, "gzip", img)
	var asked []string
	srv := flashtest.NewServer(t, nil)
	srv.Handler = func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Header.Get("Accept-Encoding"))
		w.Header().Set("Content-Encoding", "gzip")
		w.Write(gz)
	}
	got, s, err := get(t, newClient(t, 10*time.Second), srv.URL())
	if err != nil || !bytes.Equal(got, img) || s.Info.Format != Gzip {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	if len(asked) != 1 || asked[0] != "" {
		t.Errorf("Accept-Encoding = %q, want none", asked)
	}
}

// TestAgain fetches a part of an image once more.
func TestAgain(t *testing.T) {
	img := flashtest.Image(3<<20, 10)
	for _, name := range []string{"raw", "gzip", "zstd"} {
		srv := flashtest.NewServer(t, flashtest.Compress(t, name, img))
		u, _ := ParseURL(srv.URL())
		s, err := newClient(t, 10*time.Second).Open(t.Context(), u, func(string) {})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if _, err := io.Copy(io.Discard, s); err != nil {
			t.Fatal(err)
		}
		const off = 2<<20 + 4096
		again, err := s.Again(t.Context(), off)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(again)
		again.Close()
		if err != nil || !bytes.Equal(got, img[off:]) {
			t.Errorf("%s: got %d bytes, %v, want %d", name, len(got), err, len(img)-off)
		}
		if name == "raw" && srv.Requests[1] != fmt.Sprintf("bytes=%d-", off) {
			t.Errorf("raw: asked for %q, want only the rest", srv.Requests)
		}
		srv.Set(func(s *flashtest.Server) { s.ETag = `"v2"` })
		if again, err := s.Again(t.Context(), off); !flashtest.As[*ServerError](err) {
			t.Errorf("%s: another version: %v, %v, want a ServerError", name, again, err)
		}
	}
}

// TestCancel ends a download that waits.
func TestCancel(t *testing.T) {
	srv := flashtest.NewServer(t, flashtest.Image(2<<20, 11))
	srv.Stall = 1 << 20
	ctx, cancel := context.WithCancelCause(t.Context())
	u, _ := ParseURL(srv.URL())
	s, err := newClient(t, time.Minute).Open(ctx, u, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	why := errors.New("the operator said so")
	time.AfterFunc(50*time.Millisecond, func() { cancel(why) })
	if n, err := io.Copy(io.Discard, s); !errors.Is(err, why) {
		t.Errorf("%d bytes, error %v, want %v", n, err, why)
	}
}

func TestParseURL(t *testing.T) {
	for _, ok := range []string{"http://10.0.0.1:38434/api/images/download/test", "https://example.com/a?b=c", "http://[fe80::1]/x"} {
		if _, err := ParseURL(ok); err != nil {
			t.Errorf("ParseURL(%q) = %v", ok, err)
		}
	}
	for _, bad := range []string{"", "/x", "x", "ftp://h/x", "file:///etc/passwd", "http://", "http:///x", "http://a b/", "http://h/%zz", "javascript:alert(1)", "http://$(reboot)/"} {
		if u, err := ParseURL(bad); err == nil {
			t.Errorf("ParseURL(%q) = %v, want an error", bad, u)
		}
	}
}

func TestContentRange(t *testing.T) {
	tests := []struct {
		in           string
		start, total int64
		ok           bool
	}{
		{"bytes 5-9/10", 5, 10, true},
		{"bytes 5-8/10", 5, 10, true},
		{"bytes 5-9/*", 5, -1, true},
		{"bytes 9-5/10", 0, 0, false},
		{"bytes 5-10/10", 0, 0, false},
		{"bytes */10", 0, 0, false},
		{"items 5-9/10", 0, 0, false},
		{"", 0, 0, false},
	}
	for _, tt := range tests {
		start, total, ok := contentRange(tt.in)
		if ok != tt.ok || ok && (start != tt.start || total != tt.total) {
			t.Errorf("contentRange(%q) = %d, %d, %v", tt.in, start, total, ok)
		}
	}
}
