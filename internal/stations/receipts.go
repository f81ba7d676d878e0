package stations

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// Receipt is a line of the file of receipts: what was written on which Pi, when, by which
// version.
type Receipt struct {
	Received time.Time `json:"received"`
	Station  string    `json:"station"` // ID
	Serial   string    `json:"serial,omitempty"`
	Model    string    `json:"model,omitempty"`
	Hostname string    `json:"hostname,omitempty"`
	Address  string    `json:"address,omitempty"`

	Job         string    `json:"job"`
	Image       string    `json:"image_url"`
	ImageSHA256 string    `json:"image_sha256"`
	ImageSize   int64     `json:"image_size"`
	Device      string    `json:"device"`
	Verified    bool      `json:"verified"`
	Version     string    `json:"version"`
	Finished    time.Time `json:"finished"`

	// Receipt is all that the station said.
	Receipt json.RawMessage `json:"receipt"`
}

// ParseReceipt reads a station's receipt.
func ParseReceipt(raw json.RawMessage) (Receipt, error) {
	var r Receipt
	if err := json.Unmarshal(raw, &r); err != nil {
		return r, fmt.Errorf("a receipt that is none: %w", err)
	}
	if r.Job == "" || r.Image == "" || r.Device == "" {
		return r, errors.New("a receipt without job, image or device is none")
	}
	r.Receipt = raw
	return r, nil
}

// Receipts is the file: JSON lines, which are only ever added to. Use OpenReceipts.
type Receipts struct {
	mu   sync.Mutex
	file *os.File
	size int64           // of the file
	all  []Receipt       // as in the file
	have map[string]bool // station and job
}

// OpenReceipts opens the file, which is made if it is not there. A last line that a power
// cut left incomplete is cut off.
func OpenReceipts(path string) (*Receipts, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o640)
	if err != nil {
		return nil, fmt.Errorf("opening the receipts: %w", err)
	}
	r := &Receipts{file: f, have: map[string]bool{}}
	if err := r.read(path); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return r, nil
}

func (r *Receipts) read(path string) error {
	in, at := bufio.NewReader(r.file), int64(0)
	for n := 1; ; n++ {
		line, err := in.ReadBytes('\n')
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("reading the receipts: %w", err)
		}
		var receipt Receipt
		if err := json.Unmarshal(line, &receipt); err != nil {
			return fmt.Errorf("%s, line %d: %w; repair the line or move the file away", path, n, err)
		}
		r.add(receipt)
		at += int64(len(line))
	}
	if err := r.file.Truncate(at); err != nil {
		return fmt.Errorf("reading the receipts: %w", err)
	}
	r.size = at
	return nil
}

func (r *Receipts) add(receipt Receipt) {
	r.have[receipt.Station+" "+receipt.Job] = true
	r.all = append(r.all, receipt)
}

// Close closes the file.
func (r *Receipts) Close() error { return r.file.Close() }

// Has reports whether a station's receipt of a job is stored.
func (r *Receipts) Has(station, job string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.have[station+" "+job]
}

// Add stores a receipt durably. One that is there already is not stored again; fresh says
// that it was not.
func (r *Receipts) Add(receipt Receipt) (fresh bool, err error) {
	b, err := json.Marshal(receipt)
	if err != nil {
		return false, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.have[receipt.Station+" "+receipt.Job] {
		return false, nil
	}
	b = append(b, '\n')
	_, err = r.file.WriteAt(b, r.size) // over what an earlier try may have left
	if err == nil {
		err = r.file.Sync()
	}
	if err != nil {
		return false, fmt.Errorf("storing a receipt: %w", err)
	}
	r.size += int64(len(b))
	r.add(receipt)
	return true, nil
}

// Query is what to look for; the zero value finds all.
type Query struct {
	Station string    // ID or serial number
	Image   string    // part of the URL, or the beginning of the sha256
	Since   time.Time // finished then or later
	Limit   int       // at most that many, if not 0
}

// Find returns receipts, the newest first.
func (r *Receipts) Find(q Query) []Receipt {
	r.mu.Lock()
	defer r.mu.Unlock()
	found := []Receipt{}
	for i := len(r.all) - 1; i >= 0 && (q.Limit == 0 || len(found) < q.Limit); i-- {
		receipt := r.all[i]
		if q.Station != "" && q.Station != receipt.Station && !strings.EqualFold(q.Station, receipt.Serial) {
			continue
		}
		if q.Image != "" && !strings.Contains(receipt.Image, q.Image) && !strings.HasPrefix(receipt.ImageSHA256, strings.ToLower(q.Image)) {
			continue
		}
		if !q.Since.IsZero() && receipt.Finished.Before(q.Since) {
			continue
		}
		found = append(found, receipt)
	}
	return found
}
