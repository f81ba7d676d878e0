package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/openseastack/netboot-imager/internal/emupi"
	"github.com/openseastack/netboot-imager/internal/lab"
	"github.com/openseastack/netboot-imager/internal/netboot"
)

// TestFetch plays every model's boot loader against dnsmasq's TFTP server, on trees of
// both layouts and of boot.img, and then with files missing.
func TestFetch(t *testing.T) {
	t.Parallel()
	need(t, "dnsmasq")
	var stations []string
	for _, name := range emupi.Names() {
		m, err := emupi.ByName(name)
		if err != nil {
			t.Fatal(err)
		}
		stations = append(stations, m.Serial)
	}
	perSerial, _ := tree(t, netboot.Options{Stations: stations})
	flat, _ := tree(t, netboot.Options{Layout: netboot.Flat})
	ramdisk, _ := tree(t, netboot.Options{Stations: stations, BootRAMDisk: true})
	oneEach := []string{"3b", "4b", "5"} // of each kind of boot loader
	for _, tt := range []struct {
		name, tree string
		models     []string
	}{{"serial", perSerial, emupi.Names()}, {"flat", flat, oneEach}, {"boot.img", ramdisk, oneEach}} {
		n, err := lab.NewNamespace(t.Context(), tt.tree, t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range tt.models {
			boot, err := fetch(t, n, name)
			if err != nil {
				t.Errorf("%s, Pi %s: %v", tt.name, name, err)
				continue
			}
			if len(boot.Kernel) < 10<<20 || len(boot.Initramfs) == 0 || len(boot.DTB) == 0 || len(boot.Warnings) > 0 {
				t.Errorf("%s, Pi %s: kernel %d, initramfs %d, device tree %d bytes, warnings %q", tt.name, name, len(boot.Kernel), len(boot.Initramfs), len(boot.DTB), boot.Warnings)
			}
			if tt.name == "serial" {
				t.Logf("Pi %s: %d bytes: %s", name, boot.Bytes(), list(boot.Requests))
			}
		}
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	}
	t.Run("docs", func(t *testing.T) { documented(t, perSerial) })
	t.Run("missing", func(t *testing.T) { missing(t, perSerial) })
}

// missing takes one thing after another out of the tree.
func missing(t *testing.T, tree string) {
	n, err := lab.NewNamespace(t.Context(), tree, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	for _, tt := range []struct{ model, file, says string }{
		{"3b", "bootcode.bin", "bootcode.bin"},
		{"3b", "b3e4d01a", "start.elf"}, // not enrolled
		{"3b", "common/start.elf", "start.elf"},
		{"3b", "common/vmlinuz.gz", "vmlinuz.gz"},
		{"3b", "common/initramfs.cpio.zst", "initramfs.cpio.zst"},
		{"3b", "common/bcm2710-rpi-3-b.dtb", "bcm2710-rpi-3-b.dtb"},
		{"3b", "common/config.txt", "kernel7.img"}, // what it then looks for
		{"4b", "b4e4d04a", "start4.elf"},
		{"4b", "common/start4.elf", "start4.elf"},
		{"4b", "common/vmlinuz.gz", "vmlinuz.gz"},
		{"4b", "common/bcm2711-rpi-4-b.dtb", "bcm2711-rpi-4-b.dtb"},
		{"5", "b5e4d08a", "config.txt"},
		{"5", "common/config.txt", "config.txt"},
		{"5", "common/initramfs.cpio.zst", "initramfs.cpio.zst"},
		{"cm5", "common/bcm2712-rpi-cm5-cm5io.dtb", "bcm2712-rpi-cm5-cm5io.dtb"},
	} {
		path, away := filepath.Join(tree, tt.file), filepath.Join(tree, "away")
		if err := os.Rename(path, away); err != nil {
			t.Fatal(err)
		}
		_, err := fetch(t, n, tt.model)
		var noBoot *emupi.NoBootError
		if !errors.As(err, &noBoot) || !strings.HasSuffix(noBoot.File, tt.says) {
			t.Errorf("Pi %s without %s: %v, want it to miss %s", tt.model, tt.file, err, tt.says)
		}
		if err := os.Rename(away, path); err != nil {
			t.Fatal(err)
		}
	}
}

func fetch(t *testing.T, n lab.Network, name string) (*emupi.Boot, error) {
	t.Helper()
	m, err := emupi.ByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return m.Netboot(t.Context(), n.TFTPAddr(), n.Do, nil)
}

// list is the requests in one line: ? only asked for the size, - is not there.
func list(requests []emupi.Request) string {
	var s []string
	for _, r := range requests {
		name := r.Name
		if r.Probe {
			name += "?"
		}
		if !r.Found {
			name += "-"
		}
		s = append(s, name)
	}
	return strings.Join(s, " ")
}
