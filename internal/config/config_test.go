package config

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	pfx := netip.MustParsePrefix
	full := &Config{
		AllowedIPs: []netip.Prefix{pfx("10.10.200.75/32"), pfx("10.10.200.0/24"), pfx("fd00::/8")}, SharedSecret: "fake-token",
		Port: 8889, AllowedDevices: []string{"/dev/sda", "/tmp/disk.img"},
		ImageHosts: []Host{{Prefix: pfx("10.0.0.0/8")}, {Name: "images.example.com"}, {Prefix: pfx("::1/128")}},
		Respond:    RespondStarted, StallTimeout: 90 * time.Second, Reboot: true,
	}
	defaults := &Config{
		AllowedIPs: []netip.Prefix{pfx("10.10.200.75/32")}, SharedSecret: "fake-token", Port: 8888,
		AllowedDevices: []string{"/dev/mmcblk0", "/dev/nvme0n1"}, Verify: true, Respond: RespondDone, StallTimeout: 2 * time.Minute,
	}
	tests := []struct {
		name, text string
		want       *Config
	}{
		{"defaults", `{"allowed_ips": ["10.10.200.75"], "shared_secret": "fake-token"}`, defaults},
		{"comments as in the old README", `{
  "allowed_ips": [         # who may ask
    "10.10.200.75",        // the netboot server – größer
  ], /* trailing commas, too */
  #
  "shared_secret": "fake-token", # übel
}
#`, defaults},
		{"everything", `{"allowed_ips": ["10.10.200.75", "10.10.200.0/24", "fd00::/8"], "shared_secret": "fake-token", "port": 8889,
			"allowed_devices": ["/dev/sda", "/tmp/disk.img"], "image_hosts": ["10.0.0.0/8", "Images.Example.com.", "::1"],
			"verify": false, "respond": "started", "stall_timeout": "90s", "reboot": true}`, full},
		{"a # in a string", `{"allowed_ips": ["10.10.200.75"], "shared_secret": "fake-token" /* "#" */}`, defaults},
		{"mapped", `{"allowed_ips": ["::ffff:10.10.200.75"], "shared_secret": "fake-token"}`, defaults},
	}
	for _, tt := range tests {
		got, err := Parse([]byte(tt.text))
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		got.Warnings = nil
		if diff := cmp.Diff(tt.want, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", tt.name, diff)
		}
	}
}

func TestParseHash(t *testing.T) {
	c, err := Parse([]byte(`{"allowed_ips": ["10.0.0.1"], "shared_secret": "a#b//c\"#"}`))
	if err != nil || c.SharedSecret != `a#b//c"#` {
		t.Errorf("got %+v, %v", c, err)
	}
}

func TestParseErrors(t *testing.T) {
	tests := []struct{ text, want string }{
		{``, "is not JSON"},
		{`[]`, "JSON object"},
		{`null`, "JSON object"},
		{`{"allowed_ips": ["10.0.0.1"] "shared_secret": "x"}`, "line 1"},
		{`{"allowed_ips": ["10.0.0.1"], "shared_secret": "x", "prot": 1}`, `unknown key "prot"`},
		{`{"allowed_ips": ["10.0.0.1"], "shared_secret": "x", "Port": 1}`, `unknown key "Port"`},
		{`{"shared_secret": "x"}`, `"allowed_ips" is missing or empty`},
		{`{"allowed_ips": [], "shared_secret": "x"}`, `"allowed_ips" is missing or empty`},
		{`{"allowed_ips": "10.0.0.1", "shared_secret": "x"}`, `"allowed_ips" is a string; it must be a list`},
		{`{"allowed_ips": ["10.0.0.300"], "shared_secret": "x"}`, `"10.0.0.300"`},
		{`{"allowed_ips": ["10.0.0.0/33"], "shared_secret": "x"}`, `"10.0.0.0/33"`},
		{`{"allowed_ips": ["10.0.0.0/"], "shared_secret": "x"}`, `"10.0.0.0/"`},
		{`{"allowed_ips": ["10.0.0.0/255.255.255.0"], "shared_secret": "x"}`, "not a prefix"},
		{`{"allowed_ips": ["::ffff:0:0/95"], "shared_secret": "x"}`, "wider"},
		{`{"allowed_ips": ["fe80::1%eth0"], "shared_secret": "x"}`, "neither"},
		{`{"allowed_ips": [""], "shared_secret": "x"}`, "neither"},
		{`{"allowed_ips": ["10.0.0.1"]}`, `"shared_secret" is missing or empty`},
		{`{"allowed_ips": ["10.0.0.1"], "shared_secret": ""}`, `"shared_secret" is missing or empty`},
		{`{"allowed_ips": ["10.0.0.1"], "shared_secret": " "}`, `"shared_secret" is missing or empty`},
		{`{"allowed_ips": ["10.0.0.1"], "shared_secret": "x", "port": 0}`, `"port" is 0`},
		{`{"allowed_ips": ["10.0.0.1"], "shared_secret": "x", "port": "8888"}`, `"port" is a string; it must be a number`},
		{`{"allowed_ips": ["10.0.0.1"], "shared_secret": "x", "allowed_devices": []}`, `"allowed_devices" is an empty list`},
		{`{"allowed_ips": ["10.0.0.1"], "shared_secret": "x", "allowed_devices": ["mmcblk0"]}`, `"mmcblk0"`},
		{`{"allowed_ips": ["10.0.0.1"], "shared_secret": "x", "allowed_devices": ["/dev/../dev/sda"]}`, "plain absolute path"},
		{`{"allowed_ips": ["10.0.0.1"], "shared_secret": "x", "allowed_devices": ["/dev/sda/"]}`, "plain absolute path"},
		{`{"allowed_ips": ["10.0.0.1"], "shared_secret": "x", "image_hosts": ["http://10.0.0.1/"]}`, `"image_hosts"`},
		{`{"allowed_ips": ["10.0.0.1"], "shared_secret": "x", "image_hosts": ["10.0.0"]}`, `"image_hosts"`},
		{`{"allowed_ips": ["10.0.0.1"], "shared_secret": "x", "image_hosts": ["a b"]}`, `"image_hosts"`},
		{`{"allowed_ips": ["10.0.0.1"], "shared_secret": "x", "verify": "yes"}`, `"verify" is a string; it must be true or false`},
		{`{"allowed_ips": ["10.0.0.1"], "shared_secret": "x", "respond": "later"}`, `"respond" is "later"`},
		{`{"allowed_ips": ["10.0.0.1"], "shared_secret": "x", "stall_timeout": "2"}`, `"stall_timeout" is "2"`},
		{`{"allowed_ips": ["10.0.0.1"], "shared_secret": "x", "stall_timeout": "0s"}`, `"stall_timeout" is "0s"`},
		{`{"allowed_ips": ["10.0.0.1"], "shared_secret": "x", "stall_timeout": 120}`, `"stall_timeout" is a number`},
	}
	for _, tt := range tests {
		c, err := Parse([]byte(tt.text))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Parse(%s) = %+v, error %v, want one with %q", tt.text, c, err, tt.want)
		} else if strings.Contains(err.Error(), "\n") {
			t.Errorf("Parse(%s): the error has several lines: %v", tt.text, err)
		}
	}
}

