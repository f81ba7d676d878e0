package bootserver

import (
	"net/http"

	"github.com/julienschmidt/httprouter"

	"github.com/openseastack/netboot-imager/internal/webui"
)

// pageRoutes serves netbootd's page and what it loads. Gok asks for / with another Accept.
func (s *Server) pageRoutes(r *httprouter.Router, ui *webui.UI) {
	page := s.handler(func(w http.ResponseWriter, r *http.Request) error {
		return ui.Page(w, "stations", struct{ Version string }{s.opt.Version})
	})
	static := s.handler(func(w http.ResponseWriter, r *http.Request) error {
		if !ui.Static(w, r, param(r, "name")[1:]) {
			return &httpError{http.StatusNotFound, "no such file: " + r.URL.Path}
		}
		return nil
	})
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		r.Handler(method, "/", page)
		r.Handler(method, webui.StaticPath+"*name", static)
	}
}
