package bootserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	"github.com/openseastack/netboot-imager/internal/announce"
	"github.com/openseastack/netboot-imager/internal/client"
	"github.com/openseastack/netboot-imager/internal/stations"
	"github.com/openseastack/netboot-imager/internal/trees"
)

// maxBody is the largest request body in bytes, but for uploads and announcements.
const maxBody = 64 << 10

// readBody reads a body of at most limit bytes.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if err != nil {
		var me *http.MaxBytesError
		var ne net.Error
		switch {
		case errors.As(err, &me):
			return nil, &httpError{http.StatusRequestEntityTooLarge, fmt.Sprintf("the request body is larger than %d bytes", limit)}
		case errors.As(err, &ne) && ne.Timeout():
			return nil, &httpError{http.StatusRequestTimeout, fmt.Sprintf("the request body did not come within %v; send it at once", bodyTimeout)}
		}
		return nil, badRequest("the request body could not be read: %v; send it whole", err)
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	return body, nil
}

// announced answers a station that announces itself.
func (s *Server) announced(w http.ResponseWriter, r *http.Request) error {
	body, err := readBody(w, r, announce.MaxSize)
	if err != nil {
		return err
	}
	var a announce.Announcement
	if err := json.Unmarshal(body, &a); err != nil {
		return badRequest("the announcement is not JSON: %v", err)
	}
	addr, err := s.guard.Addr(r.RemoteAddr)
	if err != nil {
		return err
	}
	st, err := s.opt.Stations.Announced(&a, addr)
	if err != nil {
		return err
	}
	answer := announce.Reply{Success: true}
	for _, raw := range a.Receipts {
		job, err := s.takeReceipt(&st, raw)
		if err != nil {
			return err
		}
		answer.Receipts = append(answer.Receipts, job)
	}
	if err := s.takeOutcome(st.ID, a.Outcome); err != nil {
		return err
	}
	if st, err = s.opt.Stations.Get(st.ID); err != nil {
		return err
	}
	answer.Enrolled, answer.Assignment = st.Enrolled, st.Assignment
	if s.opt.Fleet != nil {
		answer.IntervalSeconds = int(s.opt.Fleet.Interval(st.ID) / time.Second)
	}
	reply(w, http.StatusOK, answer)
	return nil
}

// takeReceipt stores a receipt, and takes the station out if what was written was read
// back. A receipt that is none is taken, so that the station does not send it for ever.
func (s *Server) takeReceipt(st *stations.Station, raw json.RawMessage) (job string, err error) {
	receipt, err := stations.ParseReceipt(raw)
	if err != nil {
		s.opt.Logf("station %s: %v", st.ID, err)
		return receipt.Job, nil
	}
	receipt.Received, receipt.Station, receipt.Serial = s.opt.Stations.Now().UTC(), st.ID, st.Serial
	receipt.Model, receipt.Hostname, receipt.Address = st.Model, st.Hostname, st.Address.String()
	if s.opt.Receipts.Has(st.ID, receipt.Job) {
		return receipt.Job, nil
	}
	s.opt.Logf("station %s: %s is on %s (job %s, read back: %v)", st.ID, oneLine(receipt.Image), oneLine(receipt.Device), oneLine(receipt.Job), receipt.Verified)
	if err := s.fulfil(st.ID, receipt); err != nil {
		return receipt.Job, err
	}
	// Before the receipt is stored, for it counts once: if the power went in between, the
	// station would be known to have written, and netboot for ever.
	if st.Enrolled && !s.opt.KeepEnrolled {
		if !receipt.Verified {
			s.opt.Logf("station %s goes on netbooting: what was written was not read back", st.ID)
		} else if err := s.retire(st.ID, "job "+receipt.Job+" wrote and read back "+receipt.Image); err != nil {
			return receipt.Job, err
		}
	}
	_, err = s.opt.Receipts.Add(receipt)
	return receipt.Job, err
}

// retire takes a station out: the list first, for that is what counts. Whoever links a
// station looks at the list afterwards.
func (s *Server) retire(id, why string) error {
	if _, err := s.opt.Stations.SetEnrolled(id, false, why); err != nil {
		return err
	}
	if err := s.opt.Trees.Retire(id); err != nil {
		_, undo := s.opt.Stations.SetEnrolled(id, true, "") // it is asked for again
		return errors.Join(err, undo)
	}
	s.opt.Logf("station %s leaves netboot: %s", id, oneLine(why))
	return nil
}

// View is a station as the API shows it.
type View struct {
	stations.Station
	// State is unknown (asked for boot files, and is not enrolled), enrolled (and not seen
	// yet), offline, idle, retired, or the stage of the write that runs, such as writing.
	State  string `json:"state"`
	Online bool   `json:"online"`
	// Current says that it runs the tree that is served.
	Current bool              `json:"current"`
	Receipt *stations.Receipt `json:"last_receipt,omitempty"`
}

