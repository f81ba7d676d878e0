package station

import (
	"bytes"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/openseastack/netboot-imager/internal/disk"
	"github.com/openseastack/netboot-imager/internal/flashtest"
)

func TestStation(t *testing.T) {
	g := newRig(t, 4*mib)
	a := g.do("GET", "/station", nil)
	name, _ := os.Hostname()
	if a.status != 200 || a.json["hostname"] != name || a.json["version"] != "test" {
		t.Error(a)
	}
	if total, free := a.json["memory_total"].(float64), a.json["memory_available"].(float64); free <= 0 || free > total {
		t.Errorf("memory: %v of %v", free, total)
	}
	for _, key := range []string{"model", "serial", "mac", "uptime_seconds", "temperature_celsius"} {
		if _, ok := a.json[key]; !ok {
			t.Errorf("no %s in %v", key, a)
		}
	}
	if a := g.do("HEAD", "/station", nil); a.status != 200 || a.text != "" {
		t.Errorf("HEAD: %v", a)
	}
}

func TestReceipts(t *testing.T) {
	g := newRig(t, 8*mib)
	if a := g.do("GET", "/receipts", nil); a.status != 200 || strings.TrimSpace(a.text) != `{"receipts":[]}` {
		t.Errorf("at first: %v", a)
	}
	img := flashtest.Image(2*mib, 1)
	srv := flashtest.NewServer(t, img)
	var jobs []any
	for range maxReceipts + 2 {
		a := g.write(srv, fields{"verify": false})
		if a.status != 200 {
			t.Fatal(a)
		}
		jobs = append([]any{a.json["job"]}, jobs...)
	}
	// Neither a failure nor a dry run leaves a receipt.
	if a := g.write(flashtest.NewServer(t, []byte("<html>")), nil); a.status != 422 {
		t.Fatal(a)
	}
	if a := g.write(srv, fields{"dry_run": true}); a.status != 200 {
		t.Fatal(a)
	}
	check := func(when string, a answer) {
		t.Helper()
		list, _ := a.json["receipts"].([]any)
		if len(list) != maxReceipts {
			t.Fatalf("%s: %d receipts, want the last %d", when, len(list), maxReceipts)
		}
		for i, r := range list {
			if job := r.(map[string]any)["job"]; job != jobs[i] {
				t.Errorf("%s: receipt %d is of job %v, want %v: newest first", when, i, job, jobs[i])
			}
		}
		for key, want := range (fields{"image_sha256": flashtest.SHA256(img), "device": g.dev, "version": "test", "image_size": float64(len(img))}) {
			if got := list[0].(map[string]any)[key]; got != want {
				t.Errorf("%s: %s = %v, want %v", when, key, got, want)
			}
		}
	}
	check("running", g.do("GET", "/receipts", nil))

	again := New(g.station.opt)
	again.Configure(g.station.active.Load().cfg)
	g.http.Config.Handler = again
	check("after a restart", g.do("GET", "/receipts", nil))
}

// TestReceiptsFile finds files of receipts that are not what this program wrote.
func TestReceiptsFile(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state.json")
	for text, want := range map[string]int{"": 0, "{": 0, `{"receipts":[null,{},{"job":"x"},{"job":"y","format":"xz"}]}`: 1, `[]`: 0} {
		os.WriteFile(strings.TrimSuffix(state, ".json")+"-receipts.json", []byte(text), 0o600)
		if got := New(Options{StatePath: state, Logf: t.Logf}).receipts; len(got) != want {
			t.Errorf("%q: %d receipts, want %d", text, len(got), want)
		}
	}
}

