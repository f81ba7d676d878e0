package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestGokTLS updates as gok's documentation says for who turns TLS on: once with --insecure,
// then over HTTPS alone. No station is there, so gok succeeds when the tree is served.
func TestGokTLS(t *testing.T) {
	t.Parallel()
	program, err := netbootdProgram()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	port, tlsPort := freePort(t), freePort(t)
	log := &bytes.Buffer{}
	ctx, stop := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, program, "serve", "--dir", dir, "--dhcp", "off", "--listen", "127.0.0.1:"+port, "--tls-listen", "127.0.0.1:"+tlsPort)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	end := func() {
		if !ended {
			ended = true
			stop()
			_ = cmd.Wait() // it was interrupted
		}
	}
	defer end()
	base := "http://127.0.0.1:" + port
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		resp, err := http.Get(base + "/health")
		if err == nil {
			resp.Body.Close()
			break
		}
		if time.Now().After(deadline) {
			end()
			t.Fatalf("%v\n%s", err, log)
		}
	}
	password := strings.TrimSpace(string(readFile(t, filepath.Join(dir, "gok-password"))))
	parent := gokInstance(t, map[string]any{"Hostname": "localhost", "Update": map[string]string{
		"UseTLS": "self-signed", "HTTPPort": port, "HTTPSPort": tlsPort, "HTTPPassword": password,
	}})
	for i, args := range [][]string{{"--insecure"}, nil} {
		u := gokUpdate(parent, args...)
		if err := u.cmd.Run(); err != nil {
			end()
			t.Fatalf("gok update %q: %v\n%s\nnetbootd's log:\n%s", args, err, u.out, log)
		}
		if i == 0 && !strings.Contains(u.out.String(), "Falling back to HTTP") {
			t.Errorf("the first update did not need --insecure:\n%s", u.out)
		}
	}
	// The password does not go over HTTP any more.
	req, err := http.NewRequest("GET", base+"/update/features", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if want := "https://127.0.0.1:" + tlsPort + "/update/features"; resp.StatusCode != http.StatusFound || resp.Header.Get("Location") != want {
		t.Errorf("HTTP: %d, Location %q, want %q", resp.StatusCode, resp.Header.Get("Location"), want)
	}
	// Stations still need it.
	resp, err = http.Get(base + "/api/trees")
	if err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if n := strings.Count(string(b), `"id"`); n != 2 {
		t.Errorf("%d trees, want two: %s", n, b)
	}
	// The key is where only netbootd reads it, and not in the tree.
	if info, err := os.Stat(filepath.Join(dir, "tls", "gokrazy-web.key.pem")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key: %v, %v", info, err)
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return fmt.Sprint(ln.Addr().(*net.TCPAddr).Port)
}
