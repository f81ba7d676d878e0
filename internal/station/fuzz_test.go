package station

import (
	"encoding/hex"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/openseastack/netboot-imager/internal/config"
	"github.com/openseastack/netboot-imager/internal/source"
)

// FuzzRequest gives bodies to the parser of POST /write-image. What passes has all that the
// job takes for granted; what does not is the client's fault.
func FuzzRequest(f *testing.F) {
	for _, s := range []string{
		`{"device": "/dev/mmcblk0", "image_url": "http://10.10.200.75:38434/api/images/download/x", "netboot_ip": "10.10.200.75"}`,
		`{"image_url": "http://10.0.0.1/x", "sha256": "` + strings.Repeat("A", 64) + `", "verify": false, "respond": "started"}`,
		`{"image_url": "http://10.0.0.1/x", "dry_run": true, "force": true}`, `{}`, `null`, `[]`, `{"image_url": 1}`, `{"device": "\u0000"}`, "", `{"a": {`, `{"image_url": "http://10.0.0.1/"} {}`, `{"sha256": ""}`,
	} {
		f.Add([]byte(s))
	}
	s := New(Options{Logf: func(string, ...any) {}})
	s.Configure(&config.Config{
		AllowedIPs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, SharedSecret: "fake-token",
		AllowedDevices: []string{"/dev/mmcblk0"}, Respond: config.RespondDone,
	})
	f.Fuzz(func(t *testing.T, body []byte) {
		r := httptest.NewRequest("POST", "/write-image", strings.NewReader(string(body)))
		req, err := parseRequest(s.active.Load(), httptest.NewRecorder(), r)
		if err != nil {
			if status := statusOf(err); status != 400 && status != 403 && status != 413 {
				t.Errorf("%q: %d %v", body, status, err)
			}
			return
		}
		if req.Device == "" || req.url == nil || req.url.Hostname() == "" || req.Verify == nil || req.Reboot == nil || req.Respond == nil || !req.Respond.Valid() {
			t.Errorf("%q passes as %+v", body, req)
		}
		if b, err := hex.DecodeString(req.digest); err != nil || len(b) != 0 && len(b) != 32 || req.digest != strings.ToLower(req.digest) {
			t.Errorf("%q passes with digest %q", body, req.digest)
		}
		if _, err := source.ParseURL(req.ImageURL); err != nil {
			t.Errorf("%q passes with a URL that is none: %v", body, err)
		}
	})
}
