package client

import "time"

// Health is the JSON of GET /health.
type Health struct {
	Service string `json:"service"`
	Status  string `json:"status"`
	Version string `json:"version"`
}

// Facts is the JSON of GET /station, as far as it is shown.
type Facts struct {
	Hostname string `json:"hostname"`
	Model    string `json:"model"`
	Serial   string `json:"serial"`
	Version  string `json:"version"`
}

// Status is the JSON of GET /status. Sizes are in bytes.
type Status struct {
	Stage   string  `json:"stage"`
	Percent int     `json:"percent"`
	Message string  `json:"message"`
	Error   *string `json:"error"`

	Job            string     `json:"job,omitempty"`
	Device         string     `json:"device,omitempty"`
	ImageURL       string     `json:"image_url,omitempty"`
	Format         string     `json:"format,omitempty"`
	PhaseBytes     int64      `json:"phase_bytes,omitempty"`
	TotalBytes     int64      `json:"total_bytes,omitempty"`
	BytesPerSecond int64      `json:"bytes_per_second,omitempty"`
	ETASeconds     *int64     `json:"eta_seconds,omitempty"`
	Bottleneck     string     `json:"bottleneck,omitempty"`
	Started        *time.Time `json:"started,omitempty"`
	Finished       *time.Time `json:"finished,omitempty"`
	Receipt        *Receipt   `json:"receipt,omitempty"`
}

// Stages at which no job runs.
const (
	StageIdle     = "idle"
	StageComplete = "complete"
	StageError    = "error"
)

// Running reports whether a job runs.
func (s Status) Running() bool {
	return s.Stage != StageIdle && s.Stage != StageComplete && s.Stage != StageError
}

// Disk is one of the disks of GET /disks.
type Disk struct {
	Device     string      `json:"device"`
	Present    bool        `json:"present"`
	Size       int64       `json:"size,omitempty"`
	Model      string      `json:"model,omitempty"`
	Serial     string      `json:"serial,omitempty"`
	Removable  bool        `json:"removable"`
	InUse      string      `json:"in_use,omitempty"` // by what, "" if free
	Error      string      `json:"error,omitempty"`  // why it could not be written for another reason
	Partitions []Partition `json:"partitions,omitempty"`
}

// Partition is a partition of a Disk.
type Partition struct {
	Name  string `json:"name"`
	Start int64  `json:"start"`
	Size  int64  `json:"size"`
}

// Receipt is what a successful write left; see the station's documentation.
type Receipt struct {
	Job            string    `json:"job"`
	ImageURL       string    `json:"image_url"`
	Format         string    `json:"format"`
	ImageSize      int64     `json:"image_size"`
	ImageSHA256    string    `json:"image_sha256"`
	TransferSize   int64     `json:"transfer_size"`
	TransferSHA256 string    `json:"transfer_sha256"`
	Retries        int64     `json:"retries"`
	Device         string    `json:"device"`
	DeviceSize     int64     `json:"device_size"`
	DeviceModel    string    `json:"device_model,omitempty"`
	DeviceSerial   string    `json:"device_serial,omitempty"`
	Verified       bool      `json:"verified"`
	Started        time.Time `json:"started"`
	Finished       time.Time `json:"finished"`
	StationModel   string    `json:"station_model,omitempty"`
	StationSerial  string    `json:"station_serial,omitempty"`
	Version        string    `json:"version"`
}

// WriteRequest is the body of POST /write-image. Zero values are left to the station's
// configuration.
type WriteRequest struct {
	Device   string `json:"device,omitempty"`
	ImageURL string `json:"image_url"`
	SHA256   string `json:"sha256,omitempty"`
	Verify   *bool  `json:"verify,omitempty"`
	Reboot   *bool  `json:"reboot,omitempty"`
	DryRun   bool   `json:"dry_run,omitempty"`
}

// Answer is a station's answer to what changes something.
type Answer struct {
	Message string `json:"message"`
	Job     string `json:"job"`
}