func (s *Server) view(st stations.Station) View {
	v := View{Station: st, Online: st.IsOnline(s.opt.Stations.Now())}
	if t, ok := s.opt.Trees.Current(); ok {
		v.Current = st.Build == t.Build
	}
	switch {
	case v.Online && st.Busy():
		v.State = st.Stage()
	case !st.Retired.IsZero() && !st.Enrolled:
		v.State = "retired"
	case v.Online:
		v.State = "idle"
	case st.LastSeen.IsZero() && st.Enrolled:
		v.State = "enrolled"
	case st.LastSeen.IsZero():
		v.State = "unknown"
	default:
		v.State = "offline"
	}
	if found := s.opt.Receipts.Find(stations.Query{Station: st.ID, Limit: 1}); len(found) > 0 {
		v.Receipt = &found[0]
	}
	return v
}

// listStations answers GET /api/stations.
func (s *Server) listStations(w http.ResponseWriter, r *http.Request) error {
	views := []View{}
	for _, st := range s.opt.Stations.List() {
		views = append(views, s.view(st))
	}
	var current *trees.Tree
	if t, ok := s.opt.Trees.Current(); ok {
		current = &t
	}
	reply(w, http.StatusOK, struct {
		Stations []View      `json:"stations"`
		Tree     *trees.Tree `json:"tree"` // that is served
	}{views, current})
	return nil
}

func (s *Server) getStation(w http.ResponseWriter, r *http.Request) error {
	st, err := s.opt.Stations.Get(param(r, "id"))
	if err != nil {
		return err
	}
	reply(w, http.StatusOK, s.view(st))
	return nil
}

// keepAlive is how often an idle stream of events says that it lives.
const keepAlive = 15 * time.Second

// stationEvents answers GET /api/events by server-sent events: all stations at once, then
// each one that changes.
func (s *Server) stationEvents(w http.ResponseWriter, r *http.Request) error {
	changes, cancel := s.opt.Stations.Subscribe()
	defer cancel()
	rc := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	send := func(text string) error {
		if err := rc.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
			return err
		}
		if _, err := io.WriteString(w, text); err != nil {
			return err
		}
		return rc.Flush()
	}
	event := func(st stations.Station) string {
		b, err := json.Marshal(s.view(st))
		if err != nil {
			panic(err) // the answer has begun: the connection is cut
		}
		return fmt.Sprintf("event: station\ndata: %s\n\n", b)
	}
	first := "retry: 2000\n\n"
	for _, st := range s.opt.Stations.List() {
		first += event(st)
	}
	if send(first) != nil {
		return nil
	}
	tick := time.NewTicker(keepAlive)
	defer tick.Stop()
	for {
		text := ": still here\n\n"
		select {
		case <-r.Context().Done():
			return nil
		case st := <-changes:
			text = event(st)
		case <-tick.C:
		}
		if send(text) != nil {
			return nil
		}
	}
}

// done is the JSON of an action that worked.
type done struct {
	Success bool   `json:"success"`
	Message string `json:"message"`
}

// enrol serves the current tree to a station.
func (s *Server) enrol(w http.ResponseWriter, r *http.Request) error {
	st, err := s.Enrol(param(r, "id"))
	if err != nil {
		return err
	}
	reply(w, http.StatusOK, done{true, "Station " + st.ID + " netboots from now on"})
	return nil
}

// Enrol serves the current tree to the station with a serial number.
func (s *Server) Enrol(serial string) (stations.Station, error) {
	st, err := s.opt.Stations.SetEnrolled(serial, true, "")
	if err != nil {
		return st, err
	}
	if err := s.opt.Trees.Enrol(st.ID); err != nil {
		return st, err
	}
	s.opt.Logf("station %s is enrolled", st.ID)
	return st, nil
}

func (s *Server) retireStation(w http.ResponseWriter, r *http.Request) error {
	st, err := s.opt.Stations.Get(param(r, "id"))
	if err != nil {
		return err
	}
	if err := s.retire(st.ID, "a request from "+r.RemoteAddr); err != nil {
		return err
	}
	reply(w, http.StatusOK, done{true, "Station " + st.ID + " goes on to its next boot device from now on"})
	return nil
}

func (s *Server) forgetStation(w http.ResponseWriter, r *http.Request) error {
	st, err := s.opt.Stations.Get(param(r, "id"))
	if err != nil {
		return err
	}
	if st.Enrolled {
		if err := s.retire(st.ID, "a request from "+r.RemoteAddr); err != nil {
			return err
		}
	}
	if err := s.opt.Stations.Forget(st.ID); err != nil {
		return err
	}
	reply(w, http.StatusOK, done{true, "Station " + st.ID + " is forgotten; its receipts are kept"})
	return nil
}

func (s *Server) rebootStation(w http.ResponseWriter, r *http.Request) error {
	st, err := s.opt.Stations.Get(param(r, "id"))
	if err != nil {
		return err
	}
	return s.relay(w, r, st.AddrPort(), http.MethodPost, "/reboot", nil)
}

// maxReceipts is how many receipts one answer holds.
const maxReceipts = 10000

