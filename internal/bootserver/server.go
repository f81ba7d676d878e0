package bootserver

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/julienschmidt/httprouter"

	"github.com/openseastack/netboot-imager/internal/announce"
	"github.com/openseastack/netboot-imager/internal/client"
	"github.com/openseastack/netboot-imager/internal/guard"
	"github.com/openseastack/netboot-imager/internal/imagestore"
	"github.com/openseastack/netboot-imager/internal/redeploy"
	"github.com/openseastack/netboot-imager/internal/stations"
	"github.com/openseastack/netboot-imager/internal/trees"
	"github.com/openseastack/netboot-imager/internal/webui"
)

// Port is the TCP port that pi-netboot-server has, and netbootd.
const Port = 38434

// Options configure a Server.
type Options struct {
	Version string
	Allowed []netip.Prefix // clients
	Token   string         // of the X-Netboot-Token header
	// ImagerConfig is the config.json that stations fetch. It holds the token.
	ImagerConfig json.RawMessage
	Images       *imagestore.Store
	Stations     *stations.Registry
	Receipts     *stations.Receipts
	Trees        *trees.Library
	Fleet        *redeploy.Fleet
	Client       *client.Client
	// Gok answers gok: /update/…, /reboot, and / where JSON is asked for.
	Gok http.Handler
	// TLSPort is where Gok is served by HTTPS, once HasTLS says so; then it is nowhere else.
	TLSPort int
	HasTLS  func() bool
	// BaseURL is where stations reach this server, http://HOST:PORT.
	BaseURL string
	// KeepEnrolled leaves stations enrolled that have written their disk.
	KeepEnrolled bool
	Logf         func(format string, args ...any)
}

// Server is the service. Use New.
type Server struct {
	opt    Options
	guard  *guard.Guard
	router *httprouter.Router
}

// New returns a server.
func New(opt Options) *Server {
	s := &Server{opt: opt, guard: guard.New(opt.Allowed, opt.Token, time.Now)}
	s.router = s.routes()
	ui, err := webui.New()
	if err != nil {
		panic(err) // what is embedded is broken; a test would have told
	}
	s.pageRoutes(s.router, ui)
	return s
}

func (s *Server) routes() *httprouter.Router {
	r := httprouter.New()
	// A path is right or wrong; nobody is sent elsewhere.
	r.RedirectTrailingSlash, r.RedirectFixedPath, r.HandleOPTIONS = false, false, false
	r.NotFound = s.handler(func(w http.ResponseWriter, r *http.Request) error {
		return &httpError{http.StatusNotFound, fmt.Sprintf("no such path: %q; docs/netbootd.md lists those that there are", r.URL.Path)}
	})
	r.MethodNotAllowed = s.handler(func(w http.ResponseWriter, r *http.Request) error {
		allow := strings.ReplaceAll(w.Header().Get("Allow"), "OPTIONS, ", "") // httprouter adds it always
		w.Header().Set("Allow", strings.TrimSuffix(allow, ", OPTIONS"))
		return &httpError{http.StatusMethodNotAllowed, fmt.Sprintf("%s does not take %s; allowed: %s", r.URL.Path, r.Method, w.Header().Get("Allow"))}
	})
	get := func(path string, h handlerFunc) {
		r.Handler(http.MethodGet, path, s.handler(h))
		r.Handler(http.MethodHead, path, s.handler(h))
	}
	get("/health", s.health)
	get("/api/bootstrap/imager-config", s.imagerConfig)
	get("/api/images", s.listImages)
	get(imagestore.DownloadPath+":name", s.download)
	get("/api/uploads/:name", s.uploaded)
	r.Handler(http.MethodPut, "/api/images/:name", s.handler(s.withToken(s.upload)))
	r.Handler(http.MethodDelete, "/api/images/:name", s.handler(s.withToken(s.deleteImage)))
	get("/api/stations", s.listStations)
	get("/api/stations/:id", s.getStation)
	get("/api/stations/:id/:action", s.stationGet)
	get("/api/receipts", s.findReceipts)
	get("/api/trees", s.listTrees)
	get("/api/devices/:ip/status", s.deviceStatus)
	r.Handler(http.MethodGet, "/api/events", s.handler(s.stationEvents))
	post := func(path string, h handlerFunc) { r.Handler(http.MethodPost, path, s.handler(s.withToken(h))) }
	post("/api/devices/:ip/write-disk", s.writeDisk)
	post("/api/trees/rollback", s.rollback)
	// One route for all, because httprouter has no fixed words beside a parameter.
	post("/api/stations/:id", s.stationPost)
	post("/api/stations/:id/:action", s.stationAction)
	r.Handler(http.MethodDelete, "/api/stations/:id", s.handler(s.withToken(s.forgetStation)))
	return r
}

// ServeHTTP lets in who may use the service; GET /health is open.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer func() {
		if v := recover(); v != nil && v != http.ErrAbortHandler {
			s.opt.Logf("BUG: panic in %s %s: %v\n%s", r.Method, r.URL.Path, v, debug.Stack())
			s.fail(w, r, &httpError{http.StatusInternalServerError, "internal error; the service goes on, please report what its log says"})
		} else if v != nil {
			panic(v)
		}
	}()
	if r.ContentLength != 0 {
		// net/http reads a body that nobody has read before it sends the answer: without a
		// deadline, a client that does not send its body would hold the connection for ever.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout))
	}
	if r.URL.Path != "/health" {
		if _, err := s.guard.Addr(r.RemoteAddr); err != nil {
			s.fail(w, r, err)
			return
		}
	}
	if s.opt.Gok != nil && isGok(r) {
		s.serveGok(w, r)
		return
	}
	s.router.ServeHTTP(w, r)
}

