// Package station is the flashing station's HTTP service: it checks who asks for what,
// runs one job at a time, and tells how it goes.
//
// The API is that of the service that this one replaces, so that the netboot server's
// web UI works unchanged. Every response is JSON; every failure is
// {"success":false,"error":"…"} with a sentence that says what happened and what to do.
package station

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/julienschmidt/httprouter"
	"github.com/openseastack/netboot-imager/internal/config"
	"github.com/openseastack/netboot-imager/internal/disk"
	"github.com/openseastack/netboot-imager/internal/guard"
	"github.com/openseastack/netboot-imager/internal/source"
	"github.com/openseastack/netboot-imager/internal/webui"
)

// Options configure a Server.
type Options struct {
	Version   string
	System    disk.System
	ConfigURL string       // that the config came from, "" for a file
	StatePath string       // file that remembers the job across restarts; "" for none
	Reboot    func() error // restarts the machine
	// Rebootable says why Reboot cannot work on this machine; nil if it always can.
	Rebootable func() error
	// BootOnce has a machine of this model boot a disk once; nil if none can.
	BootOnce func(model, device string) error
	// BeforeReboot is called before Reboot, unless it is nil: last words.
	BeforeReboot func(ctx context.Context)
	ReadAhead    int // bytes of download held in RAM
	Logf         func(format string, args ...any)
}

// Server is the service. It answers 503 to everything but GET /health until Configure.
type Server struct {
	// config
	opt     Options
	router  *httprouter.Router
	metrics *metrics
	active  atomic.Pointer[active]

	// state
	ctx     context.Context // of jobs; ends at Shutdown
	stop    context.CancelCauseFunc
	jobs    sync.WaitGroup
	mu      sync.Mutex
	slot    *job                     // that may use a disk; nil if none
	job     *job                     // the slot's, once its disk is open
	last    Status                   // while no job runs
	clients map[chan Status]struct{} // of GET /events

	receipts  []*receipt // newest first
	rebooting bool       // asked for; no job begins any more
}

// active is what comes out of a config.
type active struct {
	cfg    *config.Config
	guard  *guard.Guard
	source *source.Client
}

// New returns a server. If the state file says that a job was running when the service
// ended, that is what GET /status reports.
func New(opt Options) *Server {
	ctx, stop := context.WithCancelCause(context.Background())
	s := &Server{opt: opt, ctx: ctx, stop: stop, clients: map[chan Status]struct{}{}}
	s.last = s.restore()
	s.receipts = s.restoreReceipts()
	s.metrics = newMetrics(s)
	s.router = s.routes()
	ui, err := webui.New()
	if err != nil {
		panic(err) // what is embedded is broken; a test would have told
	}
	s.pageRoutes(s.router, ui)
	return s
}

// Configure puts cfg in force.
func (s *Server) Configure(cfg *config.Config) {
	hosts := source.Hosts{Prefixes: append([]netip.Prefix{}, cfg.AllowedIPs...)}
	for _, h := range cfg.ImageHosts {
		if h.Name != "" {
			hosts.Names = append(hosts.Names, h.Name)
		} else {
			hosts.Prefixes = append(hosts.Prefixes, h.Prefix)
		}
	}
	s.active.Store(&active{
		cfg:   cfg,
		guard: guard.New(cfg.AllowedIPs, cfg.SharedSecret, time.Now),
		source: source.NewClient(source.Config{
			Hosts: hosts, Stall: cfg.StallTimeout, ReadAhead: s.opt.ReadAhead,
			UserAgent: "netboot-imager/" + s.opt.Version,
		}),
	})
}

func (s *Server) routes() *httprouter.Router {
	r := httprouter.New()
	// A path is right or wrong; nobody is sent elsewhere.
	r.RedirectTrailingSlash, r.RedirectFixedPath, r.HandleOPTIONS = false, false, false
	r.NotFound = handler(s, func(_ *active, w http.ResponseWriter, r *http.Request) error {
		return &httpError{http.StatusNotFound, fmt.Sprintf("no such path: %q; there are /health, /status, /events, /disks, /station, /receipts, /images, /metrics, /write-image and /reboot", r.URL.Path)}
	})
	r.MethodNotAllowed = handler(s, func(_ *active, w http.ResponseWriter, r *http.Request) error {
		allow := strings.ReplaceAll(w.Header().Get("Allow"), "OPTIONS, ", "") // httprouter adds it always
		w.Header().Set("Allow", strings.TrimSuffix(allow, ", OPTIONS"))
		return &httpError{http.StatusMethodNotAllowed, fmt.Sprintf("%s does not take %s; allowed: %s", r.URL.Path, r.Method, w.Header().Get("Allow"))}
	})
	for path, h := range map[string]handlerFunc{
		"/health": s.health, "/status": s.status, "/disks": s.disks, "/station": s.stationInfo, "/receipts": s.listReceipts,
		"/images": s.listImages, "/metrics": s.serveMetrics,
	} {
		r.Handler(http.MethodGet, path, handler(s, h))
		r.Handler(http.MethodHead, path, handler(s, h))
	}
	r.Handler(http.MethodGet, "/events", handler(s, s.events))
	r.Handler(http.MethodPost, "/write-image", handler(s, withToken(s.writeImage)))
	r.Handler(http.MethodDelete, "/write-image", handler(s, withToken(s.cancelWrite)))
	r.Handler(http.MethodPost, "/reboot", handler(s, withToken(s.rebootStation)))
	return r
}

