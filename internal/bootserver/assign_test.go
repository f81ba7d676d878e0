package bootserver

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/openseastack/netboot-imager/internal/announce"
)

// TestAssign assigns a raw image of the server, whose checksum it knows, and others; the
// station hears of it until its receipt says that it is done, or that it needed no write.
func TestAssign(t *testing.T) {
	_, change := withStations(t)
	r, im := newRig(t, change), newImager(t)
	const path = "/api/stations/1234abcd/assign"
	if a := r.do("POST", path, map[string]string{"image": "a"}, auth, token); a.status != 404 {
		t.Errorf("a station that nobody knows: %d %s", a.status, a.text)
	}
	raw := []byte(strings.Repeat("raw", 1000))
	if err := os.WriteFile(filepath.Join(r.dir, "a.img"), raw, 0o644); err != nil {
		t.Fatal(err)
	}
	r.do("POST", announce.Path, im.says(), auth, token)
	assigned := func(a announce.Announcement) string {
		t.Helper()
		got := r.do("POST", announce.Path, a, auth, token)
		if got.status != 200 {
			t.Fatalf("%d %s", got.status, got.text)
		}
		m, _ := got.json["assignment"].(map[string]any)
		if m == nil {
			return ""
		}
		return fmt.Sprint(m["image_url"], " ", m["sha256"], " ", m["then"])
	}
	known := fmt.Sprintf("%x", sha256.Sum256(raw))
	for _, tt := range []struct {
		body   any
		token  string
		status int
	}{
		{map[string]string{"image": "a"}, "wrong", 403},
		{map[string]string{}, token, 400},
		{"[]", token, 400},
		{"{} {}", token, 400},
		{map[string]string{"image": "nope"}, token, 404},
		{map[string]string{"image": "../a"}, token, 400},
		{map[string]string{"image": "a", "image_url": "http://x/"}, token, 400},
		{map[string]string{"image_url": "http://x/"}, token, 400},                                   // no checksum
		{map[string]string{"image_url": "http://x/", "sha256": "12"}, token, 400},                   // none
		{map[string]string{"image_url": "file:///x", "sha256": known}, token, 400},                  // no web server
		{map[string]string{"image_url": "http://me:secret@x/", "sha256": known}, token, 400},        // everybody could read it
		{map[string]string{"image_url": "http://x/", "sha256": known, "then": "dance"}, token, 400}, //
		{map[string]string{"image_url": "http://x/", "sha256": known, "disk": "/dev/sda"}, token, 400},
		{map[string]string{"image_url": "http://x/", "sha256": known, "device": "sda"}, token, 400},
	} {
		if a := r.do("POST", path, tt.body, auth, tt.token); a.status != tt.status {
			t.Errorf("%v: %d %s, want %d", tt.body, a.status, a.text, tt.status)
		}
	}
	if got := assigned(im.says()); got != "" {
		t.Fatalf("after refusals alone it is assigned %s", got)
	}

	// The checksum is computed in the background.
	deadline := time.Now().Add(time.Minute)
	for a := r.do("POST", path, map[string]string{"image": "a", "then": "reboot"}, auth, token); a.status != 200; a = r.do("POST", path, map[string]string{"image": "a", "then": "reboot"}, auth, token) {
		if a.status != 400 || time.Now().After(deadline) {
			t.Fatal(a)
		}
		time.Sleep(10 * time.Millisecond)
	}
	want := "http://192.0.2.1:38434/api/images/download/a " + known + " reboot"
	for range 2 {
		if got := assigned(im.says()); got != want {
			t.Fatalf("assigned %q, want %q", got, want)
		}
	}
	receipt := `{"job":"%d","image_url":"http://x/a","device":"/dev/mmcblk0","image_sha256":"%s","verified":true}`
	if got := assigned(im.says(fmt.Sprintf(receipt, 1, strings.Repeat("0", 64)))); got != want {
		t.Errorf("another image was written, and it is assigned %q", got)
	}
	if got := assigned(im.says(fmt.Sprintf(receipt, 2, known))); got != "" {
		t.Errorf("it is done, and still assigned %q", got)
	}

	// Outcomes without a receipt.
	id := func() string {
		t.Helper()
		a := r.do("POST", path, map[string]string{"image_url": "https://x/", "sha256": known}, auth, token)
		m, _ := a.json["assignment"].(map[string]any)
		if a.status != 200 || m == nil {
			t.Fatal(a)
		}
		return fmt.Sprint(m["id"])
	}
	said := im.says()
	said.Outcome = &announce.Outcome{ID: id(), Error: "the image is corrupt"}
	if got := assigned(said); got == "" {
		t.Error("it failed, and is assigned nothing any more")
	}
	if a := r.do("GET", "/api/stations/1234abcd", nil); !strings.Contains(fmt.Sprint(a.json["note"]), "the image is corrupt") {
		t.Errorf("no note: %s", a.text)
	}
	said.Outcome = &announce.Outcome{ID: id(), Carries: true}
	if got := assigned(said); got != "" {
		t.Errorf("the disk carries the image, and it is assigned %q", got)
	}
	old := said
	id()
	if got := assigned(old); got == "" {
		t.Error("the outcome of an earlier assignment ended this one")
	}
	if a := r.do("POST", "/api/stations/1234abcd/unassign", nil, auth, token); a.status != 200 || assigned(im.says()) != "" {
		t.Error(a)
	}
}
