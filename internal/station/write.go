package station

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/openseastack/netboot-imager/internal/config"
)

// success is the JSON of a POST /write-image that worked.
type success struct {
	Success bool     `json:"success"`
	Message string   `json:"message"`
	Output  string   `json:"output,omitempty"` // one line
	Job     string   `json:"job,omitempty"`
	Receipt *receipt `json:"receipt,omitempty"`
	// DryRun says that nothing was written.
	DryRun bool `json:"dry_run,omitempty"`
}

// writeImage answers POST /write-image. The job does not depend on the client: one that
// goes away does not stop the write.
func (s *Server) writeImage(a *active, w http.ResponseWriter, r *http.Request) error {
	req, err := parseRequest(a, w, r)
	if err != nil {
		return err
	}
	if err := s.opt.System.Listed(req.Device, a.cfg.AllowedDevices); err != nil {
		return err // a wrong request is wrong also while a job runs
	}
	j, err := s.start(a, req)
	if err != nil {
		return err
	}
	if prefersAsync(r) && !req.DryRun {
		w.Header().Set("Location", "/status")
		w.Header().Set("Preference-Applied", "respond-async")
		reply(w, http.StatusAccepted, success{Success: true, Message: "Write accepted; its progress is at /status", Job: j.id})
		return nil
	}
	begun := j.begun
	if *req.Respond == config.RespondDone {
		begun = nil // never
	}
	select {
	case <-begun:
		reply(w, http.StatusOK, success{Success: true, Message: "Write started to " + j.device + "; its progress is at /status", Output: j.plan, Job: j.id})
		return nil
	case <-j.done:
	case <-r.Context().Done():
		s.opt.Logf("job %s: the client that asked for it is gone; the write goes on", j.id)
		return nil
	}
	switch {
	case j.err == errDry:
		reply(w, http.StatusOK, success{Success: true, Message: "Dry run: nothing was written. Would write " + j.plan, Job: j.id, DryRun: true})
		return nil
	case j.err != nil:
		return j.err
	}
	message := "Image successfully written to " + j.device
	reply(w, http.StatusOK, success{Success: true, Message: message, Output: j.result.Summary(), Job: j.id, Receipt: j.result})
	return nil
}

// prefersAsync reports whether the client asked for an answer at once (RFC 7240).
func prefersAsync(r *http.Request) bool {
	for _, header := range r.Header.Values("Prefer") {
		for preference := range strings.SplitSeq(header, ",") {
			name, _, _ := strings.Cut(preference, ";")
			if strings.EqualFold(strings.TrimSpace(name), "respond-async") {
				return true
			}
		}
	}
	return false
}

// cancelWrite answers DELETE /write-image when the job has ended.
func (s *Server) cancelWrite(a *active, w http.ResponseWriter, r *http.Request) error {
	j := s.running()
	if j == nil {
		return &httpError{http.StatusConflict, "no write is running, so there is nothing to cancel"}
	}
	addr, err := a.guard.Addr(r.RemoteAddr)
	if err != nil {
		return err
	}
	j.cancel(&CancelledError{fmt.Sprintf("a request from %s", addr)})
	select {
	case <-j.done:
	case <-r.Context().Done():
		return nil
	case <-s.ctx.Done():
		return context.Cause(s.ctx)
	}
	if j.err == nil || j.err == errDry {
		return &httpError{http.StatusConflict, fmt.Sprintf("job %s ended before it could be cancelled; GET /status says how", j.id)}
	}
	reply(w, http.StatusOK, success{Success: true, Message: j.err.Error(), Job: j.id})
	return nil
}
