package bootserver

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/openseastack/netboot-imager/internal/stations"
)

// stationGet answers GET /api/stations/ID/status and …/disks with what the station answers.
func (s *Server) stationGet(w http.ResponseWriter, r *http.Request) error {
	st, err := s.opt.Stations.Get(param(r, "id"))
	if err != nil {
		return err
	}
	switch what := param(r, "action"); what {
	case "status", "disks":
		return s.relay(w, r, st.AddrPort(), http.MethodGet, "/"+what, nil)
	default:
		return &httpError{http.StatusNotFound, fmt.Sprintf("a station has no %q; it has status and disks", what)}
	}
}

// writeStation answers POST /api/stations/ID/write as writeDisk does, of the station itself
// and not of whoever has its address.
func (s *Server) writeStation(w http.ResponseWriter, r *http.Request) error {
	body, err := s.writeBody(w, r)
	if err != nil {
		return err
	}
	st, err := s.identified(r)
	if err != nil {
		return err
	}
	return s.relay(w, r, st.AddrPort(), http.MethodPost, "/write-image", body)
}

// cancelStation answers POST /api/stations/ID/cancel with what the station answers to
// DELETE /write-image.
func (s *Server) cancelStation(w http.ResponseWriter, r *http.Request) error {
	st, err := s.identified(r)
	if err != nil {
		return err
	}
	return s.relay(w, r, st.AddrPort(), http.MethodDelete, "/write-image", nil)
}

// identified is the station of a request, after it was asked which one it is: addresses
// change hands, and a disk of another station would be erased.
func (s *Server) identified(r *http.Request) (stations.Station, error) {
	st, err := s.opt.Stations.Get(param(r, "id"))
	if err != nil {
		return st, err
	}
	const nothing = "nothing was asked of it"
	if !st.Address.IsValid() {
		return st, &httpError{http.StatusServiceUnavailable, fmt.Sprintf("station %s has not announced itself yet; %s", st.ID, nothing)}
	}
	status, answer, err := s.opt.Client.Do(r.Context(), st.Target(), http.MethodGet, "/station", nil)
	if err != nil {
		return st, &httpError{http.StatusServiceUnavailable, fmt.Sprintf("station %s does not answer (%v); %s; see that it is on and connected", st.ID, err, nothing)}
	}
	var facts struct{ Serial, MAC string }
	if status != http.StatusOK || json.Unmarshal(answer, &facts) != nil {
		return st, &httpError{http.StatusServiceUnavailable, fmt.Sprintf("station %s does not say which one it is (it answered %d); %s; restart it", st.ID, status, nothing)}
	}
	if id := stations.IDOf(facts.Serial, facts.MAC); id != st.ID {
		return st, &httpError{http.StatusConflict, fmt.Sprintf("at %s, where station %s announced itself last, is now station %q; it was asked for nothing; try again when %s has announced itself again", st.AddrPort(), st.ID, id, st.ID)}
	}
	return st, nil
}
