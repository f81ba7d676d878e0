package e2e

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/openseastack/netboot-imager/internal/lab"
	"github.com/openseastack/netboot-imager/internal/netboot"
)

// TestSDCard netboots a Pi 3B, writes the station's own card image to its card, and boots
// from that card, until what was written is up on the network.
func TestSDCard(t *testing.T) {
	t.Parallel()
	need(t, "qemu-system-aarch64", "dnsmasq")
	dir, m := tree(t, netboot.Options{Stations: []string{"00000000b3e4d01a"}, ConfigURL: configURL})
	t.Logf("payload: %d bytes of kernel and initramfs", m.PayloadBytes)
	if m.PayloadBytes > 30_000_000 {
		t.Errorf("payload: %d bytes, want at most 30 MB", m.PayloadBytes)
	}
	s := newSite(t, dir, "3b", 64<<20)
	image := filepath.Join(dir, "sdcard.img")
	s.server.Images["station"] = compress(t, image)

	start := time.Now()
	vm, boot, err := s.Netboot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("fetched %d bytes in %.1f s", boot.Bytes(), boot.Took.Seconds())
	s.up(t, vm, start)

	stages := s.write(t, "station")
	for _, want := range []string{"wiping", "writing", "syncing", "complete"} {
		if !slices.Contains(stages, want) {
			t.Errorf("stages were %q, want %s among them", stages, want)
		}
	}
	vm.Kill()
	compare(t, s.Disks[0], image)
	s.bootCard(t)
}

// bootCard boots from the Pi's own card and waits until the imager on it is up.
func (s *site) bootCard(t *testing.T) {
	t.Helper()
	start := time.Now()
	vm, boot, err := s.BootDisk(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range boot.Requests {
		if r.From != "card" {
			t.Errorf("%s came from %s, want it from the card", r.Name, r.From)
		}
	}
	s.up(t, vm, start)
	// It runs from RAM: even the card that it came from may be written.
	code, body, err := s.Station(8888).WriteImage(t.Context(), token, map[string]any{
		"device": s.Model.Disk, "image_url": s.base + lab.ImagePath + "station", "dry_run": true,
	})
	if err != nil || code != http.StatusOK {
		t.Errorf("asking whether the card that it came from may be written: %d %s, %v", code, body, err)
	}
	vm.Kill()
}

// compare checks that the disk begins with the image and is zero behind it.
func compare(t *testing.T, disk, image string) {
	t.Helper()
	want, err := os.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	defer want.Close()
	got, err := os.Open(disk)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	for offset := int64(0); ; offset += 1 << 20 {
		w, wn := block(t, want)
		g, gn := block(t, got)
		if wn > gn {
			t.Fatalf("%s ends before the image", disk)
		}
		if gn == 0 {
			return
		}
		if !bytes.Equal(g, w) {
			t.Fatalf("%s differs from the image, or is not zero behind it, in the MiB from %d on", disk, offset)
		}
	}
}

// block is the next MiB of a file, with zeros behind its end, and how much of it there is.
func block(t *testing.T, r io.Reader) ([]byte, int) {
	t.Helper()
	b := make([]byte, 1<<20)
	n, err := io.ReadFull(r, b)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		t.Fatal(err)
	}
	return b, n
}

// compress makes FILE.gz of an image, because the emulated USB network adapter of the
// Pi 3B carries less than 0.5 MB/s and images are half zeros. The real gzip does it: under
// the race detector Go's takes minutes for a gigabyte.
func compress(t *testing.T, image string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), filepath.Base(image)+".gz")
	out, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command("gzip", "-1", "-c", image)
	cmd.Stdout, cmd.Stderr = out, os.Stderr
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	return path
}
