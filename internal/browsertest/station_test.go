package browsertest

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/openseastack/netboot-imager/internal/config"
	"github.com/openseastack/netboot-imager/internal/disk"
	"github.com/openseastack/netboot-imager/internal/flashtest"
	"github.com/openseastack/netboot-imager/internal/station"
)

const mib = 1 << 20

// stationRig is a station that a test can take off the network and bring back.
type stationRig struct {
	t        *testing.T
	addr     string
	station  *station.Server
	rebooted chan struct{}

	mu   sync.Mutex
	http *http.Server // nil while it is off the network
}

func newStation(t *testing.T, dev, configURL string) *stationRig {
	t.Helper()
	g := &stationRig{t: t, rebooted: make(chan struct{}, 8)}
	g.station = station.New(station.Options{
		Version: "1.0.0-test", System: disk.Host, ConfigURL: configURL, StatePath: filepath.Join(t.TempDir(), "state.json"),
		Reboot: func() error { g.rebooted <- struct{}{}; return fmt.Errorf("not in a test") }, ReadAhead: mib, Logf: t.Logf,
	})
	cfg, err := config.Parse(fmt.Appendf(nil, `{"allowed_ips": ["127.0.0.1"], "shared_secret": "fake-token", "allowed_devices": [%q, "/dev/nvme9n1"]}`, dev))
	if err != nil {
		t.Fatal(err)
	}
	g.station.Configure(cfg)
	g.up("127.0.0.1:0")
	t.Cleanup(func() {
		g.station.Shutdown(t.Context())
		g.down()
	})
	return g
}

// up serves on addr.
func (g *stationRig) up(addr string) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		g.t.Error(err)
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.addr = ln.Addr().String()
	g.http = &http.Server{Handler: g.station}
	go g.http.Serve(ln)
}

// down cuts all connections and listens no more; a job goes on.
func (g *stationRig) down() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.http != nil {
		g.http.Close()
		g.http = nil
	}
}

// runNode runs a file of web/test by node's test runner.
func runNode(t *testing.T, file string, env map[string]string) {
	t.Helper()
	web, err := filepath.Abs("../../web")
	if err != nil {
		t.Fatal(err)
	}
	node := flashtest.Need(t, "node")
	if _, err := os.Stat(filepath.Join(web, "node_modules", "playwright-core")); err != nil {
		cmd := exec.Command(flashtest.Need(t, "npm"), "ci")
		cmd.Dir = web
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("npm ci: %v\n%s", err, out)
		}
	}
	args := []string{"--test", "--test-reporter=spec"}
	if some := os.Getenv("PAGETESTS"); some != "" { // a regular expression, for whoever works on a page
		args = append(args, "--test-name-pattern="+some)
	}
	cmd := exec.CommandContext(t.Context(), node, append(args, filepath.Join("test", file))...)
	cmd.Dir = web
	cmd.WaitDelay = 10 * time.Second
	cmd.Env = append(os.Environ(), "CHROMIUM="+flashtest.Need(t, "chromium"))
	for k, v := range env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Errorf("node --test %s: %v", file, err)
	}
}

// shots is where screenshots go: a directory that SCREENSHOTS names, else one that is
// removed.
func shots(t *testing.T) string {
	if dir := os.Getenv("SCREENSHOTS"); dir != "" {
		return dir
	}
	return t.TempDir()
}

// TestStationPage shows a station to a browser. The tests themselves are in
// web/test/station.test.mjs; this is what they act on.
func TestStationPage(t *testing.T) {
	dev := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(dev, bytes.Repeat([]byte("old data"), 4*mib), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(dev, 64*mib); err != nil {
		t.Fatal(err)
	}
	img := flashtest.Image(28*mib, 1)
	slow := flashtest.NewServer(t, flashtest.Compress(t, "gzip", img))
	slow.Slow = 80 * time.Millisecond
	// It takes minutes: what is to be seen during a write is seen on a busy machine, too.
	endless := flashtest.NewServer(t, flashtest.Image(60*mib, 2))
	endless.Slow = 200 * time.Millisecond
	html := flashtest.NewServer(t, []byte("<!doctype html><title>Not here</title>"))

	list := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/images" {
			http.NotFound(w, r)
			return
		}
		fmt.Fprintf(w, `{"images": [{"name": "raspios-lite", "url": %q, "size": %d, "format": "gzip", "sha256": %q},
			{"name": "elsewhere", "url": "http://192.0.2.1/x"}]}`, slow.URL(), len(slow.Data), flashtest.SHA256(slow.Data))
	}))
	defer list.Close()
	g := newStation(t, dev, list.URL+"/api/bootstrap/imager-config")

	control := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/down":
			g.down()
		case "/up":
			g.up(g.addr)
		case "/disk":
			b, err := os.ReadFile(dev)
			if err != nil {
				t.Error(err)
				return
			}
			fmt.Fprint(w, flashtest.SHA256(b[:len(img)]))
		default:
			http.NotFound(w, r)
		}
	}))
	defer control.Close()

	runNode(t, "station.test.mjs", map[string]string{
		"STATION": "http://" + g.addr, "CONTROL": control.URL, "SHOTS": shots(t), "DEVICE": dev,
		"ENDLESS": endless.URL(), "HTML": html.URL(), "IMAGE_SHA256": flashtest.SHA256(img),
	})
	select {
	case <-g.rebooted: // the station waits for its answer to get out
	case <-time.After(time.Minute):
		t.Error("the page's reboot did not reach the station")
	}
}

// TestVendor repeats the build of what is vendored from npm, and compares.
func TestVendor(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"web/package.json", "web/package-lock.json", "web/.npmrc", "web/build.mjs"} {
		b, err := os.ReadFile(filepath.Join("../..", name))
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, name)
		os.MkdirAll(filepath.Dir(file), 0o700)
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), `"resolved"`) {
			t.Errorf("%s has download addresses; omit-lockfile-registry-resolved keeps them out", name)
		}
	}
	for _, args := range [][]string{{"npm", "ci", "--omit=dev"}, {"node", "build.mjs"}} {
		cmd := exec.Command(flashtest.Need(t, args[0]), args[1:]...)
		cmd.Dir = filepath.Join(dir, "web")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%q: %v\n%s", args, err, out)
		}
	}
	flashtest.Run(t, "diff", "-r", filepath.Join(dir, "internal/webui/static/vendor"), "../webui/static/vendor")
}
