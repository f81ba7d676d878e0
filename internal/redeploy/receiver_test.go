package redeploy

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gokrazy/updater"

	"github.com/openseastack/netboot-imager/internal/trees"
)

const password = "example-password"

// receiverRig is a receiver with a library that serves nothing yet.
type receiverRig struct {
	t    *testing.T
	dir  string
	http *httptest.Server
}

func newReceiver(t *testing.T) *receiverRig {
	dir := t.TempDir()
	lib, err := trees.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	f := newFleet(t)
	h := New(Options{Dir: filepath.Join(dir, "incoming"), Password: password, Allowed: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		Library: lib, Fleet: f.Fleet, Logf: t.Logf})
	r := &receiverRig{t: t, dir: dir, http: httptest.NewServer(h)}
	t.Cleanup(r.http.Close)
	return r
}

// base is the URL as gok makes it.
func (r *receiverRig) base() string {
	return strings.Replace(r.http.URL, "http://", "http://gokrazy:"+password+"@", 1) + "/"
}

// left is what there is in the directory.
func (r *receiverRig) left() string {
	r.t.Helper()
	var names []string
	err := filepath.WalkDir(r.dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, strings.TrimPrefix(path, r.dir+"/"))
		}
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return strings.Join(names, " ")
}

const nothing = "tftp/bootcode.bin" // a link that leads nowhere yet

func TestAuthentication(t *testing.T) {
	r := newReceiver(t)
	for _, tt := range []struct{ user, password string }{{"", ""}, {"gokrazy", ""}, {"gokrazy", "wrong"}, {"gokrazy", password + "x"}, {"admin", password}} {
		for _, to := range []string{"PUT /update/root", "PUT /update/boot", "POST /update/switch", "POST /update/testboot", "POST /reboot", "GET /update/features", "GET /"} {
			method, path, _ := strings.Cut(to, " ")
			req, err := http.NewRequest(method, r.http.URL+path, strings.NewReader("x"))
			if err != nil {
				t.Fatal(err)
			}
			if tt.user != "" {
				req.SetBasicAuth(tt.user, tt.password)
			}
			resp, err := http.DefaultTransport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != 401 && resp.StatusCode != 429 {
				t.Errorf("%s as %s:%s: %d", to, tt.user, tt.password, resp.StatusCode)
			}
		}
	}
	// By now even the right one is not looked at.
	if _, err := updater.NewTarget(t.Context(), r.base(), http.DefaultClient); err == nil || !strings.Contains(err.Error(), "429") {
		t.Errorf("after many wrong passwords: %v", err)
	}
	if got := r.left(); got != nothing {
		t.Errorf("left %s", got)
	}
}

// TestUpdater uses gokrazy's own client.
func TestUpdater(t *testing.T) {
	r := newReceiver(t)
	target, err := updater.NewTarget(t.Context(), r.base(), http.DefaultClient)
	if err != nil {
		t.Fatal(err)
	}
	if !target.Supports("updatehash") || !target.Supports("partuuid") {
		t.Error("features are missing")
	}
	if err := target.Switch(t.Context()); err == nil || !strings.Contains(err.Error(), "no root image") {
		t.Errorf("a switch to nothing: %v", err)
	}
	for _, dest := range []string{"root", "boot", "mbr"} {
		if err := target.StreamTo(t.Context(), dest, strings.NewReader("not an image")); err != nil {
			t.Errorf("%s: %v", dest, err)
		}
	}
	// The checksums are right, and the images are none.
	if err := target.Switch(t.Context()); err == nil || !strings.Contains(err.Error(), "nothing was changed") {
		t.Errorf("a switch to garbage: %v", err)
	}
	if err := target.Testboot(t.Context()); err == nil || !strings.Contains(err.Error(), "nothing was changed") {
		t.Errorf("a testboot of garbage: %v", err)
	}
	if got, want := r.left(), "incoming/boot.img incoming/root.img "+nothing; got != want {
		t.Errorf("left %s, want %s", got, want)
	}
	if err := target.StreamTo(t.Context(), "root", strings.NewReader("another")); err != nil {
		t.Error(err)
	}
	// The boot image of before is not of this update.
	if err := target.Switch(t.Context()); err == nil || !strings.Contains(err.Error(), "no boot image") {
		t.Errorf("a switch to half an update: %v", err)
	}
	if err := target.Reboot(t.Context()); err != nil {
		t.Error(err)
	}
	if err := target.Divert(t.Context(), "/user/x", "x", nil, nil); err == nil || !strings.Contains(err.Error(), "501") {
		t.Errorf("divert: %v", err)
	}
}

// TestTorn ends an upload early, in each way that HTTP has.
func TestTorn(t *testing.T) {
	r := newReceiver(t)
	target, err := updater.NewTarget(t.Context(), r.base(), http.DefaultClient)
	if err != nil {
		t.Fatal(err)
	}
	if err := target.StreamTo(t.Context(), "root", strings.NewReader("whole")); err != nil {
		t.Fatal(err)
	}
	torn := io.MultiReader(bytes.NewReader(make([]byte, 1<<20)), iotestErr{})
	if err := target.StreamTo(t.Context(), "boot", torn); err == nil {
		t.Error("a torn upload was answered as whole")
	}
	// The server may learn of it later than the client.
	r.http.Close()
	if got, want := r.left(), "incoming/root.img "+nothing; got != want {
		t.Errorf("left %s, want %s", got, want)
	}
}

type iotestErr struct{}

func (iotestErr) Read([]byte) (int, error) { return 0, errors.New("cut") }

func TestHashes(t *testing.T) {
	for _, name := range []string{"", "sha256", "crc32"} {
		r := newReceiver(t)
		req, err := http.NewRequest("PUT", r.http.URL+"/update/mbr", strings.NewReader("abc"))
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth("gokrazy", password)
		req.Header.Set("X-Gokrazy-Update-Hash", name)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		got, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		want := fmt.Sprintf("%x", sha256.Sum256([]byte("abc")))
		if name == "crc32" {
			want = fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte("abc")))
		}
		if string(got) != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func TestTooLarge(t *testing.T) {
	in := incoming{dir: t.TempDir()}
	var large *TooLargeError
	if _, err := in.put("mbr", bytes.NewReader(make([]byte, limits["mbr"]+1)), newHash("crc32")); !errors.As(err, &large) {
		t.Errorf("%v", err)
	}
	old := limits["boot"]
	limits["boot"] = 10
	defer func() { limits["boot"] = old }()
	if _, err := in.put("boot", strings.NewReader("more than ten"), newHash("")); !errors.As(err, &large) {
		t.Errorf("%v", err)
	}
	if entries, err := os.ReadDir(in.dir); err != nil || len(entries) != 0 {
		t.Errorf("left %v, %v", entries, err)
	}
}
