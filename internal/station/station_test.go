package station

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/openseastack/netboot-imager/internal/config"
	"github.com/openseastack/netboot-imager/internal/disk"
	"github.com/openseastack/netboot-imager/internal/flashtest"
	"golang.org/x/sys/unix"
)

const (
	mib   = 1 << 20
	token = "fake-token"
)

// rig is a station on loopback with a real disk.
type rig struct {
	t        *testing.T
	dev      string // a loop device, as root, else a file
	station  *Server
	http     *httptest.Server
	log      syncBuffer
	rebooted chan struct{}
}

// syncBuffer is a log that may be read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) logf(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(&s.b, format+"\n", args...)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// newRig starts a station with a disk of size bytes; extra are further lines of its
// config.
func newRig(t *testing.T, size int64, extra ...string) *rig {
	t.Helper()
	g := &rig{t: t, dev: flashtest.Loop(t, size), rebooted: make(chan struct{}, 1)}
	g.station = New(Options{
		Version: "test", System: disk.Host, StatePath: filepath.Join(t.TempDir(), "state.json"),
		Reboot: func() error { g.rebooted <- struct{}{}; return nil }, ReadAhead: mib, Logf: g.log.logf,
	})
	lines := append([]string{`"allowed_ips": ["127.0.0.0/8"], "shared_secret": "` + token + `"`}, extra...)
	if !strings.Contains(strings.Join(extra, ""), "allowed_devices") {
		lines = append(lines, fmt.Sprintf(`"allowed_devices": [%q, "/dev/nvme9n1"]`, g.dev))
	}
	cfg, err := config.Parse([]byte("{" + strings.Join(lines, ",") + "}"))
	if err != nil {
		t.Fatal(err)
	}
	g.station.Configure(cfg)
	g.http = httptest.NewServer(g.station)
	t.Cleanup(func() {
		g.station.Shutdown(t.Context())
		g.http.CloseClientConnections()
		g.http.Close()
		g.station.jobs.Wait() // the disk is let go before it is removed
		if s := g.log.String(); strings.Contains(s, token) {
			t.Errorf("the token is in the log:\n%s", s)
		}
		if t.Failed() {
			t.Logf("the station's log:\n%s", g.log.String())
		}
	})
	return g
}

// answer is what a request got.
type answer struct {
	status int
	header http.Header
	text   string
	json   map[string]any
}

func (a answer) String() string { return fmt.Sprintf("%d %s", a.status, a.text) }

// do sends a request; body is marshalled unless it is a string or nil.
func (g *rig) do(method, path string, body any, header ...string) answer {
	g.t.Helper()
	var r io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		r = strings.NewReader(b)
	default:
		j, err := json.Marshal(b)
		if err != nil {
			g.t.Fatal(err)
		}
		r = bytes.NewReader(j)
	}
	req, err := http.NewRequest(method, g.http.URL+path, r)
	if err != nil {
		g.t.Fatal(err)
	}
	req.Header.Set("X-Netboot-Token", token)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		g.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	a := answer{resp.StatusCode, resp.Header, string(b), map[string]any{}}
	if method != http.MethodHead {
		if err := json.Unmarshal(b, &a.json); err != nil {
			g.t.Errorf("%s %s: the answer is not a JSON object: %v", method, path, a)
		}
	}
	described(g.t, req, resp, b)
	if a.status >= 400 && method != http.MethodHead && (a.json["success"] != false || a.json["error"] == "") {
		g.t.Errorf("%s %s: %v, want success false and an error", method, path, a)
	}
	if strings.Contains(a.text, token) {
		g.t.Errorf("%s %s: the token is in the answer: %v", method, path, a)
	}
	return a
}

type fields map[string]any

// write asks for a write of what srv serves.
func (g *rig) write(srv *flashtest.Server, more fields) answer {
	g.t.Helper()
	body := fields{"device": g.dev, "image_url": srv.URL(), "netboot_ip": "127.0.0.1"}
	for k, v := range more {
		body[k] = v
	}
	return g.do("POST", "/write-image", body)
}

