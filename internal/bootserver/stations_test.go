package bootserver

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/openseastack/netboot-imager/internal/announce"
	"github.com/openseastack/netboot-imager/internal/client"
	"github.com/openseastack/netboot-imager/internal/redeploy"
	"github.com/openseastack/netboot-imager/internal/stations"
	"github.com/openseastack/netboot-imager/internal/trees"
)

// withStations adds what the list of stations needs, in a directory that it returns.
func withStations(t *testing.T) (dir string, change func(*Options)) {
	dir = t.TempDir()
	db, err := bolt.Open(filepath.Join(dir, "db"), 0o600, &bolt.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	list, err := stations.Open(db, time.Now, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	receipts, err := stations.OpenReceipts(filepath.Join(dir, "receipts.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	lib, err := trees.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(list.Close(), receipts.Close(), db.Close()); err != nil {
			t.Error(err)
		}
	})
	return dir, func(o *Options) {
		o.Stations, o.Receipts, o.Trees, o.Client = list, receipts, lib, client.New(token)
		o.Fleet = redeploy.NewFleet(lib, list, stations.Rebooter(o.Client), t.Logf)
		o.BaseURL = "http://192.0.2.1:38434"
	}
}

// imager plays a station's HTTP service.
type imager struct {
	got []string
	*httptest.Server
}

func newImager(t *testing.T) *imager {
	im := &imager{}
	im.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		im.got = append(im.got, fmt.Sprintf("%s %s %s %s", r.Method, r.URL.Path, r.Header.Get("X-Netboot-Token"), b))
		if strings.Contains(string(b), "refuse") {
			w.WriteHeader(409)
			io.WriteString(w, `{"success":false,"error":"a write is running"}`)
			return
		}
		io.WriteString(w, `{"success":true,"stage":"idle"}`)
	}))
	t.Cleanup(im.Close)
	return im
}

// says is an announcement of the imager, with receipts.
func (im *imager) says(receipts ...string) announce.Announcement {
	a := announce.Announcement{Serial: "100000001234abcd", Model: "Raspberry Pi 4", Port: im.Listener.Addr().(*net.TCPAddr).Port,
		Status: json.RawMessage(`{"stage":"idle","percent":0}`)}
	for _, r := range receipts {
		a.Receipts = append(a.Receipts, json.RawMessage(r))
	}
	return a
}

const auth = "X-Netboot-Token"

func (r *rig) state(id string) string {
	r.t.Helper()
	return fmt.Sprint(r.do("GET", "/api/stations/"+id, nil).json["state"])
}

// TestStationLeaves enrols a station, hears of it, and lets it go when it has written and
// read back its disk; not before.
func TestStationLeaves(t *testing.T) {
	dir, change := withStations(t)
	r, im := newRig(t, change), newImager(t)
	link := filepath.Join(dir, "tftp", "1234abcd")
	enrolled := func() bool { _, err := os.Lstat(link); return err == nil }
	if a := r.do("POST", "/api/stations/1234ABCD/enrol", nil, auth, token); a.status != 200 || !enrolled() {
		t.Fatal(a)
	}
	if got := r.state("1234abcd"); got != "enrolled" {
		t.Errorf("state %s", got)
	}
	receipt := `{"job":"%s","image_url":"http://x/a","device":"/dev/mmcblk0","image_sha256":"ab","verified":%v}`
	for _, tt := range []struct {
		receipt  string
		enrolled bool
		answered string
	}{
		{"", true, "<nil>"},
		{fmt.Sprintf(receipt, "1", false), true, "[1]"}, // not read back
		{`{"job":"2"}`, true, "[2]"},                    // no receipt
		{fmt.Sprintf(receipt, "3", true), false, "[3]"},
	} {
		a := im.says()
		if tt.receipt != "" {
			a = im.says(tt.receipt)
		}
		got := r.do("POST", announce.Path, a, auth, token)
		if got.status != 200 || enrolled() != tt.enrolled || got.json["enrolled"] != tt.enrolled || fmt.Sprint(got.json["receipts"]) != tt.answered {
			t.Errorf("%s: %d %s, enrolled %v", tt.receipt, got.status, got.text, enrolled())
		}
	}
	if got := r.state("1234abcd"); got != "retired" {
		t.Errorf("state %s", got)
	}
	// The same receipt again must not take it out again.
	r.do("POST", "/api/stations/1234abcd/enrol", nil, auth, token)
	r.do("POST", announce.Path, im.says(fmt.Sprintf(receipt, "3", true)), auth, token)
	if !enrolled() {
		t.Error("an old receipt took the station out")
	}
	if a := r.do("GET", "/api/receipts?station=1234abcd", nil); strings.Count(a.text, `"image_url":"http://x/a"`) != 4 { // two receipts, each with what the station said
		t.Errorf("receipts: %s", a.text)
	}
	if a := r.do("DELETE", "/api/stations/1234abcd", nil, auth, token); a.status != 200 || enrolled() {
		t.Error(a)
	}
}

