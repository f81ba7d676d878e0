package station

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/openseastack/netboot-imager/internal/webui"
)

// TestPage asks for the page and all that it loads as a browser does. How it behaves is
// tested in package browsertest.
func TestPage(t *testing.T) {
	g := newRig(t, 4*mib)
	get := func(path string, header ...string) (*http.Response, string) {
		t.Helper()
		req, err := http.NewRequest("GET", g.http.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i+1 < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp, string(b)
	}
	for path, kind := range map[string]string{
		"/": "text/html; charset=utf-8", "/static/style.css": "text/css; charset=utf-8", "/static/station.js": "text/javascript; charset=utf-8",
		"/static/common.js": "text/javascript; charset=utf-8", "/static/chart.js": "text/javascript; charset=utf-8",
		"/static/vendor/uplot.js": "text/javascript; charset=utf-8", "/static/vendor/uplot.css": "text/css; charset=utf-8", "/static/icon.svg": "image/svg+xml",
	} {
		resp, body := get(path)
		if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != kind || body == "" {
			t.Errorf("%s: %s, %q, %d bytes", path, resp.Status, resp.Header.Get("Content-Type"), len(body))
		}
		if path == "/" {
			described(t, resp.Request, resp, []byte(body))
		}
		if resp.Header.Get("Content-Security-Policy") != webui.Policy || resp.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: headers %v", path, resp.Header)
		}
		if strings.Contains(body, token) {
			t.Errorf("%s has the token", path)
		}
		if etag := resp.Header.Get("ETag"); path != "/" {
			if resp, body := get(path, "If-None-Match", etag); resp.StatusCode != 304 || body != "" {
				t.Errorf("%s with its ETag %s: %s", path, etag, resp.Status)
			}
		}
	}
	for _, path := range []string{"/static/", "/static/nope", "/static/../pages/station.html", "/static/vendor", "/static/%2e%2e/pages/station.html"} {
		if a := g.do("GET", path, nil); a.status != 404 {
			t.Errorf("%s: %v", path, a)
		}
	}
	if a := g.do("POST", "/", nil); a.status != 405 || a.header.Get("Allow") != "GET, HEAD" {
		t.Errorf("POST /: %v", a)
	}
}