func (g *rig) disk() []byte {
	g.t.Helper()
	b, err := os.ReadFile(g.dev)
	if err != nil {
		g.t.Fatal(err)
	}
	return b
}

func (g *rig) status() answer { g.t.Helper(); return g.do("GET", "/status", nil) }

// wait polls GET /status until it has that stage.
func (g *rig) wait(stage string) answer {
	g.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		a := g.status()
		if a.json["stage"] == stage {
			return a
		}
		if time.Now().After(deadline) {
			g.t.Fatalf("the stage does not become %s: %v", stage, a)
		}
	}
}

func TestWrite(t *testing.T) {
	g := newRig(t, 16*mib)
	if a := g.status(); a.json["stage"] != "idle" || a.json["percent"] != 0.0 || a.json["error"] != nil {
		t.Errorf("at first: %v", a)
	}
	img := flashtest.Image(8*mib, 1)
	srv := flashtest.NewServer(t, flashtest.Compress(t, "gzip", img))
	a := g.write(srv, nil)
	if a.status != 200 || a.json["success"] != true || a.json["message"] != "Image successfully written to "+g.dev {
		t.Fatal(a)
	}
	if out, _ := a.json["output"].(string); out == "" || strings.Contains(out, "\n") {
		t.Errorf("output = %q, want one line", out)
	}
	if !bytes.Equal(g.disk()[:len(img)], img) {
		t.Error("the disk differs from the image")
	}
	r := a.json["receipt"].(map[string]any)
	for k, want := range (fields{"image_size": float64(len(img)), "format": "gzip", "etag": `"v1"`, "verified": true, "version": "test", "device": g.dev, "job": a.json["job"]}) {
		if r[k] != want {
			t.Errorf("receipt: %s = %v, want %v", k, r[k], want)
		}
	}
	if s := g.status(); s.json["stage"] != "complete" || s.json["percent"] != 100.0 || s.json["error"] != nil || s.json["receipt"] == nil || s.json["job"] != a.json["job"] {
		t.Errorf("afterwards: %v", s)
	}
}