// ServeHTTP lets in who may use the service; GET /health is open.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer func() {
		if v := recover(); v != nil && v != http.ErrAbortHandler {
			s.opt.Logf("BUG: panic in %s %s: %v\n%s", r.Method, r.URL.Path, v, debug.Stack())
			s.fail(w, r, &httpError{http.StatusInternalServerError, "internal error; the service goes on, please report what its log says"})
		}
	}()
	if r.ContentLength != 0 {
		// net/http reads a body that nobody has read before it sends the answer: without a
		// deadline, a client that does not send its body would hold the connection for ever.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout))
		w.Header().Set("Connection", "close")
	}
	if r.URL.Path != "/health" {
		a := s.active.Load()
		if a == nil {
			s.fail(w, r, &httpError{http.StatusServiceUnavailable, "the station is starting: it has no config yet; try again soon"})
			return
		}
		if _, err := a.guard.Addr(r.RemoteAddr); err != nil {
			s.fail(w, r, err)
			return
		}
	}
	s.router.ServeHTTP(w, r)
}

// handlerFunc is a handler that returns its error. Its active is nil for /health before
// Configure, and never else.
type handlerFunc func(a *active, w http.ResponseWriter, r *http.Request) error

// handler adapts h to net/http.
func handler(s *Server, h handlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := h(s.active.Load(), w, r); err != nil {
			s.fail(w, r, err)
		}
	})
}

// withToken lets only requests with the token through to h, and none of another site's
// page. Those are refused before their token is looked at: otherwise a page could use up
// the tries of whoever looks at it.
func withToken(h handlerFunc) handlerFunc {
	return func(a *active, w http.ResponseWriter, r *http.Request) error {
		addr, err := a.guard.Addr(r.RemoteAddr)
		if err != nil {
			return err
		}
		if http.NewCrossOriginProtection().Check(r) != nil {
			return &httpError{http.StatusForbidden, "the request comes from another site's page; use this station's own page, or no browser"}
		}
		if err := a.guard.Token(addr, r.Header.Get("X-Netboot-Token")); err != nil {
			return err
		}
		return h(a, w, r)
	}
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

// writeTimeout is how long a client may take to accept an answer.
const writeTimeout = 30 * time.Second

// reply answers with JSON.
func reply(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		status, b = http.StatusInternalServerError, []byte(`{"success":false,"error":"BUG: the answer cannot be encoded"}`)
	}
	// The server has no WriteTimeout, since answers to POST /write-image come late.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout))
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	w.Write(append(b, '\n'))
}

// health says that the service lives. It is open to everybody.
func (s *Server) health(a *active, w http.ResponseWriter, r *http.Request) error {
	status := "ok"
	if a == nil {
		status = "starting"
	}
	reply(w, http.StatusOK, struct {
		Service string `json:"service"`
		Status  string `json:"status"`
		Version string `json:"version"`
	}{"netboot-imager", status, s.opt.Version})
	return nil
}

// disks lists the allowed devices.
func (s *Server) disks(a *active, w http.ResponseWriter, r *http.Request) error {
	reply(w, http.StatusOK, struct {
		Disks []disk.Info `json:"disks"`
	}{s.inventory(a)})
	return nil
}

// inventory describes the allowed devices; the one that a job writes is in use by it.
func (s *Server) inventory(a *active) []disk.Info {
	infos := s.opt.System.Inventory(a.cfg.AllowedDevices)
	if j := s.running(); j != nil {
		for i := range infos {
			if infos[i].Device == j.device {
				infos[i].InUse = "job " + j.id + " is writing it"
			}
		}
	}
	return infos
}

// Shutdown cancels the running job, waits for its end until ctx ends, and returns what
// became of it; nil if none ran.
func (s *Server) Shutdown(ctx context.Context) error {
	j := s.running()
	s.stop(&CancelledError{"the end of the service"})
	if j == nil {
		return nil
	}
	select {
	case <-j.done:
		return j.err
	case <-ctx.Done():
		return fmt.Errorf("job %s: the disk %s has not let go: %w", j.id, j.device, context.Cause(ctx))
	}
}
