package station

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/openseastack/netboot-imager/internal/disk"
	"github.com/openseastack/netboot-imager/internal/flash"
)

// job is a write from its acceptance to its end. Fields below "state" are written before
// the channel next to them is closed, and read after.
type job struct {
	// config
	id       string
	device   string
	req      *writeRequest
	active   *active
	progress *flash.Progress
	cancel   context.CancelCauseFunc
	started  time.Time
	disk     *disk.Target

	// state
	format string
	plan   string        // what the write does, in a line
	begun  chan struct{} // image and disk are known to be good
	done   chan struct{} // it has ended
	err    error
	result *receipt // of a success
}

// receipt is what a success leaves: what was written, by whom.
type receipt struct {
	Job string `json:"job"`
	*flash.Receipt
	StationModel  string `json:"station_model,omitempty"`
	StationSerial string `json:"station_serial,omitempty"`
	Version       string `json:"version"`
}

// grace is how long a cancelled job may take to end before it is reported as ended all
// the same. Its disk stays taken until it really lets go.
const grace = 15 * time.Second

// errDry is the end of a dry run that found nothing wrong.
var errDry = errors.New("dry run")

// start takes the slot, opens the disk and starts the job. Its errors are refusals:
// nothing has happened.
func (s *Server) start(a *active, req *writeRequest) (*job, error) {
	id := make([]byte, 4)
	rand.Read(id)
	j := &job{
		id: hex.EncodeToString(id), device: req.Device, req: req, active: a, started: time.Now(),
		progress: flash.NewProgress(time.Now), begun: make(chan struct{}), done: make(chan struct{}),
	}
	j.progress.OnStage = s.notify
	ctx, cancel := context.WithCancelCause(s.ctx)
	j.cancel = cancel

	// The slot is taken before the disk is opened: that may take a while, and GET /status
	// does not wait for it.
	s.mu.Lock()
	if err := s.busyLocked(); err != nil {
		s.mu.Unlock()
		cancel(nil)
		return nil, err
	}
	s.slot = j
	s.mu.Unlock()
	opened := false
	defer func() {
		if !opened { // a refusal, or a panic
			s.free(j)
		}
	}()
	var err error
	if j.disk, err = s.opt.System.Open(req.Device, a.cfg.AllowedDevices); err != nil {
		return nil, err
	}
	opened = true
	if !req.DryRun {
		s.mu.Lock()
		st := j.status()
		s.mu.Unlock()
		s.remember(st) // before anybody sees the job: a restart must know what was seen
	}
	s.mu.Lock()
	s.job = j
	s.mu.Unlock()
	s.notify()

	s.opt.Logf("job %s: %s asked for on %s, from %s", j.id, map[bool]string{true: "dry run", false: "write"}[req.DryRun], j.device, req.url.Redacted())
	s.jobs.Go(func() { s.run(ctx, j) })
	return j, nil
}

// describe says which job runs, since when, and how far it is.
func (j *job) describe() string {
	select {
	case <-j.done:
		if j.err == nil {
			return fmt.Sprintf("job %s has ended, and the station is about to reboot", j.id)
		}
		return fmt.Sprintf("job %s has ended, but %s has not let go of its last operation", j.id, j.device)
	default:
	}
	return fmt.Sprintf("job %s writes %s to %s since %s and is at %d%%", j.id, j.req.url.Redacted(), j.device,
		j.started.UTC().Format(time.RFC3339), j.progress.Snapshot().Percent)
}