// TestRefusals is the contract's table of what is refused before anything happens. The
// disk and /status must stay as they are.
func TestRefusals(t *testing.T) {
	g := newRig(t, 4*mib)
	img := flashtest.Image(2*mib, 1)
	srv := flashtest.NewServer(t, img)
	url := srv.URL()
	body := func(more fields) fields {
		b := fields{"device": g.dev, "image_url": url}
		for k, v := range more {
			b[k] = v
		}
		return b
	}
	tests := []struct {
		name   string
		method string
		path   string
		body   any
		header []string
		status int
		text   string
	}{
		{"unknown path", "GET", "/nope", nil, nil, 404, "no such path"},
		{"path with a slash", "GET", "/status/", nil, nil, 404, "no such path"},
		{"path in capitals", "GET", "/STATUS", nil, nil, 404, "no such path"},
		{"dots", "GET", "/../../etc/passwd", nil, nil, 404, "no such path"},
		{"wrong method", "GET", "/write-image", nil, nil, 405, "DELETE, POST"},
		{"wrong method", "PUT", "/status", "{}", nil, 405, "GET, HEAD"},
		{"wrong method", "POST", "/health", "{}", nil, 405, "GET, HEAD"},
		{"wrong method", "OPTIONS", "/write-image", nil, nil, 405, "DELETE, POST"},
		{"no token", "POST", "/write-image", body(nil), []string{"X-Netboot-Token", ""}, 403, "Invalid token"},
		{"wrong token", "POST", "/write-image", body(nil), []string{"X-Netboot-Token", "wrong"}, 403, "Invalid token"},
		{"wrong token before a bad body", "POST", "/write-image", "{", []string{"X-Netboot-Token", "wrong"}, 403, "Invalid token"},
		{"wrong token", "DELETE", "/write-image", nil, []string{"X-Netboot-Token", "wrong"}, 403, "Invalid token"},
		{"nothing to cancel", "DELETE", "/write-image", nil, nil, 409, "no write is running"},
		{"empty body", "POST", "/write-image", "", nil, 400, "empty"},
		{"no JSON", "POST", "/write-image", "device=/dev/sda", nil, 400, "not JSON"},
		{"a list", "POST", "/write-image", "[]", nil, 400, "JSON object"},
		{"null", "POST", "/write-image", "null", nil, 400, "JSON object"},
		{"two objects", "POST", "/write-image", "{}{}", nil, 400, "behind"},
		{"cut", "POST", "/write-image", `{"device": "/dev`, nil, 400, "not JSON"},
		{"unknown field", "POST", "/write-image", body(fields{"devise": "x"}), nil, 400, `unknown field "devise"`},
		{"wrong type", "POST", "/write-image", body(fields{"verify": "yes"}), nil, 400, `"verify" must be a boolean`},
		{"too large", "POST", "/write-image", strings.Repeat(" ", 64<<10) + "{}", nil, 413, "64 KiB"},
		{"no URL", "POST", "/write-image", fields{"device": g.dev}, nil, 400, "image_url is missing"},
		{"bad scheme", "POST", "/write-image", body(fields{"image_url": "file:///etc/passwd"}), nil, 400, "http"},
		{"no host", "POST", "/write-image", body(fields{"image_url": "http:///x"}), nil, 400, "host"},
		{"shell in the URL", "POST", "/write-image", body(fields{"image_url": "http://127.0.0.1$(reboot)/"}), nil, 400, "neither an address nor a host name"},
		{"device not allowed", "POST", "/write-image", body(fields{"device": "/dev/sda"}), nil, 400, g.dev},
		{"device with dots", "POST", "/write-image", body(fields{"device": "/dev/../" + g.dev}), nil, 400, g.dev},
		{"device with a slash", "POST", "/write-image", body(fields{"device": g.dev + "/"}), nil, 400, g.dev},
		{"device not present", "POST", "/write-image", body(fields{"device": "/dev/nvme9n1"}), nil, 404, "not present"},
		{"bad sha256", "POST", "/write-image", body(fields{"sha256": "abc"}), nil, 400, "sha256"},
		{"sha256 too short", "POST", "/write-image", body(fields{"sha256": strings.Repeat("a", 62)}), nil, 400, "sha256"},
		{"empty sha256", "POST", "/write-image", body(fields{"sha256": ""}), nil, 400, "leave it out"},
		{"bad port", "POST", "/write-image", body(fields{"image_url": "http://127.0.0.1:99999/x"}), nil, 400, "99999"},
		{"bad respond", "POST", "/write-image", body(fields{"respond": "later"}), nil, 400, "respond"},
		{"bad netboot_ip", "POST", "/write-image", body(fields{"netboot_ip": "server"}), nil, 400, "netboot_ip"},
		{"netboot_ip not allowed", "POST", "/write-image", body(fields{"netboot_ip": "192.0.2.1"}), nil, 403, "netboot_ip"},
		{"image host not allowed", "POST", "/write-image", body(fields{"image_url": "http://192.0.2.1/x"}), nil, 403, "image host not allowed"},
	}
	before := g.disk()
	for _, tt := range tests {
		a := g.do(tt.method, tt.path, tt.body, tt.header...)
		if a.status != tt.status || !strings.Contains(fmt.Sprint(a.json["error"]), tt.text) && a.header.Get("Allow") != tt.text {
			t.Errorf("%s: %v, want %d with %q", tt.name, a, tt.status, tt.text)
		}
		if tt.status == 405 && a.header.Get("Allow") == "" {
			t.Errorf("%s: no Allow header", tt.name)
		}
	}
	if !bytes.Equal(before, g.disk()) {
		t.Error("the disk was changed")
	}
	if a := g.status(); a.json["stage"] != "idle" {
		t.Errorf("refusals show in the status: %v", a)
	}
	if n := len(srv.Requests); n > 0 {
		t.Errorf("the image server was asked %d times", n)
	}
}

