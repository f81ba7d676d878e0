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
	changes := s.subscribe()
	defer s.unsubscribe(changes)
	st, head := s.Status(), "retry: 2000\n"
	for {
		b, err := json.Marshal(st)
		if err != nil {
			panic(err) // the answer has begun: the connection is cut
		}
		if send(fmt.Sprintf("%sdata: %s\n\n", head, b)) != nil {
			return nil
		}
		head = ""
		wait := keepAlive
		if s.running() != nil {
			wait = eventInterval
		}
		timer := time.NewTimer(wait)
		select {
		case st = <-changes:
		case <-timer.C:
			st = s.Status()
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

// subscribe returns a channel on which each change of stage comes.
func (s *Server) subscribe() chan Status {
	c := make(chan Status, 16)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clients[c] = struct{}{}
	return c
}

func (s *Server) unsubscribe(c chan Status) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.clients, c)
}

// notify tells GET /events of a change. It never blocks: who does not keep up misses it.
func (s *Server) notify() {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.statusLocked()
	for c := range s.clients {
		select {
		case c <- st:
		default:
		}
	}
}
