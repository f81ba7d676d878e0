package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/openseastack/netboot-imager/internal/disk"
	"github.com/openseastack/netboot-imager/internal/flashtest"
	"github.com/rogpeppe/go-internal/testscript"
)

// binary is the real program, built as for a station but for this machine.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "imager-test")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "imager")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// TestScripts runs the scenarios in testdata with the real program, a real loop device
// as $DISK, an image server at $URL, and a free $PORT.
func TestScripts(t *testing.T) {
	flashtest.NeedRoot(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", filepath.Dir(binary)+":"+env.Getenv("PATH")+":/usr/sbin:/sbin")
			env.Setenv("RUNTIME_DIRECTORY", env.WorkDir)
			env.Setenv("DISK", flashtest.Loop(env.T().(testing.TB), 32<<20))
			env.Values[tbKey{}] = env.T()
			procs := map[string]*exec.Cmd{}
			env.Values[procsKey{}] = procs
			env.Defer(func() {
				for _, cmd := range procs {
					cmd.Process.Kill()
					cmd.Wait()
				}
			})
			env.Setenv("PORT", fmt.Sprint(freePort(env.T().(testing.TB))))
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"image": cmdImage, "serve": cmdServe, "await": cmdAwait, "expand": cmdExpand, "same": cmdSame, "zeros": cmdZeros, "signal": cmdSignal, "start": cmdStart,
		},
	})
}

func freePort(t testing.TB) int {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}

// image FILE MIB: makes a disk image.
func cmdImage(ts *testscript.TestScript, neg bool, args []string) {
	var mib int
	fmt.Sscan(args[1], &mib)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), flashtest.Image(mib<<20, 1), 0o600))
}

// serve FILE [slow]: serves FILE at $URL, slowly if so asked.
func cmdServe(ts *testscript.TestScript, neg bool, args []string) {
	b, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	srv := flashtest.NewServer(ts.Value(tbKey{}).(testing.TB), b)
	if len(args) > 1 {
		srv.Slow = 50 * time.Millisecond
	}
	ts.Setenv("URL", srv.URL())
}

// expand FILE: replaces $NAME in FILE by the environment's values.
func cmdExpand(ts *testscript.TestScript, neg bool, args []string) {
	file := ts.MkAbs(args[0])
	b, err := os.ReadFile(file)
	ts.Check(err)
	ts.Check(os.WriteFile(file, []byte(os.Expand(string(b), ts.Getenv)), 0o600))
}

// await TEXT: waits until GET /status, or /health if it does not answer yet, has TEXT.
func cmdAwait(ts *testscript.TestScript, neg bool, args []string) {
	last := ""
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		out, _ := exec.Command("curl", "-s", "http://127.0.0.1:"+ts.Getenv("PORT")+"/status").CombinedOutput()
		if last = string(out); strings.Contains(last, args[0]) {
			return
		}
	}
	ts.Fatalf("%q never came; the last status is %s", args[0], last)
}

// same FILE: compares the disk's beginning with FILE.
func cmdSame(ts *testscript.TestScript, neg bool, args []string) {
	want, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	got, err := os.ReadFile(ts.Getenv("DISK"))
	ts.Check(err)
	if same := string(got[:len(want)]) == string(want); same == neg {
		ts.Fatalf("the disk is the same as %s: %v", args[0], same)
	}
}

// zeros: the disk's first MiB is zero.
func cmdZeros(ts *testscript.TestScript, neg bool, args []string) {
	got, err := os.ReadFile(ts.Getenv("DISK"))
	ts.Check(err)
	if zero := strings.Trim(string(got[:1<<20]), "\x00") == ""; zero == neg {
		ts.Fatalf("the disk's first MiB is zero: %v", zero)
	}
}

// tbKey and procsKey are keys of what the commands share: the test, and the programs that
// run in the background by name.
type (
	tbKey    struct{}
	procsKey struct{}
)

// start NAME ARG...: starts the imager in the background; its output goes to NAME.log.
func cmdStart(ts *testscript.TestScript, neg bool, args []string) {
	log, err := os.Create(ts.MkAbs(args[0] + ".log"))
	ts.Check(err)
	cmd := exec.Command(binary, args[1:]...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = []string{"RUNTIME_DIRECTORY=" + ts.Getenv("RUNTIME_DIRECTORY")}
	cmd.Stdout, cmd.Stderr = log, log
	ts.Check(cmd.Start())
	log.Close()
	ts.Value(procsKey{}).(map[string]*exec.Cmd)[args[0]] = cmd
}

// signal NAME SIGNAL: sends a signal and waits for the program's end; with ! it must fail.
func cmdSignal(ts *testscript.TestScript, neg bool, args []string) {
	procs := ts.Value(procsKey{}).(map[string]*exec.Cmd)
	cmd := procs[args[0]]
	ts.Check(exec.Command("kill", "-"+args[1], fmt.Sprint(cmd.Process.Pid)).Run())
	err := cmd.Wait()
	delete(procs, args[0])
	if (err != nil) != neg {
		ts.Fatalf("%s ended with %v", args[0], err)
	}
}

// TestConfigURL fetches the config as a netbooted station does, from a server that is up
// later than the station and moves it to another port.
func TestConfigURL(t *testing.T) {
	proc := t.TempDir()
	port := freePort(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	os.WriteFile(filepath.Join(proc, "cmdline"), fmt.Appendf(nil, "console=tty1 root=/dev/loop0p2 imager.config_url=http://%s/api/bootstrap/imager-config", addr), 0o600)
	t.Setenv("RUNTIME_DIRECTORY", t.TempDir())

	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	listen := fmt.Sprintf("127.0.0.1:%d", port)
	go func() {
		ended <- run(ctx, []string{"-listen", listen}, os.Stdout, testWriter{t}, environment{system: disk.System{Proc: proc, Sys: "/sys"}})
	}()
	get := func(path string) string {
		out, _ := exec.Command("curl", "-s", "http://"+listen+path).Output()
		return string(out)
	}
	await := func(path, text string) {
		t.Helper()
		last := ""
		for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
			if last = get(path); strings.Contains(last, text) {
				return
			}
		}
		t.Fatalf("%s never has %q; it is %s", path, text, last)
	}
	await("/health", `"status":"starting"`)
	await("/status", "no config yet")
	if ln, err = net.Listen("tcp", addr); err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, `{"allowed_ips": ["127.0.0.1"], "shared_secret": "fake-token", "allowed_devices": ["/dev/nvme9n1"]}`)
	})}
	go srv.Serve(ln)
	defer srv.Close()
	await("/health", `"status":"ok"`)
	await("/status", `"stage":"idle"`)
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Logf("%s", b)
	return len(b), nil
}
