package station

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/openseastack/netboot-imager/internal/config"
	"github.com/openseastack/netboot-imager/internal/guard"
	"github.com/openseastack/netboot-imager/internal/source"
)

const (
	// maxBody is the largest request body in bytes.
	maxBody = 64 << 10
	// bodyTimeout is how long a client may take to send it.
	bodyTimeout = 15 * time.Second
)

// writeRequest is the body of POST /write-image.
type writeRequest struct {
	Device    string          `json:"device"`
	ImageURL  string          `json:"image_url"`
	NetbootIP string          `json:"netboot_ip"`
	SHA256    *string         `json:"sha256"`
	Verify    *bool           `json:"verify"`
	Reboot    *bool           `json:"reboot"`
	BootOnce  *bool           `json:"boot_once"`
	Respond   *config.Respond `json:"respond"`
	Force     bool            `json:"force"`
	DryRun    bool            `json:"dry_run"`

	url    *url.URL
	digest string // SHA256 in lower case, "" for none
}

// parseRequest reads and checks a body as far as that is possible without the disk and
// the image server, and fills in the config's defaults.
func parseRequest(a *active, w http.ResponseWriter, r *http.Request) (*writeRequest, error) {
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(bodyTimeout))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		var me *http.MaxBytesError
		if errors.As(err, &me) {
			return nil, &httpError{http.StatusRequestEntityTooLarge, "the request body is larger than 64 KiB; send only the JSON object"}
		}
		var ne net.Error
		if errors.As(err, &ne) && ne.Timeout() {
			return nil, &httpError{http.StatusRequestTimeout, fmt.Sprintf("the request body did not come within %v; send it at once", bodyTimeout)}
		}
		return nil, badRequest("the request body could not be read: %v; send it whole", err)
	}
	_ = rc.SetReadDeadline(time.Time{})

	req := &writeRequest{}
	if err := decodeStrict(body, req); err != nil {
		return nil, err
	}
	return req, req.check(a)
}

// check does what parseRequest says, from the decoded body on.
func (req *writeRequest) check(a *active) (err error) {
	if req.Device == "" {
		req.Device = a.cfg.AllowedDevices[0]
	}
	if req.url, err = source.ParseURL(req.ImageURL); err != nil {
		return badRequest("%v", err)
	}
	if req.SHA256 != nil { // an empty one is a script's empty variable, not a wish for no check
		b, err := hex.DecodeString(*req.SHA256)
		if err != nil || len(b) != sha256.Size {
			return badRequest("sha256 must be 64 hex digits: the SHA-256 of the decompressed image; leave it out for no check")
		}
		req.digest = strings.ToLower(*req.SHA256)
	}
	if req.Respond == nil {
		req.Respond = &a.cfg.Respond
	} else if !req.Respond.Valid() {
		return badRequest(`respond is %q; it must be "done" or "started"`, *req.Respond)
	}
	if req.Verify == nil {
		req.Verify = &a.cfg.Verify
	}
	if req.Reboot == nil {
		req.Reboot = &a.cfg.Reboot
	}
	if req.BootOnce == nil {
		req.BootOnce = &a.cfg.BootOnce
	}
	if req.NetbootIP != "" {
		ip, err := netip.ParseAddr(req.NetbootIP)
		if err != nil {
			return badRequest("netboot_ip %q is not an IP address", req.NetbootIP)
		}
		if !guard.Contains(a.cfg.AllowedIPs, ip) {
			return &httpError{http.StatusForbidden, "netboot_ip " + ip.String() + " is not an allowed address; add it to allowed_ips or leave it out"}
		}
	}
	return a.source.Check(req.url)
}

// decodeStrict decodes one JSON object with known fields only.
func decodeStrict(body []byte, req *writeRequest) error {
	dec := json.NewDecoder(strings.NewReader(string(body)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(req); err != nil {
		var te *json.UnmarshalTypeError
		switch {
		case errors.As(err, &te) && te.Field != "":
			return badRequest("field %q must be a %s, not a %s", te.Field, jsonType(te.Type.Kind().String()), te.Value)
		case errors.As(err, &te):
			return badRequest(`the body must be a JSON object, like {"device": "/dev/mmcblk0", "image_url": "http://…"}`)
		case errors.Is(err, io.EOF):
			return badRequest(`the body is empty; send a JSON object, like {"device": "/dev/mmcblk0", "image_url": "http://…"}`)
		case strings.HasPrefix(err.Error(), "json: unknown field "):
			return badRequest("unknown field %s; known: device, image_url, netboot_ip, sha256, verify, reboot, boot_once, respond, force, dry_run", strings.TrimPrefix(err.Error(), "json: unknown field "))
		}
		return badRequest("the body is not JSON: %v", err)
	}
	if slices.Equal([]byte("null"), []byte(strings.TrimSpace(string(body)))) {
		return badRequest(`the body must be a JSON object, like {"device": "/dev/mmcblk0", "image_url": "http://…"}`)
	}
	if _, err := dec.Token(); err != io.EOF {
		return badRequest("the body has something behind its JSON object; send one object only")
	}
	return nil
}

func jsonType(kind string) string {
	if kind == "bool" {
		return "boolean"
	}
	return kind
}
