package station

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestImages has servers whose lists are good, strange, and none.
func TestImages(t *testing.T) {
	var answer func(w http.ResponseWriter, r *http.Request)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/images" || r.Header.Get("X-Netboot-Token") != "" {
			t.Errorf("the server is asked for %s with %v", r.URL, r.Header)
		}
		answer(w, r)
	}))
	defer srv.Close()
	g := newRig(t, 4*mib)
	if a := g.do("GET", "/images", nil); a.status != 200 || !strings.HasPrefix(a.text, `{"images":[],"message":"The station's config came from a file`) {
		t.Errorf("without a server: %v", a)
	}
	g.station.opt.ConfigURL = srv.URL + "/api/bootstrap/imager-config?x=y"
	text := func(s string) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, s) }
	}
	sum := strings.Repeat("ab", 32)
	tests := []struct {
		name   string
		answer func(w http.ResponseWriter, r *http.Request)
		status int
		text   string
	}{
		{"relative URLs", text(`{"images":[{"name":"a","url":"/api/images/download/a","size":5,"format":"raw","sha256":"` + sum + `","more":1}],"free_bytes":1}`),
			200, fmt.Sprintf(`{"images":[{"name":"a","url":"%s/api/images/download/a","size":5,"format":"raw","sha256":"%s"}]}`, srv.URL, sum)},
		{"no URL", text(`{"images":[{"name":"a b"}]}`), 200, fmt.Sprintf(`{"images":[{"name":"a b","url":"%s/api/images/download/a%%20b"}]}`, srv.URL)},
		{"the digest of a compressed file", text(`{"images":[{"name":"a","format":"gzip","sha256":"` + sum + `"}]}`), 200, fmt.Sprintf(`{"images":[{"name":"a","url":"%s/api/images/download/a","format":"gzip"}]}`, srv.URL)},
		{"an image elsewhere", text(`{"images":[{"name":"a","url":"http://192.0.2.1/a"},{"url":"/no-name"}]}`), 200, `{"images":[]}`},
		{"no images", text(`{}`), 200, `{"images":[]}`},
		{"no JSON", text(`<html>`), 502, "not the JSON of a list"},
		{"404", http.NotFound, 502, "404 Not Found"},
		{"redirect", http.RedirectHandler("http://192.0.2.1/", http.StatusFound).ServeHTTP, 502, "image host not allowed"},
	}
	for _, tt := range tests {
		answer = tt.answer
		a := g.do("GET", "/images", nil)
		if a.status != tt.status || tt.status == 200 && strings.TrimSpace(a.text) != tt.text || !strings.Contains(a.text, tt.text) {
			t.Errorf("%s: %v, want %d %s", tt.name, a, tt.status, tt.text)
		}
	}
	g.station.opt.ConfigURL = "http://192.0.2.1/config"
	if a := g.do("GET", "/images", nil); a.status != 403 || !strings.Contains(a.text, "image host not allowed") {
		t.Errorf("a server that is not allowed: %v", a)
	}
}
