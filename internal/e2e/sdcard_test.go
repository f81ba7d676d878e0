package e2e

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/openseastack/netboot-imager/internal/netboot"
)

// TestSDCard netboots a Pi 3B and writes a card image of 64 MiB to its card. The image
// is almost empty, because the emulated USB network adapter carries less than 0.1 MB/s;
// with NETBOOT_E2E_LONG=1 it is the station's own card image, some 28 MB compressed,
// and the Pi then boots from its card. TestMovedCard does the latter with a card that
// another station wrote.
func TestSDCard(t *testing.T) {
	t.Parallel()
	need(t, "qemu-system-aarch64", "dnsmasq")
	dir, m := tree(t, netboot.Options{Stations: []string{"00000000b3e4d01a"}, ConfigURL: configURL})
	t.Logf("payload: %d bytes of kernel and initramfs", m.PayloadBytes)
	if m.PayloadBytes > 30_000_000 {
		t.Errorf("payload: %d bytes, want at most 30 MB", m.PayloadBytes)
	}
	s := newSite(t, dir, "3b", 64<<20)
	long := os.Getenv("NETBOOT_E2E_LONG") == "1"
	image := filepath.Join(dir, "sdcard.img")
	if !long {
		image = smallCard(t)
	}
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
	if long {
		s.bootCard(t)
	}
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

// smallCard makes a card image of 64 MiB that compresses well: a partition table, and
// some random data at its beginning, in its middle and at its end.
func smallCard(t *testing.T) string {
	t.Helper()
	img := make([]byte, 64<<20)
	random := rand.NewChaCha8([32]byte{1})
	for _, at := range []int{1 << 20, 33 << 20, len(img) - 256<<10} {
		_, _ = random.Read(img[at : at+256<<10])
	}
	copy(img[446:], "\x00\x00\x00\x00\x83\x00\x00\x00\x00\x08\x00\x00\x00\x08\x00\x00")
	copy(img[510:], "\x55\xaa")
	path := filepath.Join(t.TempDir(), "small.img")
	if err := os.WriteFile(path, img, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
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
// Pi 3B carries about 0.1 MB/s and the card's image is half zeros.
func compress(t *testing.T, image string) string {
	t.Helper()
	in, err := os.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	path := filepath.Join(t.TempDir(), filepath.Base(image)+".gz")
	out, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	zw := gzip.NewWriter(out)
	if _, err := io.Copy(zw, in); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(zw.Close(), out.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}
