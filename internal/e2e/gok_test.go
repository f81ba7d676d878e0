package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/openseastack/netboot-imager/internal/emupi"
	"github.com/openseastack/netboot-imager/internal/lab"
)

// helloInstance copies the hello instance for the system that runs on this site, as one
// who has several would: with its address, and with this checkout's absolute path. It
// returns the parent directory. The port stays 80, which gok also builds into the new
// system.
func (s *site) helloInstance(t *testing.T) string {
	t.Helper()
	addr, err := s.net.StationAddr(s.Model.MAC, 80)
	if err != nil {
		t.Fatal(err)
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	var config map[string]any
	if err := json.Unmarshal(readFile(t, "testdata/hello/config.json"), &config); err != nil {
		t.Fatal(err)
	}
	config["Update"] = map[string]string{"Hostname": host}
	b, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	checkout, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	parent := t.TempDir()
	files := map[string][]byte{"config.json": b}
	for _, name := range []string{"builddir/go.mod", "builddir/go.sum", "builddir/deps.go"} {
		files[name] = bytes.ReplaceAll(readFile(t, filepath.Join("testdata/hello", name)), []byte("=> ../../../../.."), []byte("=> "+checkout))
	}
	if !bytes.Contains(files["builddir/go.mod"], []byte(checkout)) {
		t.Fatal("builddir/go.mod does not replace the module by ../../../../..")
	}
	for name, data := range files {
		path := filepath.Join(parent, "hello", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return parent
}

// gok starts gok with that instance, in dir, within the site's network; modules come from
// the cache that the first build filled. Its output goes to the file of the name returned.
// It is built, because `go tool` would neither find it in another directory nor pass
// signals on.
func (s *site) gok(t *testing.T, dir string, args ...string) (*lab.Process, string) {
	t.Helper()
	gok := strings.TrimSpace(run(t, "go", "tool", "-n", "gok"))
	cmd := exec.Command(gok, append([]string{"-i", "hello", "--parent_dir", s.helloInstance(t)}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "XDG_CONFIG_HOME="+filepath.Join(shared.dir, "config"), "GOPROXY=off")
	out, err := os.Create(filepath.Join(t.TempDir(), "gok.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	p, err := s.net.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	return p, out.Name()
}

func (s *site) get(t *testing.T, port int, path string) string {
	t.Helper()
	code, body, err := s.Station(port).Get(t.Context(), path, time.Minute)
	if err != nil || code != http.StatusOK {
		t.Fatalf("GET %s on port %d: %d %s, %v", path, port, code, body, err)
	}
	return strings.TrimSpace(string(body))
}

// gokRun has `gok run` replace programs in the running system's RAM: hello, which says
// what it runs from, and the imager.
func (s *site) gokRun(t *testing.T, m emupi.Machine) {
	t.Helper()
	const installed = "/user/hello"
	if got := s.get(t, 8081, "/exe"); got != installed {
		t.Errorf("hello runs from %s, want %s", got, installed)
	}
	s.running(t, "testdata/hello/cmd/hello", func(ctx context.Context, _ string) error {
		exe, err := s.Station(8081).WaitUp(ctx, m, "/exe", func(b []byte) bool { return strings.TrimSpace(string(b)) != installed })
		t.Logf("gok run: hello runs from %s", bytes.TrimSpace(exe))
		if err == nil && !bytes.Contains(exe, []byte("gok-run/hello")) {
			t.Errorf("hello runs from %s, want gok-run/hello", exe)
		}
		return err
	})
	s.running(t, "../../imager", func(ctx context.Context, log string) error {
		for !bytes.Contains(readFile(t, log), []byte("attempt 1, starting")) {
			if err := m.Ended(); err != nil {
				return err
			}
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(100 * time.Millisecond):
			}
		}
		_, err := s.Station(8888).WaitHealthy(ctx, m)
		return err
	})
}

// running calls f while `gok run` runs in dir, with the file of what gok says.
func (s *site) running(t *testing.T, dir string, f func(ctx context.Context, log string) error) {
	t.Helper()
	p, log := s.gok(t, dir, "run")
	defer p.Kill() // it shows the program's log until it is interrupted
	ctx, cancel := context.WithTimeoutCause(t.Context(), patience, errTooLong)
	defer cancel()
	if err := f(ctx, log); err != nil {
		t.Fatalf("gok run in %s: %v; it said:\n%s", dir, err, readFile(t, log))
	}
}

// gokUpdate has `gok update` replace the whole system, and sees the new one come up from
// the other root partition.
func (s *site) gokUpdate(t *testing.T, power *emupi.Power) {
	t.Helper()
	before := s.get(t, 8081, "/cmdline")
	start := time.Now()
	p, log := s.gok(t, ".", "update") // it waits for the new build timestamp
	defer p.Kill()
	ctx, cancel := context.WithTimeoutCause(t.Context(), patience, errTooLong)
	defer cancel()
	select {
	case <-p.Done:
	case <-ctx.Done():
		t.Fatalf("gok update: %v; it said:\n%s", context.Cause(ctx), readFile(t, log))
	}
	out := readFile(t, log)
	if err := p.Err(); err != nil {
		t.Fatalf("gok update: %v\n%s", err, out)
	}
	if !bytes.Contains(out, []byte("Device ready to use!")) {
		t.Errorf("gok update did not see the new build timestamp:\n%s", out)
	}
	t.Logf("gok update: back after %.1f s", time.Since(start).Seconds())
	if _, err := s.Station(8081).WaitUp(ctx, power, "/exe", func(b []byte) bool { return strings.TrimSpace(string(b)) == "/user/hello" }); err != nil {
		t.Error(err)
	}
	if _, err := s.Station(8888).WaitHealthy(ctx, power); err != nil {
		t.Error(err)
	}
	if n := power.Boots(); n != 2 {
		t.Errorf("it booted %d times, want 2", n)
	}
	if root, now := rootArg(before), rootArg(s.get(t, 8081, "/cmdline")); now == root || !strings.HasPrefix(now, "root=PARTUUID=") {
		t.Errorf("%s before the update and %s after it, want the other partition", root, now)
	} else {
		t.Logf("%s before the update, %s after it", root, now)
	}
}

func rootArg(cmdline string) string {
	for _, f := range strings.Fields(cmdline) {
		if strings.HasPrefix(f, "root=") {
			return f
		}
	}
	return ""
}
