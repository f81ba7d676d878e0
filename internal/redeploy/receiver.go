package redeploy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/openseastack/netboot-imager/internal/guard"
	"github.com/openseastack/netboot-imager/internal/netboot"
	"github.com/openseastack/netboot-imager/internal/trees"
)

// stall is how long gok may take to send some bytes.
const stall = 2 * time.Minute

// Options configure a Receiver.
type Options struct {
	// Dir is where uploads are kept until they are used.
	Dir string
	// Password of the user gokrazy.
	Password string
	// Clients may not guess the password more than ten times a minute.
	Allowed []netip.Prefix
	Library *trees.Library
	Fleet   *Fleet
	// Tree is how trees are made.
	Tree netboot.Options
	// Served checks that the current tree is really served, unless it is nil.
	Served func(context.Context) error
	// Certificate takes over what gok put into the root image for HTTPS.
	Certificate *Certificate
	Logf        func(format string, args ...any)
}

// Receiver answers what gok asks. It is an http.Handler for /, /update/… and /reboot.
type Receiver struct {
	opt      Options
	guard    *guard.Guard
	in       incoming
	mux      *http.ServeMux
	switches sync.Mutex
}

// New returns a receiver.
func New(opt Options) *Receiver {
	r := &Receiver{opt: opt, guard: guard.New(opt.Allowed, opt.Password, time.Now), in: incoming{dir: opt.Dir}, mux: http.NewServeMux()}
	r.mux.HandleFunc("GET /update/features", r.features)
	for name := range limits {
		r.mux.HandleFunc("PUT /update/"+name, r.handler(func(w http.ResponseWriter, req *http.Request) error { return r.put(w, req, name) }))
	}
	r.mux.HandleFunc("POST /update/switch", r.handler(r.switchTree))
	r.mux.HandleFunc("POST /update/testboot", r.handler(r.testboot))
	r.mux.HandleFunc("POST /reboot", r.handler(r.reboot))
	r.mux.HandleFunc("GET /{$}", r.status)
	r.mux.HandleFunc("/", func(w http.ResponseWriter, req *http.Request) {
		http.Error(w, fmt.Sprintf("netbootd takes `gok update` and does not know %s %s; `gok run` and the like go to a station", req.Method, req.URL.Path), http.StatusNotImplemented)
	})
	return r
}

// ServeHTTP lets in who knows the password.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	addr, err := r.guard.Addr(req.RemoteAddr)
	if err != nil {
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	user, password, ok := req.BasicAuth()
	if !ok {
		w.Header().Set("WWW-Authenticate", `Basic realm="gokrazy"`)
		http.Error(w, "no Basic Authorization header set", http.StatusUnauthorized)
		return
	}
	if user != "gokrazy" {
		password = "" // a wrong user counts as a wrong password
	}
	if err := r.guard.Token(addr, password); err != nil {
		var rate *guard.RateError
		if errors.As(err, &rate) {
			http.Error(w, strings.ReplaceAll(err.Error(), "tokens", "passwords"), http.StatusTooManyRequests)
			return
		}
		r.opt.Logf("%q %q from %s: wrong user or password", req.Method, req.URL.EscapedPath(), req.RemoteAddr)
		w.Header().Set("WWW-Authenticate", `Basic realm="gokrazy"`)
		http.Error(w, "invalid username/password", http.StatusUnauthorized)
		return
	}
	r.mux.ServeHTTP(w, req)
}

// handler answers errors as gok shows them: in plain text.
func (r *Receiver) handler(h func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		err := h(w, req)
		if err == nil {
			return
		}
		status := statusOf(err)
		r.opt.Logf("%q %q from %s: %d: %v", req.Method, req.URL.EscapedPath(), req.RemoteAddr, status, err)
		w.Header().Set("Connection", "close") // the body may not have been read
		http.Error(w, err.Error(), status)
	}
}

