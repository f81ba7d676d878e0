package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/openseastack/netboot-imager/internal/netboot"
)

// TestSDCard netboots a Pi 3B, writes the station's own card image to its card, and boots
// from that card, until what was written is up on the network. It takes seven minutes or
// more: QEMU's USB network adapter moves 64 bytes a millisecond.
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
	vm.Kill()
}

// compare checks that the disk begins with the image and is zero behind it.
func compare(t *testing.T, disk, image string) {
	t.Helper()
	want, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(disk)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got[:len(want)], want) {
		t.Errorf("%s differs from the image in its first %d bytes", disk, len(want))
	}
}

// compress makes FILE.gz of an image, because the emulated USB network adapter of the
// Pi 3B carries about 0.1 MB/s and images are half zeros. The real gzip does it: under
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
