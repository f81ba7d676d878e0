package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

const token = "fake-token"

// lab is a rack of imagers on loopback, and an image that waits at a gate.
type lab struct {
	t        testing.TB
	dir      string
	stations map[string]*station
	gated    *gated
}

func newLab(t testing.TB, dir string) *lab {
	return &lab{t: t, dir: dir, stations: map[string]*station{}}
}

// station is a real imager in a process of its own.
type station struct {
	t                   testing.TB
	config, disk, state string
	log, addr           string
	old                 []byte
	proxy               *proxy
	cmd                 *exec.Cmd
}

// station starts an imager, and returns the proxy's address.
func (l *lab) station(name string, mib int) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		l.t.Fatal(err)
	}
	s := &station{t: l.t, addr: ln.Addr().String(), old: bytes.Repeat([]byte("the old system. "), mib<<16)}
	ln.Close()
	at := func(suffix string) string { return filepath.Join(l.dir, name+suffix) }
	s.config, s.disk, s.state, s.log = at(".json"), at(".img"), at(".run"), at(".log")
	files := map[string][]byte{
		s.disk:   s.old,
		s.config: fmt.Appendf(nil, `{"allowed_ips": ["127.0.0.1"], "shared_secret": %q, "allowed_devices": [%q]}`, token, s.disk),
	}
	for file, b := range files {
		if err := os.WriteFile(file, b, 0o600); err != nil {
			l.t.Fatal(err)
		}
	}
	s.start()
	l.stations[name] = s
	s.proxy = newProxy(l.t, s.addr)
	l.t.Cleanup(s.stop)
	return s.proxy.ln.Addr().String()
}

func (s *station) start() {
	if err := os.MkdirAll(s.state, 0o700); err != nil {
		s.t.Fatal(err)
	}
	log, err := os.Create(s.log)
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	s.cmd = exec.Command(filepath.Join(programs, "imager"), "-config", s.config, "-listen", s.addr)
	s.cmd.Env = []string{"RUNTIME_DIRECTORY=" + s.state}
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	if err := s.await(`"stage":"idle"`); err != nil {
		s.t.Fatal(err)
	}
}

func (s *station) stop() {
	s.cmd.Process.Kill()
	s.cmd.Wait()
}

func (s *station) content() []byte {
	b, err := os.ReadFile(s.disk)
	if err != nil {
		s.t.Fatal(err)
	}
	return b
}

// await waits until GET /status has text.
func (s *station) await(text string) error {
	last := ""
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		resp, err := http.Get("http://" + s.addr + "/status")
		if err != nil {
			last = err.Error()
			continue
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if last = string(b); strings.Contains(last, text) {
			return nil
		}
	}
	return fmt.Errorf("GET /status of %s never has %q; it is %s", s.addr, text, last)
}

// proxy is the network between flash and a station.
type proxy struct {
	ln     net.Listener
	target string

	mu    sync.Mutex
	conns map[net.Conn]bool
	off   bool
	tried chan struct{} // a connection came while it was off
}

func newProxy(t testing.TB, target string) *proxy {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{ln: ln, target: target, conns: map[net.Conn]bool{}, tried: make(chan struct{}, 1)}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go p.handle(c)
		}
	}()
	return p
}

func (p *proxy) handle(c net.Conn) {
	defer c.Close()
	p.mu.Lock()
	if p.off {
		p.mu.Unlock()
		select {
		case p.tried <- struct{}{}:
		default:
		}
		return
	}
	p.conns[c] = true
	p.mu.Unlock()
	up, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer up.Close()
	go func() {
		io.Copy(up, c)
		up.Close()
	}()
	io.Copy(c, up)
	p.mu.Lock()
	delete(p.conns, c)
	p.mu.Unlock()
}

func (p *proxy) cut() {
	p.mu.Lock()
	p.off = true
	for c := range p.conns {
		c.Close()
	}
	p.mu.Unlock()
	<-p.tried
}

func (p *proxy) mend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.off = false
}

// gated is a file of which the second half can only be read when the gate is open. It is
// there as a file (over FUSE) and over HTTP, so a write lasts until the test lets it end.
type gated struct {
	fs.Inode
	data   []byte
	opened chan struct{}
	once   sync.Once
}

var (
	_ fs.NodeGetattrer = (*gated)(nil)
	_ fs.NodeOpener    = (*gated)(nil)
	_ fs.NodeReader    = (*gated)(nil)
)

// ReadAt waits at the gate.
func (g *gated) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > int64(len(g.data)/2) {
		<-g.opened
	}
	return bytes.NewReader(g.data).ReadAt(p, off)
}

func (g *gated) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Mode, out.Size = syscall.S_IFREG|0o400, uint64(len(g.data))
	return 0
}

// Open has every read come here, past the page cache.
func (g *gated) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return nil, fuse.FOPEN_DIRECT_IO, 0
}

func (g *gated) Read(_ context.Context, _ fs.FileHandle, p []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	n, err := g.ReadAt(p, off)
	if err != nil && err != io.EOF {
		return nil, syscall.EIO
	}
	return fuse.ReadResultData(p[:n]), 0
}

// gatedRoot is the directory that has it.
type gatedRoot struct {
	fs.Inode
	file *gated
}

func (r *gatedRoot) OnAdd(ctx context.Context) {
	r.AddChild("gated.img", r.NewPersistentInode(ctx, r.file, fs.StableAttr{Mode: syscall.S_IFREG}), true)
}

// gate returns the gated file, and the URL of the same.
func (l *lab) gate(data []byte) (file, url string) {
	g := &gated{data: data, opened: make(chan struct{})}
	l.gated = g
	dir := l.t.TempDir()
	mount, err := fs.Mount(dir, &gatedRoot{file: g}, &fs.Options{MountOptions: fuse.MountOptions{DirectMountStrict: true, Name: "gated", FsName: "gated"}})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		if err := mount.Unmount(); err != nil {
			l.t.Errorf("unmounting the gated file: %v", err)
		}
	})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"v1"`)
		w.Header().Set("Content-Type", "application/octet-stream")
		http.ServeContent(w, r, "", time.Time{}, io.NewSectionReader(g, 0, int64(len(data))))
	}))
	l.t.Cleanup(func() {
		l.open()
		srv.CloseClientConnections()
		srv.Close()
	})
	return filepath.Join(dir, "gated.img"), srv.URL + "/os"
}

func (l *lab) open() { l.gated.once.Do(func() { close(l.gated.opened) }) }
