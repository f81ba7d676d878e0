package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/openseastack/netboot-imager/internal/disk"
	"github.com/openseastack/netboot-imager/internal/flashtest"
)

// TestPanel looks at a station's screen and LED while it writes an image by itself: from
// the file that names it to the steady light.
func TestPanel(t *testing.T) {
	control, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer control.Close()
	defer tty.Close()
	img := flashtest.Image(4<<20, 1)
	srv := flashtest.NewServer(t, img)
	dir := t.TempDir()
	led := filepath.Join(dir, "sys/class/leds/ACT")
	if err := os.MkdirAll(led, 0o777); err != nil {
		t.Fatal(err)
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	files := map[string]string{
		filepath.Join(led, "brightness"): "0", filepath.Join(led, "max_brightness"): "1", filepath.Join(led, "trigger"): "none [mmc0]\n",
		at("cmdline"):  "imager.write=" + srv.URL() + " imager.sha256=" + flashtest.SHA256(img),
		at("disk.img"): strings.Repeat("the old system. ", 8<<16),
		at("config"):   `{"allowed_ips": ["127.0.0.1"], "shared_secret": "fake-token", "allowed_devices": ["` + at("disk.img") + `"]}`,
	}
	for name, text := range files {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"self", "swaps", "meminfo"} {
		if err := os.Symlink("/proc/"+name, at(name)); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("RUNTIME_DIRECTORY", t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"-config", at("config"), "-listen", "127.0.0.1:0"}, os.Stdout, testWriter{t}, environment{
			system: disk.System{Proc: dir, Sys: "/sys"}, screen: tty.Name(), leds: at("sys"),
		})
	}()
	late := time.AfterFunc(time.Minute, func() { control.Close() })
	defer late.Stop()
	text, buf := "", make([]byte, 4096)
	for !strings.Contains(text, "read back and equal") {
		n, err := control.Read(buf)
		if err != nil {
			t.Fatalf("the screen never says how it ended: %q", text)
		}
		text += string(buf[:n])
	}
	for _, want := range []string{"  DONE  ", at("disk.img"), srv.URL()} {
		if !strings.Contains(strings.Join(strings.Fields(text), ""), strings.Join(strings.Fields(want), "")) {
			t.Errorf("the screen has no %q: %q", want, text)
		}
	}
	// At most one beat later the LED is on for good.
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if b, _ := os.ReadFile(filepath.Join(led, "brightness")); string(b) == "1" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the LED is dark")
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if b, _ := os.ReadFile(filepath.Join(led, "trigger")); string(b) != "mmc0" {
		t.Errorf("the kernel has not got its LED back: %q", b)
	}
}

func TestScreenOf(t *testing.T) {
	sys := t.TempDir()
	if err := os.MkdirAll(filepath.Join(sys, "class/tty/console"), 0o777); err != nil {
		t.Fatal(err)
	}
	if got := screenOf(sys); got != "" {
		t.Errorf("without consoles: %q", got)
	}
	for active, want := range map[string]string{"tty1 ttyS0\n": "/dev/tty1", "ttyS0 tty1\n": "", "\n": "", "ttyAMA0": "/dev/tty1"} {
		if err := os.WriteFile(filepath.Join(sys, "class/tty/console/active"), []byte(active), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := screenOf(sys); got != want {
			t.Errorf("%q: %q, want %q", active, got, want)
		}
	}
}