// TestImageFailures is the contract's table of what an image or its server may do.
func TestImageFailures(t *testing.T) {
	img := flashtest.Image(6*mib, 1)
	gz := flashtest.Compress(t, "gzip", img)
	dead := flashtest.NewServer(t, nil)
	dead.Stop()
	corrupt := bytes.Clone(gz)
	corrupt[len(corrupt)/2] ^= 4
	tests := []struct {
		name    string
		data    []byte
		set     func(s *flashtest.Server)
		more    fields
		status  int
		text    string
		changed bool // the disk may have been changed, and must be unbootable then
	}{
		{"no disk image", []byte("<html>"), nil, nil, 422, "an HTML page", false},
		{"unknown compression", []byte("7z\xbc\xaf\x27\x1c and so on"), nil, nil, 422, "7z", false},
		{"larger than the disk", flashtest.Image(10*mib, 1), nil, nil, 422, "larger than the disk", false},
		{"larger than the disk, compressed", flashtest.Compress(t, "gzip", flashtest.Image(10*mib, 1)), nil, nil, 422, "larger than the disk", false},
		{"truncated early", gz[:500], nil, nil, 422, "truncated", false},
		{"truncated", gz[:len(gz)-100_000], nil, nil, 422, "truncated", true},
		{"corrupt", corrupt, nil, nil, 422, "corrupt", true},
		{"junk", append(bytes.Clone(gz), "junk"...), nil, nil, 422, "junk behind its end", true},
		{"sha256", gz, nil, fields{"sha256": strings.Repeat("ab", 32)}, 422, "sha256 mismatch", true},
		{"404", gz, func(s *flashtest.Server) { s.Statuses = []int{404} }, nil, 502, "404", false},
		{"refused", gz, nil, fields{"image_url": "http://" + dead.Addr() + "/x"}, 502, "refused", false},
		{"changed", gz, func(s *flashtest.Server) {
			s.DropAfter = int64(len(gz)) * 3 / 4
			s.Handler = func(w http.ResponseWriter, r *http.Request) {
				s.Set(func(s *flashtest.Server) { s.Handler = nil })
				s.ServeHTTP(w, r)
				s.Set(func(s *flashtest.Server) { s.ETag = `"v2"` })
			}
		}, nil, 502, "changed during the download", true},
		{"stalled", gz, func(s *flashtest.Server) { s.Stall = int64(len(gz)) * 3 / 4 }, nil, 504, "stalled", true},
		{"redirect to a forbidden host", gz, func(s *flashtest.Server) {
			s.Handler = http.RedirectHandler("http://192.0.2.1/", http.StatusFound).ServeHTTP
		}, nil, 403, "image host not allowed", false},
	}
	g := newRig(t, 8*mib)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := g
			if tt.status == 504 {
				g = newRig(t, 8*mib, `"stall_timeout": "3s"`) // too short for the others on a busy machine
			}
			g.t = t
			before := g.disk()
			srv := flashtest.NewServer(t, tt.data)
			if tt.set != nil {
				tt.set(srv)
			}
			a := g.write(srv, tt.more)
			if a.status != tt.status || !strings.Contains(a.text, tt.text) {
				t.Errorf("%v, want %d with %q", a, tt.status, tt.text)
			}
			after := g.disk()
			if tt.changed {
				if !bytes.Equal(after[:mib], make([]byte, mib)) {
					t.Error("the disk looks bootable")
				}
				if !strings.Contains(a.text, "left not bootable") {
					t.Errorf("%v does not say what became of the disk", a)
				}
			} else {
				if !bytes.Equal(before, after) {
					t.Error("the disk was changed")
				}
				if !strings.Contains(a.text, "was not changed") {
					t.Errorf("%v does not say that the disk was not changed", a)
				}
			}
			if s := g.status(); s.json["stage"] != "error" || s.json["error"] != a.json["error"] {
				t.Errorf("status: %v, want the same error", s)
			}
		})
	}
	g.t = t
}