// stationPost takes announcements, whose path announce.Path is.
func (s *Server) stationPost(w http.ResponseWriter, r *http.Request) error {
	if r.URL.Path != announce.Path {
		return badRequest("name what to do with the station: enrol, retire, reboot, assign, unassign, write or cancel")
	}
	return s.announced(w, r)
}

func (s *Server) stationAction(w http.ResponseWriter, r *http.Request) error {
	switch action := param(r, "action"); action {
	case "enrol":
		return s.enrol(w, r)
	case "retire":
		return s.retireStation(w, r)
	case "reboot":
		return s.rebootStation(w, r)
	case "assign":
		return s.assign(w, r)
	case "unassign":
		return s.unassign(w, r)
	case "write":
		return s.writeStation(w, r)
	case "cancel":
		return s.cancelStation(w, r)
	default:
		return &httpError{http.StatusNotFound, fmt.Sprintf("a station cannot %q; it can be told to enrol, retire, reboot, assign, unassign, write or cancel", action)}
	}
}

// isGok tells gok's requests from others.
func isGok(r *http.Request) bool {
	switch {
	case strings.HasPrefix(r.URL.Path, "/update/"), r.URL.Path == "/reboot", r.URL.Path == "/divert", strings.HasPrefix(r.URL.Path, "/uploadtemp/"):
		return true
	case r.URL.Path == "/":
		return strings.Contains(r.Header.Get("Accept")+r.Header.Get("Content-Type"), "application/json")
	}
	return false
}

// serveGok sends gok to HTTPS where there is a certificate, as gokrazy does, so that its
// password does not go over the network in the clear.
func (s *Server) serveGok(w http.ResponseWriter, r *http.Request) {
	if r.TLS == nil && s.opt.HasTLS != nil && s.opt.HasTLS() {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = r.Host
		}
		u := *r.URL
		u.Scheme, u.Host = "https", net.JoinHostPort(host, strconv.Itoa(s.opt.TLSPort))
		http.Redirect(w, r, u.String(), http.StatusFound)
		return
	}
	s.opt.Gok.ServeHTTP(w, r)
}

// handlerFunc is a handler that returns its error.
type handlerFunc func(w http.ResponseWriter, r *http.Request) error

func (s *Server) handler(h handlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := h(w, r); err != nil {
			s.fail(w, r, err)
		}
	})
}

// withToken lets only requests with the token through to h.
func (s *Server) withToken(h handlerFunc) handlerFunc {
	return func(w http.ResponseWriter, r *http.Request) error {
		addr, err := s.guard.Addr(r.RemoteAddr)
		if err != nil {
			return err
		}
		// Refused before the token is looked at: another site's page could otherwise use up
		// the tries of whoever looks at it.
		if http.NewCrossOriginProtection().Check(r) != nil {
			return &httpError{http.StatusForbidden, "the request comes from another site's page; use netbootd's own page, or no browser"}
		}
		if err := s.guard.Token(addr, r.Header.Get("X-Netboot-Token")); err != nil {
			return err
		}
		return h(w, r)
	}
}

// param is a part of the path.
func param(r *http.Request, name string) string {
	return httprouter.ParamsFromContext(r.Context()).ByName(name)
}

// failure is the JSON of every failure.
type failure struct {
	Success bool   `json:"success"`
	Error   string `json:"error"`
}

// fail answers with an error, and logs it.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	status := statusOf(err)
	var rate *guard.RateError
	if errors.As(err, &rate) {
		w.Header().Set("Retry-After", strconv.Itoa(int(rate.Retry.Seconds())+1))
	}
	if r.ContentLength != 0 {
		w.Header().Set("Connection", "close") // its body may not have been read
	}
	s.opt.Logf("%q %q from %s: %d: %s", r.Method, r.URL.EscapedPath(), r.RemoteAddr, status, oneLine(err.Error()))
	reply(w, status, failure{Error: err.Error()})
}

// oneLine quotes what could make a log's line look like several.
func oneLine(s string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsControl(c) {
			return '\uFFFD'
		}
		return c
	}, s)
}

const (
	// bodyTimeout is how long a client may take to send it.
	bodyTimeout = 15 * time.Second
	// writeTimeout is how long a client may take to accept an answer, but for downloads.
	writeTimeout = 30 * time.Second
)

// reply answers with JSON.
func reply(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		status, b = http.StatusInternalServerError, []byte(`{"success":false,"error":"BUG: the answer cannot be encoded"}`)
	}
	b = append(b, '\n')
	rc := http.NewResponseController(w)
	_ = rc.SetWriteDeadline(time.Now().Add(writeTimeout))
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	w.Write(b)
	_ = rc.Flush()
	_ = rc.SetWriteDeadline(time.Time{}) // the next answer on this connection may be a download
}

// health says that the service lives. It is open to everybody.
func (s *Server) health(w http.ResponseWriter, r *http.Request) error {
	reply(w, http.StatusOK, struct {
		Service string `json:"service"`
		Status  string `json:"status"`
		Version string `json:"version"`
	}{"netbootd", "ok", s.opt.Version})
	return nil
}

// imagerConfig answers what a station fetches at its start.
func (s *Server) imagerConfig(w http.ResponseWriter, r *http.Request) error {
	reply(w, http.StatusOK, s.opt.ImagerConfig)
	return nil
}
