package browsertest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/openseastack/netboot-imager/internal/flashtest"
)

// process is a program that a test can stop, kill and start again.
type process struct {
	t    *testing.T
	make func() *exec.Cmd
	cmd  *exec.Cmd // nil while it does not run
	log  string    // file
}

func newProcess(t *testing.T, name string, make func() *exec.Cmd) *process {
	p := &process{t: t, make: make, log: filepath.Join(t.TempDir(), name+".log")}
	p.start()
	t.Cleanup(func() {
		p.kill()
		if b, _ := os.ReadFile(p.log); t.Failed() {
			t.Logf("%s:\n%s", name, b)
		}
	})
	return p
}

func (p *process) start() {
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		p.t.Error(err)
		return
	}
	defer log.Close()
	p.cmd = p.make()
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		p.t.Error(err)
		p.cmd = nil
	}
}

// signal goes to the process and its children.
func (p *process) signal(sig syscall.Signal) {
	if p.cmd != nil {
		_ = syscall.Kill(-p.cmd.Process.Pid, sig) // it may have ended
	}
}

func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	if p.cmd != nil {
		_ = p.cmd.Wait() // it was killed
	}
	p.cmd = nil
}

// imagerScript starts an imager that takes this machine for a Raspberry Pi of its own: in a
// mount namespace with another /proc and another /dev.
const imagerScript = `set -e
mount --rbind /proc "$ROOT/real"
mount --bind "$DISK" "$ROOT/dev/mmcblk0"
mount --rbind "$ROOT/proc" /proc
mount --rbind "$ROOT/dev" /dev
exec "$IMAGER" -listen "$LISTEN"`

// newPi starts the imager as station n, whose configuration comes from configURL.
func newPi(t *testing.T, imager string, n int, dev, configURL string) *process {
	t.Helper()
	root := t.TempDir()
	for name, text := range map[string]string{
		"proc/cmdline":                   "console=tty1 root=/dev/ram0 imager.config_url=" + configURL + "\n",
		"proc/device-tree/model":         "Raspberry Pi 4 Model B Rev 1.4\x00",
		"proc/device-tree/serial-number": fmt.Sprintf("10000000abcd%04d\x00", n),
		"proc/sys/kernel/hostname":       fmt.Sprintf("pi-%02d\n", n),
		"dev/mmcblk0":                    "", "dev/null": "", "real/x": "",
	} {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"self", "swaps", "meminfo", "uptime", "mounts"} {
		if err := os.Symlink(filepath.Join(root, "real", name), filepath.Join(root, "proc", name)); err != nil {
			t.Fatal(err)
		}
	}
	listen := freeAddr(t)
	return newProcess(t, fmt.Sprintf("pi-%02d", n), func() *exec.Cmd {
		cmd := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c", imagerScript)
		cmd.Env = append(os.Environ(), "ROOT="+root, "DISK="+dev, "IMAGER="+imager, "LISTEN="+listen, "RUNTIME_DIRECTORY="+root)
		return cmd
	})
}

// freeAddr is an address on loopback that nobody serves on.
func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// heldBody passes a download on: its first 2 MiB at once, and the rest slowly as long as held.
type heldBody struct {
	io.ReadCloser
	ctx  context.Context
	held *atomic.Bool
	n    int
}

func (b *heldBody) Read(p []byte) (int, error) {
	if b.n > 2*mib && b.held.Load() {
		p = p[:min(len(p), 32<<10)]
		select {
		case <-b.ctx.Done():
			return 0, b.ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
	}
	n, err := b.ReadCloser.Read(p)
	b.n += n
	return n, err
}

// TestStationsPage shows a netbootd with four stations to a browser, all of them the real
// programs. The tests themselves are in web/test/stations.test.mjs.
func TestStationsPage(t *testing.T) {
	flashtest.NeedRoot(t)
	dir := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", dir+"/", "../../imager", "../../tools/netbootd").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	img, second := flashtest.Image(28*mib, 1), flashtest.Image(24*mib, 2)
	data := filepath.Join(dir, "data")
	for name, b := range map[string][]byte{
		"images/raspios-lite.img.gz": flashtest.Compress(t, "gzip", img), "images/second.img": second,
		"images/broken.img": []byte("<!doctype html><title>Not here</title>"),
		"token":             []byte("fake-token\n"), "imager.json": []byte(`{"allowed_ips": ["127.0.0.1"]}`),
	} {
		file := filepath.Join(data, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}

	// Stations reach netbootd by way of a server that holds downloads up when the browser's
	// tests want it: what is to be seen during a write is then seen on any machine.
	addr := freeAddr(t)
	base := &url.URL{Scheme: "http", Host: addr}
	var held atomic.Bool
	way := httputil.NewSingleHostReverseProxy(base)
	way.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) } // netbootd is down
	way.ModifyResponse = func(r *http.Response) error {
		if strings.HasPrefix(r.Request.URL.Path, "/api/images/download/") {
			r.Body = &heldBody{ReadCloser: r.Body, ctx: r.Request.Context(), held: &held}
		}
		return nil
	}
	front := httptest.NewServer(way)
	defer front.Close()

	netbootd := newProcess(t, "netbootd", func() *exec.Cmd {
		return exec.Command(filepath.Join(dir, "netbootd"), "serve", "--dir", data, "--dhcp", "off", "--listen", addr,
			"--tls-listen", "127.0.0.1:0", "--base-url", front.URL, "--imager-config", filepath.Join(data, "imager.json"))
	})
	sizes := []int64{64 * mib, 64 * mib, 64 * mib, 16 * mib}
	var pis []*process
	var disks []string
	for i, size := range sizes {
		disks = append(disks, flashtest.Loop(t, size))
		flashtest.Run(t, "dd", "if=/dev/urandom", "of="+disks[i], "bs=1M", "count=8", "conv=fsync", "status=none")
		pis = append(pis, newPi(t, filepath.Join(dir, "imager"), i+1, disks[i], front.URL+"/api/bootstrap/imager-config"))
	}

	// digest is what a disk holds: the name of an image, "zeros" at its begin, or "other".
	digest := func(i int) string {
		b, err := os.ReadFile(disks[i])
		switch {
		case err != nil:
			return err.Error()
		case bytes.HasPrefix(b, img):
			return "raspios-lite"
		case bytes.HasPrefix(b, second):
			return "second"
		case bytes.Equal(b[:mib], make([]byte, mib)):
			return "zeros"
		}
		return "other"
	}
	control := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		action, which, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		n, _ := strconv.Atoi(which)
		p := netbootd
		if n >= 1 && n <= len(pis) {
			p = pis[n-1]
		}
		switch action {
		case "disk":
			fmt.Fprint(w, digest(n-1))
		case "freeze":
			p.signal(syscall.SIGSTOP)
		case "thaw":
			p.signal(syscall.SIGCONT)
		case "kill":
			p.kill()
		case "start":
			p.start()
		case "hold":
			held.Store(true)
		case "release":
			held.Store(false)
		default:
			http.NotFound(w, r)
		}
	}))
	defer control.Close()

	runNode(t, "stations.test.mjs", map[string]string{"NETBOOTD": base.String(), "CONTROL": control.URL, "SHOTS": shots(t)})
}
