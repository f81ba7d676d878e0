package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/openseastack/netboot-imager/internal/announce"
	"github.com/openseastack/netboot-imager/internal/disk"
	"github.com/openseastack/netboot-imager/internal/flashtest"
)

// assigner is a boot server that assigns, and notes what it hears.
type assigner struct {
	config string // config.json

	mu       sync.Mutex
	assign   *announce.Assignment
	outcome  *announce.Outcome
	receipts []string
}

func (b *assigner) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != announce.Path {
		fmt.Fprint(w, b.config)
		return
	}
	var a announce.Announcement
	if r.Header.Get("X-Netboot-Token") != "fake-token" || json.NewDecoder(r.Body).Decode(&a) != nil {
		w.WriteHeader(403)
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	reply := announce.Reply{Success: true, IntervalSeconds: 1, Assignment: b.assign}
	b.outcome = a.Outcome
	for _, raw := range a.Receipts {
		var receipt struct{ Job string }
		if json.Unmarshal(raw, &receipt) == nil {
			reply.Receipts = append(reply.Receipts, receipt.Job)
			b.receipts = append(b.receipts, receipt.Job)
		}
	}
	json.NewEncoder(w).Encode(reply)
}

// until waits until what the boot server has heard is as ok wants.
func (b *assigner) until(t *testing.T, what string, log *bootLog, ok func() bool) {
	t.Helper()
	for late := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		b.mu.Lock()
		done := ok()
		b.mu.Unlock()
		if done {
			return
		}
		if time.Now().After(late) {
			t.Fatalf("not %s; the log:\n%s", what, log)
		}
	}
}

func (b *assigner) give(a *announce.Assignment) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.assign = a
}

// TestAssignments has the boot server assign writes to a station in its answers.
func TestAssignments(t *testing.T) {
	img := flashtest.Image(5<<20+512, 1)
	srv := flashtest.NewServer(t, flashtest.Compress(t, "gzip", img))
	dir := t.TempDir()
	file := filepath.Join(dir, "disk.img")
	if err := os.WriteFile(file, make([]byte, 8<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	boot := &assigner{config: fmt.Sprintf(`{"allowed_ips": ["127.0.0.1"], "shared_secret": "fake-token", "allowed_devices": [%q]}`, file)}
	server := httptest.NewServer(boot)
	defer server.Close()
	for _, name := range []string{"self", "swaps", "meminfo"} {
		if err := os.Symlink("/proc/"+name, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "cmdline"), []byte("imager.config_url="+server.URL+"/config\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("RUNTIME_DIRECTORY", t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	log, ended := &bootLog{told: make(chan struct{}, 1)}, make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"-listen", "127.0.0.1:0"}, os.Stdout, log, environment{system: disk.System{Proc: dir, Sys: "/sys"}})
	}()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	now := func() []byte {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}

	// Refused by the station: the disk stays as it is.
	for id, a := range map[string]announce.Assignment{
		"host":   {ImageURL: "http://192.0.2.1/x", SHA256: flashtest.SHA256(img)},
		"sha":    {ImageURL: srv.URL()},
		"then":   {ImageURL: srv.URL(), SHA256: flashtest.SHA256(img), Then: "explode"},
		"device": {ImageURL: srv.URL(), SHA256: flashtest.SHA256(img), Device: "/dev/sda"},
		"wrong":  {ImageURL: srv.URL(), SHA256: strings.Repeat("12", 31)},
	} {
		a.ID = id
		boot.give(&a)
		boot.until(t, "refused: "+id, log, func() bool { return boot.outcome != nil && boot.outcome.ID == id && boot.outcome.Error != "" })
		if !bytes.Equal(now(), make([]byte, 8<<20)) {
			t.Fatalf("%s: the disk was changed", id)
		}
	}

	// One that waits for its image, and is taken back.
	srv.Set(func(s *flashtest.Server) { s.Statuses = []int{404, 404} })
	boot.give(&announce.Assignment{ID: "early", ImageURL: srv.URL(), SHA256: flashtest.SHA256(img)})
	boot.until(t, "tried again", log, func() bool { return strings.Contains(log.String(), "trying again in 2s") })
	boot.give(nil)
	boot.until(t, "taken back", log, func() bool { return strings.Contains(log.String(), `assignment "early" is taken back`) })
	if !bytes.Equal(now(), make([]byte, 8<<20)) {
		t.Fatal("taken back: the disk was changed")
	}

	boot.give(&announce.Assignment{ID: "good", ImageURL: srv.URL(), SHA256: flashtest.SHA256(img)})
	boot.until(t, "written", log, func() bool { return len(boot.receipts) == 1 })
	if !bytes.Equal(now()[:len(img)], img) {
		t.Fatal("the image is not on the disk")
	}
	// Assigned anew, it is there already.
	boot.give(&announce.Assignment{ID: "again", ImageURL: srv.URL(), SHA256: flashtest.SHA256(img), Then: "reboot"})
	boot.until(t, "looked at", log, func() bool { return boot.outcome != nil && boot.outcome.ID == "again" && boot.outcome.Carries })
	if n := strings.Count(log.String(), "write asked for"); n > 1 || strings.Contains(log.String(), "rebooting") {
		t.Errorf("it was written %d times, or rebooted:\n%s", n, log)
	}
	if len(boot.receipts) != 1 {
		t.Errorf("receipts of jobs %q, want one", boot.receipts)
	}
}
