package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/openseastack/netboot-imager/internal/emupi"
	"github.com/openseastack/netboot-imager/internal/lab"
	"github.com/openseastack/netboot-imager/internal/netboot"
)

// TestNVMe netboots a station from boot.img with 512 MiB of RAM, writes a whole
// gokrazy system to its NVMe disk, and boots that. The system on the disk has an
// imager of its own, which must not write the disk it runs from, and may the other.
func TestNVMe(t *testing.T) {
	t.Parallel()
	need(t, "qemu-system-aarch64", "dnsmasq")
	const diskSize = 1258299392 // about the least that gok makes
	hello, err := gok(shared.dir, "hello.img", "hello", "testdata", "--target_storage_bytes", fmt.Sprint(diskSize), "--full")
	if err != nil {
		t.Fatal(err)
	}
	dir, _ := tree(t, netboot.Options{BootRAMDisk: true, Stations: []string{"5f0c1e11b5e4d15b"}, ConfigURL: configURL, SerialConsole: "serial0,115200"})
	s := newSite(t, dir, "virt-nvme", diskSize, 64<<20)
	s.server.Images["hello"] = compress(t, hello)
	s.MemoryMiB = 512
	// Reading 1.2 GB back takes a minute under emulation; the other tests do it.
	s.server.Config["verify"] = false

	start := time.Now()
	vm, boot, err := s.Netboot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range boot.Requests {
		if r.From == "boot.img" && strings.HasSuffix(r.Name, "vmlinuz.gz") && r.Bytes > 0 {
			t.Logf("the kernel came out of boot.img")
		}
	}
	s.up(t, vm, start)
	s.memory(t)
	s.write(t, "hello")
	s.memory(t)
	vm.Kill()
	compare(t, s.Disks[0], hello)

	t.Run("boots from its disk", func(t *testing.T) {
		s.MemoryMiB = 0
		vm, _, err := s.PowerOn(t.Context(), emupi.Disk)
		if err != nil {
			t.Fatal(err)
		}
		defer vm.Off()
		ctx, cancel := context.WithTimeoutCause(t.Context(), patience, errTooLong)
		defer cancel()
		mounts, err := s.Station(8081).WaitUp(ctx, vm, "/mounts", nil)
		if err != nil {
			t.Fatal(err)
		}
		_, cmdline, err := s.Station(8081).Get(ctx, "/cmdline", time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("cmdline: %s", cmdline)
		if !bytes.Contains(mounts, []byte("/dev/root / squashfs")) || !bytes.Contains(cmdline, []byte("root=PARTUUID=")) {
			t.Errorf("mounts %s, cmdline %s: want the root file system of partition 2", mounts, cmdline)
		}
		if _, err := s.Station(8888).WaitHealthy(ctx, vm); err != nil {
			t.Fatal(err)
		}
		s.ownDisk(t)
		s.gokRun(t, vm)
		s.gokUpdate(t, vm)
	})
}

// memory logs what the station says of its RAM, and checks that it has no more than it
// was given.
func (s *site) memory(t *testing.T) {
	t.Helper()
	var m struct {
		Total     int64 `json:"memory_total"`
		Available int64 `json:"memory_available"`
	}
	if err := json.Unmarshal([]byte(s.get(t, 8888, "/station")), &m); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d of %d bytes of RAM are available", m.Available, m.Total)
	if given := int64(s.MemoryMiB) << 20; m.Total > given || m.Available == 0 {
		t.Errorf("%d of %d bytes of RAM are available, want some of at most %d", m.Available, m.Total, given)
	}
}

// ownDisk asks the system that runs from nvme0n1 to write that, and then the other disk.
func (s *site) ownDisk(t *testing.T) {
	t.Helper()
	before, err := os.ReadFile(s.Disks[0])
	if err != nil {
		t.Fatal(err)
	}
	small := filepath.Join(t.TempDir(), "small.img")
	img := make([]byte, 8<<20)
	copy(img[510:], "\x55\xaa") // a partition table
	copy(img[446:], "\x00\x00\x00\x00\x83\x00\x00\x00\x00\x08\x00\x00\x00\x08\x00\x00")
	if err := os.WriteFile(small, img, 0o600); err != nil {
		t.Fatal(err)
	}
	s.server.Images["small"] = small
	for _, tt := range []struct {
		device string
		code   int
	}{{"/dev/nvme0n1", http.StatusConflict}, {"/dev/vda", http.StatusOK}} {
		code, body, err := s.Station(8888).WriteImage(t.Context(), token, map[string]any{"device": tt.device, "image_url": s.base + lab.ImagePath + "small"})
		if err != nil {
			t.Fatal(err)
		}
		var answer struct{ Message, Error string }
		_ = json.Unmarshal(body, &answer) // the code decides
		t.Logf("writing %s: %d %s%s", tt.device, code, answer.Message, answer.Error)
		if code != tt.code {
			t.Errorf("writing %s: status %d, want %d", tt.device, code, tt.code)
		}
	}
	after, err := os.ReadFile(s.Disks[0])
	if err != nil {
		t.Fatal(err)
	}
	// The first MiB, and the root file systems behind the boot partition.
	if !bytes.Equal(before[:1<<20], after[:1<<20]) {
		t.Error("the disk that the system runs from changed")
	}
	compare(t, s.Disks[1], small)
}
