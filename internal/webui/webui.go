// Package webui holds the pages of the station and of netbootd: HTML templates, and the
// style sheets, modules and the chart library that they load. Everything is embedded, and
// a page asks for nothing from anywhere else.
package webui

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
	"time"
)

//go:embed pages/*.html static
var files embed.FS

// Policy is the Content-Security-Policy of all pages: nothing inline, nothing from
// elsewhere, in nobody's frame.
const Policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'none'; frame-ancestors 'none'; base-uri 'none'"

// StaticPath is where Static belongs.
const StaticPath = "/static/"

// UI serves the pages.
type UI struct {
	pages *template.Template
	etags map[string]string // of the static files, by name
}

// New returns the pages that are embedded.
func New() (*UI, error) {
	pages, err := template.ParseFS(files, "pages/*.html")
	if err != nil {
		return nil, fmt.Errorf("the embedded pages: %w", err)
	}
	ui := &UI{pages: pages, etags: map[string]string{}}
	err = fs.WalkDir(files, "static", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := files.ReadFile(name)
		sum := sha256.Sum256(b)
		ui.etags[strings.TrimPrefix(name, "static/")] = `"` + hex.EncodeToString(sum[:8]) + `"`
		return err
	})
	return ui, err
}

// Page answers with the page of that name, made with data.
func (ui *UI) Page(w http.ResponseWriter, name string, data any) error {
	var b bytes.Buffer
	if err := ui.pages.ExecuteTemplate(&b, name, data); err != nil {
		return fmt.Errorf("the page %s cannot be made: %w", name, err)
	}
	h := w.Header()
	secure(h)
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	_, err := w.Write(b.Bytes())
	return err
}

// Static answers with the embedded file of that name, below StaticPath, and reports
// whether there is one. Browsers ask each time whether it has changed.
func (ui *UI) Static(w http.ResponseWriter, r *http.Request, name string) bool {
	etag, ok := ui.etags[name]
	if !ok {
		return false
	}
	b, err := files.ReadFile("static/" + name)
	if err != nil {
		return false
	}
	h := w.Header()
	secure(h)
	if t := mime.TypeByExtension(path.Ext(name)); t != "" {
		h.Set("Content-Type", t)
	} else {
		h.Set("Content-Type", "text/plain; charset=utf-8")
	}
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", etag)
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(b))
	return true
}

func secure(h http.Header) {
	h.Set("Content-Security-Policy", Policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
}
