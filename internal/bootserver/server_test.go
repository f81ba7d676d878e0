package bootserver

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/openseastack/netboot-imager/internal/imagestore"
)

const token = "example-token-for-tests"

// rig is a server with its directory.
type rig struct {
	t    *testing.T
	dir  string // of images
	http *httptest.Server
	opt  Options
	s    *Server
}

func newRig(t *testing.T, change ...func(*Options)) *rig {
	t.Helper()
	dir := t.TempDir()
	db, err := bolt.Open(filepath.Join(dir, "db"), 0o600, &bolt.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	images, err := imagestore.Open(filepath.Join(dir, "images"), db, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	images.Reserve = 0
	t.Cleanup(func() {
		if err := errors.Join(images.Close(), db.Close()); err != nil {
			t.Error(err)
		}
	})
	r := &rig{t: t, dir: filepath.Join(dir, "images"), opt: Options{
		Version: "test", Allowed: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Token: token,
		ImagerConfig: json.RawMessage(`{"allowed_ips":["10.0.0.0/8"],"shared_secret":"` + token + `"}`), Images: images, Logf: t.Logf,
	}}
	for _, f := range change {
		f(&r.opt)
	}
	r.s = New(r.opt)
	r.http = httptest.NewUnstartedServer(r.s)
	r.http.Listener = Listener(r.http.Listener)
	r.http.Start()
	t.Cleanup(r.http.Close)
	return r
}

type answer struct {
	status int
	header http.Header
	text   string
	json   map[string]any
}

// do sends a request; a string body is sent as it is, everything else as JSON.
func (r *rig) do(method, path string, body any, header ...string) answer {
	r.t.Helper()
	var in io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		in = strings.NewReader(b)
	default:
		text, err := json.Marshal(b)
		if err != nil {
			r.t.Fatal(err)
		}
		in = bytes.NewReader(text)
	}
	req, err := http.NewRequest(method, r.http.URL+path, in)
	if err != nil {
		r.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	a := answer{status: resp.StatusCode, header: resp.Header, text: string(b)}
	_ = json.Unmarshal(b, &a.json) // nil if it is none
	return a
}

func (r *rig) names() (names []string) {
	r.t.Helper()
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, e := range entries {
		if !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names
}

func TestRefusals(t *testing.T) {
	r := newRig(t)
	if err := os.WriteFile(filepath.Join(r.dir, "a.img"), []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		method, path string
		body         any
		header       []string
		status       int
		says         string
	}{
		{"GET", "/nope", nil, nil, 404, "no such path"},
		{"GET", "/api/images/", nil, nil, 404, ""},
		{"POST", "/api/images", nil, nil, 405, "allowed: GET, HEAD"},
		{"GET", "/api/images/download/nope", nil, nil, 404, "no image"},
		{"GET", "/api/images/download/..%2Fdb", nil, nil, 404, ""},
		{"GET", "/api/images/download/%2e%2e", nil, nil, 400, "plain file name"},
		{"PUT", "/api/images/b.img", "x", nil, 403, "Invalid token"},
		{"PUT", "/api/images/b.img", "x", []string{"X-Netboot-Token", "wrong"}, 403, "Invalid token"},
		{"DELETE", "/api/images/a.img", nil, nil, 403, "Invalid token"},
		{"DELETE", "/api/images/nope", nil, []string{"X-Netboot-Token", token}, 404, "no image"},
		{"PUT", "/api/images/b.img", nil, []string{"X-Netboot-Token", token}, 400, "empty"},
		{"PUT", "/api/images/.b.img", "x", []string{"X-Netboot-Token", token}, 400, "begins with a dot"},
		{"PUT", "/api/images/b.img?sha256=", "x", []string{"X-Netboot-Token", token}, 400, "64 hex digits"},
		{"PUT", "/api/images/b.img?sha256=" + strings.Repeat("0", 64), "x", []string{"X-Netboot-Token", token}, 422, "announced"},
		{"PUT", "/api/images/b.img", "x", []string{"X-Netboot-Token", token, "Content-Range", "bytes 0-1/2"}, 400, "does not fit"},
		{"PUT", "/api/images/b.img", "x", []string{"X-Netboot-Token", token, "Content-Range", "bytes 5-5/6"}, 409, "go on at byte 0"},
	} {
		a := r.do(tt.method, tt.path, tt.body, tt.header...)
		if a.status != tt.status || !strings.Contains(a.text, tt.says) || a.json["success"] != false {
			t.Errorf("%s %s: %d %s, want %d with %q", tt.method, tt.path, a.status, a.text, tt.status, tt.says)
		}
		if strings.Contains(a.text, token) {
			t.Errorf("%s %s tells the token", tt.method, tt.path)
		}
	}
	if got := fmt.Sprint(r.names()); got != "[a.img]" {
		t.Errorf("images = %s, want a.img alone", got)
	}
}

func TestAddress(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Allowed = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} })
	for _, path := range []string{"/api/images", "/api/bootstrap/imager-config", "/api/images/download/a", "/nope"} {
		if a := r.do("GET", path, nil, "X-Forwarded-For", "10.0.0.1"); a.status != 403 || !strings.Contains(a.text, "Unauthorized IP") {
			t.Errorf("%s: %d %s", path, a.status, a.text)
		}
	}
	if a := r.do("GET", "/health", nil); a.status != 200 || a.json["service"] != "netbootd" {
		t.Errorf("/health: %d %s", a.status, a.text)
	}
}