func TestPostReboot(t *testing.T) {
	g := newRig(t, 16*mib)
	if a := g.do("POST", "/reboot", nil, "X-Netboot-Token", "wrong"); a.status != 403 || !strings.Contains(a.text, "Invalid token") {
		t.Errorf("wrong token: %v", a)
	}
	if a := g.do("GET", "/reboot", nil); a.status != 405 || a.header.Get("Allow") != "POST" {
		t.Errorf("GET: %v", a)
	}

	done := make(chan answer)
	go func() { done <- g.write(slowServer(t, flashtest.Image(8*mib, 1)), nil) }()
	g.wait("writing")
	if a := g.do("POST", "/reboot", nil); a.status != 409 || !strings.Contains(a.text, "already running") {
		t.Errorf("during a write: %v", a)
	}
	if a := <-done; a.status != 200 {
		t.Fatalf("the write that a reboot was asked for in: %v", a)
	}
	if len(g.rebooted) > 0 {
		t.Fatal("a refused reboot happened")
	}

	if a := g.do("POST", "/reboot", nil); a.status != 200 || a.json["success"] != true {
		t.Fatal(a)
	}
	// It is on its way: nothing may begin that it would cut off.
	before := g.disk()
	if a := g.write(flashtest.NewServer(t, flashtest.Image(4*mib, 2)), nil); a.status != 409 || !strings.Contains(a.text, "about to reboot") {
		t.Errorf("a write: %v", a)
	}
	if !bytes.Equal(before, g.disk()) {
		t.Error("the disk was changed")
	}
	if a := g.do("POST", "/reboot", nil); a.status != 409 {
		t.Errorf("again: %v", a)
	}
	select {
	case <-g.rebooted:
	case <-time.After(10 * time.Second):
		t.Error("no reboot")
	}
}

// TestRebootRefused is asked on a machine that is no station, and on one where the reboot
// fails: then work goes on.
func TestRebootRefused(t *testing.T) {
	g := newRig(t, 8*mib)
	g.station.opt.Rebootable = func() error { return errors.New("this is no gokrazy station") }
	if a := g.do("POST", "/reboot", nil); a.status != 501 || !strings.Contains(a.text, "no gokrazy station") {
		t.Error(a)
	}
	failed := make(chan struct{})
	g.station.opt.Rebootable = nil
	g.station.opt.Reboot = func() error { close(failed); return fmt.Errorf("for a test") }
	if a := g.do("POST", "/reboot", nil); a.status != 200 {
		t.Error(a)
	}
	<-failed
	srv := flashtest.NewServer(t, flashtest.Image(4*mib, 1))
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		a := g.write(srv, nil)
		if a.status == 200 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("after a failed reboot: %v", a)
		}
	}
}

// TestCrossSite has a page of another origin ask: no matter what it sends, nothing changes,
// and it cannot use up the tries for tokens.
func TestCrossSite(t *testing.T) {
	g := newRig(t, 4*mib)
	before := g.disk()
	for _, method := range []string{"POST /write-image", "DELETE /write-image", "POST /reboot"} {
		method, path, _ := strings.Cut(method, " ")
		for _, header := range [][]string{
			{"Sec-Fetch-Site", "cross-site"},
			{"Sec-Fetch-Site", "same-site"},
			{"Origin", "http://evil.example"},
			{"Origin", "null"},
			{"Sec-Fetch-Site", "cross-site", "X-Netboot-Token", "wrong"},
		} {
			for range 3 {
				if a := g.do(method, path, "{}", header...); a.status != 403 || !strings.Contains(a.text, "another site") {
					t.Errorf("%s %s with %q: %v", method, path, header, a)
				}
			}
		}
	}
	for _, header := range [][]string{{"Sec-Fetch-Site", "same-origin"}, {"Sec-Fetch-Site", "none"}, {"Origin", g.http.URL}} {
		if a := g.do("DELETE", "/write-image", nil, header...); a.status != 409 || !strings.Contains(a.text, "nothing to cancel") {
			t.Errorf("%q: %v", header, a)
		}
	}
	if !bytes.Equal(before, g.disk()) {
		t.Error("the disk was changed")
	}
}

// TestStartingMachine knows nothing before there is a config: the addresses that may ask
// are not known either.
func TestStartingMachine(t *testing.T) {
	s := New(Options{Version: "test", System: disk.Host, Logf: t.Logf})
	for _, request := range []string{"GET /station", "GET /receipts", "POST /reboot"} {
		method, path, _ := strings.Cut(request, " ")
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest(method, path, nil))
		if w.Code != 503 {
			t.Errorf("%s: %d %s", request, w.Code, w.Body)
		}
	}
}