// TestStationLeavesLate has a station's link that cannot be removed at first: the receipt
// does not count until it is.
func TestStationLeavesLate(t *testing.T) {
	dir, change := withStations(t)
	r, im := newRig(t, change), newImager(t)
	r.do("POST", "/api/stations/1234abcd/enrol", nil, auth, token)
	link := filepath.Join(dir, "tftp", "1234abcd")
	if err := errors.Join(os.Remove(link), os.MkdirAll(filepath.Join(link, "full"), 0o755)); err != nil {
		t.Fatal(err)
	}
	a := im.says(`{"job":"1","image_url":"http://x/a","device":"/dev/mmcblk0","verified":true}`)
	if got := r.do("POST", announce.Path, a, auth, token); got.status != 500 {
		t.Errorf("%d %s, want a failure", got.status, got.text)
	}
	if got := r.do("GET", "/api/stations/1234abcd", nil); got.json["enrolled"] != true {
		t.Errorf("%s, want it enrolled", got.text)
	}
	if err := os.RemoveAll(filepath.Join(link, "full")); err != nil {
		t.Fatal(err)
	}
	if got := r.do("POST", announce.Path, a, auth, token); got.status != 200 || got.json["enrolled"] != false || fmt.Sprint(got.json["receipts"]) != "[1]" {
		t.Errorf("%d %s, want it taken out", got.status, got.text)
	}
}

// TestStationRefusals proves that nothing changes without the token.
func TestStationRefusals(t *testing.T) {
	dir, change := withStations(t)
	r, im := newRig(t, change), newImager(t)
	if a := r.do("POST", announce.Path, im.says(), auth, token); a.status != 200 {
		t.Fatal(a)
	}
	for _, tt := range []struct {
		to     string
		body   any
		status int
	}{
		{"POST " + announce.Path, im.says(`{"job":"x"}`), 403},
		{"POST /api/stations/1234abcd/enrol", nil, 403},
		{"POST /api/stations/1234abcd/retire", nil, 403},
		{"POST /api/trees/rollback", nil, 403},
		{"POST /api/devices/127.0.0.1/write-disk", map[string]string{"image_url": "http://x/"}, 403},
		{"DELETE /api/stations/1234abcd", nil, 403},
	} {
		method, path, _ := strings.Cut(tt.to, " ")
		if a := r.do(method, path, tt.body); a.status != tt.status {
			t.Errorf("%s without a token: %d %s", tt.to, a.status, a.text)
		}
		if a := r.do(method, path, tt.body, auth, token, "Origin", "http://evil.example", "Sec-Fetch-Site", "cross-site"); a.status != 403 {
			t.Errorf("%s from another site: %d %s", tt.to, a.status, a.text)
		}
	}
	for _, tt := range []struct {
		to     string
		body   any
		status int
	}{
		{"POST " + announce.Path, "{", 400},
		{"POST " + announce.Path, map[string]string{"mac": "../.."}, 400},
		{"POST " + announce.Path, strings.Repeat(" ", announce.MaxSize+1), 413},
		{"POST /api/stations/nonsense/enrol", nil, 400},
		{"POST /api/stations/1111aaaa/retire", nil, 404},
		{"POST /api/stations/1234abcd/explode", nil, 404},
		{"POST /api/trees/rollback", nil, 409},
		{"POST /api/devices/192.0.2.9/write-disk", map[string]string{"image_url": "http://x/"}, 404}, // the token goes to no stranger
		{"POST /api/devices/x/write-disk", map[string]string{}, 400},
		{"POST /api/devices/127.0.0.1/write-disk", "[]", 400},
		{"POST /api/devices/127.0.0.1/write-disk", map[string]string{"image": "nope"}, 404},
		{"POST /api/devices/127.0.0.1/write-disk", map[string]string{"image": "a", "image_url": "http://x/"}, 400},
		{"GET /api/receipts?limit=0", nil, 400},
		{"GET /api/receipts?since=yesterday", nil, 400},
	} {
		method, path, _ := strings.Cut(tt.to, " ")
		if a := r.do(method, path, tt.body, auth, token); a.status != tt.status || a.json["success"] != false {
			t.Errorf("%s: %d %s, want %d", tt.to, a.status, a.text, tt.status)
		}
	}
	if len(im.got) != 0 {
		t.Errorf("the station was asked %q", im.got)
	}
	entries, err := os.ReadDir(filepath.Join(dir, "tftp"))
	if err != nil || len(entries) != 2 { // bootcode.bin and trees
		t.Errorf("the TFTP root holds %v, %v", entries, err)
	}
}