func TestRateLimit(t *testing.T) {
	r := newRig(t)
	for range 10 {
		r.do("DELETE", "/api/images/a", nil, "X-Netboot-Token", "wrong")
	}
	if a := r.do("DELETE", "/api/images/a", nil, "X-Netboot-Token", token); a.status != 429 || a.header.Get("Retry-After") == "" {
		t.Errorf("after ten wrong tokens: %d %s", a.status, a.text)
	}
}

func TestImagerConfig(t *testing.T) {
	r := newRig(t)
	if a := r.do("GET", "/api/bootstrap/imager-config", nil); a.status != 200 || a.json["shared_secret"] != token {
		t.Errorf("%d %s", a.status, a.text)
	}
}

// TestCurl uploads with curl as the documentation says, breaks off and goes on, and
// downloads in two parts.
func TestCurl(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	r := newRig(t)
	dir := t.TempDir()
	image := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	file, half := filepath.Join(dir, "image.img.gz"), filepath.Join(dir, "half")
	for name, b := range map[string][]byte{file: image, half: image[:500_000]} {
		if err := os.WriteFile(name, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	curl := func(args ...string) string {
		t.Helper()
		out, err := exec.Command("curl", append([]string{"-sS", "--fail-with-body", "-H", "X-Netboot-Token: " + token}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("curl %q: %v %s", args, err, out)
		}
		return string(out)
	}
	// The first half, as what came before a connection broke.
	a := r.do("PUT", "/api/images/image.img.gz", string(image[:500_000]), "X-Netboot-Token", token, "Content-Range", fmt.Sprintf("bytes 0-499999/%d", len(image)))
	if a.status != 202 || a.header.Get("Upload-Offset") != "500000" {
		t.Fatalf("the first half: %d %s", a.status, a.text)
	}
	offset := curl("-o", "/dev/null", "-w", "%header{upload-offset}", r.http.URL+"/api/uploads/image.img.gz")
	if offset != "500000" && offset != "%header{upload-offset}" { // curl before 7.84 does not know it
		t.Errorf("Upload-Offset = %s", offset)
	}
	if out := curl("-T", file, "-C", "500000", r.http.URL+"/api/images/image.img.gz"); !strings.Contains(out, `"success":true`) {
		t.Error(out)
	}
	got := filepath.Join(dir, "got")
	if err := os.WriteFile(got, image[:300_000], 0o644); err != nil {
		t.Fatal(err)
	}
	curl("-C", "-", "-o", got, r.http.URL+"/api/images/download/image")
	if b, _ := os.ReadFile(got); !bytes.Equal(b, image) {
		t.Errorf("downloaded %d bytes that differ from the %d uploaded", len(b), len(image))
	}
}
