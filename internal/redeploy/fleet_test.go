package redeploy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/openseastack/netboot-imager/internal/announce"
	"github.com/openseastack/netboot-imager/internal/stations"
	"github.com/openseastack/netboot-imager/internal/trees"
)

// fakeTrees are two trees, of the builds old and new.
type fakeTrees struct {
	current string
	test    map[string]string // station → tree
	retired int
}

func (f *fakeTrees) Current() (trees.Tree, bool) {
	return trees.Tree{ID: f.current, Build: f.current}, true
}
func (f *fakeTrees) Switch(id string) (trees.Tree, error) {
	f.current = id
	return trees.Tree{ID: id, Build: id}, nil
}
func (f *fakeTrees) Rollback() (trees.Tree, error) { return f.Switch("old") }
func (f *fakeTrees) Enrol(serial string) error     { delete(f.test, serial); return nil }
func (f *fakeTrees) Retire(serial string) error    { delete(f.test, serial); f.retired++; return nil }
func (f *fakeTrees) Test(serial, id string) error  { f.test[serial] = id; return nil }

// fleetRig is a fleet with a clock of its own, whose step the test calls.
type fleetRig struct {
	*Fleet
	t     *testing.T
	trees *fakeTrees
	list  *stations.Registry
	at    time.Time
	told  chan string
	deny  error // what stations answer to a reboot
}

func newFleet(t *testing.T) *fleetRig {
	r := &fleetRig{t: t, trees: &fakeTrees{current: "old", test: map[string]string{}}, at: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), told: make(chan string, 100)}
	db, err := bolt.Open(filepath.Join(t.TempDir(), "db"), 0o600, &bolt.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	if r.list, err = stations.Open(db, func() time.Time { return r.at }, t.Logf); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(r.list.Close(), db.Close()); err != nil {
			t.Error(err)
		}
	})
	r.Fleet = NewFleet(r.trees, r.list, func(_ context.Context, s stations.Station) error {
		r.told <- s.ID
		return r.deny
	}, func(string, ...any) {})
	return r
}

func id(n int) string { return fmt.Sprintf("%08x", n) }

// say is an announcement of station n.
func (r *fleetRig) say(n int, build, stage string) {
	r.t.Helper()
	a := &announce.Announcement{Serial: id(n), Build: build, Status: json.RawMessage(fmt.Sprintf(`{"stage":%q}`, stage))}
	if _, err := r.list.Announced(a, netip.MustParseAddr("192.0.2.1")); err != nil {
		r.t.Fatal(err)
	}
}

func (r *fleetRig) enrol(n int) {
	r.t.Helper()
	if _, err := r.list.SetEnrolled(id(n), true, ""); err != nil {
		r.t.Fatal(err)
	}
}

// steps looks after the stations, and returns who was told to reboot: want of them.
func (r *fleetRig) steps(want int) (told []string) {
	r.t.Helper()
	r.step(r.t.Context())
	for range want {
		select {
		case s := <-r.told:
			told = append(told, s)
		case <-time.After(20 * time.Second):
			r.t.Fatalf("told %q to reboot, want %d", told, want)
		}
	}
	// Nobody else: what step decides it has noted before it returns.
	asked := 0
	for _, s := range r.list.List() {
		if s.RebootAsked == r.at {
			asked++
		}
	}
	if asked != want {
		r.t.Errorf("%d stations were told to reboot, want %d", asked, want)
	}
	return told
}

func (r *fleetRig) shows(want string) {
	r.t.Helper()
	if got := r.Build(); got != want {
		r.t.Errorf("the build shown is %q, want %q", got, want)
	}
}

func TestSwitchWithoutStations(t *testing.T) {
	r := newFleet(t)
	r.shows("old")
	if err := r.Switch("new"); err != nil {
		t.Fatal(err)
	}
	r.shows("new")
}

// TestSwitch has an idle station, one that writes, one that is not enrolled, and one that
// is gone.
func TestSwitch(t *testing.T) {
	r := newFleet(t)
	for n := range 4 {
		if n != 2 {
			r.enrol(n)
		}
		r.say(n, "old", map[bool]string{true: "writing", false: "idle"}[n == 1])
	}
	r.at = r.at.Add(stations.Online)
	for n := range 3 {
		r.say(n, "old", map[bool]string{true: "writing", false: "idle"}[n == 1])
	}
	if err := r.Switch("new"); err != nil {
		t.Fatal(err)
	}
	if told := r.steps(1); told[0] != id(0) {
		t.Errorf("told %q", told)
	}
	r.shows("old")
	r.at = r.at.Add(time.Second)
	r.steps(0) // not twice
	// The idle one never comes back. That must not look like success.
	r.at = r.at.Add(2 * stations.Online)
	r.shows("old")
	r.say(1, "old", "complete")
	if told := r.steps(1); told[0] != id(1) {
		t.Errorf("told %q, want the one that has written", told)
	}
	r.at = r.at.Add(30 * time.Second)
	r.say(1, "new", "idle")
	r.shows("new")
	r.steps(0)
}

