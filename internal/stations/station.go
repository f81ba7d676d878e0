package stations

import (
	"encoding/json"
	"net/netip"
	"strings"
	"time"

	"github.com/openseastack/netboot-imager/internal/announce"
	"github.com/openseastack/netboot-imager/internal/client"
	"github.com/openseastack/netboot-imager/internal/netboot"
)

// Online is how long a station counts as there after it was last heard of: three
// announcements.
const Online = 95 * time.Second

// Station is one Raspberry Pi.
type Station struct {
	// ID is the last eight hex digits of its serial number, by which boot loaders ask; of a
	// machine without a serial number it is its MAC address.
	ID       string `json:"id"`
	Serial   string `json:"serial,omitempty"`
	MAC      string `json:"mac,omitempty"`
	Hostname string `json:"hostname,omitempty"`
	Model    string `json:"model,omitempty"`
	Version  string `json:"version,omitempty"` // of the imager
	Build    string `json:"build,omitempty"`   // time of the gokrazy build that runs
	Kernel   string `json:"kernel,omitempty"`

	Address    netip.Addr `json:"address,omitzero"`
	Port       int        `json:"port,omitempty"`
	BootID     string     `json:"boot_id,omitempty"`
	BootedFrom string     `json:"booted_from,omitempty"`

	// Enrolled says that it is served a netboot tree.
	Enrolled bool `json:"enrolled"`
	// Retired is when it was last taken out, RetiredBy why.
	Retired   time.Time `json:"retired,omitzero"`
	RetiredBy string    `json:"retired_by,omitempty"`

	FirstSeen time.Time `json:"first_seen,omitzero"`
	LastSeen  time.Time `json:"last_seen,omitzero"`  // announced itself
	LastAsked time.Time `json:"last_asked,omitzero"` // asked for boot files in vain

	Disks  json.RawMessage `json:"disks,omitempty"`  // as it said last
	Status json.RawMessage `json:"status,omitempty"` // likewise

	// Rebooted is the build for which it was told to reboot, Reboots how often.
	Rebooted string `json:"rebooted,omitempty"`
	Reboots  int    `json:"reboots,omitempty"`
	// RebootAsked is when it was last told to.
	RebootAsked time.Time `json:"reboot_asked,omitzero"`
	// Assignment is what it is to write; nil for nothing.
	Assignment *announce.Assignment `json:"assignment,omitempty"`
	// Note is a sentence for the person who looks after the stations.
	Note string `json:"note,omitempty"`
}

// IDOf is the ID of the machine with this serial number, or with this MAC address if it
// has none; "" if it has neither.
func IDOf(serial, mac string) string {
	if id, err := netboot.StationDir(serial); err == nil {
		return id
	}
	return strings.ToLower(strings.NewReplacer(":", "", "-", "").Replace(mac))
}

// Stage is that of its status, as in GET /status of a station.
func (s *Station) Stage() string {
	var st struct{ Stage string }
	_ = json.Unmarshal(s.Status, &st) // "" if there is none
	return st.Stage
}

// Busy says that it was writing when it was last heard of.
func (s *Station) Busy() bool {
	switch s.Stage() {
	case "", "idle", "complete", "error":
		return false
	}
	return true
}

// IsOnline says that it is there.
func (s *Station) IsOnline(now time.Time) bool {
	return !s.LastSeen.IsZero() && now.Sub(s.LastSeen) < Online
}

// take takes over what it says. It reports whether that is more than that it still lives.
func (s *Station) take(a *announce.Announcement, from netip.Addr, now time.Time) bool {
	before := *s
	s.Serial, s.MAC, s.Hostname, s.Model = a.Serial, a.MAC, a.Hostname, a.Model
	s.Version, s.Build, s.Kernel = a.Version, a.Build, a.Kernel
	s.Address, s.Port, s.BootID, s.BootedFrom = from, a.Port, a.BootID, a.BootedFrom
	stage := s.Stage()
	s.Status = a.Status
	if len(a.Disks) > 0 {
		s.Disks = a.Disks
	}
	if s.FirstSeen.IsZero() {
		s.FirstSeen = now
	}
	wasOnline := s.IsOnline(now)
	s.LastSeen = now
	return !wasOnline || stage != s.Stage() || before.BootID != s.BootID || before.Build != s.Build ||
		before.Version != s.Version || before.Address != s.Address || before.Port != s.Port || before.FirstSeen.IsZero()
}

// AddrPort is where its imager serves.
func (s *Station) AddrPort() netip.AddrPort {
	port := s.Port
	if port < 1 || port > 65535 {
		port = client.DefaultPort
	}
	return netip.AddrPortFrom(s.Address, uint16(port))
}

// Target is its imager as a client of it names it.
func (s *Station) Target() client.Station {
	return client.Station{Name: s.ID, Addr: s.AddrPort().String()}
}
