package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/openseastack/netboot-imager/internal/disk"
	"github.com/openseastack/netboot-imager/internal/flashtest"
)

// bootLog is the log of a station, for waiting on what it says.
type bootLog struct {
	mu   sync.Mutex
	text strings.Builder
	told chan struct{}
}

func (l *bootLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(b)
	select {
	case l.told <- struct{}{}:
	default:
	}
	return len(b), nil
}

func (l *bootLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// boot runs a station with these kernel parameters, as after power on, until its log has
// text. It returns the log.
func boot(t *testing.T, file, parameters, text string) string {
	t.Helper()
	proc := t.TempDir()
	for _, name := range []string{"self", "swaps", "meminfo"} {
		if err := os.Symlink("/proc/"+name, filepath.Join(proc, name)); err != nil {
			t.Fatal(err)
		}
	}
	config := filepath.Join(proc, "config.json")
	files := map[string]string{
		filepath.Join(proc, "cmdline"): "console=tty1 root=/dev/loop0p2 " + parameters + "\n",
		config:                         fmt.Sprintf(`{"allowed_ips": ["127.0.0.1"], "shared_secret": "fake-token", "allowed_devices": [%q]}`, file),
	}
	for name, text := range files {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("RUNTIME_DIRECTORY", t.TempDir()) // RAM: nothing outlives a boot
	ctx, cancel := context.WithCancel(t.Context())
	log, ended := &bootLog{told: make(chan struct{}, 1)}, make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"-config", config, "-listen", "127.0.0.1:0"}, os.Stdout, log, environment{system: disk.System{Proc: proc, Sys: "/sys"}})
	}()
	late := time.After(time.Minute)
	for !strings.Contains(log.String(), text) {
		select {
		case <-log.told:
		case <-late:
			t.Fatalf("the log never has %q:\n%s", text, log)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	return log.String()
}

// TestZeroTouch powers a station on again and again.
func TestZeroTouch(t *testing.T) {
	for _, format := range []string{"raw", "gzip"} {
		t.Run(format, func(t *testing.T) {
			img := flashtest.Image(5<<20+512, 1) // its end is no MiB
			srv := flashtest.NewServer(t, flashtest.Compress(t, format, img))
			file := filepath.Join(t.TempDir(), "disk.img")
			old := bytes.Repeat([]byte("the old system. "), 1<<19)
			if err := os.WriteFile(file, old, 0o600); err != nil {
				t.Fatal(err)
			}
			now := func() []byte {
				b, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				return b
			}
			params := "imager.write=" + srv.URL() + " imager.device=" + file + " imager.sha256=" + flashtest.SHA256(img)

			// Refusals: the disk stays as it is, and the station serves.
			for refused, why := range map[string]string{
				"imager.write=" + srv.URL():                 "needs imager.sha256",
				params + " imager.then=explode":             "must be wait, reboot or poweroff",
				params + " imager.sha256=12":                "gave up: sha256 must be 64 hex digits",
				params + " imager.device=/dev/sda":          "gave up: ",
				params + " imager.write=http://192.0.2.1/x": "gave up: image host not allowed",
			} {
				boot(t, file, refused, why)
				if !bytes.Equal(now(), old) {
					t.Fatalf("%s: the disk was changed", refused)
				}
			}

			// The image is not there at first.
			srv.Set(func(s *flashtest.Server) { s.Statuses = []int{404} })
			log := boot(t, file, params, "zero touch: written")
			if !strings.Contains(log, "answered 404") || !strings.Contains(log, "trying again in 2s") {
				t.Errorf("the first failure was not retried:\n%s", log)
			}
			if !bytes.Equal(now()[:len(img)], img) {
				t.Fatal("the image is not on the disk")
			}

			// It is there, so it is not written again, and nothing comes after it.
			log = boot(t, file, params+" imager.then=reboot", "already carries this very image")
			if strings.Contains(log, "write asked for") || strings.Contains(log, "rebooting") {
				t.Errorf("a station that carries the image did more than look:\n%s", log)
			}

			// Something else is there: one byte, behind the first MiB.
			changed := now()
			changed[3<<20] ^= 1
			if err := os.WriteFile(file, changed, 0o600); err != nil {
				t.Fatal(err)
			}
			boot(t, file, params, "zero touch: written")
			if !bytes.Equal(now()[:len(img)], img) {
				t.Fatal("the changed byte is still there")
			}
		})
	}
}
