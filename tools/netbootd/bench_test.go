package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/openseastack/netboot-imager/internal/announce"
)

// server is a netbootd in a process of its own, so that its memory is its own.
type server struct {
	base  string
	token string
	dir   string
	pid   int
}

func startServer(tb testing.TB) *server {
	tb.Helper()
	dir := tb.TempDir()
	program := filepath.Join(dir, "netbootd")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		tb.Fatalf("%v\n%s", err, out)
	}
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	ctx, stop := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, program, "serve", "--dir", filepath.Join(dir, "data"), "--dhcp", "off", "--listen", addr, "--tls-listen", "127.0.0.1:0")
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	log := &bytes.Buffer{}
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { stop(); _ = cmd.Wait() }) // it was interrupted
	s := &server{base: "http://" + addr, dir: filepath.Join(dir, "data"), pid: cmd.Process.Pid}
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if resp, err := http.Get(s.base + "/health"); err == nil {
			resp.Body.Close()
			break
		}
		if time.Now().After(deadline) {
			tb.Fatalf("netbootd does not start:\n%s", log)
		}
	}
	b, err := os.ReadFile(filepath.Join(s.dir, "token"))
	if err != nil {
		tb.Fatal(err)
	}
	s.token = strings.TrimSpace(string(b))
	return s
}

var rssRE = regexp.MustCompile(`VmHWM:\s+(\d+) kB`)

// peak is the most memory that the process has had, in MB.
func (s *server) peak(tb testing.TB) float64 {
	tb.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.pid))
	if err != nil {
		tb.Fatal(err)
	}
	m := rssRE.FindSubmatch(b)
	if m == nil {
		tb.Fatal("no VmHWM in /proc/PID/status")
	}
	kb, _ := strconv.Atoi(string(m[1]))
	return float64(kb) * 1024 / 1e6
}

// cpu is how much processor time the process has had, in seconds (proc(5), utime and stime).
func (s *server) cpu(tb testing.TB) float64 {
	tb.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.pid))
	if err != nil {
		tb.Fatal(err)
	}
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return float64(user+system) / 100
}

// together runs f for each of n clients and waits for all.
func together(n int, f func(int) error) error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = f(i) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// BenchmarkDownloads has 32 stations download one image at once. The image is in the page
// cache, and the wire is the loopback interface.
func BenchmarkDownloads(b *testing.B) {
	const clients, size = 32, 64 << 20
	s := startServer(b)
	if err := os.WriteFile(filepath.Join(s.dir, "images", "a.img"), make([]byte, size), 0o644); err != nil {
		b.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
	get := func(int) error {
		resp, err := client.Get(s.base + "/api/images/download/a")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		n, err := io.Copy(io.Discard, resp.Body)
		if err == nil && n != size {
			err = fmt.Errorf("%d bytes", n)
		}
		return err
	}
	if err := get(0); err != nil {
		b.Fatal(err)
	}
	before, cpu := s.peak(b), s.cpu(b)
	b.SetBytes(clients * size)
	for b.Loop() {
		if err := together(clients, get); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(s.peak(b), "MB-peak")
	b.ReportMetric(s.peak(b)-before, "MB-for-32-downloads")
	b.ReportMetric((s.cpu(b)-cpu)/(float64(b.N)*clients*size/1e9), "cpu-s/GB")
}

// BenchmarkStations has 200 stations announce themselves once, and somebody look at the
// list: what happens within 30 s, or within three if all of them write.
func BenchmarkStations(b *testing.B) {
	const n = 200
	s := startServer(b)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: n}}
	var mu sync.Mutex
	var took []time.Duration
	round := 0
	one := func(i int) error {
		stage := []string{"idle", "writing"}[(round+i)%2] // each has changed, so each is stored
		body := fmt.Sprintf(`{"serial":"10000000%08x","mac":"dc:a6:32:00:00:01","build":"2026-01-02T03:04:05Z","port":8888,"status":{"stage":%q,"percent":42},"disks":[]}`, i, stage)
		req, err := http.NewRequest("POST", s.base+announce.Path, strings.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("X-Netboot-Token", s.token)
		start := time.Now()
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if text, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != 200 {
			return fmt.Errorf("%s %s %v", resp.Status, text, err)
		}
		mu.Lock()
		took = append(took, time.Since(start))
		mu.Unlock()
		return nil
	}
	for b.Loop() {
		round++
		if err := together(n, one); err != nil {
			b.Fatal(err)
		}
		resp, err := client.Get(s.base + "/api/stations")
		if err != nil {
			b.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || bytes.Count(text, []byte(`"serial"`)) != n {
			b.Fatalf("the list has %d stations, want %d", bytes.Count(text, []byte(`"serial"`)), n)
		}
	}
	slices.Sort(took)
	b.ReportMetric(took[len(took)*99/100].Seconds()*1000, "ms-p99")
	b.ReportMetric(s.peak(b), "MB-peak")
}