// run does the job and frees the slot. A job that does not end after it was cancelled is
// reported as ended, but keeps the slot until its disk lets go.
func (s *Server) run(ctx context.Context, j *job) {
	ended := make(chan struct{})
	var (
		state  flash.DiskState
		result *flash.Receipt
		err    error
	)
	go func() {
		defer close(ended)
		defer func() {
			if v := recover(); v != nil {
				s.opt.Logf("BUG: panic in job %s: %v\n%s", j.id, v, debug.Stack())
				err = fmt.Errorf("internal error; please report what the service's log says")
			}
		}()
		result, err = s.write(ctx, j, &state)
	}()
	select {
	case <-ended:
	case <-ctx.Done(): // cancelled, or the disk hangs
		select {
		case <-ended:
		case <-time.After(grace):
			s.conclude(j, nil, fmt.Errorf("%w; the disk does not respond, so what is on it is unknown: power the station off and on", context.Cause(ctx)), false)
			<-ended
			j.disk.Close()
			s.free(j)
			return
		}
	}
	switch {
	case err == errDry, err == nil:
	case state == flash.Cleared:
		err = fmt.Errorf("%w. The disk %s is left not bootable; write it again", err, j.device)
	case state == flash.Unchanged:
		err = fmt.Errorf("%w. The disk %s was not changed", err, j.device)
	default:
		err = fmt.Errorf("%w. What is on the disk %s is not known, and it may still start", err, j.device)
	}
	if e := j.disk.Close(); e != nil && err == nil {
		err = &flash.DiskError{Why: "closing the disk failed", Err: e}
	}
	debug.FreeOSMemory() // the next job must not find this one's buffers still there
	// A station that is about to reboot takes no other job.
	reboot := err == nil && *j.req.Reboot
	if err == nil && *j.req.BootOnce {
		s.bootOnce(j)
	}
	s.conclude(j, result, err, !reboot)
	if reboot {
		s.restartMachine("as job " + j.id + " was asked to")
		s.free(j)
	}
}

// write downloads, checks and writes. state tells what became of the disk.
func (s *Server) write(ctx context.Context, j *job, state *flash.DiskState) (*flash.Receipt, error) {
	logf := func(format string, args ...any) { s.opt.Logf("job %s: "+format, append([]any{j.id}, args...)...) }
	img, err := j.active.source.Open(ctx, j.req.url, func(sentence string) {
		logf("%s", sentence)
		s.metrics.retries.Inc()
		j.progress.Note(sentence)
	})
	if err != nil {
		return nil, err
	}
	defer img.Close()
	plan, err := flash.Prepare(ctx, j.disk, img, img.Info, flash.Options{
		SHA256: j.req.digest, NoVerify: !*j.req.Verify, Force: j.req.Force,
		Stall: j.active.cfg.StallTimeout, Cancel: j.cancel, Progress: j.progress, Logf: logf,
	})
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	j.format, j.plan = img.Info.Format, plan.Describe()
	s.mu.Unlock()
	if j.req.DryRun {
		return nil, errDry
	}
	// From here on a restart must find that the disk was being changed.
	st := s.Status()
	st.Stage = flash.StageWiping
	s.remember(st)
	s.opt.Logf("job %s: writing %s", j.id, j.plan)
	close(j.begun)
	defer func() { *state = plan.State() }()
	return plan.Run(ctx)
}

// conclude publishes the job's end, and with it gives the slot back if free is set: whoever
// learns of the end may ask for the next job.
func (s *Server) conclude(j *job, result *flash.Receipt, err error, free bool) {
	if err == nil {
		j.result = &receipt{j.id, result, s.machine().Model(), s.machine().Serial(), s.opt.Version}
		s.keep(j.result)
		s.opt.Logf("job %s: complete: %s", j.id, result.Summary())
	} else if err == errDry {
		s.opt.Logf("job %s: dry run: would write %s", j.id, j.plan)
	} else {
		s.opt.Logf("job %s: failed: %v", j.id, err)
	}
	s.metrics.ended(j.result, err)
	s.mu.Lock()
	st := s.last
	if !j.req.DryRun {
		st = j.finalStatus(err)
	}
	s.mu.Unlock()
	s.remember(st) // before anybody learns of the end and may stop the service
	s.mu.Lock()
	s.last = st
	j.err = err
	close(j.done)
	if free {
		s.slot, s.job = nil, nil
	}
	s.mu.Unlock()
	j.cancel(nil)
	s.notify()
}

// free gives the slot back.
func (s *Server) free(j *job) {
	j.cancel(nil)
	s.mu.Lock()
	s.slot, s.job = nil, nil
	s.mu.Unlock()
	s.notify()
}

// running returns the job that has not ended yet; nil if there is none.
func (s *Server) running() *job {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.runningLocked()
}

func (s *Server) runningLocked() *job {
	if s.job == nil {
		return nil
	}
	select {
	case <-s.job.done:
		return nil
	default:
		return s.job
	}
}