func statusOf(err error) int {
	var (
		large   *TooLargeError
		missing *NotUploadedError
		station *NoStationError
		runs    *TestRunsError
		image   *ImageError
		ne      net.Error
	)
	switch {
	case errors.As(err, &large):
		return http.StatusRequestEntityTooLarge
	case errors.As(err, &missing), errors.As(err, &station), errors.As(err, &runs):
		return http.StatusConflict
	case errors.As(err, &image):
		return http.StatusUnprocessableEntity
	case errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &ne) && ne.Timeout():
		return http.StatusBadRequest
	}
	return http.StatusInternalServerError
}

// features says what gok may do: name partitions by UUID, and sum with CRC-32. Both only
// shape images whose kernel command line is not used here.
const featureList = "partuuid,updatehash,gpt,"

func (r *Receiver) features(w http.ResponseWriter, req *http.Request) {
	if !wantsJSON(req) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		io.WriteString(w, featureList)
		return
	}
	answerJSON(w, map[string]any{"features": featureList, "EEPROM": nil})
}

func wantsJSON(req *http.Request) bool {
	return strings.Contains(strings.ToLower(req.Header.Get("Accept")), "application/json") ||
		strings.Contains(strings.ToLower(req.Header.Get("Content-Type")), "application/json")
}

func answerJSON(w http.ResponseWriter, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // a type of this package's
	}
	w.Header().Set("Content-Type", "application/json") // to the letter: the updater compares
	w.Write(b)
}

// status is what gok polls.
func (r *Receiver) status(w http.ResponseWriter, req *http.Request) {
	host, _ := os.Hostname()
	answerJSON(w, map[string]any{
		"BuildTimestamp": r.opt.Fleet.Build(),
		"Hostname":       host,
		"Model":          "netbootd",
		"Services":       []string{},
		"EEPROM":         nil,
	})
}

// stallReader reads a body that may take as long as it takes, as long as it moves.
type stallReader struct {
	r  io.Reader
	rc *http.ResponseController
}

func (s *stallReader) Read(p []byte) (int, error) {
	if err := s.rc.SetReadDeadline(time.Now().Add(stall)); err != nil {
		return 0, err
	}
	return s.r.Read(p)
}

func (r *Receiver) put(w http.ResponseWriter, req *http.Request, name string) error {
	sum, err := r.in.put(name, &stallReader{req.Body, http.NewResponseController(w)}, newHash(req.Header.Get("X-Gokrazy-Update-Hash")))
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "%x", sum)
	return nil
}

// build makes a tree of what was uploaded.
func (r *Receiver) build(ctx context.Context) (trees.Tree, error) {
	r.in.mu.Lock()
	defer r.in.mu.Unlock()
	images, err := r.in.open()
	if err != nil {
		return trees.Tree{}, err
	}
	defer images.Close()
	o := r.opt.Tree
	o.Logf = r.opt.Logf
	t, err := r.opt.Library.Add(ctx, images, o)
	if err != nil {
		return t, &ImageError{err}
	}
	if err := r.opt.Certificate.take(images); err != nil {
		return t, err
	}
	return t, r.in.discard()
}

// switchTree makes the tree and serves it.
func (r *Receiver) switchTree(w http.ResponseWriter, req *http.Request) error {
	r.switches.Lock()
	defer r.switches.Unlock()
	t, err := r.build(req.Context())
	if err != nil {
		return err
	}
	if err := r.opt.Fleet.Switch(t.ID); err != nil {
		return err
	}
	if r.opt.Served != nil {
		if err := r.opt.Served(req.Context()); err != nil {
			return fmt.Errorf("the new netboot tree is current, but it is not served: %w", err)
		}
	}
	return nil
}

// testboot makes the tree and serves it to one station.
func (r *Receiver) testboot(w http.ResponseWriter, req *http.Request) error {
	r.switches.Lock()
	defer r.switches.Unlock()
	t, err := r.build(req.Context())
	if err != nil {
		return err
	}
	return r.opt.Fleet.Testboot(t)
}

// reboot is answered as gokrazy does. The stations reboot when they can.
func (r *Receiver) reboot(w http.ResponseWriter, req *http.Request) error {
	r.opt.Certificate.activate()
	r.opt.Fleet.Wake()
	io.WriteString(w, "Rebooting the stations that do not write...\n")
	return nil
}
