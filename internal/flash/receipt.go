package flash

import (
	"fmt"
	"time"

	"github.com/openseastack/netboot-imager/internal/disk"
	"github.com/openseastack/netboot-imager/internal/source"
)

// Receipt says what a complete job wrote. Sizes are in bytes.
type Receipt struct {
	Image        string `json:"image_url"`
	Format       string `json:"format"`
	ImageSize    int64  `json:"image_size"`
	ImageSHA256  string `json:"image_sha256"` // of the decompressed image
	ETag         string `json:"etag,omitempty"`
	LastModified string `json:"last_modified,omitempty"`

	TransferSize   int64  `json:"transfer_size"`
	TransferSHA256 string `json:"transfer_sha256"` // of what was downloaded
	Retries        int64  `json:"retries"`         // connections that broke or could not be made

	Device       string           `json:"device"`
	DeviceSize   int64            `json:"device_size"`
	DeviceModel  string           `json:"device_model,omitempty"`
	DeviceSerial string           `json:"device_serial,omitempty"`
	Partitions   []disk.Partition `json:"partitions"`

	Verified    bool    `json:"verified"` // read back from the medium and compared
	Repaired    []Range `json:"repaired"` // ranges that were written again
	ZeroedBytes int64   `json:"zeroed_bytes"`
	// WrittenBytes were given to the disk behind the first MiB, zeroing not counted.
	WrittenBytes int64 `json:"written_bytes"`
	// Compare says whether the disk was read before it was written, and what that saved.
	Compare *Choice `json:"compare,omitempty"`
	// AheadBytes were read back while others were still being written.
	AheadBytes  int64  `json:"read_back_while_writing_bytes"`
	ZeroOffload bool   `json:"zeroing_offload"` // by the disk itself
	DirectIO    bool   `json:"direct_io"`       // past the page cache
	Bottleneck  string `json:"bottleneck,omitempty"`
	Hint        string `json:"hint,omitempty"` // what to do about it, without a full stop

	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished"`
	Phases   Phases    `json:"phase_seconds"`

	// Transfer is what TransferSize and the like are made of.
	Transfer source.Transfer `json:"-"`
}

// Phases are durations in seconds.
type Phases struct {
	Wipe   float64 `json:"wipe"`
	Write  float64 `json:"write"` // download, decode and write
	Sync   float64 `json:"sync"`
	Verify float64 `json:"verify"`
	Finish float64 `json:"finish"` // first MiB, partitions
}

// finalReceipt returns the receipt of a success. It refers to nothing of the plan: receipts
// are kept for long, and a plan has the image's buffers.
func (p *Plan) finalReceipt() *Receipt {
	r, d := p.receipt, p.disk.Info()
	r.Image, r.Format, r.ETag, r.LastModified = p.info.URL, p.info.Format, p.info.ETag, p.info.LastModified
	r.TransferSize, r.TransferSHA256, r.Retries = r.Transfer.Bytes, r.Transfer.SHA256, r.Transfer.Retries
	r.Device, r.DeviceSize, r.DeviceModel, r.DeviceSerial = d.Device, d.Size, d.Model, d.Serial
	r.Verified, r.ZeroOffload, r.DirectIO = !p.opt.NoVerify, p.disk.ZeroingOffload(), p.disk.Direct()
	if r.Repaired == nil {
		r.Repaired = []Range{}
	}
	if r.Partitions == nil {
		r.Partitions = []disk.Partition{}
	}
	r.Hint = hint(r.Bottleneck, r.Format)
	r.Finished = time.Now()
	return &r
}

// Summary is the receipt in one line.
func (r *Receipt) Summary() string {
	took := r.Finished.Sub(r.Started)
	how := "not read back"
	if r.Verified {
		how = "read back and equal"
	}
	if c := r.Compare; c != nil && c.UnchangedBytes > 0 {
		how = fmt.Sprintf("%s of it were there already, %s", Size(c.UnchangedBytes), how)
	}
	if n := len(r.Repaired); n > 0 {
		how += fmt.Sprintf(" after repairing %d blocks", n)
	}
	return fmt.Sprintf("%d bytes (%s) from %s (%d bytes downloaded, %d retries) in %.1f s, %.1f MB/s, %s, %d partitions, sha256 %s",
		r.ImageSize, Size(r.ImageSize), r.Format, r.TransferSize, r.Retries, took.Seconds(),
		float64(r.ImageSize)/1e6/max(took.Seconds(), 0.001), how, len(r.Partitions), r.ImageSHA256)
}
