package station

import (
	"cmp"
	"net/http"
	"time"

	"github.com/openseastack/netboot-imager/internal/flash"
)

// Stages besides those of package flash.
const (
	StageIdle     = "idle"
	StageComplete = "complete"
	StageError    = "error"
)

// Status is the JSON of GET /status: first the four fields that there have always been.
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
	Receipt        *receipt   `json:"receipt,omitempty"`
}

// Status returns how the running job goes, or how the last one ended.
func (s *Server) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.statusLocked()
}

func (s *Server) statusLocked() Status {
	j := s.runningLocked()
	if j == nil || j.req.DryRun {
		return s.last // a dry run does not make anybody forget what happened to the disk
	}
	return j.status()
}

// Note has the status of an idle station say why it has written nothing. What a job has left
// to say stays.
func (s *Server) Note(text string) {
	s.mu.Lock()
	if s.last.Stage == StageIdle {
		s.last.Message = text
	}
	s.mu.Unlock()
	s.notify()
}

// status is the job's, while it runs. The server's mutex is held.
func (j *job) status() Status {
	p := j.progress.Snapshot()
	st := Status{
		Stage: p.Stage, Percent: p.Percent, Message: p.Message,
		Job: j.id, Device: j.device, ImageURL: j.req.url.Redacted(), Format: j.format, Started: &j.started,
		PhaseBytes: p.PhaseBytes, TotalBytes: p.TotalBytes, BytesPerSecond: p.BytesPerSecond, Bottleneck: p.Bottleneck,
	}
	if p.ETASeconds >= 0 {
		st.ETASeconds = &p.ETASeconds
	}
	if st.Stage == "" {
		st.Stage, st.Message = flash.StageChecking, cmp.Or(st.Message, "Connecting to the image server")
	}
	return st
}

// finalStatus is the job's, after its end. The server's mutex is held.
func (j *job) finalStatus(err error) Status {
	st := j.status()
	now := time.Now()
	st.Finished, st.BytesPerSecond, st.ETASeconds = &now, 0, nil
	if err != nil {
		text := err.Error()
		st.Stage, st.Message, st.Error = StageError, "Write failed", &text
		return st
	}
	st.Stage, st.Percent, st.Message = StageComplete, 100, "Image successfully written to "+j.device
	st.PhaseBytes, st.TotalBytes, st.Receipt, st.Bottleneck = j.result.ImageSize, j.result.ImageSize, j.result, j.result.Bottleneck
	return st
}

func (s *Server) status(_ *active, w http.ResponseWriter, r *http.Request) error {
	reply(w, http.StatusOK, s.Status())
	return nil
}
