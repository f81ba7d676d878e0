package e2e

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/openseastack/netboot-imager/internal/emupi"
	"github.com/openseastack/netboot-imager/internal/flashtest"
	"github.com/openseastack/netboot-imager/internal/lab"
	"github.com/openseastack/netboot-imager/internal/netboot"
)

// TestZeroTouch turns a station on whose kernel parameters name an image, and asks it for
// nothing: it writes its disk and reboots. Turned on once more it looks, and stays as it is.
// flash finds it by what it announces.
func TestZeroTouch(t *testing.T) {
	t.Parallel()
	need(t, "qemu-system-aarch64", "dnsmasq")
	image := flashtest.Image(8<<20, 1)
	raw := filepath.Join(t.TempDir(), "os.img")
	if err := os.WriteFile(raw, image, 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := emupi.ByName("virt-nvme")
	if err != nil {
		t.Fatal(err)
	}
	dir, _ := tree(t, netboot.Options{Stations: []string{m.Serial}, ConfigURL: configURL, SerialConsole: "serial0,115200", KernelArgs: []string{
		"imager.write=http://10.77.0.1:38434" + lab.ImagePath + "os", "imager.device=" + m.Disk,
		"imager.sha256=" + flashtest.SHA256(image), "imager.then=reboot",
	}})
	s := newSite(t, dir, m.Name, 64<<20)
	s.server.Images["os"] = compress(t, raw)
	var downloads atomic.Int32
	s.server.OnDownload = func(string) { downloads.Add(1) }
	s.MemoryMiB = 512
	ctx, cancel := context.WithTimeoutCause(t.Context(), patience, errTooLong)
	defer cancel()

	start := time.Now()
	vm, _, err := s.Netboot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := vm.WaitReset(ctx); err != nil {
		t.Fatal(err)
	}
	t.Logf("it has written %s and reboots, %.1f s after power-on", m.Disk, time.Since(start).Seconds())
	compare(t, s.Disks[0], raw)
	written, err := os.Stat(s.Disks[0])
	if err != nil {
		t.Fatal(err)
	}

	downloads.Store(0)
	if vm, _, err = s.Netboot(ctx); err != nil {
		t.Fatal(err)
	}
	defer vm.Kill()
	var st emupi.Status
	if _, err := s.Station(8888).WaitUp(ctx, vm, "/status", func(b []byte) bool {
		return json.Unmarshal(b, &st) == nil && st.Message != "Ready"
	}); err != nil {
		t.Fatal(err)
	}
	t.Logf("it has looked: %s: %s", st.Stage, st.Message)
	if st.Stage != "idle" || !strings.Contains(st.Message, "already carries this very image") {
		t.Errorf("the second boot: %s: %s", st.Stage, st.Message)
	}
	if n := downloads.Load(); n != 1 {
		t.Errorf("it has asked for the image %d times, want once, for its first MiB", n)
	}
	s.discover(t, vm)
	if err := vm.Ended(); err != nil {
		t.Errorf("it does not stay on: %v", err)
	}
	vm.Kill()
	now, err := os.Stat(s.Disks[0])
	if err != nil {
		t.Fatal(err)
	}
	if !now.ModTime().Equal(written.ModTime()) {
		t.Errorf("the disk was written at %v, after the reboot, which was by %v", now.ModTime(), written.ModTime())
	}
	compare(t, s.Disks[0], raw)
}

// discover has flash find the station by multicast DNS, as one that got its address by DHCP.
func (s *site) discover(t *testing.T, vm *emupi.VM) {
	t.Helper()
	flash := filepath.Join(t.TempDir(), "flash")
	run(t, "go", "build", "-o", flash, "../../tools/flash")
	var found []struct {
		Address string
		By      string `json:"found_by"`
		Station struct{ Serial string }
	}
	for deadline := time.Now().Add(patience); len(found) == 0; {
		out, err := os.CreateTemp(t.TempDir(), "discover")
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(flash, "discover", "--no-scan", "--json")
		cmd.Stdout = out
		p, err := s.net.Start(cmd)
		if err != nil {
			t.Fatal(err)
		}
		<-p.Done
		b, err := os.ReadFile(out.Name())
		if err == nil {
			err = json.Unmarshal(b, &found)
		}
		if err != nil {
			t.Fatalf("flash discover: %v, %v: %s", p.Err(), err, b)
		}
		if err := vm.Ended(); err != nil || time.Now().After(deadline) {
			t.Fatalf("flash discover finds nothing: %v", err)
		}
		out.Close()
	}
	if len(found) != 1 || found[0].By != "mdns" || found[0].Station.Serial != s.Model.Serial || !strings.HasSuffix(found[0].Address, ":8888") {
		t.Errorf("flash discover has found %+v", found)
	}
	t.Logf("flash discover has found %+v", found)
}
