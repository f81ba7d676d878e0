package bootserver

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/openseastack/netboot-imager/internal/announce"
	"github.com/openseastack/netboot-imager/internal/webui"
)

// TestPage asks for the page and all that it loads. How it behaves is tested in package
// browsertest.
func TestPage(t *testing.T) {
	gok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(`"gok"`)) })
	_, change := withStations(t)
	r := newRig(t, change, func(o *Options) { o.Gok = gok })
	for path, kind := range map[string]string{
		"/": "text/html; charset=utf-8", "/static/style.css": "text/css; charset=utf-8", "/static/icon.svg": "image/svg+xml",
		"/static/stations.js": "text/javascript; charset=utf-8", "/static/run.js": "text/javascript; charset=utf-8", "/static/common.js": "text/javascript; charset=utf-8",
	} {
		a := r.do("GET", path, nil, "Accept", "text/html")
		if a.status != 200 || a.header.Get("Content-Type") != kind || a.text == "" {
			t.Errorf("%s: %d, %q, %d bytes", path, a.status, a.header.Get("Content-Type"), len(a.text))
		}
		if a.header.Get("Content-Security-Policy") != webui.Policy || a.header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: headers %v", path, a.header)
		}
		if strings.Contains(a.text, token) {
			t.Errorf("%s has the token", path)
		}
	}
	if a := r.do("GET", "/", nil, "Accept", "application/json"); a.text != `"gok"` {
		t.Errorf("gok gets %v", a)
	}
	for _, path := range []string{"/static/", "/static/nope", "/static/%2e%2e/pages/stations.html"} {
		if a := r.do("GET", path, nil); a.status != 404 {
			t.Errorf("%s: %v", path, a)
		}
	}
}

// TestAskStation has stations asked by their ID: never another one that has got the address.
func TestAskStation(t *testing.T) {
	_, change := withStations(t)
	r := newRig(t, change)
	serial, got := "100000001234abcd", []string{}
	im := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Header.Get(auth) != token {
			t.Errorf("%s %s: token %q", req.Method, req.URL.Path, req.Header.Get(auth))
		}
		switch req.URL.Path {
		case "/station":
			json.NewEncoder(w).Encode(map[string]string{"serial": serial})
		default:
			var body map[string]any
			json.NewDecoder(req.Body).Decode(&body)
			url, _ := body["image_url"].(string)
			got = append(got, req.Method+" "+req.URL.Path+" "+url)
			w.WriteHeader(422)
			w.Write([]byte(`{"success":false,"error":"a test"}`))
		}
	}))
	defer im.Close()
	a := announce.Announcement{Serial: serial, Port: im.Listener.Addr().(*net.TCPAddr).Port}
	if a := r.do("POST", announce.Path, a, auth, token); a.status != 200 {
		t.Fatal(a)
	}
	const write = `{"image_url":"http://x/y"}`
	ask := func(method, path string, status int, says string, asked ...string) {
		t.Helper()
		got = nil
		a := r.do(method, "/api/stations/"+path, write, auth, token)
		if a.status != status || !strings.Contains(a.text, says) || strings.Join(got, "|") != strings.Join(asked, "|") {
			t.Errorf("%s %s: %d %s, want %d %q; the station was asked %q, want %q", method, path, a.status, a.text, status, says, got, asked)
		}
		if relayed := a.header.Get("X-Netboot-Station") != ""; relayed != (len(asked) > 0) {
			t.Errorf("%s %s: a station's answer: %v", method, path, relayed)
		}
	}
	ask("POST", "1234abcd/write", 422, "a test", "POST /write-image http://x/y")
	ask("POST", "1234abcd/cancel", 422, "a test", "DELETE /write-image ")
	ask("GET", "1234abcd/status", 422, "a test", "GET /status ")
	ask("GET", "1234abcd/disks", 422, "a test", "GET /disks ")
	ask("GET", "1234abcd/nope", 404, "it has status and disks")
	ask("POST", "1234abce/write", 404, "no station")
	ask("POST", "1234abcd/nope", 404, "write or cancel")
	if a := r.do("POST", "/api/stations/1234abcd/write", write); a.status != 403 {
		t.Errorf("without a token: %v", a)
	}
	serial = "1000000055556666" // another one has got the address
	ask("POST", "1234abcd/write", 409, `it was asked for nothing`)
	ask("POST", "1234abcd/cancel", 409, "it was asked for nothing")
	im.Close()
	ask("POST", "1234abcd/write", 503, "does not answer")
	if a := r.do("POST", "/api/stations/77778888/enrol", nil, auth, token); a.status != 200 {
		t.Fatal(a)
	}
	ask("POST", "77778888/write", 503, "has not announced itself yet")
}
