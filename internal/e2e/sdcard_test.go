package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/openseastack/netboot-imager/internal/netboot"
)

// TestSDCard netboots a Pi 3B, writes the station's own card image to its card and
// boots that.
func TestSDCard(t *testing.T) {
	need(t, "qemu-system-aarch64", "dnsmasq")
	dir, m := tree(t, netboot.Options{Stations: []string{"00000000b3e4d01a"}, ConfigURL: configURL})
	t.Logf("payload: %d bytes", m.PayloadBytes)
	s := newSite(t, dir, "3b", 64<<20)
	image := filepath.Join(dir, "sdcard.img")
	s.server.Images["station"] = image

	start := time.Now()
	vm, boot, err := s.Netboot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("fetched %d bytes in %.1f s", boot.Bytes(), boot.Took.Seconds())
	s.up(t, vm, start)

	s.write(t, "station")
	vm.Kill()
	compare(t, s.Disks[0], image)

	start = time.Now()
	vm, _, err = s.BootDisk(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.up(t, vm, start)
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
