package bootserver

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/openseastack/netboot-imager/internal/announce"
	"github.com/openseastack/netboot-imager/internal/imagestore"
	"github.com/openseastack/netboot-imager/internal/source"
	"github.com/openseastack/netboot-imager/internal/stations"
)

// assignRequest is the body of POST /api/stations/ID/assign.
type assignRequest struct {
	Image    string `json:"image"` // of this server; or
	ImageURL string `json:"image_url"`
	Device   string `json:"device"`
	SHA256   string `json:"sha256"` // of the decompressed image
	Then     string `json:"then"`
}

// assign has a station write an image the next time that it announces itself, once.
func (s *Server) assign(w http.ResponseWriter, r *http.Request) error {
	st, err := s.opt.Stations.Get(param(r, "id"))
	if err != nil {
		return err
	}
	body, err := readBody(w, r, maxBody)
	if err != nil {
		return err
	}
	var req assignRequest
	in := json.NewDecoder(strings.NewReader(string(body)))
	in.DisallowUnknownFields()
	if err := in.Decode(&req); err != nil {
		return badRequest(`the body must be a JSON object with image or image_url, and sha256, device, then: %v`, err)
	}
	if _, err := in.Token(); err != io.EOF {
		return badRequest("the body must be one JSON object")
	}
	a, err := s.assignment(&req)
	if err != nil {
		return err
	}
	if _, err := s.opt.Stations.Update(st.ID, func(st *stations.Station) { st.Assignment, st.Note = a, "" }); err != nil {
		return err
	}
	s.opt.Logf("station %s is assigned %s (%s)", st.ID, oneLine(a.ImageURL), a.ID)
	reply(w, http.StatusOK, struct {
		done
		Assignment *announce.Assignment `json:"assignment"`
	}{done{true, fmt.Sprintf("Station %s writes %s when it announces itself next", st.ID, a.ImageURL)}, a})
	return nil
}

// assignment checks a request.
func (s *Server) assignment(req *assignRequest) (*announce.Assignment, error) {
	random := make([]byte, 8)
	rand.Read(random)
	a := &announce.Assignment{ID: hex.EncodeToString(random), ImageURL: req.ImageURL, Device: req.Device, SHA256: strings.ToLower(req.SHA256), Then: req.Then}
	switch {
	case (req.Image == "") == (req.ImageURL == ""):
		return nil, badRequest("name the image either by image, one of this server's, or by image_url")
	case req.Image != "":
		im, f, err := s.opt.Images.Open(req.Image)
		if err != nil {
			return nil, err
		}
		f.Close()
		a.ImageURL = s.opt.BaseURL + imagestore.DownloadPath + url.PathEscape(req.Image)
		if a.SHA256 == "" && im.Format == "raw" && im.Checked {
			a.SHA256 = im.SHA256 // that of the file is that of the image
		}
	default:
		u, err := source.ParseURL(req.ImageURL)
		if err != nil {
			return nil, badRequest("%v", err)
		}
		if u.User != nil {
			return nil, badRequest("image_url holds a user or a password, and the list of stations would show it; use one without")
		}
	}
	if b, err := hex.DecodeString(a.SHA256); err != nil || len(b) != sha256.Size {
		return nil, badRequest("give sha256, 64 hex digits: the SHA-256 of the decompressed image, by which the station sees that it has written it; netbootd knows it only of raw images that it has read")
	}
	if a.Device != "" && !strings.HasPrefix(a.Device, "/") {
		return nil, badRequest("device %q is no path like /dev/mmcblk0", a.Device)
	}
	switch a.Then {
	case "", "wait", "reboot", "poweroff":
	default:
		return nil, badRequest("then is %q; it must be wait, reboot or poweroff", a.Then)
	}
	return a, nil
}

// unassign takes an assignment back. A write that runs goes on.
func (s *Server) unassign(w http.ResponseWriter, r *http.Request) error {
	st, err := s.opt.Stations.Get(param(r, "id"))
	if err != nil {
		return err
	}
	if _, err := s.opt.Stations.Update(st.ID, func(st *stations.Station) { st.Assignment = nil }); err != nil {
		return err
	}
	reply(w, http.StatusOK, done{true, "Station " + st.ID + " is assigned nothing any more; a write that runs goes on"})
	return nil
}

// fulfil ends a station's assignment when a receipt says that it is done.
func (s *Server) fulfil(id string, receipt stations.Receipt) error {
	st, err := s.opt.Stations.Get(id)
	if err != nil {
		return err
	}
	a := st.Assignment
	if a == nil || !strings.EqualFold(a.SHA256, receipt.ImageSHA256) || a.Device != "" && a.Device != receipt.Device {
		return nil
	}
	s.opt.Logf("station %s has done assignment %s", id, a.ID)
	return s.endAssignment(id, a.ID, "")
}

// takeOutcome ends an assignment that needed no write, and notes why one failed.
func (s *Server) takeOutcome(id string, o *announce.Outcome) error {
	if o == nil {
		return nil
	}
	st, err := s.opt.Stations.Get(id)
	if err != nil || st.Assignment == nil || st.Assignment.ID != o.ID {
		return err
	}
	if o.Carries {
		return s.endAssignment(id, o.ID, "its disk carried the assigned image already, so it was not written")
	}
	note := "the assigned write failed, and is tried again when the station boots again: " + oneLine(o.Error[:min(len(o.Error), 1000)])
	if o.Error == "" || note == st.Note {
		return nil
	}
	s.opt.Logf("station %s: %s", id, note)
	_, err = s.opt.Stations.Update(id, func(st *stations.Station) { st.Note = note })
	return err
}

func (s *Server) endAssignment(id, assignment, note string) error {
	_, err := s.opt.Stations.Update(id, func(st *stations.Station) {
		if st.Assignment != nil && st.Assignment.ID == assignment {
			st.Assignment, st.Note = nil, note
		}
	})
	var gone *stations.NotFoundError
	if errors.As(err, &gone) {
		return nil
	}
	return err
}
