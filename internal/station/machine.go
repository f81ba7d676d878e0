package station

import (
	"fmt"
	"net/http"
	"time"

	"github.com/openseastack/netboot-imager/internal/machine"
)

const (
	// rebootDelay gives the answers time to get out.
	rebootDelay = 2 * time.Second
	// rebootWait is how long a restart may take to end the service.
	rebootWait = time.Minute
)

// stationFacts is the JSON of GET /station.
type stationFacts struct {
	machine.Facts
	Version string `json:"version"`
}

// machine is where the kernel tells about the machine.
func (s *Server) machine() machine.System {
	return machine.System{Proc: s.opt.System.Proc, Sys: s.opt.System.Sys}
}

// stationInfo answers GET /station: what machine this is, and how it is.
func (s *Server) stationInfo(_ *active, w http.ResponseWriter, r *http.Request) error {
	reply(w, http.StatusOK, stationFacts{s.machine().Facts(), s.opt.Version})
	return nil
}

// rebootStation answers POST /reboot: see Restart.
func (s *Server) rebootStation(_ *active, w http.ResponseWriter, r *http.Request) error {
	if err := s.Restart("as a request from " + r.RemoteAddr + " asked for"); err != nil {
		return err
	}
	reply(w, http.StatusOK, success{Success: true, Message: fmt.Sprintf("The station reboots in %.0f s", rebootDelay.Seconds())})
	return nil
}

// Restart restarts the station when no write runs; why goes to the log. No write can begin
// any more once it has returned nil.
func (s *Server) Restart(why string) error {
	if s.opt.Rebootable != nil {
		if err := s.opt.Rebootable(); err != nil {
			return &httpError{http.StatusNotImplemented, "cannot reboot: " + err.Error()}
		}
	}
	s.mu.Lock()
	if err := s.busyLocked(); err != nil {
		s.mu.Unlock()
		return err
	}
	s.rebooting = true
	s.mu.Unlock()
	s.jobs.Go(func() {
		s.restartMachine(why)
		s.mu.Lock()
		s.rebooting = false
		s.mu.Unlock()
	})
	return nil
}

// busyLocked says why no job can begin, and no reboot; nil if both can. The mutex is held.
func (s *Server) busyLocked() error {
	switch {
	case s.slot != nil:
		return &BusyError{s.slot.describe()}
	case s.rebooting:
		return &httpError{http.StatusConflict, "the station is about to reboot; ask again when it is back"}
	}
	return nil
}

// restartMachine restarts the machine after the answers have had time to get out, and
// returns when that has not ended the service.
func (s *Server) restartMachine(why string) {
	s.opt.Logf("rebooting, %s", why)
	select {
	case <-time.After(rebootDelay):
	case <-s.ctx.Done():
		return
	}
	if s.opt.BeforeReboot != nil {
		s.opt.BeforeReboot(s.ctx)
	}
	if err := s.opt.Reboot(); err != nil {
		s.opt.Logf("the reboot failed: %v", err)
		return
	}
	select { // the restart ends the service
	case <-time.After(rebootWait):
		s.opt.Logf("the station has not rebooted")
	case <-s.ctx.Done():
	}
}
