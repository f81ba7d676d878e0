package station

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

const (
	eventInterval = time.Second      // between events while a job runs
	keepAlive     = 15 * time.Second // between comments while none does
)

// events answers GET /events by server-sent events (HTML standard, section 9.2): the
// object of GET /status at once, at each change of stage, and every second of a job. A
// client that does not read is dropped; the job never waits for one.
func (s *Server) events(_ *active, w http.ResponseWriter, r *http.Request) error {
	rc := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	send := func(text string) error {
		if err := rc.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
			return err
		}
		if _, err := w.Write([]byte(text)); err != nil {
			return err
		}
		return rc.Flush()
	}
	text := "retry: 2000\n"
	for {
		changed := s.changes() // before the status is read, so that no change is missed
		b, err := json.Marshal(s.Status())
		if err != nil {
			panic(err) // the answer has begun: the connection is cut
		}
		if send(fmt.Sprintf("%sdata: %s\n\n", text, b)) != nil {
			return nil
		}
		text = ""
		wait := keepAlive
		if s.running() != nil {
			wait = eventInterval
		}
		timer := time.NewTimer(wait)
		select {
		case <-changed:
		case <-timer.C:
		case <-r.Context().Done():
			timer.Stop()
			return nil
		case <-s.ctx.Done():
			timer.Stop()
			return nil
		}
		timer.Stop()
	}
}