func TestWarnings(t *testing.T) {
	c, err := Parse(fmt.Appendf(nil, `{"allowed_ips": ["10.0.0.5/24", "10.1.0.0/16"], "shared_secret": %q}`, PublishedSecret))
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Warnings) != 2 || !strings.Contains(c.Warnings[0], "10.0.0.0/24") || !strings.Contains(c.Warnings[1], "shared_secret") {
		t.Errorf("warnings = %q", c.Warnings)
	}
	if strings.Contains(c.Describe()+strings.Join(c.Warnings, ""), PublishedSecret) {
		t.Error("the secret is in what gets logged")
	}
}

func TestFind(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a.json"), filepath.Join(dir, "b.json")
	if _, err := Find([]string{a, b}); err == nil || !strings.Contains(err.Error(), a) || !strings.Contains(err.Error(), URLParam) {
		t.Errorf("none: %v", err)
	}
	os.WriteFile(b, nil, 0o600)
	if got, err := Find([]string{a, b}); got != b || err != nil {
		t.Errorf("only b: %q, %v", got, err)
	}
	os.WriteFile(a, nil, 0o600)
	if got, err := Find([]string{a, b}); got != a || err != nil {
		t.Errorf("both: %q, %v", got, err)
	}
	if _, err := Load(a); err == nil || !strings.HasPrefix(err.Error(), "config "+a+": ") {
		t.Errorf("Load of an empty file: %v", err)
	}
}

func TestFetch(t *testing.T) {
	answers := []func(w http.ResponseWriter){
		func(w http.ResponseWriter) { w.WriteHeader(503) },
		func(w http.ResponseWriter) {
			w.Write([]byte(`{"allowed_ips": ["10.0.0.1"], "shared_secret": "fake-token"}`))
		},
		func(w http.ResponseWriter) { w.Write([]byte(`{"allowed_ips": []}`)) },
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answers[0](w)
		answers = answers[1:]
	}))
	defer srv.Close()
	if c, err := Fetch(t.Context(), srv.URL, t.Logf); err != nil || c.SharedSecret != "fake-token" {
		t.Errorf("got %+v, %v", c, err)
	}
	if _, err := Fetch(t.Context(), srv.URL, t.Logf); err == nil || !strings.Contains(err.Error(), `"allowed_ips"`) {
		t.Errorf("invalid: %v", err)
	}
	if _, err := Fetch(t.Context(), "ftp://x", t.Logf); err == nil {
		t.Error("a URL that is not http was accepted")
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("stopped")
	time.AfterFunc(50*time.Millisecond, func() { cancel(why) })
	if _, err := Fetch(ctx, "http://127.0.0.1:1/", t.Logf); !errors.Is(err, why) {
		t.Errorf("cancelled: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"", "{}", "#", `{"a":1,}#`, `{"allowed_ips": ["10.0.0.0/8"], "shared_secret": "x"} // c`, "/* # */{}", `"#`, "#\xc3"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if got := hashComments(text); len(got) != len(text) {
			t.Fatalf("hashComments changed the length from %d to %d", len(text), len(got))
		}
		c, err := Parse(text)
		if err != nil {
			return
		}
		if len(c.AllowedIPs) == 0 || c.SharedSecret == "" || c.Port < 1 || c.Port > 65535 || c.StallTimeout <= 0 || len(c.AllowedDevices) == 0 {
			t.Errorf("Parse accepted %q as %+v", text, c)
		}
	})
}
