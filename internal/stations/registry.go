package stations

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/openseastack/netboot-imager/internal/announce"
	"github.com/openseastack/netboot-imager/internal/netboot"
)

var bucket = []byte("stations")

// saveInterval is how often what stations said is stored where nothing but the time of it
// has changed. Everything else is stored at once.
const saveInterval = 30 * time.Second

// maxStations bounds the list: whoever may announce could fill the disk otherwise.
const maxStations = 10000

// maxStrangers bounds how many of them are Pis that have done nothing but ask for boot
// files, which takes no token.
const maxStrangers = 256

// NotFoundError is a station that is not in the list.
type NotFoundError struct{ ID string }

func (e *NotFoundError) Error() string {
	return fmt.Sprintf("no station %q; GET /api/stations lists those that there are", e.ID)
}

// SerialError is a serial number that is none.
type SerialError struct{ Err error }

func (e *SerialError) Error() string { return e.Err.Error() }

// Registry is the list. Use Open. It may be used from several goroutines.
type Registry struct {
	// config
	db   *bolt.DB
	now  func() time.Time
	logf func(format string, args ...any)

	// state
	stop   context.CancelFunc
	saving sync.WaitGroup
	mu     sync.Mutex
	list   map[string]*Station
	dirty  map[string]bool // to be stored
	subs   map[chan Station]struct{}
}

// Open reads the list from db. Close it before db.
func Open(db *bolt.DB, now func() time.Time, logf func(format string, args ...any)) (*Registry, error) {
	ctx, stop := context.WithCancel(context.Background())
	r := &Registry{db: db, now: now, logf: logf, stop: stop, list: map[string]*Station{}, dirty: map[string]bool{}, subs: map[chan Station]struct{}{}}
	err := db.Update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(bucket)
		if err != nil {
			return err
		}
		return b.ForEach(func(k, v []byte) error {
			s := &Station{}
			if err := json.Unmarshal(v, s); err != nil {
				return fmt.Errorf("station %s: %w", k, err)
			}
			r.list[s.ID] = s
			return nil
		})
	})
	if err != nil {
		stop()
		return nil, fmt.Errorf("reading the list of stations: %w", err)
	}
	r.saving.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(saveInterval):
			}
			if err := r.save(); err != nil {
				r.logf("storing the list of stations: %v", err)
			}
		}
	})
	return r, nil
}

// Close stores what is not stored yet.
func (r *Registry) Close() error {
	r.stop()
	r.saving.Wait()
	return r.save()
}

// save stores what is dirty, in one transaction.
func (r *Registry) save() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.saveLocked()
}

