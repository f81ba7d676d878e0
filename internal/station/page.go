package station

import (
	"net/http"

	"github.com/julienschmidt/httprouter"
	"github.com/openseastack/netboot-imager/internal/webui"
)

// pageRoutes serves the station page and what it loads.
func (s *Server) pageRoutes(r *httprouter.Router, ui *webui.UI) {
	page := handler(s, func(_ *active, w http.ResponseWriter, r *http.Request) error {
		f := s.machine().Facts()
		name := f.Hostname
		if name == "" {
			name = "station"
		}
		return ui.Page(w, "station", struct{ Name, Model, Serial, Version string }{name, f.Model, f.Serial, s.opt.Version})
	})
	static := handler(s, func(_ *active, w http.ResponseWriter, r *http.Request) error {
		if !ui.Static(w, r, httprouter.ParamsFromContext(r.Context()).ByName("name")[1:]) {
			return &httpError{http.StatusNotFound, "no such file: " + r.URL.Path}
		}
		return nil
	})
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		r.Handler(method, "/", page)
		r.Handler(method, webui.StaticPath+"*name", static)
	}
}