func TestInUse(t *testing.T) {
	g := newRig(t, 16*mib)
	flashtest.Run(t, "mkfs.ext4", "-q", g.dev)
	point := t.TempDir()
	if err := unix.Mount(g.dev, point, "ext4", unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	before := g.disk()
	t.Cleanup(func() { unix.Unmount(point, 0) })
	a := g.write(flashtest.NewServer(t, flashtest.Image(2*mib, 1)), nil)
	after := g.disk()
	if a.status != 409 || !strings.Contains(a.text, "is mounted on "+point) {
		t.Error(a)
	}
	if !bytes.Equal(before, after) {
		t.Error("the disk was changed")
	}
}

func TestUnauthorizedIP(t *testing.T) {
	g := newRig(t, 4*mib, `"allowed_devices": ["/dev/nvme9n1"]`)
	get := func(remote, path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("GET", path, nil)
		r.RemoteAddr = remote
		r.Header.Set("X-Netboot-Token", token)
		r.Header.Set("X-Forwarded-For", "127.0.0.1")
		r.Header.Set("X-Real-IP", "127.0.0.1")
		r.Header.Set("Forwarded", "for=127.0.0.1")
		g.station.ServeHTTP(w, r)
		return w
	}
	for _, path := range []string{"/status", "/events", "/disks", "/write-image", "/nope", "/", "/health/", "//health"} {
		if w := get("192.0.2.9:1", path); w.Code != 403 || !strings.Contains(w.Body.String(), "Unauthorized IP: 192.0.2.9") {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	if w := get("192.0.2.9:1", "/health"); w.Code != 200 || !strings.Contains(w.Body.String(), `"service":"netboot-imager","status":"ok"`) {
		t.Errorf("/health: %d %s", w.Code, w.Body)
	}
	if w := get("[::ffff:127.0.0.1]:1", "/status"); w.Code != 200 {
		t.Errorf("IPv4-mapped: %d %s", w.Code, w.Body)
	}
}

func TestStarting(t *testing.T) {
	s := New(Options{Version: "test", System: disk.Host, Logf: t.Logf})
	for path, want := range map[string]int{"/health": 200, "/status": 503, "/write-image": 503, "/nope": 503} {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code != want || path == "/health" && !strings.Contains(w.Body.String(), `"status":"starting"`) {
			t.Errorf("%s: %d %s, want %d", path, w.Code, w.Body, want)
		}
	}
}

func TestWrongTokens(t *testing.T) {
	g := newRig(t, 4*mib)
	for i := range 12 {
		a := g.do("POST", "/write-image", "{}", "X-Netboot-Token", fmt.Sprint("wrong", i))
		want := 403
		if i >= 10 {
			want = 429
		}
		if a.status != want || want == 429 && a.header.Get("Retry-After") == "" {
			t.Errorf("wrong token %d: %v, want %d", i+1, a, want)
		}
	}
	if a := g.status(); a.status != 200 {
		t.Errorf("status: %v", a)
	}
}

// slowServer serves img at a pace that leaves time to look.
func slowServer(t *testing.T, img []byte) *flashtest.Server {
	srv := flashtest.NewServer(t, img)
	srv.Slow = 30 * time.Millisecond
	return srv
}

func TestBusyAndCancel(t *testing.T) {
	g := newRig(t, 16*mib)
	srv := slowServer(t, flashtest.Image(8*mib, 1))
	done := make(chan answer)
	go func() { done <- g.write(srv, nil) }()
	g.wait("writing")
	a := g.write(srv, nil)
	if a.status != 409 || !strings.Contains(a.text, "already running") || !strings.Contains(a.text, srv.URL()) || !strings.Contains(a.text, "%") {
		t.Errorf("a second write: %v", a)
	}
	if a := g.write(srv, fields{"device": "/dev/sda"}); a.status != 400 {
		t.Errorf("a wrong request during a write: %v", a)
	}
	if a := g.do("GET", "/disks", nil); a.status != 200 || !strings.Contains(a.text, "is writing it") {
		t.Errorf("disks: %v", a)
	}
	if a := g.do("DELETE", "/write-image", nil); a.status != 200 || !strings.Contains(a.text, "cancelled by a request from 127.0.0.1") || !strings.Contains(a.text, "left not bootable") {
		t.Errorf("cancel: %v", a)
	}
	if a := <-done; a.status != 409 || !strings.Contains(a.text, "cancelled") {
		t.Errorf("the cancelled write: %v", a)
	}
	if !bytes.Equal(g.disk()[:mib], make([]byte, mib)) {
		t.Error("the disk looks bootable")
	}
	if a := g.status(); a.json["stage"] != "error" || !strings.Contains(a.text, "cancelled") {
		t.Errorf("status: %v", a)
	}
	// The station is free for the next one.
	img := flashtest.Image(4*mib, 2)
	if a := g.write(flashtest.NewServer(t, img), nil); a.status != 200 || !bytes.Equal(g.disk()[:len(img)], img) {
		t.Errorf("the next write: %v", a)
	}
}

func TestClientGoesAway(t *testing.T) {
	g := newRig(t, 16*mib)
	img := flashtest.Image(4*mib, 1)
	srv := slowServer(t, img)
	conn, err := net.Dial("tcp", strings.TrimPrefix(g.http.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	body := fmt.Sprintf(`{"device": %q, "image_url": %q}`, g.dev, srv.URL())
	fmt.Fprintf(conn, "POST /write-image HTTP/1.1\r\nHost: x\r\nX-Netboot-Token: %s\r\nContent-Length: %d\r\n\r\n%s", token, len(body), body)
	g.wait("writing")
	conn.Close()
	g.wait("complete")
	if !bytes.Equal(g.disk()[:len(img)], img) {
		t.Error("the disk differs from the image")
	}
}

func TestRespondStarted(t *testing.T) {
	for _, inConfig := range []bool{true, false} {
		extra, more := []string{}, fields{"respond": "started"}
		if inConfig {
			extra, more = []string{`"respond": "started"`}, nil
		}
		g := newRig(t, 16*mib, extra...)
		img := flashtest.Image(4*mib, 1)
		srv := slowServer(t, img)
		a := g.write(srv, more)
		if msg, _ := a.json["message"].(string); a.status != 200 || a.json["success"] != true || !strings.HasPrefix(msg, "Write started") || a.json["job"] == nil || a.json["receipt"] != nil {
			t.Fatal(a)
		}
		if s := g.wait("complete"); s.json["job"] != a.json["job"] {
			t.Errorf("status: %v, want job %v", s, a.json["job"])
		}
		// What is wrong with the image is answered, not only shown.
		if a := g.write(flashtest.NewServer(t, []byte("<html>")), more); a.status != 422 {
			t.Errorf("no image: %v", a)
		}
	}
}

func TestPreferAsync(t *testing.T) {
	g := newRig(t, 16*mib)
	srv := slowServer(t, flashtest.Image(4*mib, 1))
	a := g.do("POST", "/write-image", fields{"image_url": srv.URL()}, "Prefer", "wait=10, Respond-Async")
	if a.status != 202 || a.header.Get("Location") != "/status" || a.json["success"] != true {
		t.Fatal(a)
	}
	g.wait("complete")
}

func TestDryRun(t *testing.T) {
	g := newRig(t, 8*mib)
	before := g.disk()
	img := flashtest.Compress(t, "xz", flashtest.Image(4*mib, 1))
	a := g.write(flashtest.NewServer(t, img), fields{"dry_run": true})
	if a.status != 200 || a.json["dry_run"] != true || !strings.Contains(a.text, "nothing was written") || !strings.Contains(a.text, "1 partitions") {
		t.Error(a)
	}
	if a := g.write(flashtest.NewServer(t, flashtest.Image(10*mib, 1)), fields{"dry_run": true}); a.status != 422 {
		t.Error(a)
	}
	if !bytes.Equal(before, g.disk()) {
		t.Error("the dry run changed the disk")
	}
	if a := g.status(); a.json["stage"] != "idle" {
		t.Errorf("status: %v", a)
	}
}

func TestForce(t *testing.T) {
	g := newRig(t, 8*mib)
	text := bytes.Repeat([]byte("no disk image\n"), 200_000)
	if a := g.write(flashtest.NewServer(t, text), fields{"force": true}); a.status != 200 || !bytes.Equal(g.disk()[:len(text)], text) {
		t.Error(a)
	}
}

func TestSHA256(t *testing.T) {
	g := newRig(t, 8*mib)
	img := flashtest.Image(4*mib, 1)
	sum := strings.ToUpper(strings.Fields(string(flashtest.Pipe(t, img, "sha256sum")))[0])
	a := g.write(flashtest.NewServer(t, flashtest.Compress(t, "zstd", img)), fields{"sha256": sum})
	if a.status != 200 || !strings.Contains(a.text, strings.ToLower(sum)) {
		t.Error(a)
	}
}

func TestReboot(t *testing.T) {
	g := newRig(t, 8*mib, `"reboot": true`)
	if a := g.write(flashtest.NewServer(t, flashtest.Image(4*mib, 1)), fields{"reboot": false}); a.status != 200 {
		t.Fatal(a)
	}
	if a := g.write(flashtest.NewServer(t, []byte("no image")), nil); a.status != 422 {
		t.Fatal(a)
	}
	if a := g.write(flashtest.NewServer(t, flashtest.Image(4*mib, 1)), nil); a.status != 200 {
		t.Fatal(a)
	}
	select {
	case <-g.rebooted:
	case <-time.After(10 * time.Second):
		t.Error("no reboot after a success")
	}
	select {
	case <-g.rebooted:
		t.Error("a second reboot")
	case <-time.After(100 * time.Millisecond):
	}
}

// TestFileBackedDisk writes to a regular file that the config names.
func TestFileBackedDisk(t *testing.T) {
	file := filepath.Join(t.TempDir(), "disk.img")
	os.WriteFile(file, make([]byte, 8*mib), 0o600)
	g := newRig(t, 4*mib, fmt.Sprintf(`"allowed_devices": [%q]`, file))
	g.dev = file
	img := flashtest.Image(8*mib, 1)
	if a := g.write(flashtest.NewServer(t, img), nil); a.status != 200 || !bytes.Equal(g.disk(), img) {
		t.Error(a)
	}
}

func TestEvents(t *testing.T) {
	g := newRig(t, 16*mib)
	resp, err := http.Get(g.http.URL + "/events")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if ct := resp.Header.Get("Content-Type"); ct != "text/event-stream" {
		t.Errorf("Content-Type = %q", ct)
	}
	events := make(chan map[string]any, 1000)
	go func() {
		defer close(events)
		for sc := bufio.NewScanner(resp.Body); sc.Scan(); {
			if data, ok := strings.CutPrefix(sc.Text(), "data: "); ok {
				e := map[string]any{}
				if json.Unmarshal([]byte(data), &e) == nil {
					events <- e
				}
			}
		}
	}()
	if e := <-events; e["stage"] != "idle" {
		t.Errorf("the first event: %v", e)
	}
	begin := time.Now()
	if a := g.write(slowServer(t, flashtest.Image(6*mib, 1)), nil); a.status != 200 {
		t.Fatal(a)
	}
	took := time.Since(begin)
	var stages []string
	percent, n := -1.0, 0
	for e := range events {
		n++
		describedEvent(t, e)
		if s := e["stage"].(string); len(stages) == 0 || stages[len(stages)-1] != s {
			stages = append(stages, s)
		}
		if p := e["percent"].(float64); p < percent {
			t.Errorf("the percent goes back from %v to %v", percent, p)
		} else {
			percent = p
		}
		if e["stage"] == "complete" {
			break
		}
	}
	if got := strings.Join(stages, " "); got != "checking wiping writing syncing complete" {
		t.Errorf("stages: %s", got)
	}
	// One a second and one a stage; a machine under load may be late with some.
	if least := int(took/time.Second)/2 + len(stages); n < least {
		t.Errorf("%d events in %v, want at least %d", n, took, least)
	}
}

// TestStatusIsFast asks for the status all the time during a write.
func TestStatusIsFast(t *testing.T) {
	g := newRig(t, 16*mib)
	done := make(chan answer)
	go func() { done <- g.write(slowServer(t, flashtest.Image(8*mib, 1)), nil) }()
	g.wait("writing")
	asked := 0
	for {
		select {
		case a := <-done:
			if a.status != 200 || asked < 10 {
				t.Errorf("%v, asked %d times", a, asked)
			}
			return
		default:
		}
		g.status() // a status that waited for the write would be asked for once
		asked++
	}
}

// TestRestart finds the state that an earlier service left.
func TestRestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	tests := []struct {
		state string
		stage string
		text  string
	}{
		{"", "idle", ""},
		{`{"stage":"complete","percent":100}`, "idle", ""},
		{`{"stage":"error","error":"what went wrong","job":"0123"}`, "error", "what went wrong"},
		{`{"stage":"wiping","job":"0123","device":"/dev/mmcblk0","image_url":"http://x/y"}`, "error", "left not bootable"},
		{`{"stage":"checking","job":"0123","device":"/dev/mmcblk0","image_url":"http://x/y"}`, "error", "was not changed"},
		{`{"stage":`, "idle", ""},
	}
	for _, tt := range tests {
		os.WriteFile(path, []byte(tt.state), 0o600)
		for range 2 { // a second restart says the same
			st := New(Options{StatePath: path, Logf: t.Logf}).Status()
			got := ""
			if st.Error != nil {
				got = *st.Error
			}
			if st.Stage != tt.stage || !strings.Contains(got, tt.text) || tt.text != "" && st.Job != "0123" {
				t.Errorf("%s: %+v, error %q, want stage %s, %q", tt.state, st, got, tt.stage, tt.text)
			}
		}
	}
}

func TestShutdown(t *testing.T) {
	g := newRig(t, 16*mib)
	done := make(chan answer)
	go func() { done <- g.write(slowServer(t, flashtest.Image(8*mib, 1)), nil) }()
	g.wait("writing")
	if err := g.station.Shutdown(t.Context()); err == nil || !strings.Contains(err.Error(), "left not bootable") {
		t.Errorf("Shutdown = %v", err)
	}
	if a := <-done; a.status != 409 || !strings.Contains(a.text, "end of the service") {
		t.Errorf("the write: %v", a)
	}
	if st := New(g.station.opt).Status(); st.Stage != "error" {
		t.Errorf("after a restart: %+v", st)
	}
}

func TestPanic(t *testing.T) {
	g := newRig(t, 4*mib)
	g.station.router.HandlerFunc("GET", "/panic", func(http.ResponseWriter, *http.Request) { panic("for a test") })
	if a := g.do("GET", "/panic", nil); a.status != 500 {
		t.Error(a)
	}
	if a := g.do("GET", "/health", nil); a.status != 200 || !strings.Contains(g.log.String(), "BUG: panic") {
		t.Error(a)
	}
}

// TestUnsentBody has clients that announce a body and do not send it. They are answered
// at once, if they are answered before their body is looked at.
func TestUnsentBody(t *testing.T) {
	g := newRig(t, 4*mib)
	for _, head := range []string{"GET /status", "POST /write-image", "POST /nope"} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(g.http.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(10 * time.Second)) // less than bodyTimeout
		fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: x\r\nX-Netboot-Token: wrong\r\nContent-Length: 10\r\n\r\n", head)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Errorf("%s: %v", head, err)
			continue
		}
		if resp.Body.Close(); !resp.Close {
			t.Errorf("%s: the connection is kept", head)
		}
	}
}

// TestLogForging must not get a line of its own into the log.
func TestLogForging(t *testing.T) {
	g := newRig(t, 4*mib)
	g.do("GET", "/x%0aFORGED", nil)
	g.do("POST", "/write-image", fields{"device": "/dev/x\nFORGED", "image_url": "http://127.0.0.1/"})
	for line := range strings.Lines(g.log.String()) {
		if strings.HasPrefix(line, "FORGED") {
			t.Errorf("the log has a forged line:\n%s", g.log.String())
		}
	}
}

// TestRebootHoldsTheSlot refuses a job that the reboot would kill.
func TestRebootHoldsTheSlot(t *testing.T) {
	g := newRig(t, 8*mib)
	srv := flashtest.NewServer(t, flashtest.Image(4*mib, 1))
	if a := g.write(srv, fields{"reboot": true}); a.status != 200 {
		t.Fatal(a)
	}
	if a := g.write(srv, nil); a.status != 409 || !strings.Contains(a.text, "about to reboot") {
		t.Error(a)
	}
}

func TestHead(t *testing.T) {
	g := newRig(t, 4*mib)
	if a := g.do("HEAD", "/health", nil); a.status != 200 || a.text != "" {
		t.Error(a)
	}
}