// TestReboots gives up on a station that boots from elsewhere.
func TestReboots(t *testing.T) {
	r := newFleet(t)
	r.enrol(1)
	r.trees.current = "new"
	for range rebootTries {
		r.say(1, "old", "idle")
		r.steps(1)
		r.at = r.at.Add(rebootPatience)
	}
	r.say(1, "old", "idle")
	r.steps(0)
	if s, err := r.list.Get(id(1)); err != nil || s.Note == "" {
		t.Errorf("no note: %+v, %v", s, err)
	}
}

func TestTestbootGood(t *testing.T) {
	r := newFleet(t)
	for n := range 3 {
		r.enrol(n)
	}
	r.say(0, "old", "writing")
	r.say(1, "old", "idle")
	r.say(2, "old", "idle")
	if err := r.Testboot(trees.Tree{ID: "new", Build: "new"}); err != nil {
		t.Fatal(err)
	}
	var runs *TestRunsError
	if err := r.Switch("other"); !errors.As(err, &runs) {
		t.Errorf("a switch in a testboot: %v", err)
	}
	if told := r.steps(1); told[0] != id(1) || r.trees.test[id(1)] != "new" || r.trees.current != "old" {
		t.Errorf("told %q, %+v", told, r.trees)
	}
	r.at = r.at.Add(time.Minute)
	r.say(1, "new", "idle")
	r.steps(0)
	if r.trees.current != "old" {
		t.Error("switched at the first word")
	}
	r.shows("old")
	r.at = r.at.Add(testWell)
	r.say(1, "new", "idle")
	r.say(2, "old", "idle")
	if told := r.steps(1); told[0] != id(2) || r.trees.current != "new" || len(r.trees.test) != 0 {
		t.Errorf("told %q, %+v", told, r.trees)
	}
	r.shows("new")
}

func TestTestbootBad(t *testing.T) {
	r := newFleet(t)
	r.enrol(1)
	r.enrol(2)
	r.say(1, "old", "idle")
	if err := r.Testboot(trees.Tree{ID: "new", Build: "new"}); err != nil {
		t.Fatal(err)
	}
	r.steps(1)
	r.at = r.at.Add(testPatience + 1)
	r.say(2, "old", "idle")
	r.steps(0)
	if r.trees.current != "old" || len(r.trees.test) != 0 {
		t.Errorf("%+v, want the old tree for all", r.trees)
	}
	r.shows("old")
	if s, err := r.list.Get(id(1)); err != nil || s.Note == "" {
		t.Errorf("no note: %+v, %v", s, err)
	}
}

func TestTestbootWithoutStations(t *testing.T) {
	r := newFleet(t)
	r.enrol(1)
	r.say(1, "old", "writing")
	var none *NoStationError
	if err := r.Testboot(trees.Tree{ID: "new", Build: "new"}); !errors.As(err, &none) || len(r.trees.test) != 0 {
		t.Errorf("%v, %+v", err, r.trees)
	}
}

// TestTestbootLeaves has the station of a testboot write its disk and leave: it must not be
// linked again, and nothing is known of the new system.
func TestTestbootLeaves(t *testing.T) {
	r := newFleet(t)
	r.enrol(1)
	r.say(1, "old", "idle")
	if err := r.Testboot(trees.Tree{ID: "new", Build: "new"}); err != nil {
		t.Fatal(err)
	}
	r.steps(1)
	r.at = r.at.Add(time.Minute)
	r.say(1, "new", "idle")
	r.steps(0)
	if _, err := r.list.SetEnrolled(id(1), false, "it has written its disk"); err != nil {
		t.Fatal(err)
	}
	r.at = r.at.Add(testWell)
	r.say(1, "new", "idle")
	r.steps(0)
	if r.trees.current != "old" || len(r.trees.test) != 0 || r.trees.retired != 1 {
		t.Errorf("%+v, want the old tree, and the station without one", r.trees)
	}
}
