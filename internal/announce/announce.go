// Package announce is how a station tells its boot server that it is there: the messages,
// and the station's side of them.
//
// A station announces itself to the server that its configuration came from, at its start,
// every 30 s, every few seconds while it writes, and at once when something changes. The
// answer says which receipts have arrived. A server that knows no announcements is asked
// again every ten minutes.
package announce

import "encoding/json"

// Path at the server. Announcements are POSTs with the token.
const Path = "/api/stations/announce"

// MaxSize is the size in bytes beyond which an announcement is refused.
const MaxSize = 256 << 10

// Announcement is what a station says.
type Announcement struct {
	Serial   string `json:"serial"` // 16 hex digits; empty if the machine has none
	MAC      string `json:"mac"`
	Hostname string `json:"hostname"`
	Model    string `json:"model"`
	Version  string `json:"version"` // of the imager
	// Build is the time of the gokrazy build that runs, RFC 3339; empty elsewhere.
	Build  string `json:"build,omitempty"`
	Kernel string `json:"kernel,omitempty"` // release
	// BootID differs each time the machine starts.
	BootID     string `json:"boot_id,omitempty"`
	BootedFrom string `json:"booted_from,omitempty"` // as in GET /station
	// Port of the imager's HTTP service.
	Port          int             `json:"port"`
	UptimeSeconds int64           `json:"uptime_seconds"`
	Disks         json.RawMessage `json:"disks,omitempty"`  // as in GET /disks
	Status        json.RawMessage `json:"status,omitempty"` // as GET /status
	// Receipts are those of GET /receipts that no answer has named yet.
	Receipts []json.RawMessage `json:"receipts,omitempty"`
	// Outcome is what came of the last assignment, unless that was a write, which has a
	// receipt.
	Outcome *Outcome `json:"outcome,omitempty"`
}

// Outcome is how an assignment ended.
type Outcome struct {
	ID string `json:"id"` // of the assignment
	// Carries says that the disk holds the image already: nothing was written.
	Carries bool   `json:"carries,omitempty"`
	Error   string `json:"error,omitempty"` // a sentence; "" without one
}

// Reply is what the server answers.
type Reply struct {
	Success bool `json:"success"`
	// Enrolled says that the server has a netboot tree for the station.
	Enrolled bool `json:"enrolled"`
	// IntervalSeconds is when to announce again; 0 leaves it to the station.
	IntervalSeconds int `json:"interval_seconds,omitempty"`
	// Receipts are the jobs whose receipts are stored durably.
	Receipts []string `json:"receipts,omitempty"`
	// Assignment is a write that the station is to do, unless it has done it.
	Assignment *Assignment `json:"assignment,omitempty"`
}

// Assignment is a write that the server wants done.
type Assignment struct {
	ID       string `json:"id"`
	ImageURL string `json:"image_url"`
	Device   string `json:"device,omitempty"` // "" for the first allowed one
	SHA256   string `json:"sha256"`           // of the decompressed image, hex
	Then     string `json:"then,omitempty"`   // reboot, poweroff or wait (the default), after the write
}
