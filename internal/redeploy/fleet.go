package redeploy

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/openseastack/netboot-imager/internal/stations"
	"github.com/openseastack/netboot-imager/internal/trees"
)

const (
	// rebootTries is how often a station is told to reboot for one build. One that still
	// runs another then boots from elsewhere.
	rebootTries = 3
	// rebootPatience is how long a station may take to come back before it is told again,
	// and retryPause how long before it is asked again after it refused.
	rebootPatience = 4 * time.Minute
	retryPause     = 15 * time.Second
	// testPatience is how long the station of a testboot may take to be well. gok waits for
	// five minutes.
	testPatience = 4 * time.Minute
	// testWell is how long the station of a testboot must go on saying that it is well, and
	// testInterval how often it is to say so.
	testWell     = 10 * time.Second
	testInterval = 3 * time.Second
	// memory is how long before a start of the service a station must have been heard of to
	// count as there.
	memory = 10 * time.Minute
)

// Trees is the part of *trees.Library that a Fleet uses.
type Trees interface {
	Current() (trees.Tree, bool)
	Switch(id string) (trees.Tree, error)
	Rollback() (trees.Tree, error)
	Enrol(serial string) error
	Retire(serial string) error
	Test(serial, id string) error
}

// Fleet has stations run the tree that is served. Use NewFleet, and Run.
type Fleet struct {
	// config
	trees    Trees
	stations *stations.Registry
	reboot   func(context.Context, stations.Station) error
	logf     func(format string, args ...any)

	// state
	wake     chan struct{}
	mu       sync.Mutex
	expected map[string]bool // stations that were there when the tree was switched
	test     *testboot       // nil if none runs
}

// testboot is one that runs.
type testboot struct {
	station string
	tree    trees.Tree
	since   time.Time
	well    time.Time // it has been running the tree since then
}

// NoStationError is a testboot that no station can do.
type NoStationError struct{}

func (*NoStationError) Error() string {
	return "no enrolled station is there and idle, so there is none to test the new system on, and nothing was changed; switch on a station, or update without --testboot"
}

// TestRunsError is a switch during a testboot.
type TestRunsError struct{ Station string }

func (e *TestRunsError) Error() string {
	return fmt.Sprintf("a testboot runs on station %s; wait for its end, which is at most %v away", e.Station, testPatience)
}

// NewFleet returns the fleet of the stations in the list. reboot asks a station to reboot
// and returns its refusal.
func NewFleet(t Trees, s *stations.Registry, reboot func(context.Context, stations.Station) error, logf func(string, ...any)) *Fleet {
	f := &Fleet{trees: t, stations: s, reboot: reboot, logf: logf, wake: make(chan struct{}, 1)}
	f.expected = f.there(memory)
	return f
}

// there are the enrolled stations that were heard of within a time.
func (f *Fleet) there(within time.Duration) map[string]bool {
	m, now := map[string]bool{}, f.stations.Now()
	for _, s := range f.stations.List() {
		if s.Enrolled && !s.LastSeen.IsZero() && now.Sub(s.LastSeen) < within {
			m[s.ID] = true
		}
	}
	return m
}

// Run looks after the stations until ctx ends.
func (f *Fleet) Run(ctx context.Context) {
	changes, cancel := f.stations.Subscribe()
	defer cancel()
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	for {
		f.step(ctx)
		select {
		case <-ctx.Done():
			return
		case <-changes:
		case <-f.wake:
		case <-tick.C:
		}
	}
}

// Wake has Run look at once.
func (f *Fleet) Wake() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// Switch serves a tree to all stations.
func (f *Fleet) Switch(id string) error {
	return f.change(func() (trees.Tree, error) { return f.trees.Switch(id) })
}

// Rollback serves the tree before the current one.
func (f *Fleet) Rollback() (t trees.Tree, err error) {
	err = f.change(func() (trees.Tree, error) { t, err = f.trees.Rollback(); return t, err })
	return t, err
}

func (f *Fleet) change(to func() (trees.Tree, error)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.test != nil {
		return &TestRunsError{f.test.station}
	}
	return f.changeLocked(to)
}

func (f *Fleet) changeLocked(to func() (trees.Tree, error)) error {
	there := f.there(stations.Online)
	t, err := to()
	if err != nil {
		return err
	}
	f.expected = there
	f.logf("netboot tree %s, built %s, is now served", t.ID, t.Build)
	f.Wake()
	return nil
}

// Testboot serves a tree to one idle station. When that is well, all others get it, and
// otherwise it gets the current one back.
func (f *Fleet) Testboot(t trees.Tree) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.test != nil {
		return &TestRunsError{f.test.station}
	}
	now := f.stations.Now()
	for _, s := range f.stations.List() {
		if !s.Enrolled || !s.IsOnline(now) || s.Busy() || !netboots(&s) {
			continue
		}
		if err := f.link(s.ID, func() error { return f.trees.Test(s.ID, t.ID) }); err != nil {
			return err
		}
		f.test = &testboot{station: s.ID, tree: t, since: now}
		f.logf("testboot of netboot tree %s, built %s, on station %s", t.ID, t.Build, s.ID)
		f.Wake()
		return nil
	}
	return &NoStationError{}
}

// link changes what a station is served. One that has been taken out meanwhile, because it
// has written its disk, stays out.
func (f *Fleet) link(id string, change func() error) error {
	enrolled := func() bool { s, err := f.stations.Get(id); return err == nil && s.Enrolled }
	if enrolled() {
		if err := change(); err != nil {
			return err
		}
		if enrolled() { // still: bootserver changes the list before the link
			return nil
		}
	}
	return f.trees.Retire(id)
}

