package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/openseastack/netboot-imager/internal/announce"
	"github.com/openseastack/netboot-imager/internal/cmdline"
	"github.com/openseastack/netboot-imager/internal/config"
	"github.com/openseastack/netboot-imager/internal/disk"
	"github.com/openseastack/netboot-imager/internal/station"
)

// environment is what run finds on its machine; tests have others.
type environment struct {
	system      disk.System
	configPaths []string

	// Where the panel is; "" for none.
	screen string // a terminal
	leds   string // as "/sys"

	station bool // a gokrazy station: -mdns is the default
}

// memoryLimit is where the garbage collector begins to work harder, in bytes: above what
// a job needs at once (ring 16 MiB, blocks 40 MiB, decoder up to 72 MiB), and such that the
// whole process stays below 192 MiB. GOMEMLIMIT overrides it.
const memoryLimit = 144 << 20

// run is the program. It returns nil when ctx ends and no write was running.
func run(ctx context.Context, args []string, stdout, stderr io.Writer, env environment) error {
	flags := flag.NewFlagSet("imager", flag.ContinueOnError)
	flags.SetOutput(stderr)
	var (
		configFile  = flags.String("config", "", "config `file` (default: the first of "+strings.Join(env.configPaths, ", ")+", or the kernel parameter "+config.URLParam+")")
		listen      = flags.String("listen", "", "`address` to serve on, HOST:PORT (default: the config's port on all addresses)")
		announced   = flags.Bool("mdns", env.station, "announce the service on the network by multicast DNS")
		showVersion = flags.Bool("version", false, "print the version and exit")
	)
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return fmt.Errorf("%w; see imager -help", err)
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q; see imager -help", flags.Arg(0))
	}
	if *showVersion {
		fmt.Fprintln(stdout, "imager", version())
		return nil
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	p := &program{env: env, listen: *listen, mdns: *announced, logf: log.New(stderr, "", log.LstdFlags|log.LUTC).Printf}

	defer p.panel(ctx)()
	url, err := p.configURL(*configFile)
	if err != nil {
		return err
	}
	if url != "" {
		return p.serveFrom(ctx, url)
	}
	if *configFile == "" {
		if *configFile, err = config.Find(env.configPaths); err != nil {
			return err
		}
	}
	cfg, err := config.Load(*configFile)
	if err != nil {
		return err
	}
	ln, err := p.bind(cfg.Port)
	if err != nil {
		return err
	}
	s := p.server(ln)
	p.configure(ctx, s, cfg, *configFile)
	return p.serve(ctx, s, ln)
}

// program is a running imager.
type program struct {
	env    environment
	listen string
	mdns   bool
	// configFrom is the URL that the config comes from, "" for a file.
	configFrom string
	logf       func(format string, args ...any)

	announcer atomic.Pointer[announce.Client] // nil without a boot server
	serving   atomic.Pointer[serving]         // nil without a config
}

// configURL returns the URL that the kernel command line names; "" if there is none or a
// file was named.
func (p *program) configURL(file string) (string, error) {
	if file != "" {
		return "", nil
	}
	line, err := os.ReadFile(filepath.Join(p.env.system.Proc, "cmdline"))
	if err != nil {
		return "", nil // no kernel command line, no parameter
	}
	url, ok := cmdline.Get(string(line), config.URLParam)
	if ok && url == "" {
		return "", fmt.Errorf("the kernel parameter %s is empty; write %s=http://SERVER:38434/api/bootstrap/imager-config", config.URLParam, config.URLParam)
	}
	return url, nil
}

// serveFrom serves without a config until url delivers one, then with it.
func (p *program) serveFrom(ctx context.Context, url string) error {
	p.configFrom = url
	ln, err := p.bind(config.DefaultPort)
	if err != nil {
		return err
	}
	s := p.server(ln)
	waiting, stop := context.WithCancelCause(ctx)
	serving := make(chan error, 1)
	go func() {
		err := p.serve(waiting, s, ln)
		stop(err)
		serving <- err
	}()
	cfg, err := config.Fetch(waiting, url, p.logf)
	if err != nil {
		stop(err)
		if served := <-serving; served != nil || ctx.Err() != nil {
			return served // stopped, or the server failed first
		}
		return err
	}
	if port := ln.Addr().(*net.TCPAddr).Port; p.listen == "" && port != cfg.Port {
		// Nothing but /health has been answered so far.
		stop(nil)
		if err := <-serving; err != nil || ctx.Err() != nil {
			return err
		}
		if ln, err = p.bind(cfg.Port); err != nil {
			return err
		}
		s = p.server(ln)
		p.configure(ctx, s, cfg, url)
		go p.announce(ctx, s, cfg, url, cfg.Port)
		return p.serve(ctx, s, ln)
	}
	p.configure(ctx, s, cfg, url)
	go p.announce(waiting, s, cfg, url, ln.Addr().(*net.TCPAddr).Port)
	return <-serving
}

// bind listens on the -listen address or on port.
func (p *program) bind(port int) (net.Listener, error) {
	addr := p.listen
	if addr == "" {
		addr = fmt.Sprintf(":%d", port)
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w; is another imager running?", addr, err)
	}
	return ln, nil
}

func (p *program) server(ln net.Listener) *station.Server {
	return station.New(station.Options{
		Version:      version(),
		System:       p.env.system,
		ConfigURL:    p.configFrom,
		StatePath:    statePath(ln.Addr().(*net.TCPAddr).Port),
		Reboot:       reboot,
		Rebootable:   rebootable,
		BeforeReboot: p.beforeReboot,
		BootOnce:     bootOnce,
		ReadAhead:    readAhead(p.env.system.Proc),
		Logf:         p.logf,
	})
}

func (p *program) configure(ctx context.Context, s *station.Server, cfg *config.Config, from string) {
	p.logf("imager %s, config %s: %s", version(), from, cfg.Describe())
	for _, w := range cfg.Warnings {
		p.logf("warning: %s", w)
	}
	s.Configure(cfg)
	p.serving.Store(&serving{s, cfg.Port})
	p.zeroTouch(ctx, s)
}

// serve serves on ln until ctx ends; then it cancels a running write, and reports that.
func (p *program) serve(ctx context.Context, s *station.Server, ln net.Listener) error {
	server := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		// "OPTIONS *" is answered like everything else.
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     log.New(logWriter(p.logf), "", 0),
		// No ReadTimeout and WriteTimeout: an answer to POST /write-image may take an hour.
		// The handlers set deadlines of their own.
	}
	p.logf("serving on %s", ln.Addr())
	defer p.announceNearby(ctx, ln.Addr())()
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(ln) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve on %s: %w", ln.Addr(), err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	err := s.Shutdown(grace)
	// Answers that are on their way get out; idle clients are not waited for.
	flush, cancel := context.WithTimeout(grace, 2*time.Second)
	defer cancel()
	if server.Shutdown(flush) != nil {
		server.Close()
	}
	<-failed
	if err != nil {
		return fmt.Errorf("stopped during a write: %w", err)
	}
	p.logf("stopped")
	return nil
}

// logWriter makes net/http's complaints lines of the log.
type logWriter func(format string, args ...any)

func (w logWriter) Write(b []byte) (int, error) {
	w("http: %s", strings.TrimSpace(string(b)))
	return len(b), nil
}