// TestProxy has the existing web UI's two requests answered as the station answers.
func TestProxy(t *testing.T) {
	_, change := withStations(t)
	r, im := newRig(t, change), newImager(t)
	if err := os.WriteFile(filepath.Join(r.dir, "a b.img"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	r.do("POST", announce.Path, im.says(), auth, token)
	if a := r.do("GET", "/api/devices/127.0.0.1/status", nil); a.status != 200 || a.json["stage"] != "idle" {
		t.Error(a)
	}
	if a := r.do("POST", "/api/devices/127.0.0.1/write-disk", map[string]any{"device": "/dev/mmcblk0", "image": "a b"}, auth, token); a.status != 200 {
		t.Error(a)
	}
	if a := r.do("POST", "/api/devices/127.0.0.1/write-disk", map[string]any{"image_url": "http://refuse/"}, auth, token); a.status != 409 || a.json["error"] != "a write is running" {
		t.Error(a)
	}
	want := "POST /write-image " + token + ` {"device":"/dev/mmcblk0","image_url":"http://192.0.2.1:38434/api/images/download/a%20b"}`
	if len(im.got) != 3 || im.got[1] != want {
		t.Errorf("the station was asked %q, want %q as the second", im.got, want)
	}
	im.Close()
	if a := r.do("GET", "/api/devices/127.0.0.1/status", nil); a.status != 502 {
		t.Errorf("a station that is gone: %v", a)
	}
}

// TestEvents sees a station in the stream at once, and again when it changes.
func TestEvents(t *testing.T) {
	_, change := withStations(t)
	r, im := newRig(t, change), newImager(t)
	r.do("POST", announce.Path, im.says(), auth, token)
	resp, err := http.Get(r.http.URL + "/api/events")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	in := bufio.NewScanner(resp.Body)
	in.Buffer(nil, 1<<20)
	next := func() (v View) {
		for in.Scan() {
			if data, ok := strings.CutPrefix(in.Text(), "data: "); ok {
				if err := json.Unmarshal([]byte(data), &v); err != nil {
					t.Fatal(err)
				}
				return v
			}
		}
		t.Fatal("the stream ended")
		return v
	}
	if v := next(); v.ID != "1234abcd" || v.State != "idle" || !v.Online {
		t.Errorf("%+v", v)
	}
	a := im.says()
	a.Status = json.RawMessage(`{"stage":"writing","percent":42}`)
	r.do("POST", announce.Path, a, auth, token)
	if v := next(); v.State != "writing" || !strings.Contains(string(v.Status), "42") {
		t.Errorf("%+v", v)
	}
}