// netboots says that a station boots what this server serves, as far as it tells.
func netboots(s *stations.Station) bool {
	return s.Build != "" && (s.BootedFrom == "" || s.BootedFrom == "network")
}

// Interval is how often a station is to announce itself, 0 for as often as it likes.
func (f *Fleet) Interval(id string) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.test != nil && f.test.station == id {
		return testInterval
	}
	return 0
}

// Build is the time of the build that the stations run: of the served tree, once a station
// that was there at the switch has it, or if none was there.
func (f *Fleet) Build() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	current, ok := f.trees.Current()
	if !ok {
		return ""
	}
	old, waiting, now := "", false, f.stations.Now()
	for _, s := range f.stations.List() {
		if !s.Enrolled {
			continue
		}
		if s.IsOnline(now) && runs(&s, current) {
			return current.Build
		}
		if f.expected[s.ID] {
			waiting, old = true, s.Build
		}
	}
	if waiting {
		return old
	}
	return current.Build
}

// runs says that a station runs a tree, all of it: one that booted during a switch may have
// the kernel of one and the rest of another.
func runs(s *stations.Station, t trees.Tree) bool {
	return s.Build == t.Build && (s.Kernel == "" || t.Linux == "" || s.Kernel == t.Linux)
}

// step does what is to be done now.
func (f *Fleet) step(ctx context.Context) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.test != nil {
		f.stepTest()
	}
	current, ok := f.trees.Current()
	if !ok {
		return
	}
	for _, s := range f.stations.List() {
		want := current
		if f.test != nil && f.test.station == s.ID {
			want = f.test.tree
		}
		f.tell(ctx, &s, want)
	}
}

// tell has a station reboot if it does not run a tree, does not write, and was not told
// just now.
func (f *Fleet) tell(ctx context.Context, s *stations.Station, want trees.Tree) {
	now := f.stations.Now()
	if !s.Enrolled || !s.IsOnline(now) || !netboots(s) || s.Busy() || runs(s, want) {
		return
	}
	if s.Rebooted == want.Build && (s.Reboots >= rebootTries || now.Sub(s.RebootAsked) < rebootPatience) {
		if s.Reboots >= rebootTries && s.Note == "" {
			f.note(s.ID, fmt.Sprintf("it was told %d times to reboot into the system built %s and still runs that of %s: it does not boot from here", rebootTries, want.Build, s.Build))
		}
		return
	}
	told, err := f.stations.Update(s.ID, func(s *stations.Station) {
		if s.Rebooted != want.Build {
			s.Rebooted, s.Reboots, s.Note = want.Build, 0, ""
		}
		s.Reboots++
		s.RebootAsked = now
	})
	if err != nil {
		f.logf("station %s: %v", s.ID, err)
		return
	}
	f.logf("station %s runs the system built %s: telling it to reboot into that of %s", s.ID, s.Build, want.Build)
	go func() {
		err := f.reboot(ctx, told)
		if err == nil || ctx.Err() != nil {
			return
		}
		f.logf("%v; it is asked again", err)
		_, err = f.stations.Update(s.ID, func(s *stations.Station) {
			s.Reboots--
			s.RebootAsked = f.stations.Now().Add(retryPause - rebootPatience)
		})
		if err != nil {
			f.logf("station %s: %v", s.ID, err)
		}
	}()
}

func (f *Fleet) note(id, text string) {
	f.logf("station %s: %s", id, text)
	if _, err := f.stations.Update(id, func(s *stations.Station) { s.Note = text }); err != nil {
		f.logf("station %s: %v", id, err)
	}
}

// stepTest looks how the testboot goes.
func (f *Fleet) stepTest() {
	t, now := f.test, f.stations.Now()
	s, err := f.stations.Get(t.station)
	var gone *stations.NotFoundError
	switch {
	case errors.As(err, &gone):
		f.endTest("the station was forgotten")
	case err != nil:
		f.logf("testboot: %v", err)
	case !s.Enrolled:
		f.endTest("the station was taken out")
	case s.LastSeen.After(t.since) && s.IsOnline(now) && runs(&s, t.tree) && s.Stage() != "error":
		switch {
		case t.well.IsZero():
			t.well = s.LastSeen
			f.logf("testboot: station %s runs the system built %s", s.ID, t.tree.Build)
		case s.LastSeen.Sub(t.well) >= testWell:
			f.test = nil
			f.logf("testboot: station %s is well", s.ID)
			if err := f.changeLocked(func() (trees.Tree, error) { return f.trees.Switch(t.tree.ID) }); err != nil {
				f.logf("testboot: %v", err)
			}
			if err := f.link(s.ID, func() error { return f.trees.Enrol(s.ID) }); err != nil {
				f.logf("testboot: %v", err)
			}
		}
	case now.Sub(t.since) > testPatience:
		f.endTest(fmt.Sprintf("station %s was not well within %v", s.ID, testPatience))
	}
}

// endTest gives the station the current tree back.
func (f *Fleet) endTest(why string) {
	t := f.test
	f.test = nil
	text := fmt.Sprintf("the testboot of the system built %s failed: %s; the one before goes on being served", t.tree.Build, why)
	f.note(t.station, text)
	if err := f.link(t.station, func() error { return f.trees.Enrol(t.station) }); err != nil {
		f.logf("testboot: %v", err)
	}
}