func (r *Registry) saveLocked() error {
	if len(r.dirty) == 0 {
		return nil
	}
	err := r.db.Update(func(tx *bolt.Tx) error {
		for id := range r.dirty {
			b, err := json.Marshal(r.list[id])
			if err != nil {
				return err
			}
			if err := tx.Bucket(bucket).Put([]byte(id), b); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		clear(r.dirty)
	}
	return err
}

// changed has a station stored, at once if it matters, and tells who listens.
func (r *Registry) changed(s *Station, matters bool) error {
	r.dirty[s.ID] = true
	for c := range r.subs {
		select {
		case c <- *s:
		default: // who does not keep up misses it, and finds out by the list
		}
	}
	if !matters {
		return nil
	}
	if err := r.saveLocked(); err != nil {
		return fmt.Errorf("storing the list of stations: %w", err)
	}
	return nil
}

// Announced takes an announcement from the address that it came from.
func (r *Registry) Announced(a *announce.Announcement, from netip.Addr) (Station, error) {
	id := IDOf(a.Serial, a.MAC)
	if id == "" || len(id) > 16 || strings.Trim(id, "0123456789abcdef") != "" {
		return Station{}, &SerialError{fmt.Errorf("an announcement needs a serial number of 16 hex digits or a MAC address; it has serial %q, MAC %q", a.Serial, a.MAC)}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s, err := r.get(id)
	if err != nil {
		return Station{}, err
	}
	matters := s.take(a, from.Unmap(), r.now())
	return *s, r.changed(s, matters)
}

// get finds a station or makes one.
func (r *Registry) get(id string) (*Station, error) {
	s := r.list[id]
	if s == nil {
		if len(r.list) >= maxStations {
			return nil, fmt.Errorf("the list of stations is full: it has %d", len(r.list))
		}
		s = &Station{ID: id}
		r.list[id] = s
	}
	return s, nil
}

// Asked notes that the Pi with this ID asked for boot files that it is not served.
func (r *Registry) Asked(id string) (Station, error) {
	if _, err := netboot.StationDir(id); err != nil || len(id) != 8 {
		return Station{}, &SerialError{fmt.Errorf("%q is no station's directory", id)}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	known := r.list[id] != nil
	if !known {
		if err := r.makeRoom(); err != nil {
			return Station{}, err
		}
	}
	s, err := r.get(id)
	if err != nil {
		return Station{}, err
	}
	s.LastAsked = r.now()
	return *s, r.changed(s, !known)
}

// makeRoom forgets the stranger that asked longest ago, if there are as many as may be.
func (r *Registry) makeRoom() error {
	var oldest *Station
	n := 0
	for _, s := range r.list {
		if s.Enrolled || !s.Retired.IsZero() || !s.LastSeen.IsZero() {
			continue
		}
		n++
		if oldest == nil || s.LastAsked.Before(oldest.LastAsked) {
			oldest = s
		}
	}
	if n < maxStrangers {
		return nil
	}
	return r.forget(oldest.ID)
}

// SetEnrolled notes whether the Pi with this serial number is served a netboot tree, and
// why not. The station is added to the list if need be.
func (r *Registry) SetEnrolled(serial string, enrolled bool, why string) (Station, error) {
	id, err := netboot.StationDir(serial)
	if err != nil {
		return Station{}, &SerialError{err}
	}
	return r.update(id, true, func(s *Station) {
		if !enrolled && s.Enrolled {
			s.Retired, s.RetiredBy = r.now(), why
		}
		if enrolled {
			s.Retired, s.RetiredBy, s.Rebooted, s.Reboots, s.Note = time.Time{}, "", "", 0, ""
		}
		s.Enrolled = enrolled
		if s.Serial == "" && len(serial) == 16 {
			s.Serial = strings.ToLower(serial)
		}
	})
}

// Update changes a station of the list.
func (r *Registry) Update(id string, change func(*Station)) (Station, error) {
	return r.update(id, false, change)
}

func (r *Registry) update(id string, add bool, change func(*Station)) (Station, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.list[id]
	if s == nil {
		if !add {
			return Station{}, &NotFoundError{id}
		}
		var err error
		if s, err = r.get(id); err != nil {
			return Station{}, err
		}
	}
	change(s)
	return *s, r.changed(s, true)
}

// Forget removes a station from the list.
func (r *Registry) Forget(id string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.list[id] == nil {
		return &NotFoundError{id}
	}
	return r.forget(id)
}

func (r *Registry) forget(id string) error {
	if err := r.db.Update(func(tx *bolt.Tx) error { return tx.Bucket(bucket).Delete([]byte(id)) }); err != nil {
		return fmt.Errorf("storing the list of stations: %w", err)
	}
	delete(r.list, id)
	delete(r.dirty, id)
	return nil
}

// List returns all stations by ID.
func (r *Registry) List() []Station {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := []Station{}
	for _, id := range slices.Sorted(maps.Keys(r.list)) {
		out = append(out, *r.list[id])
	}
	return out
}

// Get returns the station with an ID or a serial number.
func (r *Registry) Get(id string) (Station, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.list[id]; s != nil {
		return *s, nil
	}
	if dir, err := netboot.StationDir(id); err == nil && r.list[dir] != nil {
		return *r.list[dir], nil
	}
	return Station{}, &NotFoundError{id}
}

// ByAddress returns the station that was last heard of from an address.
func (r *Registry) ByAddress(addr netip.Addr) (Station, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var best *Station
	for _, s := range r.list {
		if s.Address == addr.Unmap() && (best == nil || s.LastSeen.After(best.LastSeen)) {
			best = s
		}
	}
	if best == nil {
		return Station{}, &NotFoundError{addr.String()}
	}
	return *best, nil
}

// Now is the registry's clock.
func (r *Registry) Now() time.Time { return r.now() }

// Subscribe returns a channel on which each change comes, until cancel is called.
func (r *Registry) Subscribe() (changes <-chan Station, cancel func()) {
	c := make(chan Station, 256)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.subs[c] = struct{}{}
	return c, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.subs, c)
	}
}