// findReceipts answers GET /api/receipts?station=&image=&since=&limit=.
func (s *Server) findReceipts(w http.ResponseWriter, r *http.Request) error {
	v := r.URL.Query()
	q := stations.Query{Station: v.Get("station"), Image: v.Get("image"), Limit: 100}
	if n := v.Get("limit"); n != "" {
		limit, err := strconv.Atoi(n)
		if err != nil || limit < 1 || limit > maxReceipts {
			return badRequest("limit %q is not a number from 1 to %d", n, maxReceipts)
		}
		q.Limit = limit
	}
	if at := v.Get("since"); at != "" {
		since, err := time.Parse(time.RFC3339, at)
		if err != nil {
			return badRequest("since %q is not a time like 2026-01-02T15:04:05Z", at)
		}
		q.Since = since
	}
	reply(w, http.StatusOK, struct {
		Receipts []stations.Receipt `json:"receipts"`
	}{s.opt.Receipts.Find(q)})
	return nil
}

// listTrees answers GET /api/trees.
func (s *Server) listTrees(w http.ResponseWriter, r *http.Request) error {
	list, err := s.opt.Trees.List()
	if err != nil {
		return err
	}
	reply(w, http.StatusOK, struct {
		Trees []trees.Tree `json:"trees"`
	}{list})
	return nil
}

func (s *Server) rollback(w http.ResponseWriter, r *http.Request) error {
	t, err := s.opt.Fleet.Rollback()
	if err != nil {
		return err
	}
	reply(w, http.StatusOK, struct {
		done
		Tree trees.Tree `json:"tree"`
	}{done{true, fmt.Sprintf("Netboot tree %s, built %s, is served again; idle stations reboot into it, others when they are done", t.ID, t.Build)}, t})
	return nil
}

// device is a station's address out of the path.
func (s *Server) device(r *http.Request) (netip.AddrPort, error) {
	addr, err := netip.ParseAddr(param(r, "ip"))
	if err != nil || addr.Zone() != "" {
		return netip.AddrPort{}, badRequest("%q is not an IP address", param(r, "ip"))
	}
	if st, err := s.opt.Stations.ByAddress(addr); err == nil {
		return st.AddrPort(), nil
	}
	// The token must not go to just any address.
	return netip.AddrPort{}, &httpError{http.StatusNotFound, fmt.Sprintf("no station has announced itself from %s; GET /api/stations lists those that have", addr)}
}

// deviceStatus answers GET /api/devices/IP/status with the station's answer.
func (s *Server) deviceStatus(w http.ResponseWriter, r *http.Request) error {
	addr, err := s.device(r)
	if err != nil {
		return err
	}
	return s.relay(w, r, addr, http.MethodGet, "/status", nil)
}

// writeDisk answers POST /api/devices/IP/write-disk as pi-netboot-server does: with what
// the station answers to POST /write-image. The body is the same, and an image of this
// server may be named by image alone.
func (s *Server) writeDisk(w http.ResponseWriter, r *http.Request) error {
	addr, err := s.device(r)
	if err != nil {
		return err
	}
	body, err := s.writeBody(w, r)
	if err != nil {
		return err
	}
	return s.relay(w, r, addr, http.MethodPost, "/write-image", body)
}

// writeBody reads the body of a request to write, for a station: an image that is named has
// got its URL.
func (s *Server) writeBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	body, err := readBody(w, r, maxBody)
	if err != nil {
		return nil, err
	}
	var m map[string]json.RawMessage
	if err := json.Unmarshal(body, &m); err != nil || m == nil {
		return nil, badRequest(`the body must be a JSON object, like {"device": "/dev/mmcblk0", "image": "test-image"}`)
	}
	for _, key := range []string{"image", "image_name"} {
		raw, ok := m[key]
		if !ok {
			continue
		}
		var name string
		if err := json.Unmarshal(raw, &name); err != nil {
			return nil, badRequest("field %q must be the name of an image", key)
		}
		if _, ok := m["image_url"]; ok {
			return nil, badRequest("name the image by %s or by image_url, not by both", key)
		}
		_, f, err := s.opt.Images.Open(name)
		if err != nil {
			return nil, err
		}
		f.Close()
		u, err := json.Marshal(s.opt.BaseURL + "/api/images/download/" + url.PathEscape(name))
		if err != nil {
			return nil, err
		}
		delete(m, key)
		m["image_url"] = u
	}
	return json.Marshal(m)
}

// relay passes a station's answer on as it is.
func (s *Server) relay(w http.ResponseWriter, r *http.Request, addr netip.AddrPort, method, path string, body []byte) error {
	status, answer, err := s.opt.Client.Do(r.Context(), client.Station{Addr: addr.String()}, method, path, body)
	if err != nil {
		if errors.Is(err, context.Canceled) {
			return nil // nobody is there to be told
		}
		return &httpError{http.StatusBadGateway, err.Error()}
	}
	rc := http.NewResponseController(w)
	_ = rc.SetWriteDeadline(time.Now().Add(writeTimeout))
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
	w.Header().Set("X-Netboot-Station", addr.String()) // whose answer it is
	w.WriteHeader(status)
	w.Write(answer)
	_ = rc.Flush()
	_ = rc.SetWriteDeadline(time.Time{})
	return nil
}
