package lab

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"time"
)

// Paths of the netboot server that stations and their operators know.
const (
	ConfigPath = "/api/bootstrap/imager-config"
	ImagePath  = "/api/images/download/" // followed by a name without extension
)

// NetbootServer plays the part of a netboot server that speaks HTTP: it serves the
// imager's configuration and images.
type NetbootServer struct {
	// Config is served as JSON at ConfigPath.
	Config map[string]any
	// Images are files by the name they are downloaded under.
	Images map[string]string
	// OnDownload is called when a station begins to fetch an image, unless it is nil.
	OnDownload func(name string)
}

// Handler returns the HTTP handler.
func (s *NetbootServer) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+ConfigPath, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(s.Config) // a client that went away asks again
	})
	mux.HandleFunc("GET "+ImagePath+"{name}", func(w http.ResponseWriter, r *http.Request) {
		name := r.PathValue("name")
		f, err := os.Open(s.Images[name])
		if err != nil {
			http.NotFound(w, r)
			return
		}
		defer f.Close()
		st, err := f.Stat()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		if s.OnDownload != nil {
			s.OnDownload(name)
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		http.ServeContent(w, r, "", st.ModTime(), f)
	})
	return mux
}

// Serve serves on ln until ctx ends.
func (s *NetbootServer) Serve(ctx context.Context, ln net.Listener) error {
	srv := &http.Server{Handler: s.Handler(), ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { srv.Close() })
	defer stop()
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
