package stations

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/openseastack/netboot-imager/internal/announce"
)

var (
	begin = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	addr  = netip.MustParseAddr("192.0.2.7")
)

// rig is a registry with a clock of its own.
type rig struct {
	*Registry
	t    *testing.T
	path string
	db   *bolt.DB
	at   time.Time
}

func newRig(t *testing.T) *rig {
	r := &rig{t: t, path: filepath.Join(t.TempDir(), "db"), at: begin}
	r.open()
	t.Cleanup(r.close)
	return r
}

func (r *rig) open() {
	r.t.Helper()
	var err error
	if r.db, err = bolt.Open(r.path, 0o600, &bolt.Options{NoSync: true}); err != nil {
		r.t.Fatal(err)
	}
	if r.Registry, err = Open(r.db, func() time.Time { return r.at }, r.t.Logf); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) close() {
	if err := errors.Join(r.Close(), r.db.Close()); err != nil {
		r.t.Error(err)
	}
}

func said(stage string) *announce.Announcement {
	return &announce.Announcement{Serial: "100000001234abcd", MAC: "dc:a6:32:00:00:01", Version: "1", Port: 8888,
		Status: json.RawMessage(fmt.Sprintf(`{"stage":%q}`, stage)), Disks: json.RawMessage(`[]`)}
}

func TestRegistry(t *testing.T) {
	r := newRig(t)
	if _, err := r.SetEnrolled("1234ABCD", true, ""); err != nil {
		t.Fatal(err)
	}
	s, err := r.Announced(said("writing"), addr)
	if err != nil || s.ID != "1234abcd" || !s.Enrolled || !s.Busy() || s.FirstSeen != begin {
		t.Fatalf("%+v, %v", s, err)
	}
	r.at = begin.Add(time.Minute)
	quiet := said("idle")
	quiet.Disks = nil // a station that writes does not tell of its disks
	if _, err := r.Announced(quiet, addr); err != nil {
		t.Fatal(err)
	}
	r.close() // also what has not changed otherwise is stored then
	r.open()
	if s, err = r.Get("100000001234abcd"); err != nil || s.Busy() || string(s.Disks) != "[]" || s.LastSeen != r.at {
		t.Errorf("after a restart: %+v, %v", s, err)
	}
	if !s.IsOnline(r.at.Add(Online-1)) || s.IsOnline(r.at.Add(Online)) {
		t.Error("online for another time than Online")
	}
	if got, err := r.ByAddress(addr); err != nil || got.ID != s.ID {
		t.Errorf("ByAddress = %+v, %v", got, err)
	}
	if s, err = r.SetEnrolled("1234abcd", false, "job x"); err != nil || s.Enrolled || s.RetiredBy != "job x" || s.Retired != r.at {
		t.Errorf("retired: %+v, %v", s, err)
	}
	if s, err = r.SetEnrolled("1234abcd", true, ""); err != nil || !s.Retired.IsZero() {
		t.Errorf("enrolled again: %+v, %v", s, err)
	}
	var none *NotFoundError
	if err := r.Forget("1234abcd"); err != nil {
		t.Error(err)
	}
	if _, err := r.Get("1234abcd"); !errors.As(err, &none) {
		t.Errorf("a forgotten station: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	r := newRig(t)
	for _, a := range []announce.Announcement{{}, {MAC: "../../etc"}, {Serial: "nonsense"}, {MAC: strings.Repeat("a", 17)}} {
		if s, err := r.Announced(&a, addr); err == nil {
			t.Errorf("%+v was taken: %+v", a, s)
		}
	}
	for _, id := range []string{"", "..", "1234", "1234abcd/..", "100000001234abcd", "common"} {
		if _, err := r.Asked(id); err == nil {
			t.Errorf("Asked(%q) was taken", id)
		}
	}
	if _, err := r.SetEnrolled("../x", true, ""); err == nil {
		t.Error("a serial number that is none was enrolled")
	}
	if got := r.List(); len(got) != 0 {
		t.Errorf("refusals left %+v", got)
	}
}

func TestSubscribe(t *testing.T) {
	r := newRig(t)
	changes, cancel := r.Subscribe()
	defer cancel()
	if _, err := r.Announced(said("idle"), addr); err != nil {
		t.Fatal(err)
	}
	if s := <-changes; s.ID != "1234abcd" {
		t.Errorf("%+v", s)
	}
	for range 1000 { // nobody reads: nothing is held up
		if _, err := r.Announced(said("idle"), addr); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReceipts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "receipts.jsonl")
	open := func() *Receipts {
		t.Helper()
		r, err := OpenReceipts(path)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	add := func(r *Receipts, station, job string) bool {
		t.Helper()
		receipt, err := ParseReceipt(json.RawMessage(fmt.Sprintf(`{"job":%q,"image_url":"http://x/%s","device":"/dev/mmcblk0","verified":true,"phase_seconds":{"wipe":1}}`, job, job)))
		if err != nil {
			t.Fatal(err)
		}
		receipt.Station = station
		fresh, err := r.Add(receipt)
		if err != nil {
			t.Fatal(err)
		}
		return fresh
	}
	r := open()
	if !add(r, "a", "1") || !add(r, "b", "1") || add(r, "a", "1") {
		t.Error("a receipt was taken twice, or not at all")
	}
	r.Close()
	// The power goes in the middle of a line.
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString(`{"job":"half`)
	f.Close()
	r = open()
	if add(r, "a", "1") || !add(r, "a", "2") {
		t.Error("the restart forgot a receipt, or made one up")
	}
	r.Close()
	r = open()
	defer r.Close()
	for _, tt := range []struct {
		q    Query
		want string
	}{{Query{}, "a2 b1 a1"}, {Query{Station: "a"}, "a2 a1"}, {Query{Image: "x/1"}, "b1 a1"}, {Query{Limit: 1}, "a2"}} {
		var got []string
		for _, receipt := range r.Find(tt.q) {
			got = append(got, receipt.Station+receipt.Job)
			if !strings.Contains(string(receipt.Receipt), "phase_seconds") || !receipt.Verified {
				t.Errorf("%+v lost something", receipt)
			}
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("Find(%+v) = %q, want %s", tt.q, got, tt.want)
		}
	}
}

// TestStrangers has more Pis ask for boot files than are remembered: those that asked longest
// ago are forgotten, and no other.
func TestStrangers(t *testing.T) {
	r := newRig(t)
	if _, err := r.SetEnrolled("ffffffff", true, ""); err != nil {
		t.Fatal(err)
	}
	for n := range maxStrangers + 2 {
		r.at = r.at.Add(time.Second)
		if _, err := r.Asked(fmt.Sprintf("%08x", n)); err != nil {
			t.Fatal(err)
		}
	}
	list := r.List()
	if len(list) != maxStrangers+1 || list[0].ID != "00000002" || list[len(list)-1].ID != "ffffffff" {
		t.Errorf("%d stations, from %s to %s", len(list), list[0].ID, list[len(list)-1].ID)
	}
}
